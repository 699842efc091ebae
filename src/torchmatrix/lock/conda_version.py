"""Versions of conda packages: any text such as ``1.1.1w``, ``2024a`` or ``1!2.0_1``, in conda's own order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import total_ordering


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class CondaVersion:
    """A version as its conda channel writes it. Another spelling is another version here, next to it in the order."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CondaVersion):
            return NotImplemented
        return self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, CondaVersion):
            return NotImplemented
        from rattler import Version  # only a comparison of two lockfiles needs it: not when one is read

        mine, theirs = Version(self.text), Version(other.text)
        return (mine < theirs) if mine != theirs else self.text < other.text
