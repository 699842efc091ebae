"""Index pages as we read them ourselves: each once a run, its links checked before anything follows them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from torchmatrix.command import redact
from torchmatrix.errors import SourceUnreachableError
from torchmatrix.sources.config import local_path
from torchmatrix.sources.downloads import answer_hint
from torchmatrix.sources.once import Once
from torchmatrix.sources.pages import Listed, PageError, flat_files, read_page
from torchmatrix.sources.routes import Via

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from torchmatrix.sources.routes import Place, Route
    from torchmatrix.sources.web import Web

_NOT_THERE = frozenset({403, 404, 410})
"""S3, where the PyTorch index lies, says 403 to what it does not have."""
_HEADS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the places of a route list for one project. ``status`` is the answer of the last place that had none."""

    files: tuple[Listed, ...]
    where: str
    """The address of the page, for messages."""
    status: int | None = None

    def file(self, name: str) -> Listed | None:
        """The entry with that file name."""
        return next((listed for listed in self.files if listed.file == name), None)


class Indexes:
    """Reads pages through routes. Pages are remembered for the life of the object, which is one run."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._pages: Once[tuple[str, str], Listing] = Once()
        self._examined: Once[tuple[str, str], None] = Once()

    def examine(self, addresses: Iterable[tuple[str, str]]) -> None:
        """Ask each (source, address) by HEAD, once in the life of the object, to see where it redirects to.

        uv follows redirects without a question. `IntegrityError` for one to a host that is none of the source's; no
        answer, or one that there is nothing, is none of our business here.
        """
        asked = [
            (source, address)
            for source, address in addresses
            if local_path(address) is None and not self._web.has_read(address, source=source)
        ]
        self._examined.all(asked, self._follow, threads=_HEADS)

    def _follow(self, asked: tuple[str, str]) -> None:
        source, address = asked
        with suppress(SourceUnreachableError):
            self._web.head(address, source=source)

    def listing(self, route: Route, folder: str | None, name: str) -> Listing:
        """The files of a project, from the first place that lists any.

        Errors: `SourceUnreachableError` for a status that is no answer (401, 5xx) or a body that is no page.
        """
        listing = Listing(files=(), where=redact(route.source))
        for place in route.places:
            listing = self._at(
                place, route.source, place_address(place, folder, stand_in=route.via is Via.STAND_IN), name
            )
            if listing.files:
                break
        return listing

    def require(self, listed: Listed, *, source: str, where: str) -> None:
        """`IntegrityError` when a link leads to a host that is none of the source's."""
        self._web.hosts.require(listed.url, source=source, named_by=f"{listed.file}, as {where} links it,")

    def _at(self, place: Place, source: str, address: str, name: str) -> Listing:
        name = str(canonicalize_name(name))
        return self._pages.get((address, name), lambda _: self._read(place, source, address, name))

    def _read(self, place: Place, source: str, address: str, name: str) -> Listing:
        folder = local_path(address)
        if folder is not None:
            try:
                return _in_folder(folder.absolute(), source, name, flat=place.flat)
            except OSError as error:
                raise SourceUnreachableError(
                    f"source {source}: {error.filename or folder}: cannot be read: {error.strerror}",
                    hint="check the folder that mirrors the source, and the rights to it",
                ) from error
        url = f"{address.rstrip('/')}/{name}/"
        reply = self._web.page(url, source=source)
        if reply.status in _NOT_THERE:
            return Listing(files=(), where=redact(url), status=reply.status)
        if not reply.ok:
            raise SourceUnreachableError(
                f"source {source}: {redact(url)} answered {reply.status}", hint=answer_hint(reply.status, source)
            )
        return _parsed(reply.body, reply.headers.get("content-type", ""), reply.url, source)


def _in_folder(folder: Path, source: str, name: str, *, flat: bool) -> Listing:
    """What a folder of this machine lists; `OSError` when it cannot be read."""
    if flat:
        files = tuple(one for one in flat_files(folder) if one.name == name)
        return Listing(files=files, where=str(folder))
    page = folder / name / "index.html"
    if not page.is_file():
        return Listing(files=(), where=str(page), status=404)
    return _parsed(page.read_bytes(), "text/html", page.as_uri(), source)


def _parsed(body: bytes, content_type: str, url: str, source: str) -> Listing:
    try:
        return Listing(files=read_page(body, content_type, url), where=redact(url))
    except PageError as error:
        raise SourceUnreachableError(
            f"source {source}: {redact(url)} is no index page: it looks like {error.looks_like}",
            hint="a login page or a proxy may answer in its place; check the address, the proxy and the mirror",
        ) from error


def page_addresses(route: Route, folder: str | None, name: str) -> list[str]:
    """The addresses of a project's page at each place of a route that is an index."""
    stand_in = route.via is Via.STAND_IN
    return [
        f"{place_address(place, folder, stand_in=stand_in).rstrip('/')}/{canonicalize_name(name)}/"
        for place in route.places
        if not place.flat
    ]


def place_address(place: Place, folder: str | None, *, stand_in: bool) -> str:
    """The address of an index for a folder; stand-ins and flat folders have no folders below."""
    if folder is None or place.flat or stand_in:
        return place.address
    return f"{place.address}/{folder}"
