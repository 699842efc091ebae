"""From uv's answer to artifacts: the hash of each, its size, its path below the file host, its source."""

from __future__ import annotations

import base64
import binascii
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from packaging.version import Version

from torchmatrix.backends.uv import folder_of
from torchmatrix.errors import IntegrityError
from torchmatrix.lock.model import Artifact, HashFrom
from torchmatrix.matrix.model import requirement_name
from torchmatrix.sources.artifacts import default_index_path, file_name, sizes
from torchmatrix.sources.config import PYPI, local_path
from torchmatrix.sources.downloads import Wanted, drift
from torchmatrix.sources.index import page_addresses
from torchmatrix.sources.routes import PYTORCH, Route, Via

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packaging.specifiers import SpecifierSet

    from torchmatrix.backends import ResolveRequest
    from torchmatrix.backends.answer import Found
    from torchmatrix.backends.pip import PipBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashed:
    """A package of the answer with its sha256 and who said it."""

    found: Found
    sha256: str
    hash_from: HashFrom


def artifacts(
    backend: PipBackend,
    request: ResolveRequest,
    found: Sequence[Found],
    names: Mapping[str, str],
    routes: Mapping[str, Route],
) -> tuple[Artifact, ...]:
    """Every package as an artifact, by name. Errors: `IntegrityError` for a strange host or for other bytes under a
    locked name, `SourceUnreachableError` when a hash cannot be had.
    """
    _require_hosts(backend, found, names, routes)
    with ThreadPoolExecutor(1) as pool:  # both wait for the same servers
        redirects = pool.submit(_require_redirects, backend, request, found, names, routes)
        hashed = _hashed(backend, request, found, names)
        known = backend.sizes
        known.update({one.sha256: one.found.size for one in hashed if one.found.size is not None})
        if not backend.config.offline:
            wanted = [(one.sha256, one.found.address, names.get(one.found.name, PYPI)) for one in hashed]
            sizes(backend.web, wanted, known, backend.asked)
        redirects.result()
    previous = {a.name: a for a in request.previous.artifacts} if request.previous else {}
    made = []
    for one in sorted(hashed, key=lambda each: each.found.name):
        before = previous.get(one.found.name)
        route = routes[names.get(one.found.name, PYPI)]
        artifact = _artifact(backend, request, one, route, before if before and before.sha256 == one.sha256 else None)
        _refuse_drift(request, artifact, before)
        made.append(artifact)
    _require_releases(backend, request, made)
    return tuple(made)


def _require_hosts(
    backend: PipBackend, found: Sequence[Found], names: Mapping[str, str], routes: Mapping[str, Route]
) -> None:
    """Every link must lead to a host of its source; the default index's file host is learned from its own links."""
    hosts = backend.web.hosts
    hosts.learn(one.address for one in found if names.get(one.name, PYPI) == PYPI)
    for one in found:
        source = names.get(one.name, PYPI)
        if local_path(one.address) is None:
            hosts.require(one.address, source=source, named_by=f"the link to {file_name(one.address)}")
        elif all(local_path(place.address) is None for place in routes[source].places):
            raise IntegrityError(
                f"source {source}: a page on a server links to the local file {one.address}",
                hint="check the source or mirror: torchmatrix doctor shows which one is used",
            )


def _require_redirects(
    backend: PipBackend,
    request: ResolveRequest,
    found: Sequence[Found],
    names: Mapping[str, str],
    routes: Mapping[str, Route],
) -> None:
    """What uv read and will read, pages, metadata and files, must not be redirected to a host of nobody's."""
    if backend.config.offline:
        return
    cell = request.cell
    addresses: list[tuple[str, str]] = []
    for one in found:
        source = names.get(one.name, PYPI)
        folder = folder_of(source, str(cell.target.accelerator), nightly=cell.torch.is_nightly)
        pages = page_addresses(routes[source], folder, one.name)
        addresses += [(source, address) for address in pages]
        if source != PYPI:  # the default index's METADATA can only name packages, whose pages and hashes are its own
            addresses.append((source, f"{one.address}.metadata"))
        if one.size is not None or one.sha256 in backend.sizes:  # the others are asked for their size
            addresses.append((source, one.address))
    backend.indexes.examine(addresses)


def _hashed(
    backend: PipBackend, request: ResolveRequest, found: Sequence[Found], names: Mapping[str, str]
) -> list[Hashed]:
    """The sha256 of each: from the page, from the file's metadata, from an earlier download, from a download now."""
    result: list[Hashed] = []
    missing: list[tuple[Found, Wanted]] = []
    for one in found:
        wanted = Wanted(file=file_name(one.address), url=one.address, source=names.get(one.name, PYPI))
        if one.sha256 is not None:
            result.append(Hashed(found=one, sha256=one.sha256, hash_from=HashFrom.INDEX))
        elif local_path(one.address) is not None:
            missing.append((one, wanted))
        else:
            reply = backend.downloads.describe(wanted)
            sized = one if one.size is not None else replace(one, size=reply.length)
            if said := sha256_said(reply.headers):
                result.append(Hashed(found=sized, sha256=said, hash_from=HashFrom.METADATA))
            elif known := backend.downloads.known_sha256(one.address, reply):
                result.append(Hashed(found=sized, sha256=known, hash_from=HashFrom.COMPUTED))
            else:
                missing.append((sized, wanted))
    if missing:
        held = backend.downloads.fetch([wanted for _, wanted in missing], tell=request.tell)
        for one, wanted in missing:
            have = held[wanted.file]
            sized = replace(one, size=have.size)
            result.append(Hashed(found=sized, sha256=have.sha256, hash_from=HashFrom.COMPUTED))
    return result


