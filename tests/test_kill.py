"""A kill at any moment leaves the old state or the new, and the next run finishes the work."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.kills import Action, Ground, Kill, Moment, publishing, spread, when_said
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


def disturb(action: Action, folder: Path, moments: list[Moment], *, anywhere: int) -> list[Kill]:
    """Kills at ``moments`` and spread over a run, by turns of the process alone and of its whole group."""
    ground = Ground(folder=folder, action=action)
    reference = ground.reference()
    assert reference.files
    assert reference.files != reference.before
    moments = spread(anywhere, reference.seconds) + moments
    return [ground.kill(reference, moment, group=bool(turn % 2)) for turn, moment in enumerate(moments)]


def assert_harmless(kills: list[Kill], *, least: int, phases: set[str]) -> None:
    assert [kill for kill in kills if kill.problems] == []
    counts = Counter(kill.phase for kill in kills if kill.hit)
    assert counts.total() >= least, f"too few hit a running process: {counts}"
    assert phases <= set(counts), f"phases that no kill hit: {phases - set(counts)}"


def test_killed_lock(tmp_path: Path, far: Scene) -> None:
    action = Action(name="lock", arguments=("lock",), matrix=TWO, env=clean_environment(tmp_path) | indexes(far))
    moments = when_said("uv pip compile", 2, 0.1) + publishing(3, 0.02)
    assert_harmless(disturb(action, tmp_path, moments, anywhere=3), least=4, phases={"resolve", "publish"})


def test_killed_lock_over_an_older_one(tmp_path: Path, far: Scene) -> None:
    env = clean_environment(tmp_path) | indexes(far)
    action = Action(name="relock", arguments=("lock",), matrix=TWO, env=env, old=OLDER)
    moments = when_said("uv pip compile", 1, 0) + publishing(3, 0.02)
    assert_harmless(disturb(action, tmp_path, moments, anywhere=2), least=3, phases={"resolve", "publish"})


def test_killed_build(tmp_path: Path, far: Scene) -> None:
    env = clean_environment(tmp_path) | indexes(far)
    action = Action(name="build", arguments=("build", "--no-verify"), matrix=ONE, env=env)
    moments = when_said("uv pip sync", 2, 0.1) + when_said("installing the project", 2, 0.02) + publishing(2, 0.01)
    kills = disturb(action, tmp_path, moments, anywhere=4)
    assert_harmless(kills, least=6, phases={"install", "project", "publish"})
