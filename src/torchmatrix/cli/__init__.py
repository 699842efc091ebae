"""The command line: the only place that reads ``os.environ`` and ends the process."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of ``torchmatrix``."""
    if sys.argv[1:] in (["--version"], ["-V"]):  # before anything slow is imported
        from torchmatrix import __version__

        sys.stdout.write(f"torchmatrix {__version__}\n")
        sys.exit(0)
    from torchmatrix.cli.app import leave, run

    code = run(sys.argv[1:])
    if "rattler" in sys.modules:  # its threads may be about to call Python, and while Python ends that is a crash
        leave(code)
    sys.exit(code)
