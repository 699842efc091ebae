"""A sha256 for everything, whoever says it; the same name with other bytes; files that are gone; expiry."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import PY, answer, artifacts, at_source, must, record, stage
from tests.support.backends import (
    LABEL,
    OLD_CONDA,
    OLD_CONDA_CELL,
    CondaScenario,
    edit_repodata,
    elsewhere,
)
from tests.support.conda import build_conda_package
from tests.support.conda_scene import CUDA_11_8_PARTS
from tests.support.nightlies import Nightlies, last_days, nightly_scene
from tests.support.stage import HERE, SCENE_HAS_IT
from tests.support.wheels import sha256
from torchmatrix.cli.expiry import WARN_DAYS, expiry_warning
from torchmatrix.lock.model import Lockfile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from tests.support.backends import Scenario
    from tests.support.conda_scene import CondaScene
    from tests.support.pytorch import Scene
    from tests.support.stage import Stage

builds = pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}")
ONE, TWO = f"py{PY}-nightly-one", f"py{PY}-nightly-two"
TODAY = dt.datetime.now(dt.UTC).date()
HEADER = "x-amz-meta-checksum-sha256"
MATRIX = f"""\
version: 1
axes: {{python: ["{HERE}"], channel: [nightly], target: [one, two]}}
targets:
  one: {{platform: linux-64, accelerator: cpu, sandbox: native}}
  two: {{platform: linux-64, accelerator: cpu, sandbox: native}}
packages: [torchvision]
"""


@pytest.fixture
def scene(scene_wheels: Path) -> Iterator[Scene]:
    """An index without nightlies so far."""
    with nightly_scene(scene_wheels) as scene:
        yield scene


@pytest.fixture
def days() -> list[dt.date]:
    """The newest nightly is of yesterday, so that nothing is about to expire."""
    return last_days(TODAY - dt.timedelta(days=1), 3)


@pytest.fixture
def cpu(scene: Scene, days: list[dt.date]) -> Nightlies:
    nightlies = Nightlies(scene=scene, pythons=(PY,))
    nightlies.fill(days)
    return nightlies


@pytest.fixture
def at(tmp_path: Path, scene: Scene) -> Stage:
    return project(tmp_path, scene)


def project(folder: Path, scene: Scene, matrix: str = MATRIX) -> Stage:
    plain = stage(folder, None, matrix, TORCHMATRIX_DEFAULT_INDEX=scene.default_url)
    return at_source(plain, scene.pytorch_url)


def gets(scene: Scene) -> dict[str, int]:
    """How often the whole of each of the family's wheels was asked for."""
    asked = [
        request.path.rsplit("/", 1)[-1].split("-")[0]
        for request in scene.files.requests
        if request.method == "GET" and request.path.endswith(".whl") and "/nightly/" in request.path
    ]
    return dict(Counter(asked))


def provenance(at: Stage, cell: str = ONE) -> dict[str, str]:
    return {name: one["hash_from"] for name, one in artifacts(at, cell).items() if one["source"] == "pytorch"}


def rebuild(nightlies: Nightlies, day: dt.date, *, same_size: bool = False, name: str = "torch") -> str:
    """Serve other bytes under the name of a wheel; their sha256."""
    if same_size:
        path = nightlies.wheel(name, day)
        content = bytearray(path.read_bytes())
        position = content.index(b"WHEEL") + 2
        content[position] ^= 0x20
        other = path.parent / "same-size" / path.name
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(content)
        nightlies.scene.files.put(f"{nightlies.prefix}/{path.name}", bytes(content))
        return sha256(other)
    wheel = nightlies.add(name, day, note="rebuilt")
    return sha256(wheel)


# -- where a hash comes from ----------------------------------------------------------------------------------------


def test_hashes_are_computed_from_the_bytes(at: Stage, cpu: Nightlies, days: list[dt.date]) -> None:
    must(at.run("lock"))
    found = artifacts(at, ONE)
    for name in ("torch", "torchvision"):
        wheel = cpu.wheel(name, days[0])
        assert (found[name]["sha256"], found[name]["size"]) == (sha256(wheel), wheel.stat().st_size)
    assert provenance(at) == {"torch": "computed", "torchvision": "computed"}
    assert {one["hash_from"] for one in found.values() if one["source"] == "pypi"} == {"index"}


