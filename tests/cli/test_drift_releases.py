"""A release whose bytes, or whose place, change after it was locked: with each backend; and conda's own cases."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.project import answer, artifacts, must
from tests.support.backends import LABEL, OLD_CONDA, OLD_CONDA_CELL, CondaScenario, edit_repodata, elsewhere
from tests.support.conda import build_conda_package
from tests.support.conda_scene import CUDA_11_8_PARTS
from tests.support.stage import HERE, SCENE_HAS_IT
from tests.support.wheels import sha256

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.backends import Scenario
    from tests.support.conda_scene import CondaScene
    from tests.support.stage import Stage

pytestmark = pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}")


# -- either backend -------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, scenario: Scenario) -> Stage:
    """A release, locked; its sources have a sha256 for everything."""
    at = scenario.stage(tmp_path)
    must(at.run("lock"))
    return at


def add_to(at: Stage, scenario: Scenario) -> None:
    """Let the matrix name one more package."""
    path = at.project / "matrix.yaml"
    path.write_text(path.read_text().replace(f"[{scenario.extra}]", f"[{scenario.extra}, pillow]"), encoding="utf-8")


def check(at: Stage, cell: str, code: int) -> list[dict[str, Any]]:
    """What ``lock --check --online`` reports."""
    told = answer(at.run("--json", "lock", "--check", "--online", cell), code)["cells"][0]
    assert told["up_to_date"] is True
    found: list[dict[str, Any]] = told["deviations"]
    return found


def test_a_release_has_not_changed(tmp_path: Path, scenario: Scenario, place: Stage) -> None:
    before = place.published()
    for at in (place, elsewhere(place, tmp_path / "fresh")):
        outcome = must(at.run("lock", "--check", "--online"))
        assert outcome.stderr == "1 lockfile up to date, and their sources serve the same bytes\n"
    assert place.published() == before
    assert not any(path.endswith((".whl", ".conda")) for one in scenario.servers for path in one.paths(method="GET"))


def test_a_release_that_was_rebuilt(tmp_path: Path, scenario: Scenario, place: Stage) -> None:
    old = artifacts(place, scenario.cell)[scenario.torch]
    new = scenario.rebuild(tmp_path / "other")
    fresh = elsewhere(place, tmp_path / "fresh")
    drifted = (
        f"source {scenario.source}: {old['file']} is not the file that was locked: sha256 {new}, locked {old['sha256']}"
    )
    found = check(fresh, scenario.cell, 5)
    assert found == [{"artifact": scenario.torch, "class": "integrity", "message": drifted}]
    # It is not installed,
    cell = answer(fresh.run("--json", "build", "--no-verify"), 5)["cells"][0]
    assert (cell["class"], cell["environment"]) == ("integrity", None)
    assert {scenario.torch, old["sha256"]} <= set(re.findall(r"[\w.]+", cell["error"]["message"]))
    # not locked again in silence,
    before = place.published()
    add_to(place, scenario)
    cell = answer(fresh.run("--json", "lock"), 5)["cells"][0]
    assert (cell["class"], cell["error"]["message"]) == ("integrity", drifted)
    assert "torchmatrix lock --upgrade" in cell["error"]["hint"]
    assert place.published() == before


@pytest.mark.parametrize("arguments", [["--upgrade"], ["--upgrade=torch"]])
def test_a_release_that_was_rebuilt_is_taken_by_an_upgrade(
    tmp_path: Path, scenario: Scenario, place: Stage, arguments: list[str]
) -> None:
    new = scenario.rebuild(tmp_path / "other")
    fresh = elsewhere(place, tmp_path / "fresh")
    cell = answer(fresh.run("--json", "lock", *arguments))["cells"][0]
    assert [(change["name"], change["change"]) for change in cell["changes"]] == [(scenario.torch, "rebuilt")]
    assert artifacts(place, scenario.cell)[scenario.torch]["sha256"] == new
    assert check(fresh, scenario.cell, 0) == []
    must(fresh.run("build", "--no-verify"))


def test_a_release_that_is_gone(tmp_path: Path, scenario: Scenario, place: Stage) -> None:
    file = artifacts(place, scenario.cell)[scenario.extra]["file"]
    scenario.withdraw_extra()
    fresh = elsewhere(place, tmp_path / "fresh")
    [found] = check(fresh, scenario.cell, 4)
    assert (found["artifact"], found["class"]) == (scenario.extra, "unreachable")
    assert f": {file} is gone: " in found["message"]
    scenario.rebuild(tmp_path / "other")
    both = check(elsewhere(place, tmp_path / "again"), scenario.cell, 5)
    assert {one["artifact"]: one["class"] for one in both} == {
        scenario.torch: "integrity",
        scenario.extra: "unreachable",
    }


def test_a_source_of_releases_that_does_not_answer(scenario: Scenario, tmp_path: Path) -> None:
    """Said once, not of every package."""
    at = scenario.at_source(scenario.stage(tmp_path))
    must(at.run("lock"))
    scenario.stop()
    [found] = check(at, scenario.cell, 4)
    assert (found["artifact"], found["class"]) == (None, "unreachable")
    assert found["message"].startswith(f"source {scenario.source} cannot be reached: 127.0.0.1: no connection: ")


# -- conda ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def conda(conda_scene: CondaScene) -> CondaScenario:
    return CondaScenario(scene=conda_scene)


def newer(conda: CondaScenario, folder: Path, name: str, version: str, **settings: Any) -> None:
    """A version of a package of conda-forge's that was not there before."""
    package = build_conda_package(folder, name, version, noarch="python", **settings)
    content = package.read_bytes()
    place = "/conda-forge/noarch"
    conda.scene.server.put(f"{place}/{package.name}", content)

    def add(records: dict[str, Any]) -> None:
        record = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": ["python"]}
        said = {"noarch": "python", "subdir": "noarch", "sha256": sha256(package), "size": len(content)}
        records[package.name] = record | said

    edit_repodata(conda.scene.server, place, add)


