"""What an unkind user does: edited files, odd arguments, closed streams, wrong places."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import CELL, SMALL, must, stage
from tests.support.stage import SCENE_HAS_IT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pytorch import Scene

built = pytest.mark.skipif(not SCENE_HAS_IT, reason="the fake torch has no wheel for the running Python")


def test_an_edited_hash_is_said_and_locked_anew(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    record = at.envs / CELL / "cell.json"
    good = record.read_text()
    sha256 = json.loads(good)["artifacts"][0]["sha256"]
    record.write_text(good.replace(sha256, "0" * 64))
    assert "it was edited by hand, or merged line by line" in must(at.run("lock", "--check"), 3).stderr
    assert " damaged " in must(at.run("list")).stdout
    must(at.run("lock"))
    assert record.read_text() == good


@built
def test_an_offline_build_from_a_warm_cache(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run("build", "--no-verify"))
    must(at.run("cache", "gc", "--days", "0"))
    scene.pytorch.stop()
    scene.default.stop()
    outcome = must(at.run("--json", "--offline", "build", "--no-verify"))
    assert json.loads(outcome.stdout)["cells"][0]["created"] is True


def test_nothing_stands_in_for_a_private_source(tmp_path: Path, scene: Scene) -> None:
    private = 'sources: {corp: {index: "https://nowhere.invalid/simple", packages: [filelock]}}\n'
    at = stage(tmp_path, scene, SMALL + private, PIP_EXTRA_INDEX_URL=scene.default_url)
    outcome = must(at.run("lock"), 4)
    assert "nothing stands in for a private source" in outcome.stderr
    assert not (at.envs / CELL).exists()


def test_the_project_must_admit_the_python_of_the_cell(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene, SMALL + "project: {path: .}\n")
    (at.project / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.99"\n')
    assert "the project requires Python >=3.99" in must(at.run("lock"), 2).stderr


@pytest.mark.parametrize("days", ["-1", "nan", "many"])
def test_gc_takes_only_a_number_of_days(tmp_path: Path, scene: Scene, days: str) -> None:
    outcome = must(stage(tmp_path, scene).run("cache", "gc", f"--days={days}"), 2)
    assert f"'{days}' is no number of days" in outcome.stderr


def test_an_unknown_package_to_upgrade(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    outcome = must(at.run("lock", "--upgrade=nunpy"), 2)
    assert "no selected cell holds nunpy" in outcome.stderr
    assert "did you mean numpy?" in outcome.stderr


@pytest.mark.parametrize("mirror", ["pytorch=ftp://mirror.example/whl", "pytorch=alice:s3cr3t@mirror.example/whl"])
def test_a_mirror_that_is_no_address(tmp_path: Path, scene: Scene, mirror: str) -> None:
    outcome = must(stage(tmp_path, scene, TORCHMATRIX_MIRRORS=mirror).run("lock"), 2)
    assert "TORCHMATRIX_MIRRORS: the mirror of pytorch has" in outcome.stderr
    assert "s3cr3t" not in outcome.stdout + outcome.stderr


def test_output_that_cannot_be_written(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        process = at.start("list", stdout=full, stderr=subprocess.PIPE)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 6
    assert "Traceback" not in errors
    assert "No space left" in errors


def test_a_usage_error_is_json_too(tmp_path: Path, scene: Scene) -> None:
    outcome = must(stage(tmp_path, scene).run("--json", "lst"), 2)
    assert json.loads(outcome.stdout)["error"]["class"] == "usage"


@built
def test_the_pip_of_another_environment_is_not_run(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    assert f"pip is not in {CELL}" in must(at.run("run", CELL, "--", "pip", "list"), 2).stderr