@builds
def test_each_file_crosses_the_wire_once(at: Stage, cpu: Nightlies) -> None:
    """Two cells with the same artifacts, locked at once, then built."""
    must(at.run("lock"))
    must(at.run("build", "--no-verify", ONE, TWO))
    assert gets(cpu.scene) == {"torch": 1, "torchvision": 1}
    assert artifacts(at, ONE) == artifacts(at, TWO)


@pytest.mark.parametrize("ranges", [True, False])
def test_each_file_crosses_the_wire_once_without_metadata(at: Stage, scene: Scene, ranges: bool) -> None:
    """No PEP 658: uv reads what it needs by ranges; where there are none it has to have the whole wheel once."""
    scene.files.ranges = ranges
    nightlies = Nightlies(scene=scene, pythons=(PY,), options={"metadata": False})
    nightlies.fill([TODAY])
    must(at.run("lock", ONE))
    whole = [
        request.path.rsplit("/", 1)[-1].split("-")[0]
        for request in scene.files.requests
        if request.method == "GET" and "/nightly/" in request.path and "range" not in request.headers
    ]
    assert max(Counter(whole).values()) <= (1 if ranges else 2)


@pytest.mark.parametrize("validator", ["etag", "date"])
def test_what_was_computed_is_remembered(tmp_path: Path, at: Stage, cpu: Nightlies, validator: str) -> None:
    """Another project on the same machine asks for the head of each file only."""
    if validator == "date":
        cpu.scene.files.etags, cpu.scene.files.modified = False, "Fri, 20 Nov 2026 03:04:05 GMT"
    must(at.run("lock", ONE))
    cpu.scene.forget()
    other = project(tmp_path / "other", cpu.scene)
    shared = type(at)(project=other.project, env={**other.env, **_store(at)}, program=other.program)
    must(shared.run("lock", ONE))
    assert gets(cpu.scene) == {}
    assert artifacts(shared, ONE) == artifacts(at, ONE)


def _store(at: Stage) -> dict[str, str]:
    return {name: at.env[name] for name in ("TORCHMATRIX_CACHE", "UV_CACHE_DIR")}


@builds
def test_a_hash_in_the_files_metadata_spares_the_download(tmp_path: Path, scene: Scene, days: list[dt.date]) -> None:
    """As the uploads of the PyTorch index set it, and as S3 itself gives it."""
    nightlies = Nightlies(scene=scene, pythons=(PY,))
    for name, form in (("torch", "hex"), ("torchvision", "base64")):
        wheel = nightlies.wheel(name, days[0])
        digest = sha256(wheel)
        packed = base64.b64encode(bytes.fromhex(digest)).decode()
        header = {HEADER: digest} if form == "hex" else {"x-amz-checksum-sha256": packed}
        scene.pytorch.add(
            nightlies.prefix, wheel, hashes=False, host=scene.files, folder=nightlies.prefix, headers=header
        )
    at = project(tmp_path, scene)
    must(at.run("lock"))
    assert provenance(at) == {"torch": "metadata", "torchvision": "metadata"}
    assert gets(scene) == {}
    for name in ("torch", "torchvision"):
        assert artifacts(at, ONE)[name]["sha256"] == sha256(nightlies.wheel(name, days[0]))
    must(at.run("build", "--no-verify", ONE, TWO))
    assert gets(scene) == {"torch": 1, "torchvision": 1}


def lying(scene: Scene, day: dt.date) -> Nightlies:
    """torch with the sha256 of something else in its header."""
    nightlies = Nightlies(scene=scene, pythons=(PY,))
    nightlies.add("torchvision", day)
    scene.pytorch.add(
        nightlies.prefix,
        nightlies.wheel("torch", day),
        hashes=False,
        host=scene.files,
        folder=nightlies.prefix,
        headers={HEADER: "ab" * 32},
    )
    return nightlies


@builds
def test_a_server_that_lies_installs_nothing(at: Stage, scene: Scene, days: list[dt.date]) -> None:
    lying(scene, days[0])
    must(at.run("lock", ONE))
    assert artifacts(at, ONE)["torch"]["sha256"] == "ab" * 32
    cell = answer(at.run("--json", "build", "--no-verify", ONE), 5)["cells"][0]
    assert cell["class"] == "integrity"
    assert cell["environment"] is None
    assert "torch" in cell["error"]["message"]
    again = answer(at.run("--json", "build", "--no-verify", ONE), 5)["cells"][0]
    assert (again["created"], again["environment"]) == (False, None)


