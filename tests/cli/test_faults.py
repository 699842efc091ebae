"""Faults of networks and servers through the real command line with real uv and py-rattler: how it ends, what is left.

Faults that repeat are in the short run; ``python -m tests.fault_report`` runs all of them and prints a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import Fault, Ground, Materials, Step, cases, problems
from tests.support.stage import HERE, SCENE_HAS_IT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}")

SHORT_RUN = {
    "lock: PyTorch page": ("429 once", "reset for ever", "truncated once", "login page", "401", "dead proxy"),
    "lock: default page": ("500 once", "stall for ever", "too small", "401", "404", "TLS"),
    "lock: metadata": ("reset once", "500 for ever", "truncated for ever", "login page", "DNS"),
    "lock: HEAD of a file": ("500 for ever", "404", "login page"),
    "lock: nightly page": ("reset within the body once", "500 for ever", "too small", "login page"),
    "lock: file without a hash": ("truncated once", "too large", "too small", "stall within", "404"),
    "build: PyTorch page": ("stall once", "429 for ever", "login page", "404", "refused"),
    "build: file": ("reset within the body once", "too large", "too small", "login page", "stall within", "refused"),
    "conda lock: repodata": (
        *("500 once", "429", "reset for ever", "stall for ever", "truncated once", "too small", "login page"),
        *("401", "403", "404", "dead proxy", "TLS", "DNS", "refused"),
    ),
    "conda lock: plain repodata": ("reset within the body once", "truncated", "too small", "login page", "404"),
    "conda lock: package without sha256": ("truncated once", "too large", "too small", "login page", "401", "404"),
    "conda build: package": (
        *("500 once", "500 for ever", "reset within the body once", "stall within", "too large", "too small"),
        *("login page", "403", "404", "refused"),
    ),
    "conda check: repodata": ("stall once", "429 for ever", "truncated", "login page", "401", "404", "refused"),
}
"""Beginnings or parts of the names of faults, by step."""


def short_run() -> list[tuple[Step, Fault]]:
    return [(step, fault) for step, fault in cases() if any(part in fault.name for part in SHORT_RUN[step.name])]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, scene_wheels: Path, conda_folder: Path) -> Ground:
    return Ground(tmp_path_factory.mktemp("faults"), Materials(wheels=scene_wheels, conda=conda_folder))


@pytest.mark.parametrize(
    ("step", "fault"), [pytest.param(*case, id=f"{case[0].name}, {case[1].name}") for case in short_run()]
)
def test_fault(ground: Ground, step: Step, fault: Fault) -> None:
    ended = ground.play(step, fault)
    assert problems(step, fault, ended) == [], ended


def test_the_short_run_names_faults_that_exist() -> None:
    for name, parts in SHORT_RUN.items():
        known = [fault.name for step, fault in cases() if step.name == name]
        for part in parts:
            assert any(part in fault for fault in known), (name, part)