def test_a_newer_version_hides_no_rebuild(tmp_path: Path, conda: CondaScenario) -> None:
    """What is locked was rebuilt, and the solver could pass it over."""
    at = conda.stage(tmp_path)
    must(at.run("lock"))
    before, old = at.published(), artifacts(at, conda.cell)["pyyaml"]
    newer(conda, tmp_path / "other", "pyyaml", "7.0")

    def spoil(records: dict[str, Any]) -> None:
        records[old["file"]]["sha256"] = "ab" * 32

    edit_repodata(conda.scene.server, "/conda-forge/noarch", spoil)
    add_to(at, conda)
    cell = answer(at.run("--json", "lock"), 5)["cells"][0]
    assert cell["error"]["message"] == (
        f"source conda-forge: {old['file']} is not the file that was locked: sha256 {'ab' * 32}, locked {old['sha256']}"
    )
    assert at.published() == before
    must(at.run("lock", "--upgrade=pyyaml"))
    assert artifacts(at, conda.cell)["pyyaml"]["version"] == "7.0"


def test_a_newer_version_is_left_alone(tmp_path: Path, conda: CondaScenario) -> None:
    at = conda.stage(tmp_path)
    must(at.run("lock"))
    newer(conda, tmp_path / "other", "pyyaml", "7.0")
    add_to(at, conda)
    must(at.run("lock"))
    found = artifacts(at, conda.cell)
    assert (found["pyyaml"]["version"], "pillow" in found) == ("6.0.3", True)
    must(at.run("lock", "--upgrade"))
    assert artifacts(at, conda.cell)["pyyaml"]["version"] == "7.0"


def old_gets(conda: CondaScenario) -> dict[str, int]:
    """How often the whole of each package without a sha256 was asked for."""
    paths = conda.scene.server.paths(f"{LABEL}/cuda-*.tar.bz2", method="GET")
    return dict(Counter(path.rpartition("/")[2] for path in paths))