@pytest.mark.parametrize("header", [{HEADER: "not a hash"}, {"x-amz-checksum-sha256": "abc-3"}, {"etag-of": "x"}])
def test_a_header_that_is_no_hash_is_not_believed(
    tmp_path: Path, scene: Scene, days: list[dt.date], header: Mapping[str, str]
) -> None:
    nightlies = Nightlies(scene=scene, pythons=(PY,), options={"headers": header})
    nightlies.fill(days)
    at = project(tmp_path, scene)
    must(at.run("lock", ONE))
    assert provenance(at) == {"torch": "computed", "torchvision": "computed"}


def test_provenance_is_kept_through_another_place(
    tmp_path: Path, scene: Scene, cpu: Nightlies, days: list[dt.date]
) -> None:
    """Locked from the source by header, locked again through a mirror that says less: no line changes."""
    for name in ("torch", "torchvision"):
        wheel = cpu.wheel(name, days[0])
        scene.pytorch.add(
            cpu.prefix, wheel, hashes=False, host=scene.files, folder=cpu.prefix, headers={HEADER: sha256(wheel)}
        )
        scene.default.add("/mirror/whl/nightly/cpu", wheel, hashes=False)
    at = project(tmp_path, scene)
    must(at.run("lock", ONE))
    before = artifacts(at, ONE)
    assert provenance(at) == {"torch": "metadata", "torchvision": "metadata"}
    _add_package(at)
    mirrored = type(at)(
        project=at.project,
        env={**at.env, "TORCHMATRIX_MIRRORS": f"pytorch={scene.default.url}/mirror/whl"},
        program=at.program,
    )
    must(elsewhere(mirrored, tmp_path / "other").run("lock", ONE))
    after = artifacts(at, ONE)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"iniconfig"}


def _add_package(at: Stage) -> None:
    path = at.project / "matrix.yaml"
    path.write_text(path.read_text().replace("[torchvision]", "[torchvision, iniconfig]"))


# -- other bytes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def locked(at: Stage, cpu: Nightlies) -> Stage:
    must(at.run("lock", ONE))
    return at


def test_nothing_has_changed(tmp_path: Path, locked: Stage, cpu: Nightlies) -> None:
    before = locked.published()
    outcome = must(locked.run("lock", "--check", "--online", ONE))
    assert outcome.stderr == "1 lockfile up to date, and their sources serve the same bytes\n"
    assert outcome.stdout == ""
    told = answer(locked.run("--json", "lock", "--check", "--online", ONE))
    assert told == {"cells": [{"id": ONE, "up_to_date": True, "reasons": [], "warning": None, "deviations": []}]}
    cpu.scene.forget()
    must(elsewhere(locked, tmp_path / "fresh").run("lock", "--check", "--online", ONE))
    assert gets(cpu.scene) == {"torch": 1, "torchvision": 1}
    assert locked.published() == before


def test_online_asks_the_sources_and_offline_forbids_it(locked: Stage) -> None:
    assert "--online belongs to --check" in must(locked.run("lock", "--online"), 2).stderr
    assert "--offline forbids it" in must(locked.run("--offline", "lock", "--check", "--online"), 2).stderr


@pytest.mark.parametrize("fresh", [True, False], ids=["other-machine", "same-machine"])
def test_a_rebuilt_file_is_reported_with_both_hashes(
    tmp_path: Path, locked: Stage, cpu: Nightlies, days: list[dt.date], fresh: bool
) -> None:
    old = artifacts(locked, ONE)["torch"]
    new = rebuild(cpu, days[0], same_size=True)
    assert new != old["sha256"]
    asking = elsewhere(locked, tmp_path / "fresh") if fresh else locked
    told = answer(asking.run("--json", "lock", "--check", "--online", ONE), 5)["cells"][0]
    assert told["up_to_date"] is True
    assert [(one["artifact"], one["class"]) for one in told["deviations"]] == [("torch", "integrity")]
    message = told["deviations"][0]["message"]
    assert message == (
        f"source pytorch: {old['file']} is not the file that was locked: sha256 {new}, locked {old['sha256']}"
    )
    said = must(asking.run("lock", "--check", "--online", ONE), 5).stderr
    assert f"error: {ONE}: {message}" in said
    assert "hint: it was rebuilt under the same name" in said


