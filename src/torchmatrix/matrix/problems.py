"""What is wrong with a matrix file: problems with their place, collected until all are known."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torchmatrix.matrix.model import Location

PRINTED_PROBLEMS = 100
"""How many problems a message lists; `MatrixError.problems` has all of them."""
_COMPARISONS = 10_000
"""How many names are compared for the did-you-means of one file: difflib is slow, a hostile file has 100,000 typos."""
SHOWN_CHARACTERS = 60
"""How much of a value a message repeats."""
_LONGEST_TYPO = 64
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]{1,60}")
_USER_INFO = re.compile(r"://[^/@\s]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong. ``line`` and ``column`` count from 1, ``path`` is dotted and empty for the file as a whole."""

    line: int
    column: int
    path: str
    message: str
    hint: str | None = None

    def render(self, file: str) -> str:
        """``file:line:column: path: message``, and the hint on a line of its own."""
        path = f"{self.path}: " if self.path else ""
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"{file}:{self.line}:{self.column}: {path}{self.message}{hint}"


class MatrixError(UsageError):
    """The matrix file is wrong; ``problems`` has everything that is, in the order of the file (exit 2)."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        lines = [problem.render(file) for problem in self.problems[:PRINTED_PROBLEMS]]
        if left := len(self.problems) - len(lines):
            lines.append(f"{file}: {left} more {'problem' if left == 1 else 'problems'}")
        super().__init__("\n".join(lines))


class Rejected(ValueError):  # noqa: N818  # it is a verdict on a value, never shown as an exception
    """A value that its parser does not take: the message, and what to do instead."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Unreadable(Exception):  # noqa: N818  # as Rejected; ends the reading of a file
    """The text cannot be read any further; the reason is already among the problems."""


@dataclass(slots=True)
class Problems:
    """Collects problems; the same words about the same place, seen through two aliases, count once."""

    found: dict[tuple[Location, str], Problem] = field(default_factory=dict)
    _comparisons_left: int = _COMPARISONS

    def add(self, where: Location, path: str, message: str, hint: str | None = None) -> None:
        """Note a problem at ``where``."""
        problem = Problem(line=where[0], column=where[1], path=path, message=message, hint=hint)
        self.found.setdefault((where, message), problem)

    def did_you_mean(self, word: str, names: Iterable[str]) -> str | None:
        """The hint that names the closest of ``names``, or ``None`` when nothing is close."""
        if len(word) > _LONGEST_TYPO or self._comparisons_left <= 0:
            return None
        candidates = list(islice(_plain(names), self._comparisons_left))
        self._comparisons_left -= len(candidates)
        close = difflib.get_close_matches(word.lower(), candidates, n=1)
        return f"did you mean {close[0]}?" if close else None


def shown(text: str) -> str:
    """``text`` quoted for a message: escaped, cut to a readable length, without user info of a URL."""
    text = _USER_INFO.sub("://***@", text)
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…")


def listed(names: Iterable[str]) -> str:
    """The first ten names for a message."""
    return ", ".join(islice(_plain(names), 10))


def _plain(names: Iterable[str]) -> Iterator[str]:
    """The names that can be printed as they are; the file may have others, which are problems of their own."""
    return (name for name in names if _PLAIN_NAME.fullmatch(name))
