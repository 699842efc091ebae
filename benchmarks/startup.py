"""How soon the first word is there: ``--version``, and ``list`` of large matrices."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.measure import Row, alternate, middle, ratio_note, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.ground import Ground

TIMES = 15
_PLATFORMS = ("linux-64", "linux-aarch64", "win-64", "linux-64")


def version(ground: Ground) -> Iterator[Row]:
    """``torchmatrix --version`` beside an interpreter that does nothing."""
    env, python, script = ground.closed_env(), ground.python, ground.torchmatrix
    ours, bare = alternate(
        TIMES,
        lambda: run([script, "--version"], env=env).seconds,
        lambda: run([python, "-c", "pass"], env=env).seconds,
    )
    yield Row(
        name="torchmatrix --version", measured=ours / bare, allowed=4, unit="x",
        note=ratio_note(ours, bare, "python -c pass"),
    )  # fmt: skip


def large_lists(ground: Ground) -> Iterator[Row]:
    """``list`` of 1,000 and 10,000 cells, and whether its memory grows in proportion."""
    env, peaks = ground.closed_env(), {}
    for channels, targets, allowed in ((10, 25, 0.4), (25, 50, None), (50, 50, 2.0), (100, 50, None)):
        count = 4 * channels * targets
        matrix = ground.folder / f"matrix-{count}.yaml"
        matrix.write_text(large_matrix(channels, targets), encoding="utf-8")
        runs = [run([ground.torchmatrix, "--matrix", matrix, "list"], env=env) for _ in range(7)]
        assert len(runs[0].stdout.splitlines()) == count + 1
        peaks[count] = statistics.median(one.memory for one in runs)
        if allowed is not None:
            seconds, busy = middle(runs)
            note = f"{busy}, peak memory {peaks[count] / 1e6:.0f} MB"
            yield Row(name=f"list of {count:,} cells", measured=seconds, allowed=allowed, unit="s", note=note)
    growth = (peaks[20000] - peaks[10000]) / (peaks[10000] - peaks[5000])
    note = "linear: 2; quadratic: 4"
    yield Row(name="memory of list, 10,000 more / 5,000 more", measured=growth, allowed=2.3, unit="x", note=note)


def large_matrix(channels: int, targets: int) -> str:
    """A matrix of 4 x ``channels`` x ``targets`` cells."""
    names = ["stable", *(f"c{number}" for number in range(1, channels))]
    lines = ["version: 1", "axes:", '  python: ["3.10", "3.11", "3.12", "3.13"]', f"  channel: [{', '.join(names)}]"]
    lines += [f"  target: [{', '.join(f't{number}' for number in range(targets))}]", "channels:"]
    lines += [f'  {name}: {{torch: "2.{9 + number % 5}.0"}}' for number, name in enumerate(names)]
    lines.append("targets:")
    for number in range(targets):
        platform = _PLATFORMS[number % len(_PLATFORMS)]
        lines.append(f"  t{number}: {{platform: {platform}, accelerator: cpu, packages: [package-{number}]}}")
    return "\n".join(lines) + "\n"
