"""The files of a lockfile as their sources serve them now: fetched for a bundle, compared for drift."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from torchmatrix.backends import Deviation
from torchmatrix.backends.pip_artifacts import sha256_said
from torchmatrix.backends.uv import folder_of
from torchmatrix.errors import IntegrityError
from torchmatrix.sources.config import PYPI, local_path
from torchmatrix.sources.downloads import GoneError, Wanted, drift, gone
from torchmatrix.sources.routes import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torchmatrix.backends import FetchRequest
    from torchmatrix.backends.pip import PipBackend
    from torchmatrix.lock.model import Artifact
    from torchmatrix.sources.pages import Listed
    from torchmatrix.sources.routes import Route

_AT_ONCE = 8


def fetch_files(backend: PipBackend, request: FetchRequest) -> Mapping[str, Path]:
    """Every file of the lockfile, checked against its sha256, by file name; what is here already is not asked for."""
    held: dict[str, Path] = {}
    wanted: list[Wanted] = []
    for artifact in request.lockfile.artifacts:
        if path := backend.downloads.held(artifact.file, artifact.sha256):
            held[artifact.file] = path
    missing = [artifact for artifact in request.lockfile.artifacts if artifact.file not in held]
    nightly = request.lockfile.torch.is_devrelease
    policy = Policy(
        nightly=nightly, matrix_allows_in_ci=request.stand_in_in_ci
    )  # the bytes are known: any place will do
    routes = _routes(backend, request, missing, policy)
    for artifact, listed in _located(backend, request, missing, routes):
        wanted.append(Wanted(file=artifact.file, url=listed.url, source=artifact.source, sha256=artifact.sha256))
    fetched = backend.downloads.fetch(wanted, tell=request.tell)
    return {**held, **{file: have.path for file, have in fetched.items()}}


def find_deviations(backend: PipBackend, request: FetchRequest) -> tuple[Deviation, ...]:
    """What the sources serve otherwise than locked: other bytes, or nothing. `SourceUnreachableError` for no answer."""
    artifacts = list(request.lockfile.artifacts)
    routes = _routes(backend, request, artifacts, Policy(frozen=True))

    def compare(artifact: Artifact) -> Deviation | None:
        try:
            ((_, listed),) = _located(backend, request, [artifact], routes)
            _compare(backend, request, artifact, listed)
        except (GoneError, IntegrityError) as error:
            return Deviation(artifact=artifact.name, error=error)
        return None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(deviation for deviation in pool.map(compare, artifacts) if deviation is not None)


def _compare(backend: PipBackend, request: FetchRequest, artifact: Artifact, listed: Listed) -> None:
    """Raise when the file that is listed has other bytes. What the page or the server says spares a download."""
    wanted = Wanted(file=artifact.file, url=listed.url, source=artifact.source, sha256=artifact.sha256)
    said = listed.sha256
    if said is None and local_path(listed.url) is None:
        reply = backend.downloads.describe(wanted)
        said = sha256_said(reply.headers) or backend.downloads.known_sha256(listed.url, reply)
        if said is None and None not in (artifact.size, reply.length) and artifact.size != reply.length:
            said = f"unknown, of {reply.length} bytes where {artifact.size} are locked"
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
        routes[source] = router.route(source, policy=policy, names=() if source == PYPI else names, page=page)
    return routes


def _folder(request: FetchRequest, source: str) -> str | None:
    return folder_of(source, request.lockfile.accelerator, nightly=request.lockfile.torch.is_devrelease)


def _located(
    backend: PipBackend, request: FetchRequest, artifacts: list[Artifact], routes: Mapping[str, Route]
) -> list[tuple[Artifact, Listed]]:
    """Each artifact with its entry on the index page of its source; `GoneError` when there is none."""

    def locate(artifact: Artifact) -> tuple[Artifact, Listed]:
        route = routes[artifact.source]
        listing = backend.indexes.listing(route, _folder(request, artifact.source), artifact.name)
        listed = listing.file(artifact.file)
        if listed is None:
            wanted = Wanted(file=artifact.file, url="", source=artifact.source)
            raise gone(wanted, f"{listing.where} does not list it")
        if artifact.source == PYPI:
            backend.web.hosts.learn([listed.url])
        backend.indexes.require(listed, source=artifact.source, where=listing.where)
        return artifact, listed

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(locate, artifacts))
