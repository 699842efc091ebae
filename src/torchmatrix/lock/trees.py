"""What changed between two sets of lockfiles, cell by cell; what is the same in many cells is said once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchmatrix.lock.diff import Change, diff, remarks, to_json, total

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torchmatrix.lock.model import Lockfile


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDiff:
    """One cell on both sides. ``before`` or ``after`` is ``None`` where that side has no lockfile of it."""

    id: str
    before: Lockfile | None
    after: Lockfile | None
    changes: tuple[Change, ...]
    remarks: tuple[str, ...]

    @property
    def status(self) -> str:
        """added, removed, changed or unchanged."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "changed" if self.changes or self.remarks else "unchanged"

    @property
    def size_change(self) -> int | None:
        """Bytes; ``None`` where the size of a changed file is unknown."""
        return total(change.size_change for change in self.changes)

    @property
    def python(self) -> str:
        """The requested Python, of the newer side that has the cell."""
        side = self.after or self.before
        return side.python if side else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A change that is the same in every cell of its group; ``changes`` has one for each of them."""

    changes: tuple[Change, ...]

    @property
    def first(self) -> Change:
        """Stands for all where only kind, name and words matter."""
        return self.changes[0]

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Least and greatest size change in bytes in one cell; ``None`` where one is unknown."""
        sizes = [change.size_change for change in self.changes]
        known = [size for size in sizes if size is not None]
        return (min(known), max(known)) if len(known) == len(sizes) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cells that have these changes and remarks in common, and no other cell has them."""

    cells: tuple[str, ...]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]


def compare(before: Mapping[str, Lockfile], after: Mapping[str, Lockfile]) -> tuple[CellDiff, ...]:
    """Every cell of either side, by Python and id."""
    found = [
        CellDiff(
            id=name,
            before=before.get(name),
            after=after.get(name),
            changes=diff(before.get(name), after.get(name)),
            remarks=remarks(before.get(name), after.get(name)),
        )
        for name in {*before, *after}
    ]
    return tuple(sorted(found, key=lambda cell: (_numbers(cell.python), cell.id)))


def groups(cells: Iterable[CellDiff]) -> tuple[Group, ...]:
    """The changes of the changed cells, each said once, put together by the cells that have it; most cells first."""
    rows: dict[str, dict[str, Change]] = {}
    notes: dict[str, list[str]] = {}
    order: list[str] = []
    for cell in cells:
        if cell.status != "changed":
            continue
        order.append(cell.id)
        for change in cell.changes:
            rows.setdefault(str(change), {})[cell.id] = change
        for note in cell.remarks:
            notes.setdefault(note, []).append(cell.id)
    owners = {tuple(having) for having in (*rows.values(), *notes.values())}
    return tuple(
        Group(
            cells=names,
            rows=tuple(
                sorted(
                    (Row(changes=tuple(having.values())) for having in rows.values() if tuple(having) == names),
                    key=lambda row: row.first.name,
                )
            ),
            remarks=tuple(note for note, having in notes.items() if tuple(having) == names),
        )
        for names in sorted(owners, key=lambda names: (-len(names), [order.index(name) for name in names]))
    )


def label(names: Sequence[str], cells: Sequence[CellDiff]) -> str:
    """``names`` in few words: all of them, or runs of Pythons without a gap as ``py310..py313-stable-mps``."""
    if len(names) == len(cells) > 1:
        return f"all {len(cells)} cells"
    families: dict[str, list[tuple[str, str]]] = {}
    for cell in cells:
        prefix = f"py{cell.python.replace('.', '')}-"
        head, rest = (prefix[:-1], cell.id[len(prefix) :]) if cell.id.startswith(prefix) else ("", cell.id)
        families.setdefault(rest, []).append((head, cell.id))
    words: list[str] = []
    for rest, family in families.items():
        run: list[tuple[str, str]] = []
        for head, name in (*family, ("", "")):
            if head and name in names:
                run.append((head, name))
                continue
            words += [f"{run[0][0]}..{run[-1][0]}-{rest}"] if len(run) > 2 else [name for _, name in run]
            run = []
            words += [name] if name and name in names else []
    return ", ".join(words)


def trees_json(cells: Sequence[CellDiff]) -> dict[str, object]:
    """JSON-ready; ``before`` and ``after`` are the digests of the lockfiles, sizes are bytes or ``None``."""
    return {
        "cells": [
            {
                "id": cell.id,
                "status": cell.status,
                "before": cell.before.digest if cell.before else None,
                "after": cell.after.digest if cell.after else None,
                "changes": to_json(cell.changes),
                "size_change": cell.size_change,
                "remarks": list(cell.remarks),
            }
            for cell in cells
        ],
        "size_change": total(cell.size_change for cell in cells),
    }


def _numbers(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"[0-9]+", text)]
