"""Addresses of artifacts: source and path become a URL. A mirror's address is never one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchmatrix.lock.model import Artifact, Lockfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Base address of each source's files, as far as it is known, without a slash at the end; and whole addresses of
    files without a path, by ``SOURCE/SHA256``."""

    bases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def url(self, artifact: Artifact) -> str | None:
        """The address of an artifact, ``None`` when nothing tells it."""
        base = self.bases.get(artifact.source)
        if base and artifact.path:
            return f"{base}/{artifact.path}"
        return self.bases.get(f"{artifact.source}/{artifact.sha256}")

    def missing(self, lockfile: Lockfile) -> tuple[Artifact, ...]:
        """Artifacts whose address is not known."""
        return tuple(artifact for artifact in lockfile.artifacts if self.url(artifact) is None)


def require_all(lockfile: Lockfile, addresses: Addresses, name: str) -> None:
    """`UsageError` naming the artifacts without an address."""
    missing = addresses.missing(lockfile)
    if missing:
        names = ", ".join(artifact.name for artifact in missing)
        raise UsageError(
            f"{name} of {lockfile.cell} needs the address of every file, and these are not known: {names}",
            hint="run `torchmatrix lock --upgrade` where their source can be reached",
        )
