"""What is wrong with the pages of packages that uv found nothing of: it takes a login page for an empty index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmatrix.backends.uv import lacking
from torchmatrix.errors import SourceUnreachableError
from torchmatrix.sources.config import PYPI
from torchmatrix.sources.downloads import Wanted, answer_hint, gone
from torchmatrix.sources.index import page_addresses
from torchmatrix.sources.routes import PYTORCH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torchmatrix.command import Outcome
    from torchmatrix.lock.model import Lockfile
    from torchmatrix.sources.index import Indexes, Listing
    from torchmatrix.sources.routes import Route

_PAGES = 8
"""How many pages are looked at: uv names few packages that it could not find."""


def page_trouble(
    outcome: Outcome,
    indexes: Indexes,
    places: Mapping[str, tuple[Route, str | None]],
    sources: Mapping[str, str],
    lockfile: Lockfile | None = None,
) -> SourceUnreachableError | None:
    """Why uv found no version of something, if its page is the reason; ``None`` when the page is as it should be.

    ``places``: by source, its route and the folder below an index; ``sources``: by package, its source. With a
    ``lockfile`` a page that does not list the locked file is a reason too. Every page that is read may be a
    request, so only ask after a failure.
    """
    for name in lacking(outcome.stderr)[:_PAGES]:
        source = sources.get(name, PYPI)
        route, folder = places.get(source, (None, None))
        if route is None or not route.places:
            continue
        try:
            listing = indexes.listing(route, folder, name)
        except SourceUnreachableError as error:
            return error
        if listing.status == 403 and source != PYTORCH:  # which says 403 to what it does not have
            return SourceUnreachableError(
                f"source {source}: {listing.where} answered 403", hint=answer_hint(listing.status, source)
            )
        if lockfile is not None and (expired := _expired(lockfile, name, listing)):
            return expired
    return None


def page_of(places: Mapping[str, tuple[Route, str | None]], sources: Mapping[str, str]) -> Callable[[str], str]:
    """The page, or the flat folder, that lists a package; empty where nobody knows it."""

    def address(name: str) -> str:
        route, folder = places.get(sources.get(name, PYPI), (None, None))
        if route is None or not route.places:
            return ""
        pages = page_addresses(route, folder, name)
        return pages[0] if pages else route.place.address

    return address


def _expired(lockfile: Lockfile, name: str, listing: Listing) -> SourceUnreachableError | None:
    artifact = next((artifact for artifact in lockfile.artifacts if artifact.name == name), None)
    if artifact is None or listing.file(artifact.file) is not None:
        return None
    wanted = Wanted(file=artifact.file, url="", source=artifact.source)
    said = f" (it answered {listing.status})" if listing.status else ""
    return gone(wanted, f"{listing.where} does not list it{said}")
