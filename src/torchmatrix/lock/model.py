"""What a lockfile holds, whatever the format."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from torchmatrix.lock.conda_version import CondaVersion

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from packaging.version import Version

SCHEMA_VERSION = 1
"""Version of cell.json that this release writes; a newer one is refused with exit 2."""


_SITE_PACKAGES = re.compile(r"(?:lib/python3\.[0-9]{1,2}t?|Lib)/site-packages")


class HashFrom(StrEnum):
    """Who said the sha256: the index, we from the bytes, or a metadata file of the index."""

    INDEX = "index"
    COMPUTED = "computed"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaBuild:
    """What a conda package is beside name and version, as its conda channel's repodata has it (CEP 36)."""

    build: str
    """Build string, ``cpu_mkl_py311_h338015a_100``."""
    number: int
    subdir: str
    """Platform folder of its conda channel: linux-64, noarch …"""
    md5: str | None = None
    noarch: str | None = None
    """``python`` or ``generic``; ``None`` for packages of one platform."""
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    site_packages: str | None = None
    """Where noarch packages go, below the prefix; only a package of Python says it (CEP 17)."""

    def __post_init__(self) -> None:
        """``ValueError`` for what would lead out of an environment, or out of a line of a lockfile."""
        if self.site_packages is not None and not _SITE_PACKAGES.fullmatch(self.site_packages):
            raise ValueError(f"{self.site_packages!r} is no folder for noarch packages")
        if self.noarch not in (None, "python", "generic"):
            raise ValueError(f"noarch is {self.noarch!r}")
        for text in (self.build, self.subdir, *self.depends, *self.constrains):
            if not text.isprintable():  # it stands in lines of lockfiles that others read
                raise ValueError(f"{text!r} is not one line of text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file that the environment consists of. The source belongs to its identity, not only the file name."""

    name: str
    """Normalized project name; of a conda package, the name as it is."""
    version: Version | CondaVersion
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
    conda: CondaBuild | None = None
    """For conda packages; ``None`` for wheels and sdists, also for those inside a conda cell."""

    @property
    def pep440(self) -> Version:
        """The version of a wheel or sdist. A conda package's is a `TypeError`: it follows other rules."""
        if isinstance(self.version, CondaVersion):
            raise TypeError(f"{self.name} {self.version} is a conda package")
        return self.version

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
    """Sorted by name; in a conda cell the conda packages first, then what pip adds to them."""
    conda_channels: tuple[str, ...] = ()
    """Of a conda cell, in order of priority: ``pytorch-conda``, ``nvidia/label/cuda-11.8.0``, ``conda-forge``."""

    @property
    def digest(self) -> str:
        """``sha256:…`` over what the environment is made from: platform, Python and the identity of every artifact."""
        identity = {
            "platform": self.platform,
            "python": self.python,
            "backend": self.backend,
            "artifacts": [
                [a.name, str(a.version), a.file, a.sha256, a.source, *(_conda_identity(a.conda) if a.conda else ())]
                for a in self.artifacts
            ],
        }
        return digest_of(identity)

    @property
    def conda_artifacts(self) -> tuple[Artifact, ...]:
        """The conda packages."""
        return tuple(artifact for artifact in self.artifacts if artifact.conda is not None)

    @property
    def pip_artifacts(self) -> tuple[Artifact, ...]:
        """The wheels and sdists."""
        return tuple(artifact for artifact in self.artifacts if artifact.conda is None)

    @property
    def distributions(self) -> dict[str, Version | CondaVersion]:
        """Name and version of everything that is installed."""
        return {artifact.name: artifact.version for artifact in self.artifacts}

    def artifact(self, name: str) -> Artifact | None:
        """The artifact of a project."""
        return next((artifact for artifact in self.artifacts if artifact.name == name), None)

    @property
    def known_bytes(self) -> int:
        """Sum of the sizes that are known."""
        return sum(artifact.size or 0 for artifact in self.artifacts)


def _conda_identity(conda: CondaBuild) -> tuple[object, ...]:
    """What the installer, and the formats for others, take from the record and not from the package."""
    return (
        conda.subdir,
        conda.build,
        conda.number,
        conda.noarch,
        conda.site_packages,
        conda.md5,
        list(conda.depends),
        list(conda.constrains),
    )


def digest_of(value: object) -> str:
    """``sha256:…`` of a JSON value in its normal form: sorted keys, no blanks, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
