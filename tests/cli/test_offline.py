"""``--offline``: nothing is asked, what is here is used, and what is not is named to the file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.project import CELL, PY, SMALL, answer, artifacts, at_source, must, stage
from tests.faults import NIGHTLY, NIGHTLY_CELL
from tests.support.backends import (
    FORGE,
    LABEL,
    OLD_CONDA,
    OLD_CONDA_CELL,
    CondaScenario,
    PipScenario,
    edit_repodata,
)
from tests.support.stage import HERE, SCENE_HAS_IT
from torchmatrix.console import human_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.backends import Scenario
    from tests.support.conda_scene import CondaScene
    from tests.support.pytorch import Scene
    from tests.support.stage import Stage

pytestmark = pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}")

BUILD = ("build", "--no-verify")
HINT = (
    "run it once with the network, put the files into a folder and name that in TORCHMATRIX_MIRRORS, "
    "or use a bundle (torchmatrix unbundle)"
)


def nothing_asked(scenario: Scenario) -> None:
    assert [server.requests for server in scenario.servers] == [[]] * len(scenario.servers)


def forget(scenario: Scenario) -> None:
    for server in scenario.servers:
        server.forget()


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


def test_an_empty_cache_lacks_every_file_by_name_size_and_source(tmp_path: Path, scenario: Scenario) -> None:
    at = scenario.stage(tmp_path)
    must(at.run("lock"))
    before = at.published()
    without_caches(at, tmp_path)
    forget(scenario)
    message, hint = failed(at, "--offline", *BUILD)
    found = artifacts(at, scenario.cell)
    total = human_bytes(sum(one["size"] for one in found.values()))
    head, *rest = message.splitlines()
    assert head == f"{scenario.cell}: offline, and {len(found)} of {len(found)} files are not here ({total}):"
    assert rest == lines(found, set(found))
    assert hint == HINT
    assert at.published() == before
    nothing_asked(scenario)


def test_files_of_several_conda_channels_are_listed_together(tmp_path: Path, conda_scene: CondaScene) -> None:
    scenario = CondaScenario(scene=conda_scene)
    at = scenario.stage(tmp_path, OLD_CONDA)
    must(at.run("lock"))
    without_caches(at, tmp_path)
    message, _ = failed(at, "--offline", *BUILD, OLD_CONDA_CELL)
    found = artifacts(at, OLD_CONDA_CELL)
    assert {one["source"] for one in found.values()} == {"conda-forge", "pytorch-conda", "nvidia"}
    assert f"offline, and {len(found)} of {len(found)} files are not here" in message
    assert sorted(message.splitlines()[1:]) == sorted(lines(found, set(found)))


def test_a_half_filled_cache_lacks_the_rest(tmp_path: Path, scenario: Scenario) -> None:
    """Another cell without the extra package was built before: everything but that is here."""
    first = scenario.stage(tmp_path, scenario.bare)
    must(first.run(*BUILD))
    at = scenario.stage(tmp_path)
    must(at.run("lock"))
    forget(scenario)
    message, _ = failed(at, "--offline", *BUILD)
    found = artifacts(at, scenario.cell)
    size = human_bytes(found[scenario.extra]["size"])
    assert message.splitlines() == [
        f"{scenario.cell}: offline, and 1 of {len(found)} files are not here ({size}):",
        *lines(found, {scenario.extra}),
    ]
    nothing_asked(scenario)


def hide_size(scenario: Scenario) -> None:
    """Let nobody say how large torch is."""
    if isinstance(scenario, PipScenario):
        scenario.scene.files.fail("/whl/cpu/torch-*.whl", status=404, method="HEAD")
        return

    def hide(records: dict[str, Any]) -> None:
        for file, one in records.items():
            if file.startswith("pytorch-"):
                del one["size"]

    edit_repodata(scenario.servers[0], FORGE, hide)


def test_a_size_that_nobody_told_is_said_to_be_unknown(tmp_path: Path, scenario: Scenario) -> None:
    hide_size(scenario)
    at = scenario.stage(tmp_path)
    must(at.run("lock"))
    found = artifacts(at, scenario.cell)
    assert found[scenario.torch]["size"] is None
    without_caches(at, tmp_path)
    message, _ = failed(at, "--offline", *BUILD)
    assert f"  {found[scenario.torch]['file']} (size unknown, {scenario.source})" in message.splitlines()
    total = human_bytes(sum(one["size"] or 0 for one in found.values()))
    assert f"({total} and 1 of unknown size):" in message


def test_a_warm_cache_builds_without_a_request(tmp_path: Path, scenario: Scenario) -> None:
    at = scenario.stage(tmp_path)
    must(at.run(*BUILD))
    shutil.rmtree(tmp_path / "store" / "envs")
    forget(scenario)
    must(at.run("--offline", *BUILD))
    nothing_asked(scenario)


def test_the_environment_variable_is_the_same(tmp_path: Path, scenario: Scenario) -> None:
    at = scenario.stage(tmp_path)
    must(at.run("lock"))
    without_caches(at, tmp_path)
    message, _ = failed(scenario.stage(tmp_path, TORCHMATRIX_OFFLINE="1"), *BUILD)
    assert message.startswith(f"{scenario.cell}: offline, and ")


def test_offline_a_folder_of_packages_will_do(tmp_path: Path, scenario: Scenario) -> None:
    """What the hint advises."""
    at = scenario.stage(tmp_path)
    must(at.run("lock"))
    without_caches(at, tmp_path)
    folder = tmp_path / "carried"
    folder.mkdir()
    for one in artifacts(at, scenario.cell).values():
        shutil.copy(scenario.package(one["file"]), folder)
    forget(scenario)
    must(scenario.stage(tmp_path, TORCHMATRIX_MIRRORS=scenario.carried(folder)).run("--offline", *BUILD))
    nothing_asked(scenario)


def test_offline_a_folder_that_lacks_one_names_it(tmp_path: Path, conda_scene: CondaScene) -> None:
    scenario = CondaScenario(scene=conda_scene)
    at = scenario.stage(tmp_path)
    must(at.run("lock"))
    without_caches(at, tmp_path)
    folder = tmp_path / "carried"
    folder.mkdir()
    found = artifacts(at, scenario.cell)
    for name, one in found.items():
        if name != "sympy":
            shutil.copy(scenario.package(one["file"]), folder)
    at = scenario.stage(tmp_path, TORCHMATRIX_MIRRORS=scenario.carried(folder))
    message, _ = failed(at, "--offline", *BUILD)
    assert message.splitlines()[1:] == lines(found, {"sympy"})


def test_offline_with_nothing_to_do_is_no_failure(tmp_path: Path, scenario: Scenario) -> None:
    at = scenario.stage(tmp_path)
    must(at.run(*BUILD))
    shutil.rmtree(tmp_path / "uv-cache", ignore_errors=True)
    shutil.rmtree(tmp_path / "store" / "conda-packages", ignore_errors=True)
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


def test_a_conda_channel_that_is_down_is_not_called_offline(tmp_path: Path, conda_scene: CondaScene) -> None:
    scenario = CondaScenario(scene=conda_scene)
    at = scenario.at_source(scenario.stage(tmp_path))
    must(at.run("lock"))
    scenario.stop()
    message, _ = failed(at, *BUILD)
    assert message.startswith("source conda-forge cannot be reached: 127.0.0.1: no connection: ")


def test_a_source_that_is_down_is_done_without_when_its_files_are_here(tmp_path: Path, scenario: Scenario) -> None:
    at = scenario.at_source(scenario.stage(tmp_path))
    must(at.run(*BUILD))
    shutil.rmtree(tmp_path / "store" / "envs")
    scenario.stop()
    must(at.run(*BUILD))


# -- lock ----------------------------------------------------------------------------------------------------------


def test_a_cold_cache_says_which_page_is_missing(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    message, hint = failed(at, "--offline", "lock")
    assert message.startswith(f"resolving {CELL}: --offline, and not everything that is needed is in the cache\n")
    assert f"  missing: {scene.pytorch_url}/cpu/torch/" in message.splitlines()
    assert hint == "run once without --offline, or name a mirror folder in TORCHMATRIX_MIRRORS"
    assert at.published() == {}
    nothing_asked(PipScenario(scene=scene))


def test_a_cold_cache_says_which_repodata_is_missing(tmp_path: Path, conda_scene: CondaScene) -> None:
    scenario = CondaScenario(scene=conda_scene)
    at = scenario.stage(tmp_path)
    message, hint = failed(at, "--offline", "lock")
    why = "not asked, because of --offline, and its linux-64 was not read before"
    assert message == f"source conda-forge cannot be reached: 127.0.0.1: {why}; conda.anaconda.org: {why}"
    assert hint == "run without --offline, or name a folder in TORCHMATRIX_MIRRORS"
    assert at.published() == {}
    nothing_asked(scenario)


def test_a_file_without_a_sha256_cannot_be_locked_offline(tmp_path: Path, conda_scene: CondaScene) -> None:
    """Its repodata is here, its bytes are not; once they were, they need not be again."""
    scenario = CondaScenario(scene=conda_scene)
    at = scenario.stage(tmp_path, OLD_CONDA)
    conda_scene.server.fail(f"{LABEL}/cuda-*", status=404)
    must(at.run("lock"), 4)
    message, hint = failed(at, "--offline", "lock")
    assert message == (
        "source nvidia: offline, and cuda-cudart-11.8.89-0.tar.bz2 is not here, whose sha256 nobody says"
    )
    assert hint == "run once without --offline, or name a folder in TORCHMATRIX_MIRRORS"
    conda_scene.server.heal()
    must(at.run("lock"))
    before = at.published()
    shutil.rmtree(at.envs)
    shutil.rmtree(tmp_path / "store" / "downloads")
    forget(scenario)
    must(at.run("--offline", "lock"))
    assert at.published() == before
    nothing_asked(scenario)


def test_a_cold_cache_of_a_nightly_says_which_page_is_missing(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene, NIGHTLY)
    message, hint = failed(at, "--offline", "lock")
    assert message.startswith(f"{NIGHTLY_CELL}: --offline, and only the pages of source pytorch say which nightlies")
    assert hint
    assert at.published() == {}
    nothing_asked(PipScenario(scene=scene))


def test_a_warm_cache_locks_the_same(tmp_path: Path, scenario: Scenario) -> None:
    at = scenario.stage(tmp_path)
    must(at.run("lock"))
    before = at.published()
    shutil.rmtree(at.envs)
    forget(scenario)
    must(at.run("--offline", "lock"))
    assert at.published() == before
    nothing_asked(scenario)


def test_check_needs_no_network(tmp_path: Path, scenario: Scenario) -> None:
    at = scenario.stage(tmp_path)
    must(at.run("lock"))
    without_caches(at, tmp_path)
    forget(scenario)
    must(at.run("--offline", "lock", "--check"))
    nothing_asked(scenario)


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
