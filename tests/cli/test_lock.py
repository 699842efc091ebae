"""``lock``, ``lock --check``, ``--upgrade`` and ``--as-of``; ``export`` and ``diff`` of what they wrote."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.project import CELL, SMALL, answer, artifacts, must, record, stage
from tests.support.pytorch import OLD, Scene
from tests.support.stage import HERE, SCENE_HAS_IT, Stage
from tests.support.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}")

NEWER = "2027-02-01T00:00:00.000000Z"


@pytest.fixture
def locked(tmp_path: Path, scene: Scene) -> Stage:
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    return at


def rewrite(at: Stage, before: str, after: str) -> None:
    """Change the matrix."""
    path = at.project / "matrix.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def versions(at: Stage) -> dict[str, str]:
    return {name: one["version"] for name, one in artifacts(at).items()}


# --check


def test_check_of_a_fresh_lockfile(locked: Stage, scene: Scene) -> None:
    scene.forget()
    before = locked.published()
    outcome = must(locked.run("--offline", "lock", "--check"))
    assert (outcome.stdout, outcome.stderr) == ("", "1 lockfile up to date\n")
    assert answer(locked.run("--json", "lock", "--check")) == {
        "cells": [{"id": CELL, "up_to_date": True, "reasons": [], "warning": None}]
    }
    assert scene.pytorch.requests == []
    assert locked.published() == before


def test_check_says_what_changed_and_writes_nothing(locked: Stage) -> None:
    rewrite(locked, "packages: [numpy]", "packages: [pillow]")
    rewrite(locked, '"2.13.0"', '"2.12.0"')
    before = locked.published()
    outcome = must(locked.run("lock", "--check"), 3)
    assert outcome.stderr.splitlines() == [
        f"{CELL}: packages: added pillow",
        f"{CELL}: packages: removed numpy",
        f"{CELL}: torch: 2.13.0 -> 2.12.0",
        "error: 1 of 1 lockfiles are out of date",
        "hint: run: torchmatrix lock, and commit envs/",
    ]
    assert locked.published() == before


def test_check_without_a_lockfile(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    assert answer(at.run("--json", "lock", "--check"), 3)["cells"][0]["reasons"] == ["there is none"]
    assert not at.envs.exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "requirements.txt").unlink(), "requirements.txt is missing"),
        (
            lambda folder: (folder / "requirements.txt").write_text("numpy\n"),
            "requirements.txt is not the one that cell.json gives",
        ),
        (
            lambda folder: (folder / "cell.json").write_text(
                (folder / "cell.json").read_text().replace('"torch": "2.13.0"', '"torch": "2.13.1"')
            ),
            "cell.json was edited by hand: its inputs do not give its input digest",
        ),
    ],
    ids=["missing", "edited", "record"],
)
def test_check_sees_damage_and_lock_repairs_it(locked: Stage, damage: Any, reason: str) -> None:
    before = locked.published()
    damage(locked.envs / CELL)
    found = answer(locked.run("--json", "lock", "--check"), 3)["cells"][0]["reasons"]
    assert found == [reason]
    must(locked.run("lock"))
    must(locked.run("lock", "--check"))
    assert locked.published() == before


def test_a_merge_conflict_is_said_and_repaired(locked: Stage) -> None:
    path = locked.envs / CELL / "cell.json"
    before = locked.published()
    text = path.read_text()
    line = next(one for one in text.splitlines() if '"numpy"' in one and "sha256" in one)
    conflict = f"<<<<<<< ours\n{line}\n=======\n{line.replace('2.3.4', '2.3.3')}\n>>>>>>> theirs"
    path.write_text(text.replace(line, conflict))
    outcome = must(locked.run("lock", "--check"), 3)
    assert "holds a merge conflict (<<<<<<< … >>>>>>>)" in outcome.stderr
    frozen = must(locked.run("build", "--frozen", "--no-verify"), 3)
    assert "holds a merge conflict" in frozen.stderr
    assert f"hint: run: torchmatrix lock {CELL}" in frozen.stderr
    must(locked.run("lock"))
    assert locked.published() == before


def test_a_record_of_a_newer_torchmatrix_is_not_touched(locked: Stage) -> None:
    path = locked.envs / CELL / "cell.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))
    before = locked.published()
    for arguments in (["lock"], ["lock", "--upgrade"], ["build", "--no-verify"]):
        outcome = must(locked.run(*arguments), 2)
        assert "written by a newer torchmatrix (schema 99, this one reads 1)" in outcome.stderr
    assert locked.published() == before


def test_frozen_build_of_a_stale_lockfile(locked: Stage) -> None:
    rewrite(locked, "packages: [numpy]", "packages: [numpy, pillow]")
    error = answer(locked.run("--json", "build", "--frozen"), 3)["cells"][0]
    assert error["class"] == "stale"
    assert error["error"] == {
        "message": f"{CELL}: the lockfile is out of date: packages: added pillow",
        "hint": f"run: torchmatrix lock {CELL}",
    }


def test_check_with_upgrade_makes_no_sense(locked: Stage) -> None:
    outcome = must(locked.run("lock", "--check", "--upgrade"), 2)
    assert "--check writes nothing, so --upgrade and --as-of have no meaning beside it" in outcome.stderr


# --upgrade


@pytest.fixture
def outdated(locked: Stage, scene: Scene) -> Stage:
    """Newer numpy, sympy and filelock have appeared since."""
    for name, version in (("numpy", "2.4.0"), ("sympy", "1.15.0"), ("filelock", "3.21.0")):
        requires = ["mpmath<1.4,>=1.1.0"] if name == "sympy" else []
        wheel = build_wheel(scene.wheels / "newer", name, version, requires=requires)
        scene.default.add("/simple", wheel, host=scene.files, folder="/packages", upload_time=NEWER)
    return locked


FRESH = {"UV_CACHE_DIR": "uv-cache-fresh"}


def later(at: Stage) -> Stage:
    """The same with empty download caches: index pages are kept for two minutes."""
    return Stage(project=at.project, env={**at.env, "UV_CACHE_DIR": f"{at.env['UV_CACHE_DIR']}-later"})


def test_lock_alone_moves_nothing(outdated: Stage) -> None:
    before = outdated.published()
    must(later(outdated).run("lock"))
    assert outdated.published() == before
    rewrite(outdated, "packages: [numpy]", "packages: [numpy, pillow]")
    held = versions(outdated)
    must(later(outdated).run("lock"))
    assert versions(outdated) == {**held, "pillow": "12.0.0"}


def test_upgrade_of_one_package_moves_only_that(outdated: Stage) -> None:
    held = versions(outdated)
    cell = answer(later(outdated).run("--json", "lock", "--upgrade=SymPy"))["cells"][0]
    assert versions(outdated) == {**held, "sympy": "1.15.0"}
    assert [(change["name"], change["change"]) for change in cell["changes"]] == [("sympy", "upgraded")]
    assert (cell["changes"][0]["before"]["version"], cell["changes"][0]["after"]["version"]) == ("1.14.0", "1.15.0")


def test_upgrade_moves_everything_but_the_pinned_torch(outdated: Stage) -> None:
    held = versions(outdated)
    outcome = must(later(outdated).run("lock", "-U"))
    moved = {"numpy": "2.4.0", "sympy": "1.15.0", "filelock": "3.21.0"}
    assert versions(outdated) == {**held, **moved}
    for line in ("upgraded filelock 3.20.0 -> 3.21.0", "upgraded numpy 2.3.4 -> 2.4.0"):
        assert f"    {line}\n" in outcome.stderr


def test_upgrade_with_a_cell_id_means_that_cell(outdated: Stage) -> None:
    must(later(outdated).run("lock", "--upgrade", CELL))
    assert versions(outdated)["numpy"] == "2.4.0"


# --as-of


def test_as_of_takes_what_there_was_on_that_day(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene, SMALL.replace('"2.13.0"', '"stable"') + "", TZ="Pacific/Kiritimati")
    rewrite(at, "targets: {cpuonly: {", 'targets: {cpuonly: {torch: "2.7.1", ')
    for wheel in stable_271(scene):
        scene.pytorch.add("/whl/cpu", wheel)
    must(at.run("lock", "--as-of", "2025-08-01"))
    found = artifacts(at)
    assert found["torch"]["version"] == "2.7.1+cpu"
    assert (found["numpy"]["version"], found["sympy"]["version"]) == ("1.26.4", "1.13.3")
    assert record(at)["as_of"] == "2025-08-01"
    before = at.published()
    must(at.run("lock", "--as-of", "2025-08-01"))
    assert at.published() == before


def stable_271(scene: Scene) -> list[Path]:
    from tests.support.pytorch import LINUX, torch_wheel

    tag = f"cp{HERE.replace('.', '')}"
    return [torch_wheel(scene.wheels / "cpu-271", "2.7.1+cpu", f"{tag}-{tag}-{LINUX}")]


@pytest.mark.parametrize(("day", "expected"), [("2024-04-30", None), ("2024-05-01", "1.26.4")])
def test_as_of_is_the_end_of_that_day_in_utc(tmp_path: Path, scene: Scene, day: str, expected: str | None) -> None:
    """The lower numpy was uploaded on 2024-05-01 at noon UTC, whatever the host's time zone makes of that."""
    assert OLD.startswith("2024-05-01T12")
    matrix = SMALL.replace('stable: {torch: "2.13.0"}', 'stable: {torch: "2.3.0"}')
    at = stage(tmp_path, scene, matrix, TZ="Pacific/Kiritimati")
    from tests.support.pytorch import LINUX, torch_wheel

    tag = f"cp{HERE.replace('.', '')}"
    scene.pytorch.add("/whl/cpu", torch_wheel(scene.wheels / "cpu-230", "2.3.0+cpu", f"{tag}-{tag}-{LINUX}"))
    outcome = at.run("--json", "lock", "--as-of", day)
    if expected is None:
        assert answer(outcome, 1)["cells"][0]["class"] == "failed"
    else:
        must(outcome)
        assert versions(at)["numpy"] == expected


