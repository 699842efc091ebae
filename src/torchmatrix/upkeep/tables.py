"""Tables in the documents that are generated from the code: exit codes, commands, sources of settings."""

from __future__ import annotations

import argparse
import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from torchmatrix.console import Console
from torchmatrix.errors import EXIT_CODES
from torchmatrix.files import write_atomic
from torchmatrix.matrix.kinds import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[3]
_BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def exit_codes() -> str:
    """The table of exit codes."""
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["| code | meaning |", "| --: | --- |", *rows])


def commands() -> str:
    """The table of commands, from the parser's own help."""
    from torchmatrix.cli.app import parser

    rows = []
    for action in parser()._actions:  # noqa: SLF001 - argparse has no public way to its commands
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            rows = [f"| `{choice.dest}` | {choice.help} |" for choice in action._choices_actions]  # noqa: SLF001
    return "\n".join(["| command | does |", "| --- | --- |", *rows])


def formats() -> str:
    """The table of lockfile formats."""
    from torchmatrix.lock.formats import FORMATS

    rows = [f"| `{found.name}` | {found.backend} |" for found in FORMATS.values()]
    return "\n".join(["| format | backend |", "| --- | --- |", *rows])


def matrix_keys() -> str:
    """The table of keys of matrix.yaml, from the table that the loader reads by."""
    from torchmatrix.matrix.keys import TABLE

    rows = []
    for key in TABLE.keys:
        places = ", ".join(place for place in Place if place in key.places)
        required = " (required)" if key.required else ""
        rows.append(f"| `{key.name}` | {places} | {key.description}{required} |")
    return "\n".join(["| key | in | what it says |", "| --- | --- | --- |", *rows])


TABLES: dict[str, Callable[[], str]] = {
    "exit-codes": exit_codes,
    "commands": commands,
    "formats": formats,
    "matrix-keys": matrix_keys,
}
"""Generators by the name in ``<!-- generated: NAME -->``."""


def refreshed(text: str) -> str:
    """``text`` with every generated block made anew; an unknown name is a ``KeyError``."""
    return _BLOCK.sub(lambda match: f"{match[1]}{TABLES[match['name']]()}\n{match[3]}", text)


def documents(root: Path = ROOT) -> list[Path]:
    """The documents that may hold generated tables."""
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").glob("*.md"))]


def main(argv: Sequence[str]) -> int:
    """``python -m torchmatrix.upkeep tables [--check]``."""
    parser = argparse.ArgumentParser(prog="python -m torchmatrix.upkeep tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a table is out of date")
    options = parser.parse_args(argv)
    console, stale = Console(), 0
    for path in documents():
        before = path.read_text(encoding="utf-8")
        after = refreshed(before)
        if before == after:
            continue
        stale += 1
        if options.check:
            lines = difflib.unified_diff(before.splitlines(), after.splitlines(), path.name, "generated", lineterm="")
            console.data("\n".join(lines))
        else:
            write_atomic(path, after)
            console.say(f"wrote {path.name}")
    if stale and options.check:
        console.error(f"{stale} documents hold old tables", "run: python -m torchmatrix.upkeep tables")
        return 1
    return 0
