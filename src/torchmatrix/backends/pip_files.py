"""The files of a lockfile as their sources serve them now: fetched for a bundle, compared for drift."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from torchmatrix.backends import Deviation
from torchmatrix.backends.absent import not_here
from torchmatrix.backends.pip_artifacts import sha256_said
from torchmatrix.backends.uv import folder_of
from torchmatrix.errors import IntegrityError, SourceUnreachableError
from torchmatrix.sources.config import PYPI, local_path
from torchmatrix.sources.downloads import DRIFT_HINT, Wanted, drift, gone
from torchmatrix.sources.routes import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torchmatrix.backends import FetchRequest
    from torchmatrix.backends.pip import PipBackend
    from torchmatrix.lock.model import Artifact
    from torchmatrix.sources.index import Listing
    from torchmatrix.sources.pages import Listed
    from torchmatrix.sources.routes import Route

_AT_ONCE = 8


def fetch_files(backend: PipBackend, request: FetchRequest) -> Mapping[str, Path]:
    """Every file of the lockfile, checked against its sha256, by file name; what is here already is not asked for."""
    held: dict[str, Path] = {}
    for artifact in request.lockfile.artifacts:
        if path := backend.downloads.held(artifact.file, artifact.sha256):
            held[artifact.file] = path
    missing = [artifact for artifact in request.lockfile.artifacts if artifact.file not in held]
    # Not frozen: a stand-in's bytes are checked as all others are. Nightlies never have one.
    policy = Policy(nightly=request.lockfile.torch.is_devrelease, matrix_allows_in_ci=request.stand_in_in_ci)
    routes = _routes(backend, request, missing, policy)
    if backend.config.offline and (away := [a for a in missing if not _is_local(routes[a.source])]):
        raise not_here(request.lockfile, away, "offline")
    listings = _listings(backend, request, missing, routes)
    wanted = []
    for artifact, listing in zip(missing, listings, strict=True):
        listed = _entry(backend, artifact, listing)
        wanted.append(Wanted(file=artifact.file, url=listed.url, source=artifact.source, sha256=artifact.sha256))
    fetched = backend.downloads.fetch(wanted, tell=request.tell)
    return {**held, **{file: have.path for file, have in fetched.items()}}


def find_deviations(backend: PipBackend, request: FetchRequest) -> tuple[Deviation, ...]:
    """What the sources serve otherwise than locked: other bytes, nothing, or no answer for a file."""
    artifacts = list(request.lockfile.artifacts)
    routes = _routes(backend, request, artifacts, Policy(frozen=True, frozen_by="--check --online"))
    listings = _listings(backend, request, artifacts, routes)

    def compare(artifact: Artifact, listing: Listing) -> Deviation | None:
        try:
            _compare(backend, request, artifact, _entry(backend, artifact, listing))
        except (SourceUnreachableError, IntegrityError) as error:
            return Deviation(artifact=artifact.name, error=error)
        return None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(deviation for deviation in pool.map(compare, artifacts, listings) if deviation is not None)


def _compare(backend: PipBackend, request: FetchRequest, artifact: Artifact, listed: Listed) -> None:
    """Raise when the file that is listed has other bytes. What the page or the server says spares a download."""
    wanted = Wanted(file=artifact.file, url=listed.url, source=artifact.source, sha256=artifact.sha256)
    said = listed.sha256
    if said is None and local_path(listed.url) is None:
        reply = backend.downloads.describe(wanted)
        said = sha256_said(reply.headers) or backend.downloads.known_sha256(listed.url, reply)
        if said is None and None not in (artifact.size, reply.length) and artifact.size != reply.length:
            raise IntegrityError(
                f"source {artifact.source}: {artifact.file} is not the file that was locked: it has {reply.length} "
                f"bytes, locked are {artifact.size} with sha256 {artifact.sha256}",
                hint=DRIFT_HINT,
            )
    if said is None:
        plain = Wanted(file=artifact.file, url=listed.url, source=artifact.source)
        said = backend.downloads.fetch([plain], tell=request.tell)[artifact.file].sha256
    if said != artifact.sha256:
        raise drift(wanted, said)


def _routes(backend: PipBackend, request: FetchRequest, artifacts: list[Artifact], policy: Policy) -> dict[str, Route]:
    router = backend.router(request)
    routes = {}
    for source in sorted({artifact.source for artifact in artifacts}):
        names = [artifact.name for artifact in artifacts if artifact.source == source]
        folder = _folder(request, source)
        page = f"{folder}/{names[0]}/" if folder else None
        stood_in = any(artifact.stand_in for artifact in artifacts if artifact.source == source)
        if backend.config.offline and stood_in and (here := router.local_stand_in(source, policy=policy, names=names)):
            routes[source] = here
            continue
        routes[source] = router.route(source, policy=policy, names=() if source == PYPI else names, page=page)
    return routes


def _folder(request: FetchRequest, source: str) -> str | None:
    return folder_of(source, request.lockfile.accelerator, nightly=request.lockfile.torch.is_devrelease)


def _is_local(route: Route) -> bool:
    return bool(route.places) and all(local_path(place.address) is not None for place in route.places)


def _listings(
    backend: PipBackend, request: FetchRequest, artifacts: list[Artifact], routes: Mapping[str, Route]
) -> list[Listing]:
    """What the page of each artifact lists; the default index's file host is learned from all of its links at once."""

    def read(artifact: Artifact) -> Listing:
        folder = _folder(request, artifact.source)
        return backend.indexes.listing(routes[artifact.source], folder, artifact.name)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        listings = list(pool.map(read, artifacts))
    entries = [(artifact, listing.file(artifact.file)) for artifact, listing in zip(artifacts, listings, strict=True)]
    backend.web.hosts.learn(listed.url for artifact, listed in entries if listed and artifact.source == PYPI)
    return listings


def _entry(backend: PipBackend, artifact: Artifact, listing: Listing) -> Listed:
    """The artifact's own entry, its link checked; `GoneError` when there is none."""
    listed = listing.file(artifact.file)
    if listed is None:
        wanted = Wanted(file=artifact.file, url="", source=artifact.source)
        raise gone(wanted, f"{listing.where} does not list it")
    backend.indexes.require(listed, source=artifact.source, where=listing.where)
    return listed
