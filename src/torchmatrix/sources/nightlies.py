"""Nightlies: on which days torch and every companion exist for a cell, and what to say where they do not."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.specifiers import SpecifierSet
    from packaging.tags import Tag
    from packaging.version import Version

    from torchmatrix.sources.pages import Listed

TORCH = "torch"
KEEP = 60
"""How many nightly versions of a package the PyTorch index lists (``KEEP_THRESHOLD`` in pytorch/test-infra)."""
_FIRST_YEAR = 2016
"""PyTorch's first; a development number that reads as an older date is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A day on which torch and every companion have a wheel that fits."""

    day: dt.date
    versions: Mapping[str, Version]
    """Package -> its highest version of the day."""
    alternatives: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    """Package -> its other versions of the day, highest first; only packages that have some.

    Around a branch cut torch has two on one day, and only the companion's METADATA says which of them it needs.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Every day that the pages list."""

    complete: tuple[Day, ...]
    """Newest first."""
    incomplete: Mapping[dt.date, tuple[str, ...]]
    """Day -> packages without a wheel that fits, torch first and among them where it has none; newest first."""
    window: tuple[dt.date, dt.date] | None = None
    """Oldest and newest day that torch's page lists, whether or not it fits; ``None`` where it lists no nightly."""


def day_of(version: Version) -> dt.date | None:
    """The date in a nightly's version, ``2.14.0.dev20261118+cu126``; ``None`` where there is none."""
    text = str(version.dev or "")
    if len(text) != 8:
        return None
    try:
        day = dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None
    return day if day.year >= _FIRST_YEAR else None


def days(
    pages: Mapping[str, Sequence[Listed]],
    *,
    cell_tags: Mapping[Tag, int],
    local: str | None,
    requested: Mapping[str, SpecifierSet] | None = None,
) -> Days:
    """Sort the days of the pages into complete and incomplete ones.

    ``pages``: canonical name -> its files, with an entry for torch and for every companion whose versions carry
    dates; files of other projects, as a flat folder has, do not count. ``cell_tags``: the wheel tags that fit
    (`target.wheel_tags`). ``local``: the local version that a wheel must have, ``""`` for none, ``None`` for any;
    a companion of torch ``+cpu`` may have none. ``requested``: package -> versions that will do. Yanked files exist,
    but complete no day.
    """
    fitting: dict[str, dict[dt.date, set[Version]]] = {}
    listed: dict[str, set[dt.date]] = {}
    for name in sorted({*pages, TORCH}, key=lambda each: (each != TORCH, each)):
        wanted, locals_ = (requested or {}).get(name), _locals(name, local)
        fitting[name], listed[name] = {}, set()
        for file in pages.get(name, ()):
            version = file.version
            if version is None or file.name != name or (day := day_of(version)) is None:
                continue
            listed[name].add(day)
            if (
                (locals_ is None or (version.local or "") in locals_)
                and fits(file, cell_tags)
                and (wanted is None or wanted.contains(version, prereleases=True))
            ):
                fitting[name].setdefault(day, set()).add(version)
    complete, incomplete = [], {}
    for day in sorted(set().union(*listed.values()), reverse=True):
        missing = tuple(name for name, found in fitting.items() if day not in found)
        if missing:
            incomplete[day] = missing
        else:
            complete.append(_day(day, {name: found[day] for name, found in fitting.items()}))
    torch = listed[TORCH]
    return Days(complete=tuple(complete), incomplete=incomplete, window=(min(torch), max(torch)) if torch else None)


def _locals(name: str, local: str | None) -> set[str] | None:
    """Local versions that will do for a package. torchvision's aarch64 wheels beside ``+cpu`` ones of torch had none.

    Source: the stable wheels 0.21.0 to 0.24.1 on the PyTorch index.
    """
    if local is None:
        return None
    return {local, ""} if local == "cpu" and name != TORCH else {local}


def fits(file: Listed, cell_tags: Mapping[Tag, int]) -> bool:
    """Whether a file is a wheel that nobody yanked and that has a tag of the cell (`target.wheel_tags`)."""
    if file.yanked is not None or file.version is None or not file.file.endswith(".whl"):
        return False
    return any(tag in cell_tags for tag in _tags("-".join(file.file[:-4].rsplit("-", 3)[1:])))


@lru_cache(maxsize=4096)
def _tags(text: str) -> frozenset[Tag]:
    """The tags of a wheel; a page repeats few sets of them many times."""
    from packaging.tags import parse_tag

    try:
        return parse_tag(text)
    except ValueError:  # the index has wheels with tags that are none, torchrec_cpu-0.1.1-3.9-none-any.whl
        return frozenset()


def _day(day: dt.date, found: Mapping[str, Iterable[Version]]) -> Day:
    ordered = {name: sorted(versions, reverse=True) for name, versions in found.items()}
    return Day(
        day=day,
        versions={name: versions[0] for name, versions in ordered.items()},
        alternatives={name: tuple(versions[1:]) for name, versions in ordered.items() if len(versions) > 1},
    )


def nearest(days: Days, wanted: dt.date, count: int = 3) -> tuple[dt.date, ...]:
    """The complete days nearest to ``wanted``, before or after it, best first; of two equally near the earlier."""
    ordered = sorted((abs((each.day - wanted).days), each.day) for each in days.complete)
    return tuple(day for _, day in ordered[:count])


def missing_words(days: Days, wanted: dt.date | None, *, where: str, keep: int = KEEP) -> str:
    """Why there is no nightly of ``wanted`` (``None``: of any day), and which complete days are nearest.

    ``where``: what the cell is, as ``Python 3.11 on linux-64 cu126``. ``keep``: how many versions the index keeps.
    ``ValueError`` when nothing is missing.
    """
    if any(wanted in (None, each.day) for each in days.complete):
        raise ValueError(f"nothing is missing: {wanted or days.complete[0].day} is complete")
    if days.window is None:
        return "the index lists no nightly of torch"
    if wanted is None:
        return _none_complete(days, where)
    first, last = days.window
    if not first <= wanted <= last:
        kept = f" (it keeps the newest {keep})" if wanted < first else ""
        span = f"from {first} to {last}" if first != last else f"of {first}"
        what = f"the index lists nightlies {span} only{kept}"
    elif wanted in days.incomplete:
        what = f"no nightly of {wanted} has {_list(days.incomplete[wanted], 'or')} for {where}"
    else:
        what = f"no nightly of {wanted} is listed"
    near = nearest(days, wanted)
    if not near:
        return f"{what}; {_none_complete(days, where)}"
    return f"{what}; nearest complete day{'s' if len(near) > 1 else ''}: {', '.join(str(day) for day in near)}"


def _none_complete(days: Days, where: str) -> str:
    total = len(days.incomplete)
    counts = Counter(name for names in days.incomplete.values() for name in names)
    lacks = [f"{name} is missing on {_count(number, total)}" for name, number in counts.most_common()]
    return f"no day that the index lists is complete for {where}: {_list(lacks, 'and')}"


def _count(number: int, total: int) -> str:
    if number == total:
        return "the only one" if total == 1 else f"all {total}"
    return f"{number} of {total}"


def _list(words: Sequence[str], conjunction: str) -> str:
    return f" {conjunction} ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
