"""``--offline``: nothing is asked, what is here is used, and what is not is named to the file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.project import CELL, PY, SMALL, answer, artifacts, at_source, must, stage
from tests.faults import NIGHTLY, NIGHTLY_CELL
from tests.support.stage import HERE, SCENE_HAS_IT
from torchmatrix.console import human_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pytorch import Scene
    from tests.support.stage import Stage

pytestmark = pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}")

BUILD = ("build", "--no-verify")
HINT = (
    "run it once with the network, put the files into a folder and name that in TORCHMATRIX_MIRRORS, "
    "or use a bundle (torchmatrix unbundle)"
)


def nothing_asked(scene: Scene) -> None:
    assert (scene.pytorch.requests, scene.default.requests, scene.files.requests) == ([], [], [])


def without_caches(at: Stage, folder: Path) -> None:
    """As on another machine: the lockfiles alone."""
    shutil.rmtree(folder / "uv-cache", ignore_errors=True)
    shutil.rmtree(folder / "store", ignore_errors=True)
    assert at.published()


def failed(at: Stage, *arguments: str) -> tuple[str, str]:
    """Message and hint of the only cell, which must fail with exit 4."""
    cell = answer(at.run("--json", *arguments), 4)["cells"][0]
    assert cell["class"] == "unreachable"
    return cell["error"]["message"], cell["error"]["hint"]


def lines(found: dict[str, dict[str, Any]], names: set[str]) -> list[str]:
    """How the files of these packages have to be named."""
    return [
        f"  {one['file']} ({human_bytes(one['size'])}, {one['source']})" for name, one in found.items() if name in names
    ]


# -- build ---------------------------------------------------------------------------------------------------------


def test_an_empty_cache_lacks_every_file_by_name_size_and_source(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    before = at.published()
    without_caches(at, tmp_path)
    scene.forget()
    message, hint = failed(at, "--offline", *BUILD)
    found = artifacts(at)
    total = human_bytes(sum(one["size"] for one in found.values()))
    head, *rest = message.splitlines()
    assert head == f"{CELL}: offline, and {len(found)} of {len(found)} files are not here ({total}):"
    assert rest == lines(found, set(found))
    assert hint == HINT
    assert at.published() == before
    nothing_asked(scene)


def test_a_half_filled_cache_lacks_the_rest(tmp_path: Path, scene: Scene) -> None:
    """Another cell without numpy was built before: everything but numpy is here."""
    first = stage(tmp_path, scene, SMALL.replace("packages: [numpy]\n", ""))
    must(first.run(*BUILD))
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    scene.forget()
    message, _ = failed(at, "--offline", *BUILD)
    found = artifacts(at)
    assert message.splitlines() == [
        f"{CELL}: offline, and 1 of {len(found)} files are not here ({human_bytes(found['numpy']['size'])}):",
        *lines(found, {"numpy"}),
    ]
    nothing_asked(scene)


def test_a_size_that_nobody_told_is_said_to_be_unknown(tmp_path: Path, scene: Scene) -> None:
    scene.files.fail("/whl/cpu/torch-*.whl", status=404, method="HEAD")
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    found = artifacts(at)
    assert found["torch"]["size"] is None
    without_caches(at, tmp_path)
    message, _ = failed(at, "--offline", *BUILD)
    assert f"  {found['torch']['file']} (size unknown, pytorch)" in message.splitlines()
    total = human_bytes(sum(one["size"] or 0 for one in found.values()))
    assert f"({total} and 1 of unknown size):" in message


def test_a_warm_cache_builds_without_a_request(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run(*BUILD))
    shutil.rmtree(tmp_path / "store" / "envs")
    scene.forget()
    must(at.run("--offline", *BUILD))
    nothing_asked(scene)


def test_the_environment_variable_is_the_same(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    without_caches(at, tmp_path)
    message, _ = failed(stage(tmp_path, scene, TORCHMATRIX_OFFLINE="1"), *BUILD)
    assert message.startswith(f"{CELL}: offline, and ")


def test_offline_a_folder_of_wheels_will_do(tmp_path: Path, scene: Scene) -> None:
    """What the hint advises."""
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    without_caches(at, tmp_path)
    wheels = tmp_path / "carried"
    wheels.mkdir()
    for one in artifacts(at).values():
        shutil.copy(next(scene.wheels.rglob(one["file"])), wheels)
    scene.forget()
    mirrors = f"pytorch={wheels} pypi={wheels}"
    must(stage(tmp_path, scene, TORCHMATRIX_MIRRORS=mirrors).run("--offline", *BUILD))
    nothing_asked(scene)


def test_offline_with_nothing_to_do_is_no_failure(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run(*BUILD))
    shutil.rmtree(tmp_path / "uv-cache")
    must(at.run("--offline", *BUILD))


def test_a_source_that_is_down_is_not_called_offline(tmp_path: Path, scene: Scene) -> None:
    """Its file is in the cache, one of the other source is not, and uv can only be offline for both."""
    plain = SMALL.replace("packages: [numpy]\n", "")
    must(at_source(stage(tmp_path, scene, plain, TORCHMATRIX_MIRRORS=""), scene.pytorch_url).run(*BUILD))
    at = at_source(stage(tmp_path, scene, TORCHMATRIX_MIRRORS=""), scene.pytorch_url)
    must(at.run("lock"))
    scene.pytorch.stop()
    message, _ = failed(at, *BUILD)
    found = artifacts(at)
    assert message.startswith(f"{CELL}: source pytorch cannot be reached: 127.0.0.1: no connection: ")
    assert f", and 1 of {len(found)} files are not here (" in message
    assert message.splitlines()[1:] == lines(found, {"numpy"})


def test_a_source_that_is_down_is_done_without_when_its_files_are_here(tmp_path: Path, scene: Scene) -> None:
    at = at_source(stage(tmp_path, scene, TORCHMATRIX_MIRRORS=""), scene.pytorch_url)
    must(at.run(*BUILD))
    shutil.rmtree(tmp_path / "store" / "envs")
    scene.pytorch.stop()
    must(at.run(*BUILD))


# -- lock ----------------------------------------------------------------------------------------------------------


def test_a_cold_cache_says_which_page_is_missing(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    message, hint = failed(at, "--offline", "lock")
    assert message.startswith(f"resolving {CELL}: --offline, and not everything that is needed is in the cache\n")
    assert f"  missing: {scene.pytorch_url}/cpu/torch/" in message.splitlines()
    assert hint == "run once without --offline, or name a mirror folder in TORCHMATRIX_MIRRORS"
    assert at.published() == {}
    nothing_asked(scene)


def test_a_cold_cache_of_a_nightly_says_which_page_is_missing(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene, NIGHTLY)
    message, hint = failed(at, "--offline", "lock")
    assert message.startswith(f"{NIGHTLY_CELL}: --offline, and only the pages of source pytorch say which nightlies")
    assert hint
    assert at.published() == {}
    nothing_asked(scene)


def test_a_warm_cache_locks_the_same(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    before = at.published()
    shutil.rmtree(at.envs)
    scene.forget()
    must(at.run("--offline", "lock"))
    assert at.published() == before
    nothing_asked(scene)


def test_check_needs_no_network(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    without_caches(at, tmp_path)
    scene.forget()
    must(at.run("--offline", "lock", "--check"))
    nothing_asked(scene)


def test_an_expired_nightly_is_said_to_be_gone(tmp_path: Path, scene: Scene) -> None:
    """With the network, but the file is not listed any more: the class is that of a source that lacks it."""
    at = stage(tmp_path, scene, NIGHTLY)
    must(at.run("lock"))
    torch = artifacts(at, NIGHTLY_CELL)["torch"]["file"]
    assert f"cp{PY}" in torch
    without_caches(at, tmp_path)
    scene.pytorch.remove("/whl/nightly/cpu", torch)
    message, hint = failed(at, *BUILD, NIGHTLY_CELL)
    assert message == (f"source pytorch: {torch} is gone: {scene.pytorch_url}/nightly/cpu/torch/ does not list it")
    assert "60 days" in hint
