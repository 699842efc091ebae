"""The values that the catalog consists of, and how they are read from its JSON form."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from torchmatrix.catalog.conda_facts import CondaFacts, read_conda
from torchmatrix.target import Platform, PythonVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
"""Version of the JSON form that this code reads and writes."""

_MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release of torch."""

    version: Version
    released: dt.date
    complete: bool
    """Whether every accelerator it was built for is known; the Pythons always are."""
    pythons: Mapping[Platform, tuple[PythonVersion, ...]]
    accelerators: Mapping[Platform, Mapping[str, str]]
    """For each platform the labels it was built for, with the letters of their origins (``origins`` in the file)."""
    pypi: Mapping[Platform, str]
    """Which of the builds PyPI's wheel is, where that is known."""
    macos: Mapping[Platform, Mapping[str, str]]
    """Oldest macOS by wheel name: for a Python, or ``*`` for the others."""
    torchvision: Version | None = None
    torchaudio: Version | None = None
    planned: tuple[str, ...] = ()
    """What CI announced for a release whose list is not complete."""

    def macos_floor(self, platform: Platform, python: PythonVersion) -> str | None:
        """The macOS version in the name of its wheel."""
        floors = self.macos.get(platform, {})
        return floors.get(str(python), floors.get("*"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month of the calendar; ``str`` gives ``June 2025``."""

    year: int
    month: int

    @property
    def last_day(self) -> dt.date:
        """The last day that is certainly not after it."""
        following = dt.date(self.year + self.month // 12, self.month % 12 + 1, 1)
        return following - dt.timedelta(days=1)

    def __str__(self) -> str:
        return f"{_MONTHS[self.month - 1]} {self.year}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyBuild:
    """One accelerator or Python that nightlies build or have built; without any month it is still built."""

    label: str
    platforms: tuple[Platform, ...] = ()
    ended: Month | None = None
    """When it stopped, as a public thread says."""
    seen: Month | None = None
    """When it was last seen in the build matrix."""
    announced: Month | None = None
    """When its end was announced; whether wheels are still served is not known."""
    url: str | None = None

    def last_month(self) -> Month | None:
        """The month after which it is not built."""
        return self.ended or self.seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Nightlies:
    """What is known about nightlies."""

    accelerators: tuple[NightlyBuild, ...]
    pythons: tuple[NightlyBuild, ...]
    url: str
    keep: int
    """How many versions of a package the index page keeps."""
    keep_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainWheels:
    """Wheels on the PyTorch index whose version carries no local part."""

    platforms: tuple[Platform, ...]
    labels: tuple[str, ...]
    """Accelerators; ``*`` for every one."""
    first: Version
    last: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything in the catalog's file."""

    date: dt.date
    releases: tuple[Release, ...]
    nightlies: Nightlies
    base: str
    """Canonical address of the PyTorch index."""
    file_hosts: tuple[str, ...]
    family: frozenset[str]
    beside: frozenset[str]
    plain: tuple[PlainWheels, ...]
    drivers: Mapping[str, Mapping[str, str]]
    mps: tuple[tuple[Version, str, str], ...]
    """First torch, oldest macOS for MPS from there on, evidence; ascending."""
    evidence: Mapping[str, str]
    """Addresses by the name of what they prove."""
    ended: Mapping[str, tuple[str, bool]]
    """Accelerators whose end in releases is public: address, and whether it is an announcement only."""
    conda: CondaFacts = field(default_factory=CondaFacts)


def read_facts(raw: Mapping[str, Any]) -> Facts:
    """Parse the JSON form; ``KeyError``, ``TypeError`` or ``ValueError`` where it is not one."""
    if raw["schema"] != SCHEMA:
        raise ValueError(f"schema {raw['schema']}, expected {SCHEMA}")
    nightly, hosts = raw["nightly"], raw["hosts"]
    releases = sorted((_release(row) for row in raw["releases"]), key=lambda release: release.version)
    if not releases:
        raise ValueError("no releases")
    return Facts(
        date=dt.date.fromisoformat(raw["date"]),
        releases=tuple(releases),
        nightlies=Nightlies(
            accelerators=tuple(_nightly(row, "accelerator") for row in nightly["accelerators"]),
            pythons=tuple(_nightly(row, "python") for row in nightly["pythons"]),
            url=nightly["url"],
            keep=int(nightly["keep"]),
            keep_url=nightly["keep_url"],
        ),
        base=hosts["base"],
        file_hosts=tuple(hosts["files"]),
        family=frozenset(raw["family"]["names"]),
        beside=frozenset(raw["family"]["beside"]),
        plain=tuple(
            PlainWheels(
                platforms=_platforms(row["platforms"]),
                labels=tuple(row["accelerators"].split()),
                first=Version(row["first"]),
                last=Version(row["last"]),
            )
            for row in raw["plain_wheels"]["builds"]
        ),
        drivers={system: dict(raw["drivers"][system]) for system in ("linux", "windows")},
        mps=tuple((Version(row["from"]), row["macos"], row["url"]) for row in raw["mps"]),
        evidence={name: fact["url"] for name, fact in raw["evidence"].items()},
        ended={row["accelerator"]: (row["url"], bool(row.get("announced"))) for row in raw["ended"]},
        conda=read_conda(raw.get("conda")),
    )


def _release(row: Mapping[str, Any]) -> Release:
    vision, audio = row["torchvision"], row["torchaudio"]
    return Release(
        version=Version(row["version"]),
        released=dt.date.fromisoformat(row["released"]),
        complete=bool(row["complete"]),
        pythons={Platform(name): _pythons(text) for name, text in row["pythons"].items()},
        accelerators={Platform(name): dict(labels) for name, labels in row["accelerators"].items()},
        pypi={Platform(name): label for name, label in row["pypi"].items()},
        macos={Platform(name): dict(floors) for name, floors in row.get("macos", {}).items()},
        torchvision=Version(vision) if vision else None,
        torchaudio=Version(audio) if audio else None,
        planned=tuple(row.get("planned", "").split()),
    )


@lru_cache(maxsize=128)
def _pythons(text: str) -> tuple[PythonVersion, ...]:
    return tuple(PythonVersion.parse(part) for part in text.split())


def _platforms(text: str) -> tuple[Platform, ...]:
    return tuple(Platform(part) for part in text.split())


def _nightly(row: Mapping[str, Any], key: str) -> NightlyBuild:
    return NightlyBuild(
        label=row[key],
        platforms=_platforms(row.get("platforms", "")),
        ended=_month(row.get("ended")),
        seen=_month(row.get("seen")),
        announced=_month(row.get("announced")),
        url=row.get("url"),
    )


def _month(text: str | None) -> Month | None:
    if text is None:
        return None
    year, month = text.split("-")
    return Month(year=int(year), month=int(month))
