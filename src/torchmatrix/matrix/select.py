"""Which cells a command means: ids, globs and values of the axes. Pure."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torchmatrix.matrix.model import Cell, Dropped

NEAR_MISSES = 3
"""How many similar names an error offers."""

_AXES: dict[str, Callable[[Cell], str]] = {
    "python": lambda cell: str(cell.python),
    "channel": lambda cell: cell.channel,
    "target": lambda cell: cell.target.name,
    "backend": lambda cell: str(cell.backend),
}


def select(
    cells: Sequence[Cell],
    patterns: Sequence[str] = (),
    *,
    python: Sequence[str] = (),
    channel: Sequence[str] = (),
    target: Sequence[str] = (),
    backend: Sequence[str] = (),
    dropped: Sequence[Dropped] = (),
) -> tuple[Cell, ...]:
    """The cells that any pattern and, for each named axis, any of its values select; in the order of ``cells``.

    Without patterns and values: all of them. A pattern or value that selects nothing is a `UsageError` with near
    misses, and with the reason where it names a dropped combination.
    """
    wanted = {"python": python, "channel": channel, "target": target, "backend": backend}
    for pattern in patterns:
        if not any(fnmatchcase(cell.id, pattern) for cell in cells):
            raise _no_cell(pattern, cells, dropped)
    for axis, values in wanted.items():
        for value in values:
            if not any(fnmatchcase(_AXES[axis](cell), value) for cell in cells):
                raise _no_value(axis, value, cells, dropped)
    chosen = tuple(
        cell
        for cell in cells
        if (not patterns or _any_match(cell.id, patterns))
        and all(not values or _any_match(_AXES[axis](cell), values) for axis, values in wanted.items())
    )
    if not chosen and (patterns or any(wanted.values())):
        raise _nothing_in_common(patterns, wanted, dropped)
    return chosen


def _any_match(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _no_cell(pattern: str, cells: Sequence[Cell], dropped: Sequence[Dropped]) -> UsageError:
    exact = next((each for each in dropped if each.id == pattern), None)
    if exact is not None:
        why = "is excluded" if exact.excluded else "does not exist"
        proof = f" ({exact.url})" if exact.url else ""
        hint = f"nearest: {', '.join(exact.nearest)}" if exact.nearest else None
        return UsageError(f"the cell {pattern} {why}: {exact.reason}{proof}", hint=hint)
    matching = [each for each in dropped if fnmatchcase(each.id, pattern)]
    if matching:
        return UsageError(
            f"{pattern!r} matches only combinations without a cell: "
            + "; ".join(f"{each.id}: {each.reason}" for each in matching[:NEAR_MISSES]),
            hint="torchmatrix list --all shows them with their reasons",
        )
    return UsageError(
        f"no cell matches {pattern!r}",
        hint=_near(pattern, [cell.id for cell in cells], "torchmatrix list shows the cells"),
    )


def _no_value(axis: str, value: str, cells: Sequence[Cell], dropped: Sequence[Dropped]) -> UsageError:
    names = list(dict.fromkeys(_AXES[axis](cell) for cell in cells))
    everywhere = f"the cells have {', '.join(names)}" if names else "the matrix has no cells"
    error = UsageError(f"no cell has {axis} {value!r}", hint=_near(value, names, everywhere))
    if axis in ("python", "channel", "target"):
        part = "py" + value.replace(".", "") if axis == "python" else value
        reasons = [each for each in dropped if part in _parts(each.id, part)]
        if reasons:
            error = UsageError(
                f"no cell has {axis} {value!r}: every combination with it is left out, {reasons[0].id} because "
                f"{reasons[0].reason}",
                hint="torchmatrix list --all shows all of them with their reasons",
            )
    return error


def _parts(cell: str, part: str) -> set[str]:
    """The parts of a dropped id that may be an axis value; names may hold dashes themselves."""
    return {part} if f"-{part}-" in f"-{cell}-" else set()


def _nothing_in_common(
    patterns: Sequence[str], wanted: dict[str, Sequence[str]], dropped: Sequence[Dropped]
) -> UsageError:
    asked = [*map(repr, patterns), *(f"--{axis} {value}" for axis, values in wanted.items() for value in values)]
    message = f"no cell matches all of {', '.join(asked)}"
    hint = "leave one out, or see what exists: torchmatrix list"
    if dropped:
        hint += " --all"
    return UsageError(message, hint=hint)


def _near(text: str, names: Sequence[str], otherwise: str) -> str:
    close = difflib.get_close_matches(text, names, n=NEAR_MISSES, cutoff=0.5)
    return f"did you mean {', '.join(close)}?" if close else otherwise
