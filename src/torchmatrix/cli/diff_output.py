"""``diff`` for people: text for a terminal, Markdown for a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmatrix.console import counted, human_bytes
from torchmatrix.lock.diff import Change, diff, remarks
from torchmatrix.lock.trees import CellDiff, Row, groups, label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torchmatrix.console import Console
    from torchmatrix.lock.model import Lockfile

FOLD_AFTER = 20
"""Rows of a Markdown table above which it is folded."""
_COLOURS = {
    "added": ("green",),
    "removed": ("red",),
    "upgraded": ("cyan",),
    "downgraded": ("yellow",),
    "moved": ("yellow", "bold"),
    "replaced": ("yellow", "bold"),
    "rebuilt": ("red", "bold"),
}
_STATUSES = ("changed", "added", "removed", "unchanged")


def pair_text(before: Lockfile | None, after: Lockfile | None, console: Console) -> str:
    """One line a change, then what differs beside the packages, then the sum."""
    changes, notes = diff(before, after), remarks(before, after)
    lines = _rows_text([Row(changes=(change,)) for change in changes], console)
    lines += [console.style(_plain(note), "dim") for note in notes]
    lines.append(console.style(_pair_sum(changes), "bold") if changes else "no change")
    return "\n".join(lines)


def trees_text(cells: Sequence[CellDiff], console: Console) -> str:
    """The changes below the cells that have them, then cells that came and went, then the sum."""
    blocks = []
    for group in groups(cells):
        lines = _rows_text(group.rows, console) + [console.style(_plain(note), "dim") for note in group.remarks]
        head = console.style(_plain(label(group.cells, cells)), "bold")
        blocks.append("\n".join([head, *(f"  {line}" for line in lines)]))
    whole = [cell for cell in cells if cell.status in ("added", "removed")]
    rows = [
        [
            console.style(cell.status, *_COLOURS[cell.status]),
            _plain(cell.id),
            _whole(cell),
        ]
        for cell in whole
    ]
    if rows:
        blocks.append("\n".join(console.table(["", "", ""], rows).split("\n")[1:]))
    blocks.append(console.style(summary(cells), "bold"))
    return "\n\n".join(blocks)


def pair_markdown(before: Lockfile | None, after: Lockfile | None, title: str) -> str:
    """A table for a pull request."""
    changes, notes = diff(before, after), remarks(before, after)
    parts = [f"### {_escape(title)}", _pair_sum(changes) if changes else "no change"]
    if changes:
        parts.append(_table([Row(changes=(change,)) for change in changes], None))
    if notes:
        parts.append("\n".join(f"- {_escape(note)}" for note in notes))
    return "\n\n".join(parts)


def trees_markdown(cells: Sequence[CellDiff], title: str) -> str:
    """The same for many cells: one table, with the cells that have the change; folded when it is long."""
    parts = [f"### {_escape(title)}", f"**{_escape(summary(cells))}**"]
    rows: list[Row] = []
    owners: list[str] = []
    notes: list[str] = []
    for group in groups(cells):
        rows += group.rows
        owners += [label(group.cells, cells)] * len(group.rows)
        notes += [f"- {_escape(label(group.cells, cells))}: {_escape(note)}" for note in group.remarks]
    if rows:
        parts.append(_table(rows, owners))
    if notes:
        parts.append("\n".join(notes))
    whole = [cell for cell in cells if cell.status in ("added", "removed")]
    if whole:
        listed = [f"| {_escape(cell.id)} | {cell.status} | {_escape(_whole(cell))} |" for cell in whole]
        parts.append("\n".join(["| cell | change | what |", "| --- | --- | --- |", *listed]))
    return "\n\n".join(parts)


def summary(cells: Sequence[CellDiff]) -> str:
    """``3 cells changed, 12 unchanged; +120.0 MB``: the size is the sum over all cells."""
    counts = {status: sum(cell.status == status for cell in cells) for status in _STATUSES}
    said = [(status, count) for status, count in counts.items() if count]
    words = ", ".join(
        f"{counted(count, 'cell') if position == 0 else count} {status}"
        for position, (status, count) in enumerate(said)
    )
    if len(said) == 1 and said[0][0] == "unchanged":
        return f"no change: {words}"
    return f"{words}; {_sum(change for cell in cells for change in cell.changes)}"


def size_words(size: int | None) -> str:
    """``+1.2 MB``, ``-16 B``, ``0 B``; ``?`` where unknown."""
    if size is None:
        return "?"
    sign = "+" if size > 0 else "-" if size < 0 else ""
    return f"{sign}{human_bytes(abs(size))}"


def _pair_sum(changes: Sequence[Change]) -> str:
    return f"{counted(len(changes), 'change')}; {_sum(changes)}"


def _sum(changes: Iterable[Change]) -> str:
    sizes = [change.size_change for change in changes]
    known = [size for size in sizes if size is not None]
    unknown = len(sizes) - len(known)
    if unknown and not known:
        return "size unknown"
    return size_words(sum(known)) + (f" and {counted(unknown, 'file')} of unknown size" if unknown else "")


def _rows_text(rows: Sequence[Row], console: Console) -> list[str]:
    """Aligned; the detail is last, since a file name would push everything else away."""
    if not rows:
        return []
    sizes = [_row_size(row) for row in rows]
    width = max(len(size) for size in sizes)
    table = [
        [
            console.style(row.first.kind, *_COLOURS[row.first.kind]),
            _plain(row.first.name),
            f"{size:>{width}}",
            _plain(row.first.detail),
        ]
        for row, size in zip(rows, sizes, strict=True)
    ]
    return console.table(["", "", "", ""], table).split("\n")[1:]


def _row_size(row: Row) -> str:
    if row.sizes is None:
        return "?"
    least, greatest = (size_words(size) for size in row.sizes)
    return least if least == greatest else f"{least} to {greatest}"


def _whole(cell: CellDiff) -> str:
    side = cell.after or cell.before
    if side is None:
        return ""
    return f"torch {side.torch}, {counted(len(side.artifacts), 'package')}, {_sum(cell.changes)}"


def _table(rows: Sequence[Row], owners: Sequence[str] | None) -> str:
    """A Markdown table of changes, with a column for the cells where ``owners`` names them."""
    head = ["package", "change", "before", "after", "size", *(["cells"] if owners is not None else [])]
    lines = [f"| {' | '.join(head)} |", "| --- | --- | --- | --- | ---: |" + (" --- |" if owners is not None else "")]
    for position, row in enumerate(rows):
        before, after = _versions(row.first)
        cells = [row.first.name, row.first.kind, before, after, _row_size(row)]
        cells += [owners[position]] if owners is not None else []
        lines.append(f"| {' | '.join(_escape(cell) for cell in cells)} |")
    table = "\n".join(lines)
    if len(rows) <= FOLD_AFTER:
        return table
    return f"<details><summary>{counted(len(rows), 'change')}</summary>\n\n{table}\n\n</details>"


def _versions(change: Change) -> tuple[str, str]:
    """Both columns; what tells the sides apart where the versions are equal."""
    words = []
    for side in (change.before, change.after):
        if side is None:
            words.append("")
            continue
        more = {"moved": side.source, "replaced": side.file, "rebuilt": f"sha256 {side.sha256[:12]}…"}
        words.append(f"{side.version} ({more[change.kind]})" if change.kind in more else str(side.version))
    return words[0], words[1]


def _plain(text: str) -> str:
    """Without control characters: a record of a revision is somebody's, and a terminal obeys them."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _escape(text: str) -> str:
    """Text that Markdown and HTML take as it is, in a table too."""
    shown = _plain(text).replace("&", "&amp;").replace("<", "&lt;")
    for letter in "\\|`*[]":
        shown = shown.replace(letter, f"\\{letter}")
    return shown
