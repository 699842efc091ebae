"""Rows of the table, and processes with a clock."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: ``measured`` must not be above ``allowed``; without a measurement ``note`` says why."""

    name: str
    measured: float | None
    allowed: float
    unit: str
    """``x`` for a ratio, ``s`` for seconds."""
    note: str = ""

    @property
    def verdict(self) -> str:
        """``ok``, ``over`` or ``skipped``."""
        if self.measured is None:
            return "skipped"
        return "ok" if self.measured <= self.allowed else "over"

    def to_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "name": self.name,
            "measured": None if self.measured is None else round(self.measured, 4),
            "allowed": self.allowed,
            "unit": self.unit,
            "verdict": self.verdict,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished process: seconds on the wall and on all processors, peak memory in bytes, what it printed."""

    seconds: float
    processor: float
    memory: int
    stdout: str


def run(
    argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None, codes: Sequence[int] = (0,)
) -> Run:
    """Run to the end; anything but one of ``codes`` ends the benchmark with the process's own words."""
    arguments = [str(one) for one in argv]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(arguments, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait again
        out.seek(0)
        err.seek(0)
        if process.returncode not in codes:
            words = err.read().decode(errors="replace")
            raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}:\n{words}")
        memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        processor = usage.ru_utime + usage.ru_stime
        return Run(seconds=seconds, processor=processor, memory=memory, stdout=out.read().decode())


def alternate(times: int, *sides: Callable[[], float]) -> list[float]:
    """The median seconds of each side, measured by turns so that a slow moment of the machine hits all of them."""
    seconds: list[list[float]] = [[] for _ in sides]
    for _ in range(times):
        for kept, side in zip(seconds, sides, strict=True):
            kept.append(side())
    return [statistics.median(kept) for kept in seconds]


def middle(runs: Sequence[Run]) -> tuple[float, str]:
    """The median seconds, and in words the median of what the processors had to do: it tells a busy machine."""
    busy = statistics.median(one.processor for one in runs)
    return statistics.median(one.seconds for one in runs), f"{busy:.2f} s of CPU"


def ratio_note(ours: float, theirs: float, what: str) -> str:
    """Both sides in words."""
    return f"{ours:.3f} s; {what}: {theirs:.3f} s"
