"""What a lockfile holds, whatever the format."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from packaging.version import Version

SCHEMA_VERSION = 1
"""Version of cell.json that this release writes; a newer one is refused with exit 2."""


class HashFrom(StrEnum):
    """Who said the sha256: the index, we from the bytes, or a metadata file of the index."""

    INDEX = "index"
    COMPUTED = "computed"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file that the environment consists of. The source belongs to its identity, not only the file name."""

    name: str
    """Normalized project name."""
    version: Version
    file: str
    sha256: str
    source: str
    hash_from: HashFrom = HashFrom.INDEX
    size: int | None = None
    """Bytes, only when the index, a HEAD or the file itself told it."""
    path: str | None = None
    """Path below the source's file host, percent-encoded; ``None`` where nothing gave it."""
    stand_in: bool = False
    """Came from pip's find-links or an extra index, because its source could not be reached."""

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel; otherwise a source distribution."""
        return self.file.endswith(".whl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockfile:
    """The record of a cell."""

    cell: str
    python: str
    channel: str
    target: str
    platform: str
    accelerator: str
    backend: str
    floor: str | None
    """Oldest glibc or macOS that the artifacts run on, ``glibc 2.28`` or ``macos 14.0``; ``None`` on Windows."""
    torch: Version
    """Version of torch with its local part."""
    input_digest: str
    inputs: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    as_of: str | None = None
    """``--as-of`` date, ISO 8601."""
    expires: dt.date | None = None
    """For nightlies: about when the index, which lists the newest ones only, will not list them any more."""
    artifacts: tuple[Artifact, ...] = ()
    """Sorted by name."""

    @property
    def digest(self) -> str:
        """``sha256:…`` over what the environment is made from: platform, Python and the identity of every artifact."""
        identity = {
            "platform": self.platform,
            "python": self.python,
            "backend": self.backend,
            "artifacts": [[a.name, str(a.version), a.file, a.sha256, a.source] for a in self.artifacts],
        }
        return digest_of(identity)

    @property
    def distributions(self) -> dict[str, Version]:
        """Name and version of everything that is installed."""
        return {artifact.name: artifact.version for artifact in self.artifacts}

    def artifact(self, name: str) -> Artifact | None:
        """The artifact of a project."""
        return next((artifact for artifact in self.artifacts if artifact.name == name), None)

    @property
    def known_bytes(self) -> int:
        """Sum of the sizes that are known."""
        return sum(artifact.size or 0 for artifact in self.artifacts)


def digest_of(value: object) -> str:
    """``sha256:…`` of a JSON value in its normal form: sorted keys, no blanks, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
