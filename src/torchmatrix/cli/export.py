"""``export`` and ``diff``: one lockfile in another format, and what changed between two."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from torchmatrix.cli.context import Context
    from torchmatrix.lock.model import Lockfile


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    export = commands.add_parser(
        "export", help="one lockfile in another format", description="Write a lockfile in another format."
    )
    export.add_argument("cell", metavar="CELL")
    export.add_argument("--format", required=True, metavar="F", help="requirements.txt or pylock.toml")
    export.add_argument("--output", "-o", type=Path, metavar="FILE", help="instead of stdout")
    export.set_defaults(handler=handle_export)
    differ = commands.add_parser(
        "diff", help="what changed between two lockfiles", description="Compare two lockfiles."
    )
    differ.add_argument("before", metavar="A", help="a cell id, a cell.json, or REV:PATH of git")
    differ.add_argument("after", metavar="B")
    differ.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    differ.set_defaults(handler=handle_diff)


def handle_export(context: Context) -> int:
    """Write one format."""
    from torchmatrix.files import write_atomic
    from torchmatrix.lock.formats import format_named
    from torchmatrix.locking import addresses

    chosen = format_named(context.options.format)
    lockfile = _read(context, context.options.cell)
    cell = next((c for c in context.expansion.cells if c.id == lockfile.cell), None)
    if cell is None:
        raise UsageError(f"{lockfile.cell} is not in the matrix", hint="torchmatrix list shows the cells")
    text = chosen.render(lockfile, addresses(context.workspace, cell))
    if context.options.output:
        if not context.options.output.absolute().parent.is_dir():
            raise UsageError(f"{context.options.output}: its folder does not exist", hint="create it, or correct -o")
        write_atomic(context.options.output, text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    return 0


def handle_diff(context: Context) -> int:
    """Print what changed."""
    from torchmatrix.lock import diff as lock_diff

    before, after = _read(context, context.options.before), _read(context, context.options.after)
    changes = lock_diff.diff(before, after)
    if context.json_mode or context.options.format == "json":
        context.console.json({"before": before.digest, "after": after.digest, "changes": lock_diff.to_json(changes)})
    elif context.options.format == "markdown":
        context.console.data(lock_diff.render_markdown(changes, after.cell).rstrip())
    else:
        context.console.data(lock_diff.render_text(changes))
    return 0


def _read(context: Context, name: str) -> Lockfile:
    """The record that ``name`` means: a file, a folder with one, REV:PATH, or a cell of the matrix."""
    from torchmatrix.lock.record import parse_record, read_record

    path = Path(name)
    if path.is_dir():
        path /= "cell.json"
    if not path.exists() and ":" in name:
        return parse_record(_from_git(context, name), Path(name))
    if not path.exists():
        path = context.matrix.folder / "envs" / name / "cell.json"
    lockfile = read_record(path)
    if lockfile is None:
        raise UsageError(f"{name}: no lockfile: {path} does not exist", hint=f"run: torchmatrix lock {name}")
    return lockfile


def _from_git(context: Context, name: str) -> str:
    from torchmatrix.command import Command, run

    revision, _, path = name.partition(":")
    outcome = run(Command(argv=("git", "show", f"{revision}:./{path}"), env=context.environ))
    if not outcome.ok:
        raise UsageError(f"{name}: git cannot show it: {outcome.stderr.strip()}", hint="write REV:envs/CELL/cell.json")
    return outcome.stdout
