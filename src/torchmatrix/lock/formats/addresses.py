"""Addresses of artifacts: source and path become a URL. A mirror's address is never one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError
from torchmatrix.sources.channels import CONDA_BASES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchmatrix.lock.model import Artifact, Lockfile

_ANACONDA = "https://conda.anaconda.org/"
"""Below it, tools know a conda channel by its name alone."""
_KNOWN = tuple(f"{base}/" for base in CONDA_BASES.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Base address of each source's files, as far as it is known, without a slash at the end; and whole addresses of
    files without a path, by ``SOURCE/SHA256``. A source may be both an index and a conda channel."""

    bases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    conda: Mapping[str, str] = field(default_factory=lambda: CONDA_BASES)
    """Addresses of the conda channels, without a slash at the end."""

    def url(self, artifact: Artifact) -> str | None:
        """The address of an artifact, ``None`` when nothing tells it."""
        base = (self.bases if artifact.conda is None else self.conda).get(artifact.source)
        if base and artifact.path:
            return f"{base}/{artifact.path}"
        return self.bases.get(f"{artifact.source}/{artifact.sha256}")

    def missing(self, artifacts: tuple[Artifact, ...]) -> tuple[Artifact, ...]:
        """Those of the artifacts whose address is not known."""
        return tuple(artifact for artifact in artifacts if self.url(artifact) is None)


def require_all(lockfile: Lockfile, addresses: Addresses, name: str) -> None:
    """`UsageError` naming the artifacts without an address."""
    missing = addresses.missing(lockfile.artifacts)
    if missing:
        names = ", ".join(artifact.name for artifact in missing)
        raise UsageError(
            f"{name} of {lockfile.cell} needs the address of every file, and these are not known: {names}",
            hint="run `torchmatrix lock --upgrade` where their source can be reached",
        )


def conda_urls(lockfile: Lockfile, addresses: Addresses) -> list[tuple[Artifact, str]]:
    """The conda packages by name, each with its address; `UsageError` for a conda channel that nothing tells."""
    found = []
    for artifact in sorted(lockfile.conda_artifacts, key=lambda one: one.name):
        url = addresses.url(artifact)
        if url is None:
            raise _no_channel(lockfile, artifact.source)
        found.append((artifact, url))
    return found


def channel_urls(lockfile: Lockfile, addresses: Addresses) -> list[str]:
    """Addresses of the conda channels, in their order of priority; `UsageError` for one that nothing tells."""
    found = []
    for channel in lockfile.conda_channels:
        source, slash, label = channel.partition("/")
        base = addresses.conda.get(source)
        if base is None:
            raise _no_channel(lockfile, source)
        found.append(f"{base}{slash}{label}")
    return found


def channel_words(lockfile: Lockfile, addresses: Addresses) -> list[str]:
    """What conda is to be told for each conda channel: a known one's name, so that ``channel_alias`` can place it
    elsewhere, a private one's address. Errors as in `channel_urls`."""
    return [
        url.removeprefix(_ANACONDA) if f"{url}/".startswith(_KNOWN) else url
        for url in channel_urls(lockfile, addresses)
    ]


def _no_channel(lockfile: Lockfile, source: str) -> UsageError:
    return UsageError(
        f"{lockfile.cell}: the address of the conda channel {source} is not known",
        hint="give it a conda-channel under `sources:` in matrix.yaml, or lock again",
    )