def test_an_as_of_before_a_pinned_release_is_explained(locked: Stage) -> None:
    before = locked.published()
    outcome = locked.run("lock", "--as-of", "2025-01-30")
    assert outcome.returncode in (1, 2)
    assert "2.13.0" in outcome.stderr
    assert "2025-01-30" in outcome.stderr
    assert locked.published() == before


def test_as_of_wants_a_date(locked: Stage) -> None:
    outcome = must(locked.run("lock", "--as-of", "yesterday"), 2)
    assert "'yesterday' is no date; write YYYY-MM-DD" in outcome.stderr


# export, diff


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, scene_wheels: Path) -> Iterator[Stage]:
    """A git repository with a lockfile committed, and another one in the working tree."""
    from tests.support.pytorch import pytorch_scene

    with pytorch_scene(scene_wheels) as scene:
        at = stage(tmp_path_factory.mktemp("two"), scene)
        must(at.run("lock"))
        if shutil.which("git"):
            git(at, "init", "--quiet")
            git(at, "add", ".")
            git(at, "-c", "user.name=t", "-c", "user.email=t@t.example", "commit", "--quiet", "-m", "lock")
        rewrite(at, "packages: [numpy]", 'packages: ["sympy<1.14", pillow]')
        must(at.run("lock"))
        yield at


