"""A sha256 for everything, whoever says it; the same name with other bytes; files that are gone; expiry."""

from __future__ import annotations

import base64
import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import PY, answer, artifacts, at_source, must, record, stage
from tests.support.backends import (
    elsewhere,
)
from tests.support.nightlies import Nightlies, last_days, nightly_scene
from tests.support.stage import HERE, SCENE_HAS_IT
from tests.support.wheels import sha256
from torchmatrix.cli.expiry import WARN_DAYS, expiry_warning
from torchmatrix.lock.model import Lockfile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

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
