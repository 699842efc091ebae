"""Every fault at every step as a Markdown table: ``python -m tests.fault_report``; exit 1 when one ends badly."""

# ruff: noqa: T201

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import FAULTS, STEPS, Ended, Fault, Ground, Materials, Step, cases, problems
from tests.support.conda_scene import build_conda_channels

PARALLEL = 2


def table(steps: list[Step], ended: dict[tuple[str, str], Ended]) -> str:
    """The steps of one backend."""
    lines = [f"| fault | {' | '.join(step.name for step in steps)} |", f"| --- |{' --- |' * len(steps)}"]
    return "\n".join([*lines, *(row(fault, steps, ended) for fault in FAULTS), ""])


def row(fault: Fault, steps: list[Step], ended: dict[tuple[str, str], Ended]) -> str:
    """A line of the table: exit code, and how long, at each step."""
    cells = []
    for step in steps:
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
        conda = build_conda_channels(Path(folder, "conda"))
        grounds = [
            Ground(Path(folder, str(number)), Materials(wheels=Path(folder, f"wheels{number}"), conda=conda))
            for number in range(PARALLEL)
        ]

        def run(number: int) -> list[tuple[Step, Fault, Ended]]:
            return [(*case, grounds[number].play(*case)) for case in cases()[number::PARALLEL]]

        with ThreadPoolExecutor(PARALLEL) as pool:
            played = [one for several in pool.map(run, range(PARALLEL)) for one in several]
    ended = {(step.name, fault.name): end for step, fault, end in played}
    print(table([step for step in STEPS if not step.is_conda], ended))
    print(table([step for step in STEPS if step.is_conda], ended))
    print("0: repeated, and the right lockfile or environment. 4: a source cannot be reached, nothing is published.")
    print("5: bytes differ from what their page announces. 1: an index says 404 of a package that it does not have.")
    bad = [(step, fault, end, found) for step, fault, end in played if (found := problems(step, fault, end))]
    for step, fault, end, found in bad:
        print(f"\n{step.name}, {fault.name}: {'; '.join(found)}\n{end.message}")
    longest = max((end.seconds for _, _, end in played), default=0.0)
    print(f"\n{len(played)} cases, {len(bad)} ended badly, the longest took {longest:.0f} s")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