def test_another_size_is_proof_without_a_download(locked: Stage, cpu: Nightlies, days: list[dt.date]) -> None:
    old = artifacts(locked, ONE)["torch"]
    rebuild(cpu, days[0])
    cpu.scene.forget()
    told = answer(locked.run("--json", "lock", "--check", "--online", ONE), 5)["cells"][0]
    message = told["deviations"][0]["message"]
    size = cpu.wheel("torch", days[0], note="rebuilt").stat().st_size
    assert old["file"] in message
    assert old["sha256"] in message
    assert f"it has {size} bytes, locked are {old['size']}" in message
    assert gets(cpu.scene) == {}


@builds
def test_a_rebuilt_file_is_not_installed(tmp_path: Path, locked: Stage, cpu: Nightlies, days: list[dt.date]) -> None:
    """On another machine; on this one the bytes that were locked are still here."""
    rebuild(cpu, days[0])
    cell = answer(elsewhere(locked, tmp_path / "fresh").run("--json", "build", "--no-verify", ONE), 5)["cells"][0]
    assert (cell["class"], cell["environment"]) == ("integrity", None)
    message = cell["error"]["message"]
    assert "torch" in message
    assert artifacts(locked, ONE)["torch"]["sha256"] in message
    must(locked.run("build", "--no-verify", ONE))


def test_locking_again_refuses_other_bytes(locked: Stage, cpu: Nightlies, days: list[dt.date]) -> None:
    old, new = artifacts(locked, ONE)["torch"], rebuild(cpu, days[0])
    before = locked.published()
    _add_package(locked)
    cell = answer(locked.run("--json", "lock", ONE), 5)["cells"][0]
    assert cell["class"] == "integrity"
    assert cell["error"]["message"] == (
        f"source pytorch: {old['file']} is not the file that was locked: sha256 {new}, locked {old['sha256']}"
    )
    assert "torchmatrix lock --upgrade" in cell["error"]["hint"]
    assert locked.published() == before


@pytest.mark.parametrize("arguments", [["--upgrade"], ["--upgrade=torch"]])
def test_an_upgrade_takes_other_bytes_and_says_so(
    locked: Stage, cpu: Nightlies, days: list[dt.date], arguments: list[str]
) -> None:
    new = rebuild(cpu, days[0])
    cell = answer(locked.run("--json", "lock", *arguments, ONE))["cells"][0]
    changes = [(change["name"], change["change"]) for change in cell["changes"]]
    assert changes == [("torch", "rebuilt")]
    assert cell["changes"][0]["after"]["sha256"] == new
    assert artifacts(locked, ONE)["torch"]["sha256"] == new
    must(locked.run("lock", "--check", "--online", ONE))


def test_an_upgrade_says_rebuilt_in_words(locked: Stage, cpu: Nightlies, days: list[dt.date]) -> None:
    rebuild(cpu, days[0])
    file = artifacts(locked, ONE)["torch"]["file"]
    said = must(locked.run("lock", "--upgrade", ONE)).stderr
    assert f"    rebuilt torch {cpu.version('torch', days[0])}: {file} has other bytes\n" in said


@pytest.mark.parametrize("how", ["delisted", "page", "file"])
def test_a_file_that_is_gone(locked: Stage, cpu: Nightlies, days: list[dt.date], how: str) -> None:
    """Not listed any more; nothing of the package listed; listed, but not served."""
    file = artifacts(locked, ONE)["torchvision"]["file"]
    match how:
        case "delisted":
            cpu.drop("torchvision", days[0])
        case "page":
            for day in days:
                cpu.drop("torchvision", day)
        case "file":
            cpu.scene.files.missing = 404
            cpu.scene.files._bodies.pop(f"{cpu.prefix}/{file}")
        case _:
            raise AssertionError(how)
    told = answer(locked.run("--json", "lock", "--check", "--online", ONE), 4)["cells"][0]
    assert [one["artifact"] for one in told["deviations"]] == ["torchvision"]
    assert told["deviations"][0]["message"].startswith(f"source pytorch: {file} is gone: ")
    assert told["deviations"][0]["class"] == "unreachable"
    said = must(locked.run("lock", "--check", "--online", ONE), 4).stderr
    assert "the index keeps nightlies for about 60 days" in said
    assert "torchmatrix unbundle" in said


def test_drift_outweighs_what_is_gone_and_both_are_told(locked: Stage, cpu: Nightlies, days: list[dt.date]) -> None:
    rebuild(cpu, days[0])
    cpu.drop("torchvision", days[0])
    told = answer(locked.run("--json", "lock", "--check", "--online", ONE), 5)["cells"][0]
    assert {one["artifact"]: one["class"] for one in told["deviations"]} == {
        "torch": "integrity",
        "torchvision": "unreachable",
    }