def sha256_said(headers: Mapping[str, str]) -> str | None:
    """The sha256 in a file's own metadata, as storage servers give it in headers (lower-case names).

    Sources: the PyTorch index's uploads set ``checksum-sha256`` as S3 metadata (pytorch/test-infra#7786); S3's own
    checksum is base64, one ending in ``-N`` is that of a list of parts; Artifactory says ``X-Checksum-Sha256``;
    RFC 9530 and RFC 3230 have digests of the representation.
    """
    for name in ("x-amz-meta-checksum-sha256", "x-checksum-sha256"):
        if re.fullmatch(r"[0-9a-fA-F]{64}", value := headers.get(name, "").strip()):
            return value.lower()
    texts = [headers.get("x-amz-checksum-sha256", "")]
    for name, form in (("repr-digest", r"sha-256=:([^:]+):"), ("digest", r"(?i:sha-256)=([A-Za-z0-9+/=]+)")):
        texts += re.findall(form, headers.get(name, ""))
    for text in texts:
        try:
            raw = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(raw) == 32:
            return raw.hex()
    return None


def _artifact(
    backend: PipBackend, request: ResolveRequest, one: Hashed, route: Route, before: Artifact | None
) -> Artifact:
    found = one.found
    size = backend.sizes.get(one.sha256)
    return Artifact(
        name=found.name,
        version=found.version,
        file=file_name(found.address),
        sha256=one.sha256,
        source=route.source,
        hash_from=before.hash_from if before else _provenance(backend, request, one, route),
        size=size if size is not None or before is None else before.size,
        path=_path(backend, request, one, route) or (before.path if before else None),
        stand_in=route.via is Via.STAND_IN,
    )


def _provenance(backend: PipBackend, request: ResolveRequest, one: Hashed, route: Route) -> HashFrom:
    """Who says the hash *at the source*: a mirror may know more or less than it, and lockfiles must not tell which.

    What a mirror cannot show is taken from what is known of the source's pages: they have no hash of any nightly.
    A folder of wheels has no pages; of releases they nearly always have one.
    """
    cell, file = request.cell, file_name(one.found.address)
    if cell.torch.is_nightly and route.source == PYTORCH:
        return HashFrom.METADATA if one.hash_from is HashFrom.METADATA else HashFrom.COMPUTED
    if any(place.flat for place in route.places):
        return HashFrom.INDEX
    if local_path(one.found.address) is not None:  # uv computes what a local page does not say
        folder = folder_of(route.source, str(cell.target.accelerator), nightly=cell.torch.is_nightly)
        listed = backend.indexes.listing(route, folder, one.found.name).file(file)
        return HashFrom.COMPUTED if listed is not None and listed.sha256 is None else one.hash_from
    return one.hash_from


def _path(backend: PipBackend, request: ResolveRequest, one: Hashed, route: Route) -> str | None:
    """The path below the file host, or what is known of it where a mirror has paths of its own."""
    found = one.found
    address = unquote(urlsplit(found.address).path)
    if route.source == PYTORCH:
        if route.via is Via.SOURCE and "/whl/" in address:
            return quote(address.split("/whl/", 1)[1])
        cell = request.cell
        return backend.catalog.family_path(
            found.name,
            file_name(found.address),
            accelerator=cell.target.accelerator,
            nightly=cell.torch.is_nightly,
        )
    if route.source != PYPI:
        return None  # known only where a private source is reached itself, and no lockfile may tell that
    path = default_index_path(found.address)
    if path is None and (held := backend.downloads.held(file_name(found.address), one.sha256)):
        path = default_index_path(str(held))
    return path or (quote(address.lstrip("/")) if route.via is Via.SOURCE else None)


def _require_releases(backend: PipBackend, request: ResolveRequest, made: Sequence[Artifact]) -> None:
    """A stand-in may give only builds that the source is known to have: a range would let its highest version win."""
    torch = next((artifact for artifact in made if artifact.name == "torch"), None)
    pinned = {requirement_name(r) for r in request.demands.requirements if _is_exact(r.specifier)}
    if request.cell.torch.specifier is not None and _is_exact(request.cell.torch.specifier):
        pinned.add("torch")
    for artifact in made:
        if torch is None or not artifact.stand_in or artifact.source != PYTORCH or artifact.name in pinned:
            continue
        public, release = Version(artifact.pep440.public), Version(torch.pep440.public)
        known = backend.catalog.release(release) is not None
        if known and artifact.name in ("torchvision", "torchaudio"):
            known = backend.catalog.companion(artifact.name, release) == public
        if not known:
            raise IntegrityError(
                f"{request.cell}: source {PYTORCH} cannot be reached, and its stand-in offers {artifact.name} "
                f"{artifact.version}, which is not known as a release that belongs to torch {torch.pep440.public}",
                hint=f"pin {artifact.name} to a version, or lock where the source or a mirror of it can be reached",
            )


def _is_exact(specifiers: SpecifierSet) -> bool:
    return any(one.operator in ("==", "===") and not one.version.endswith("*") for one in specifiers)


def _refuse_drift(request: ResolveRequest, artifact: Artifact, before: Artifact | None) -> None:
    """The same name with other bytes is taken over only by an upgrade, which shows it as rebuilt."""
    if request.upgrade or before is None or artifact.name in request.upgrade_packages:
        return
    if (before.file, before.source) == (artifact.file, artifact.source) and before.sha256 != artifact.sha256:
        wanted = Wanted(file=before.file, url="", source=before.source, sha256=before.sha256)
        raise drift(wanted, artifact.sha256)
