"""What is known about torch in conda channels, and how it is read from the catalog's JSON form."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from torchmatrix.target import Platform, PythonVersion

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTorch:
    """One release of torch on one platform of a conda channel: the Pythons by accelerator, as far as they were seen."""

    platform: Platform
    version: Version
    builds: Mapping[str, tuple[PythonVersion, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Releases of which every build on the platform is known; only these prove that there is no other."""

    platform: Platform
    first: Version
    last: Version
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaChannel:
    """One conda channel with torch."""

    source: str
    title: str
    """In messages: ``the conda channel pytorch``."""
    url: str
    last: Version | None = None
    """The release that it ended with."""
    complete: Complete | None = None
    seen: tuple[SeenTorch, ...] = ()
    """Ascending by version within each platform."""

    def on(self, platform: Platform) -> tuple[SeenTorch, ...]:
        """What was seen for a platform."""
        return tuple(each for each in self.seen if each.platform is platform)

    def all_known(self, platform: Platform, version: Version) -> bool:
        """Whether every build of the release there is known."""
        known = self.complete
        return known is not None and known.platform is platform and known.first <= version <= known.last


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaFacts:
    """Conda channels by source, and the kinds of accelerators that none of them has, with evidence."""

    channels: Mapping[str, CondaChannel] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def read_conda(raw: Mapping[str, Any] | None) -> CondaFacts:
    """Parse the JSON form; nothing is known where an older file has none. Raises as `facts.read_facts` does."""
    if raw is None:
        return CondaFacts()
    seen = [each for row in raw["builds"] for each in _seen(row)]
    channels = {}
    for row in raw["channels"]:
        source, complete = row["source"], row.get("complete")
        mine = [each for name, each in seen if name == source]
        channels[source] = CondaChannel(
            source=source,
            title=row["title"],
            url=row["url"],
            last=Version(row["last"]) if "last" in row else None,
            complete=Complete(
                platform=Platform(complete["platform"]),
                first=Version(complete["first"]),
                last=Version(complete["last"]),
                url=complete["url"],
            )
            if complete
            else None,
            seen=tuple(sorted(mine, key=lambda each: (each.platform, each.version))),
        )
    return CondaFacts(channels=channels, absent={row["accelerator"]: row["url"] for row in raw["absent"]})


def _seen(row: Mapping[str, Any]) -> list[tuple[str, SeenTorch]]:
    """The releases of a row, which has those with equal builds together."""
    builds = {label: _pythons(text) for labels, text in row["builds"].items() for label in labels.split()}
    return [
        (row["source"], SeenTorch(platform=Platform(row["platform"]), version=Version(version), builds=builds))
        for version in row["versions"].split()
    ]


@lru_cache(maxsize=128)
def _pythons(text: str) -> tuple[PythonVersion, ...]:
    return tuple(PythonVersion.parse(part) for part in text.split())
