"""Makes a package of the folder that Python was told to run."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Load the package by its place, so that no folder of ours is where torch looks for its own imports."""
    folder = os.path.dirname(os.path.abspath(__file__))
    # Python puts a folder that it runs there, with -I as well; until it is gone nothing may be imported from a file.
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != folder]
    import importlib.util

    name = "torchmatrix_probe"
    spec = importlib.util.spec_from_file_location(
        name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    runner = importlib.import_module(name + ".runner")
    return int(runner.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