@pytest.fixture
def old(tmp_path: Path, conda: CondaScenario) -> Stage:
    """A cell with packages of which their repodata says an md5 alone; locked."""
    at = conda.stage(tmp_path, OLD_CONDA)
    must(at.run("lock"))
    return at


CUDART = "cuda-cudart-11.8.89-0.tar.bz2"


def test_a_sha256_is_computed_where_only_an_md5_is_listed(conda: CondaScenario, old: Stage) -> None:
    found = artifacts(old, OLD_CONDA_CELL)
    computed = {name: one for name, one in found.items() if one["hash_from"] == "computed"}
    assert sorted(computed) == sorted(CUDA_11_8_PARTS)
    for name, one in computed.items():
        assert one["sha256"] == sha256(conda.scene.folder / "nvidia" / one["path"]), name
    assert set(old_gets(conda).values()) == {1}
    assert check(old, OLD_CONDA_CELL, 0) == []
    assert set(old_gets(conda).values()) == {1}, "an md5 that is listed as before spares the download"


@pytest.mark.parametrize("kept", [True, False], ids=["locked before", "another project"])
def test_what_was_computed_of_a_conda_package_is_remembered(
    tmp_path: Path, conda: CondaScenario, old: Stage, kept: bool
) -> None:
    """Also when its bytes are not here any more: a build leaves what it unpacked alone."""
    before = artifacts(old, OLD_CONDA_CELL)
    shutil.rmtree(tmp_path / "store" / "downloads")
    if not kept:
        shutil.rmtree(old.envs)
    conda.scene.server.forget()
    must(old.run("lock", *(["--upgrade"] if kept else [])))
    assert old_gets(conda) == {}
    assert artifacts(old, OLD_CONDA_CELL) == before


def test_a_package_whose_md5_is_not_the_listed_one(tmp_path: Path, conda: CondaScenario) -> None:
    other = build_conda_package(tmp_path, "cuda-cudart", "11.8.89", archive=".tar.bz2", files={"a": "of somebody else"})
    conda.scene.server.put(f"{LABEL}/{CUDART}", other.read_bytes())
    at = conda.stage(tmp_path, OLD_CONDA)
    listed = conda.scene.channel("nvidia/label/cuda-11.8.0").records("linux-64")[CUDART]["md5"]
    for _ in range(2):  # nothing of it is remembered
        error = answer(at.run("--json", "lock"), 5)["cells"][0]["error"]
        found = hashlib.md5(other.read_bytes(), usedforsecurity=False).hexdigest()
        assert error["message"] == f"source nvidia: {CUDART} has the md5 {found}, its repodata says {listed}"
        assert error["hint"] == "the server or the mirror serves another file than it lists; try again later"
    assert at.published() == {}


def test_a_rebuilt_package_without_a_sha256(tmp_path: Path, conda: CondaScenario, old: Stage) -> None:
    other = build_conda_package(tmp_path, "cuda-cudart", "11.8.89", archive=".tar.bz2", files={"a": "rebuilt"})
    before = artifacts(old, OLD_CONDA_CELL)["cuda-cudart"]
    conda.replace(LABEL, other)
    found = hashlib.md5(other.read_bytes(), usedforsecurity=False).hexdigest()
    message = f"source nvidia: {CUDART} is not the file that was locked: md5 {found}, locked {before['md5']}"
    assert check(old, OLD_CONDA_CELL, 5) == [{"artifact": "cuda-cudart", "class": "integrity", "message": message}]
    matrix = old.project / "matrix.yaml"
    matrix.write_text(matrix.read_text() + "packages: [pillow]\n", encoding="utf-8")
    assert answer(old.run("--json", "lock"), 5)["cells"][0]["error"]["message"] == message
    must(old.run("lock", "--upgrade"))
    assert artifacts(old, OLD_CONDA_CELL)["cuda-cudart"]["sha256"] == sha256(other)
    cell = answer(old.run("--json", "lock"), 0)["cells"][0]
    assert cell["id"] == OLD_CONDA_CELL
