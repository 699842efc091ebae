"""What is wrong when nothing resolves as of a date: a pin that is later, or an index that tells no upload times."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from torchmatrix.sources.index import Listing
    from torchmatrix.sources.pages import Listed

_FILTERED = re.compile(r"`([A-Za-z0-9][A-Za-z0-9._-]*)` was filtered by `exclude-newer`")
_LATER = "choose a later as-of date, or another version"
_UNTOLD = "lock from an index that gives upload times (PEP 700), or through a mirror that passes them on"


def as_of_problems(stderr: str, as_of: dt.date, listing: Callable[[str], Listing]) -> tuple[tuple[str, ...], str]:
    """Why packages that uv left out for their upload time are missing, in words, and what to do about it.

    Empty words when uv left none out. ``listing``: a package's name to what its index lists; errors are its own.
    """
    words: list[str] = []
    hints: dict[str, None] = {}
    for name in dict.fromkeys(_FILTERED.findall(stderr)):
        found = listing(name)
        if not found.files:
            continue
        if all(file.uploaded is None for file in found.files):
            words.append(
                f"{found.where} gives no upload times, so that nobody can tell which {name} there was on {as_of}"
            )
            hints[_UNTOLD] = None
        elif later := _later(name, stderr, as_of, found.files):
            words.append(later)
            hints[_LATER] = None
    return tuple(words), "; ".join(hints)


def _later(name: str, stderr: str, as_of: dt.date, files: Sequence[Listed]) -> str | None:
    """The sentence about a pin that is later than the date, or about a package that did not exist yet."""
    days: dict[Version, dt.date] = {}
    for file in files:
        if file.version and file.uploaded:
            day = file.uploaded.date()
            days[file.version] = min(day, days.get(file.version, day))
    for text in re.findall(rf"(?<![\w.-]){re.escape(name)}==([^\s,;)]+)", stderr):
        try:
            version = Version(text.rstrip("."))
        except InvalidVersion:
            continue
        if version in days and days[version] > as_of:
            return f"{name} {version} was uploaded on {days[version]}, after the as-of date {as_of}"
    if days and min(days.values()) > as_of:
        first, day = min(days.items(), key=lambda pair: pair[1])
        return f"{name} did not exist on the as-of date {as_of}: its first version, {first}, was uploaded on {day}"
    return None
