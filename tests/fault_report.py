"""Every fault at every step as a Markdown table: ``python -m tests.fault_report``; exit 1 when one ends badly."""

# ruff: noqa: T201

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import FAULTS, STEPS, Ended, Fault, Ground, Step, cases, problems

PARALLEL = 2


def row(fault: Fault, ended: dict[tuple[str, str], Ended]) -> str:
    """A line of the table: exit code, and how long, at each step."""
    cells = []
    for step in STEPS:
        end = ended.get((step.name, fault.name))
        if end is None:
            cells.append("")
        else:
            size = ", no or another size" if "size" in end.envs else ""
            cells.append(f"{end.code}{size}, {end.seconds:.1f} s{', **bad**' if problems(step, fault, end) else ''}")
    return f"| {fault.name} | {' | '.join(cells)} |"


def main() -> int:
    """Run and report."""
    with tempfile.TemporaryDirectory(prefix="torchmatrix-faults-") as folder:
        grounds = [Ground(Path(folder, str(number)), Path(folder, f"wheels{number}")) for number in range(PARALLEL)]

        def run(number: int) -> list[tuple[Step, Fault, Ended]]:
            return [(*case, grounds[number].play(*case)) for case in cases()[number::PARALLEL]]

        with ThreadPoolExecutor(PARALLEL) as pool:
            played = [one for several in pool.map(run, range(PARALLEL)) for one in several]
    ended = {(step.name, fault.name): end for step, fault, end in played}
    print(f"| fault | {' | '.join(step.name for step in STEPS)} |")
    print(f"| --- |{' --- |' * len(STEPS)}")
    for fault in FAULTS:
        print(row(fault, ended))
    print("\n0: repeated, and the right lockfile or environment. 4: a source cannot be reached, nothing is published.")
    print("5: bytes differ from what their page announces. 1: an index says 404 of a package that it does not have.")
    bad = [(step, fault, end, found) for step, fault, end in played if (found := problems(step, fault, end))]
    for step, fault, end, found in bad:
        print(f"\n{step.name}, {fault.name}: {'; '.join(found)}\n{end.message}")
    longest = max((end.seconds for _, _, end in played), default=0.0)
    print(f"\n{len(played)} cases, {len(bad)} ended badly, the longest took {longest:.0f} s")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
