"""A kill at any moment leaves the old state or the new, and the next run finishes the work."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.kills import Action, Ground, Kill, publishing, spread
from tests.support.fixtures import clean_environment
from tests.support.stage import HERE, SCENE_HAS_IT, indexes, native_matrix, slow_scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.pytorch import Scene

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="SIGKILL and process groups are POSIX"),
    pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}"),
]

ONE = native_matrix({"cpuonly": "accelerator: cpu, packages: [numpy]"}, project=True)
TWO = native_matrix(
    {"cpuonly": "accelerator: cpu, packages: [numpy]", "cu118": 'accelerator: cu118, torch: "2.7.1"'}, project=True
)
OLDER = native_matrix(
    {"cpuonly": "accelerator: cpu", "cu118": 'accelerator: cu118, torch: "2.7.1", packages: [pillow]'}
)


@pytest.fixture
def far(scene_wheels: Path) -> Iterator[Scene]:
    """Indexes 20 ms away."""
    with slow_scene(scene_wheels, 0.02) as scene:
        yield scene


def disturb(action: Action, folder: Path, *, anywhere: int, at_publishing: int) -> list[Kill]:
    """Kills spread over a run and over its publishing, by turns of the process alone and of its whole group."""
    ground = Ground(folder=folder, action=action)
    reference = ground.reference()
    assert reference.files
    assert reference.files != reference.before
    moments = spread(anywhere, reference.seconds) + publishing(at_publishing, 0.03)
    return [ground.kill(reference, moment, group=bool(turn % 2)) for turn, moment in enumerate(moments)]


def assert_harmless(kills: list[Kill], *, least: int, phases: set[str]) -> None:
    assert [kill for kill in kills if kill.problems] == []
    counts = Counter(kill.phase for kill in kills if kill.hit)
    assert counts.total() >= least, f"too few hit a running process: {counts}"
    assert phases <= set(counts), f"phases that no kill hit: {phases - set(counts)}"


def test_killed_lock(tmp_path: Path, far: Scene) -> None:
    action = Action(name="lock", arguments=("lock",), matrix=TWO, env=clean_environment(tmp_path) | indexes(far))
    assert_harmless(disturb(action, tmp_path, anywhere=5, at_publishing=3), least=5, phases={"resolve", "publish"})


def test_killed_lock_over_an_older_one(tmp_path: Path, far: Scene) -> None:
    env = clean_environment(tmp_path) | indexes(far)
    action = Action(name="relock", arguments=("lock",), matrix=TWO, env=env, old=OLDER)
    assert_harmless(disturb(action, tmp_path, anywhere=3, at_publishing=3), least=3, phases={"resolve", "publish"})


def test_killed_build(tmp_path: Path, far: Scene) -> None:
    env = clean_environment(tmp_path) | indexes(far)
    action = Action(name="build", arguments=("build", "--no-verify"), matrix=ONE, env=env)
    kills = disturb(action, tmp_path, anywhere=8, at_publishing=2)
    assert_harmless(kills, least=6, phases={"resolve", "install", "publish"})
