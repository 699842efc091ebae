"""Every attack with and without explicit sources, as a table: ``python -m tests.hostile_report``.

Exit 1 when torchmatrix took a wrong copy, or when an attack does no harm even without the sources.
"""

# ruff: noqa: T201

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.support.hostile import ATTACKS, Attack, arena, verdict, without_sources


def rehearse(attack: Attack, wheels: Path, folder: Path) -> tuple[list[str], bool]:
    """What happens with the sources, without them, without the victims'; and whether that is as it has to be."""
    words, good = [], True
    runs = [None, (), attack.victims] if attack.victims else [None, ()]
    for turn, victims in enumerate(runs):
        with arena(wheels) as ground:
            at = attack.stage(folder / f"{turn}", ground)
            outcome = (at if victims is None else without_sources(at, attack.mutation, victims)).run("lock")
            words.append(verdict(outcome, ground, at))
            harm = words[-1].startswith(("TAKEN", "caught"))
            good = good and (not harm and outcome.returncode == attack.code if victims is None else harm)
    return words, good


def main() -> int:
    """Print the table."""
    bad = 0
    print("| attack | with explicit sources | without them | without the victims' |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for number, attack in enumerate(ATTACKS):
            words, good = rehearse(attack, Path(scratch, "wheels"), _folder(scratch, number))
            bad += not good
            cells = " | ".join([*words, *["-"] * (3 - len(words))])
            print(f"| {attack.name} | {cells} |{'' if good else '  <- not as it has to be'}", flush=True)
    print(f"\n{len(ATTACKS)} attacks, {bad} not as they have to be")
    return 1 if bad else 0


def _folder(scratch: str, number: int) -> Path:
    folder = Path(scratch, f"attack-{number}")
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main())
