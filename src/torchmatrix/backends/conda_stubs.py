"""What conda packages are to pip: distributions that are there already, each at one version, from no index."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from torchmatrix.backends.conda_specs import RENAMED
from torchmatrix.backends.pip_pages import Described, Pages
from torchmatrix.sources.pages import Listed
from torchmatrix.sources.routes import Route, Via

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from torchmatrix.lock.model import Artifact

INDEX = "torchmatrix-conda-packages"
"""Name of the index that uv gets them from."""
_BROUGHT_BY = {
    "antlr4-python3-runtime": "antlr-python-runtime",
    "brotli": "brotli-python",
    "dask": "dask-core",
    "fastjsonschema": "python-fastjsonschema",
    "flatbuffers": "python-flatbuffers",
    "gssapi": "python-gssapi",
    "lmdb": "python-lmdb",
    "matplotlib": "matplotlib-base",
    "nbconvert": "nbconvert-core",
    "pyarrow": "pyarrow-core",
    "ray": "ray-core",
    "seaborn": "seaborn-base",
    "shiboken6": "pyside6",
    "tensorflow": "tensorflow-base",
    "triton": "torchtriton",
    "tzdata": "python-tzdata",
    "xgboost": "py-xgboost",
    "xxhash": "python-xxhash",
    **RENAMED,
}
"""Distribution -> conda package that brings it under another name (conda-forge's feedstocks, purls in pixi.lock)."""
_PYTHON = re.compile(r"(?:.*::)?python(?:_abi)?(?![\w.-])")


def brought_by(distribution: str) -> str | None:
    """The conda package of another name that brings a distribution, as far as it is known."""
    return _BROUGHT_BY.get(distribution)


def provided(artifacts: Iterable[Artifact]) -> dict[str, Version]:
    """Normalized name and version of every distribution that conda packages bring, as far as their records tell.

    Those are the packages that need Python. Nothing is unpacked, so that a distribution under a name that nobody
    knows is noticed only when pip would install it a second time.
    """
    found: dict[str, Version] = {}
    named: dict[str, list[str]] = {}
    for distribution, name in _BROUGHT_BY.items():
        named.setdefault(name, []).append(distribution)
    for artifact in artifacts:
        if artifact.name == "python" or not _needs_python(artifact):
            continue
        try:
            version = Version(str(artifact.version))
        except InvalidVersion:
            continue
        own = str(canonicalize_name(artifact.name))
        for distribution in named.get(artifact.name, [own]):
            found.setdefault(distribution, version)
        if artifact.name == "pyside6":
            found[own] = version  # brings two
    return dict(sorted(found.items()))


def _needs_python(artifact: Artifact) -> bool:
    if artifact.conda is None:
        return False
    return artifact.conda.noarch == "python" or any(_PYTHON.match(text) for text in artifact.conda.depends)


def stub_pages(distributions: dict[str, Version]) -> Pages:
    """Pages for uv with one wheel each that requires nothing. uv never opens one: its METADATA is told beforehand."""
    files = {}
    for name, version in distributions.items():
        file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        files[name] = (Listed(file=file, url=file),)
    described = {name: Described(version=version) for name, version in distributions.items()}
    return Pages(source=INDEX, files=files, described=described)


def stub_index(pages: Pages, folder: Path) -> str:
    """Write the pages below ``folder``; the table of uv.toml that names them.

    The index stands before the default one, and uv takes a package from the first index that has it alone, however
    deep it turns up. An index that is bound to packages by name would serve direct requirements only.
    """
    nowhere = Route(source=INDEX, via=Via.MIRROR, places=(), origin="the conda packages")
    address = pages.write(folder, nowhere).place.address
    lines = ["[[index]]", f"name = {json.dumps(INDEX)}", f"url = {json.dumps(address)}"]
    return "\n".join([*lines, "exclude-newer = false"]) + "\n"
