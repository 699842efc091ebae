"""What every check works with: its view of the world, its ways to end, and comparing numbers."""

from __future__ import annotations

import importlib
import math
import os
import sys
from typing import Any, Callable, Dict, List, Sequence, Tuple

from .facts import torch_facts

SCHEMA = 1
"""Version of the spec and of the answer; checks.py, which writes the spec, has the same one."""
FOLDER = os.path.dirname(os.path.abspath(__file__))
"""What another Python is told to run."""
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
REASON_CHARACTERS = 1000


class Failed(Exception):  # noqa: N818 - the word of the contract
    """The check looked and found something else."""

    def __init__(self, expected: object, actual: object, reason: str) -> None:
        super().__init__(reason)
        self.expected, self.actual, self.reason = expected, actual, reason


class Skipped(Exception):  # noqa: N818 - the word of the contract
    """The check cannot run here; the message says why."""


class Context:
    """What a check may look at: the spec, its own entry there, a scratch folder, and torch when it asks for it."""

    def __init__(self, spec: Dict[str, Any], folder: str, tell: Callable[[Dict[str, Any]], None]) -> None:
        self.spec, self.folder, self._tell = spec, folder, tell
        self._torch: Any = None
        self.check: Dict[str, Any] = {}
        self.extra: Dict[str, Any] = {}
        self.prefix: str = spec.get("prefix") or sys.prefix

    @property
    def torch(self) -> Any:
        """The torch under test, imported at the first use."""
        if self._torch is None:
            self._torch = importlib.import_module("torch")
            self._tell({"event": "imported", "torch": torch_facts(self._torch)})
        return self._torch

    @property
    def asked(self) -> Dict[str, Any]:
        """What the spec says about torch."""
        asked: Dict[str, Any] = self.spec.get("torch") or {}
        return asked


Result = Tuple[object, object]
"""Expected and actual of a check that passed."""


def equal(expected: object, actual: object, what: str) -> Result:
    """The result of a check on one value; raises `Failed` when it differs."""
    if expected != actual:
        raise Failed(expected, actual, f"{what} is {actual}, expected {expected}")
    return expected, actual


def largest_error(expected: Sequence[float], actual: Sequence[float], what: str, tolerance: float = 1e-4) -> float:
    """How far two rows of numbers are apart at most; raises `Failed` beyond the tolerance (absolute and relative).

    NaN is never near.
    """
    same = len(expected) == len(actual)
    if not same or not all(math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) for a, b in zip(expected, actual)):
        raise Failed(brief(expected), brief(actual), f"{what} is wrong")
    return max((abs(a - b) for a, b in zip(expected, actual)), default=0.0)


def error_text(error: float) -> str:
    """The largest error as people read it."""
    return f"largest error {error:.1e}" if error else "largest error 0"


def brief(values: Sequence[float]) -> str:
    """The first numbers of a row."""
    more = ", …" if len(values) > 6 else ""
    return "[" + ", ".join(f"{value:.6g}" for value in values[:6]) + more + "]"


def flat(tensor: Any) -> List[float]:
    """Every number of a tensor."""
    values: List[float] = tensor.reshape(-1).tolist()
    return values


def make_finding(
    check: str,
    status: str,
    expected: object = None,
    actual: object = None,
    reason: str | None = None,
    seconds: float = 0,
) -> Dict[str, Any]:
    """A finding as JSON has it; seconds are filled in by whoever watched the clock."""
    return {
        "check": check,
        "status": status,
        "expected": None if expected is None else str(expected),
        "actual": None if actual is None else str(actual),
        "reason": reason,
        "seconds": round(seconds, 3),
    }


def first_lines(text: str, count: int) -> str:
    """The beginning of a long message."""
    return "\n".join(text.strip().splitlines()[:count])[:REASON_CHARACTERS]