def git(at: Stage, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=at.project, env=at.environ(), check=True, timeout=60)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements", "pylock.toml"])
def test_export_writes_what_is_published(two: Stage, tmp_path: Path, name: str) -> None:
    published = (two.envs / CELL / {"requirements": "requirements.txt"}.get(name, name)).read_text()
    assert must(two.run("export", CELL, "--format", name)).stdout == published
    missing = must(two.run("export", CELL, "--format", name, "-o", str(tmp_path / "typo" / "file.txt")), 2)
    assert "its folder does not exist" in missing.stderr
    target = tmp_path / "file.txt"
    assert must(two.run("export", CELL, "--format", name, "-o", str(target))).stdout == ""
    assert target.read_text() == published


def test_export_of_what_there_is_not(two: Stage) -> None:
    outcome = answer(two.run("--json", "export", CELL, "--format", "conda"), 2)["error"]
    assert outcome["message"] == "unknown lockfile format 'conda'"
    assert outcome["hint"] == "one of: pylock.toml, requirements.txt"
    must(two.run("export", "py399-none", "--format", "pylock.toml"), 2)


def test_exports_hold_the_record(two: Stage) -> None:
    text = must(two.run("export", CELL, "--format", "requirements.txt")).stdout
    assert sorted(line.split("sha256:")[1] for line in text.splitlines() if "--hash" in line) == sorted(
        one["sha256"] for one in artifacts(two).values()
    )
    assert json.loads((two.envs / CELL / "cell.json").read_text())["cell"] == CELL
