"""uv's answer to a resolution: a pylock.toml that is read, and one that says which versions to prefer."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urldefrag

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from torchmatrix.errors import CellError
from torchmatrix.sources.artifacts import default_index_path, file_name
from torchmatrix.sources.config import PYPI
from torchmatrix.sources.credentials import without_userinfo
from torchmatrix.sources.routes import PYTORCH, Route, Via
from torchmatrix.target import wheel_tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchmatrix.lock.model import Lockfile
    from torchmatrix.matrix.model import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One package of uv's answer."""

    name: str
    version: Version
    address: str
    sha256: str | None
    size: int | None = None
    """Bytes, where the index says it (a JSON page does, an HTML page does not)."""


def preferences(lockfile: Lockfile) -> str:
    """A pylock.toml whose versions uv prefers when it resolves again."""
    lines = ['lock-version = "1.0"', 'created-by = "torchmatrix"']
    for artifact in lockfile.artifacts:
        url = f"https://preference.invalid/{quote(artifact.file)}"
        key = "wheels = [" if artifact.is_wheel else "sdist = "
        table = f'{{ url = "{url}", hashes = {{ sha256 = "{artifact.sha256}" }} }}'
        lines += ["[[packages]]", f'name = "{artifact.name}"', f'version = "{artifact.version}"']
        lines.append(f"{key}{table}{']' if artifact.is_wheel else ''}")
    return "\n".join(lines) + "\n"


def read_answer(text: str, cell: Cell) -> list[Found]:
    """Packages of uv's pylock.toml, for each the one file that fits the cell best."""
    tags = wheel_tags(cell.target, cell.python)
    found = []
    for package in tomllib.loads(text).get("packages", []):
        wheels = [
            (rank, wheel) for wheel in package.get("wheels", []) if (rank := _rank(wheel["url"], tags)) is not None
        ]
        if wheels:
            chosen = min(wheels, key=lambda pair: pair[0])[1]
        elif "sdist" in package:
            chosen = package["sdist"]
        elif package.get("wheels"):
            chosen = package["wheels"][0]
        else:
            raise CellError(f"{cell}: uv named no file for {package['name']}")
        found.append(
            Found(
                name=str(canonicalize_name(package["name"])),
                version=Version(package["version"]),
                address=urldefrag(without_userinfo(chosen["url"])).url,
                sha256=chosen.get("hashes", {}).get("sha256"),
                size=chosen.get("size"),
            )
        )
    return found


def _rank(address: str, tags: Mapping[Any, int]) -> int | None:
    try:
        wheel = parse_wheel_filename(file_name(address))[3]
    except InvalidWheelFilename:
        return None
    return min((tags[tag] for tag in wheel if tag in tags), default=None)


def base_addresses(found: list[Found], names: Mapping[str, str], routes: Mapping[str, Route]) -> dict[str, str]:
    """Addresses for `lock.formats.addresses`, of sources that were reached themselves: never those of a mirror.

    The base of the default index's files; for private sources, whose files have no path of their own, the address of
    each file by source and sha256.
    """
    bases: dict[str, str] = {}
    for package in found:
        route = routes[names.get(package.name, PYPI)]
        if (
            route.via is not Via.SOURCE
            or route.source == PYTORCH
            or not package.address.startswith(("http:", "https:"))
        ):
            continue
        if route.source == PYPI and (path := default_index_path(package.address)) and path in package.address:
            bases.setdefault(PYPI, package.address.partition(path)[0].rstrip("/"))
        elif package.sha256 is not None:
            bases[f"{route.source}/{package.sha256}"] = package.address
    return bases
