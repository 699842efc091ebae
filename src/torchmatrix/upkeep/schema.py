"""Writes the JSON Schema of matrix.yaml: ``python -m torchmatrix.upkeep schema [--check]``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from torchmatrix.console import Console
from torchmatrix.matrix.schema import SCHEMA_FILE, schema_text

if TYPE_CHECKING:
    from collections.abc import Sequence

REFRESH = "python -m torchmatrix.upkeep schema"
"""The command that writes the file anew."""


def main(argv: Sequence[str]) -> int:
    """Write the schema, or with ``--check`` say whether the file is up to date; 1 when it is not."""
    parser = argparse.ArgumentParser(prog=REFRESH, description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the file is out of date")
    options = parser.parse_args(argv)
    console = Console()
    text = schema_text()
    current = SCHEMA_FILE.read_text(encoding="utf-8") if SCHEMA_FILE.exists() else None
    if current == text:
        console.say(f"{SCHEMA_FILE.name} is up to date")
        return 0
    if options.check:
        console.error(f"{SCHEMA_FILE.name} does not match the table of keys", f"run `{REFRESH}`")
        return 1
    SCHEMA_FILE.write_text(text, encoding="utf-8", newline="\n")
    console.say(f"wrote {SCHEMA_FILE.name}")
    return 0
