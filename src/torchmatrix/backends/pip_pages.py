"""Index pages for uv where the source's own give no hash: those of nightlies, and of some releases.

For every wheel without a hash in its page uv downloads the whole wheel while it resolves, gigabytes of it, without
progress or a second try, and forgets the bytes. So it gets a page with a stand-in for each hash that nobody gives, and
the METADATA that was read already; hashes are a matter of `pip_artifacts`.
"""

from __future__ import annotations

import hashlib
import html
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from torchmatrix.sources.config import local_path
from torchmatrix.sources.credentials import without_userinfo
from torchmatrix.sources.routes import Place, Route, Via

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from packaging.version import Version

    from torchmatrix.backends.answer import Found
    from torchmatrix.sources.index import Indexes
    from torchmatrix.sources.pages import Listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What METADATA says of one version."""

    version: Version
    requires: tuple[str, ...] = ()
    """Every Requires-Dist as it is written."""
    extras: tuple[str, ...] = ()
    requires_python: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Pages of one source by project."""

    source: str
    files: Mapping[str, Sequence[Listed]] = field(default_factory=dict)
    described: Mapping[str, Described] = field(default_factory=dict)

    def write(self, folder: Path, route: Route) -> Route:
        """Write the pages below ``folder``; the route with that place instead of its own."""
        for name, files in self.files.items():
            links = "\n".join(_anchor(file) for file in files)
            page = folder / name / "index.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(f"<!DOCTYPE html>\n<html><body>\n{links}\n</body></html>\n", encoding="utf-8")
        return replace(route, places=(Place(address=folder.as_uri(), flat=False),))

    def tables(self) -> str:
        """For uv.toml: METADATA that need not be asked for again."""
        lines: list[str] = []
        for name, said in sorted(self.described.items()):
            lines += ["[[dependency-metadata]]", f"name = {json.dumps(name)}", f'version = "{said.version}"']
            lines.append(f"requires-dist = {json.dumps(list(said.requires))}")
            if said.extras:
                lines.append(f"provides-extra = {json.dumps(list(said.extras))}")
            if said.requires_python:
                lines.append(f"requires-python = {json.dumps(said.requires_python)}")
        return "\n".join(lines) + "\n" if lines else ""

    def cleared(self, found: Found) -> Found:
        """The same with the hash that the source's page gives, and none where it gives none or lists no such file."""
        if found.name not in self.files:  # of another source
            return found
        address = _plain(found.address)
        listed = next((one for one in self.files.get(found.name, ()) if _plain(one.url) == address), None)
        if listed is None:  # what uv says may be the stand-in of another file
            return replace(found, sha256=None)
        return replace(found, sha256=listed.sha256, size=listed.size or found.size)


def _plain(url: str) -> str:
    """An address as it is compared: uv may escape other characters than the page does."""
    return unquote(without_userinfo(url).partition("#")[0])


def unhashed_pages(indexes: Indexes, route: Route, folder: str | None, names: Sequence[str]) -> Pages | None:
    """Pages of releases, when some file on the source's own has no hash; ``None`` when uv may read those itself."""
    if route.via is Via.STAND_IN or any(local_path(place.address) is not None for place in route.places):
        return None
    files = {name: indexes.listing(route, folder, name).files for name in names}
    if all(file.sha256 for listed in files.values() for file in listed):
        return None
    return Pages(source=route.source, files=files)


def _anchor(file: Listed) -> str:
    # uv takes files with one hash for the same file, so that every stand-in is another one.
    sha256 = file.sha256 or hashlib.sha256(file.url.encode()).hexdigest()
    attributes = {"href": f"{file.url}#sha256={sha256}"}
    if file.metadata:
        attributes["data-core-metadata"] = f"sha256={file.metadata_sha256}" if file.metadata_sha256 else "true"
    if file.requires_python:
        attributes["data-requires-python"] = file.requires_python
    if file.yanked is not None:
        attributes["data-yanked"] = file.yanked
    written = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<a {written}>{html.escape(file.file)}</a><br/>"