def test_a_source_that_does_not_answer_is_no_drift(locked: Stage, cpu: Nightlies) -> None:
    cpu.scene.pytorch.stop()
    told = answer(locked.run("--json", "lock", "--check", "--online", ONE), 4)["cells"][0]
    assert [(one["artifact"], one["class"]) for one in told["deviations"]] == [(None, "unreachable")]
    assert "cannot be reached" in told["deviations"][0]["message"]


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
    assert old["file"] in cell["error"]["message"]
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


# -- expiry ---------------------------------------------------------------------------------------------------------


def sample(expires: dt.date | None) -> Lockfile:
    from packaging.version import Version

    return Lockfile(
        cell="py312-nightly-linux",
        python="3.12",
        channel="nightly",
        target="linux",
        platform="linux-64",
        accelerator="cpu",
        backend="pip",
        floor="glibc 2.28",
        torch=Version("2.16.0.dev20261120+cpu"),
        input_digest="sha256:0",
        expires=expires,
    )


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (60, None),
        (WARN_DAYS + 1, None),
        (WARN_DAYS, "will not list torch 2.16.0.dev20261120+cpu any more in 14 days, on 2027-01-19"),
        (2, "will not list torch 2.16.0.dev20261120+cpu any more in 2 days, on 2027-01-19"),
        (1, "will not list torch 2.16.0.dev20261120+cpu any more in 1 day, on 2027-01-19"),
        (0, "may not list torch 2.16.0.dev20261120+cpu any more since about 2027-01-19"),
        (-400, "may not list torch 2.16.0.dev20261120+cpu any more since about 2027-01-19"),
    ],
)
def test_the_warning_before_and_after_the_day(left: int, words: str | None) -> None:
    assert WARN_DAYS == 14
    expires = dt.date(2027, 1, 19)
    warning = expiry_warning(sample(expires), expires - dt.timedelta(days=left))
    if words is None:
        assert warning is None
    else:
        assert warning == (
            f"py312-nightly-linux: the index {words}; keep it with `torchmatrix bundle py312-nightly-linux`, or renew "
            "it with `torchmatrix lock py312-nightly-linux --upgrade`"
        )


def test_no_warning_without_a_lockfile_or_a_date() -> None:
    assert expiry_warning(None, TODAY) is None
    assert expiry_warning(sample(None), TODAY) is None


@pytest.mark.parametrize(("age", "warned"), [(30, False), (44, False), (48, True), (59, True), (90, True)])
def test_what_is_said_about_an_ageing_lockfile(tmp_path: Path, scene: Scene, age: int, warned: bool) -> None:
    """``list`` and ``lock --check`` warn on stderr and keep their exit codes and their stdout."""
    day = TODAY - dt.timedelta(days=age)
    Nightlies(scene=scene, pythons=(PY,)).fill([day])
    at = project(tmp_path, scene)
    must(at.run("lock", ONE))
    expires = day + dt.timedelta(days=60)
    assert record(at, ONE)["expires"] == str(expires)
    start = f"warning: {ONE}: the index "
    for arguments in (["list", ONE], ["lock", "--check", ONE]):
        outcome = must(at.run(*arguments))
        assert (start in outcome.stderr) is warned
        assert ("bundle" in outcome.stderr) is warned
        assert "warning" not in outcome.stdout
    checked: dict[str, Any] = answer(at.run("--json", "lock", "--check", ONE))["cells"][0]
    assert checked["up_to_date"] is True
    assert (checked["warning"] is not None) is warned
    if warned:
        assert str(expires) in checked["warning"]


def test_the_other_cell_is_not_warned_about(tmp_path: Path, scene: Scene) -> None:
    Nightlies(scene=scene, pythons=(PY,)).fill([TODAY - dt.timedelta(days=55)])
    at = project(tmp_path, scene)
    must(at.run("lock", ONE))
    said = must(at.run("list")).stderr
    assert ONE in said
    assert TWO not in said


def test_a_release_does_not_expire(tmp_path: Path, scene_wheels: Path) -> None:
    from tests.support.pytorch import pytorch_scene

    with pytorch_scene(scene_wheels) as stable:
        at = stage(tmp_path, stable)
        must(at.run("lock"))
        assert "expires" not in record(at)
        assert "index" not in must(at.run("list")).stderr
        assert answer(at.run("--json", "lock", "--check"))["cells"][0]["warning"] is None
