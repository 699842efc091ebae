"""Several torchmatrix processes at once on one store and one project: one makes it, the others wait and reuse it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.far import BACKENDS, Far, far_away
from tests.support.fixtures import clean_environment
from tests.support.stage import HERE, SCENE_HAS_IT, Stage, torch_folder, write_project

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}")

AT_ONCE = 8
CPU = "accelerator: cpu, packages: [numpy]"


@pytest.fixture(params=BACKENDS)
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Far]:
    """Servers 20 ms away, so that processes meet."""
    packages = request.getfixturevalue("conda_folder" if request.param == "conda" else "scene_wheels")
    with far_away(request.param, packages, tmp_path, 0.02) as made:
        yield made


def stage_in(folder: Path, far: Far, matrix: str, name: str = "project", **more: str) -> Stage:
    write_project(folder / name, matrix)
    env = clean_environment(folder) | far.env | {"TORCHMATRIX_CACHE": str(folder / "store")} | more
    return Stage(project=folder / name, env=env)


def all_at_once(stage: Stage, commands: Sequence[tuple[str, ...]]) -> list[dict[str, Any]]:
    """The JSON answers of processes that all run at the same time and all end well."""
    running = [stage.start("--json", *one, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for one in commands]
    answers = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0] * len(commands), [err for _, err in answers]
    return [json.loads(out) for out, _ in answers]


def environments(stage: Stage) -> list[Path]:
    """Attempts in the store, finished or not."""
    return sorted((stage.project.parent / "store" / "envs").glob("*/env-*"))


def assert_made_once(stage: Stage, answers: list[dict[str, Any]]) -> None:
    cells = [answer["cells"][0] for answer in answers]
    assert [cell["created"] for cell in cells].count(True) == 1
    assert {cell["environment"] for cell in cells} == {str(path) for path in environments(stage)}
    assert len(environments(stage)) == 1
    assert len({cell["lockfile_digest"] for cell in cells}) == 1


def test_eight_builds_of_one_cell_make_one_environment(tmp_path: Path, far: Far) -> None:
    stage = stage_in(tmp_path, far, far.matrix({"cpuonly": CPU}, project=True))
    answers = all_at_once(stage, [("build", "--no-verify")] * AT_ONCE)
    assert_made_once(stage, answers)
    assert [answer["cells"][0]["resolved"] for answer in answers].count(True) == 1
    torches = far.server.paths(far.torch, method="GET")
    assert len(torches) == 1, "it crossed the wire once"
    assert [path for path in stage.published() if path.endswith(".tmp")] == []


@pytest.mark.torch
@pytest.mark.parametrize("far", ["pip"], indirect=True)
def test_eight_builds_of_real_torch_make_one_environment(tmp_path: Path, far: Far) -> None:
    wheels = torch_folder(os.environ)
    if wheels is None:
        pytest.skip(f"no find-links folder of pip holds a torch wheel for Python {HERE}")
    stage = stage_in(tmp_path, far, far.matrix({"cpuonly": CPU}), TORCHMATRIX_MIRRORS=f"pytorch={wheels}")
    answers = all_at_once(stage, [("build", "--no-verify")] * AT_ONCE)
    assert_made_once(stage, answers)
    libraries = list(environments(stage)[0].rglob("libtorch_cpu.so"))
    assert len(libraries) == 1
    assert libraries[0].stat().st_size > 50_000_000


def test_eight_locks_of_one_matrix_give_what_one_gives(tmp_path: Path, far: Far) -> None:
    matrix = far.matrix({"cpuonly": CPU, "cu118": far.cu118}, project=True)
    alone = stage_in(tmp_path, far, matrix, name="alone", TORCHMATRIX_CACHE=str(tmp_path / "store-of-one"))
    assert alone.run("lock").returncode == 0
    stage = stage_in(tmp_path, far, matrix)
    answers = all_at_once(stage, [("lock",)] * AT_ONCE)
    assert stage.published() == alone.published()
    assert len(stage.published()) == 2 * far.files
    for position in range(2):
        assert [answer["cells"][position]["resolved"] for answer in answers].count(True) == 1


def test_eight_projects_that_share_a_store_get_the_same_lockfiles(tmp_path: Path, far: Far) -> None:
    matrix = far.matrix({"cpuonly": CPU})
    stages = [stage_in(tmp_path, far, matrix, name=f"project-{number}") for number in range(AT_ONCE)]
    running = [stage.start("lock", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for stage in stages]
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0] * AT_ONCE, errors
    assert len(stages[0].published()) == far.files
    assert all(stage.published() == stages[0].published() for stage in stages)


def test_different_cells_at_once_share_a_store(tmp_path: Path, far: Far) -> None:
    targets = {
        "plain": "accelerator: cpu, conda-packages: [pyyaml]",  # torch's conda package needs numpy anyway
        "numeric": CPU,
        "pictures": "accelerator: cpu, packages: [pillow]",
        "cu118": far.cu118,
    }
    stage = stage_in(tmp_path, far, far.matrix(targets, project=True))
    answers = all_at_once(stage, [("build", "--no-verify", far.cell(target)) for target in targets])
    cells = [answer["cells"][0] for answer in answers]
    assert [cell["id"] for cell in cells] == [far.cell(target) for target in targets]
    assert all(cell["created"] for cell in cells)
    assert len(environments(stage)) == 4
    if far.backend == "conda":
        modules = [path for place in environments(stage) for path in place.glob("lib/*/site-packages/filelock/*.py")]
        assert {(path.stat().st_ino, path.stat().st_nlink) for path in modules} == {(modules[0].stat().st_ino, 5)}
    again = stage.run("lock", "--check")
    assert again.returncode == 0, again.stderr
    assert len(stage.published()) == 4 * far.files


def test_cells_with_the_same_artifacts_share_one_environment(tmp_path: Path, far: Far) -> None:
    targets = {"one": CPU, "two": CPU, "three": CPU}
    stage = stage_in(tmp_path, far, far.matrix(targets))
    answers = all_at_once(stage, [("build", "--no-verify", far.cell(target)) for target in targets])
    assert_made_once(stage, answers)
