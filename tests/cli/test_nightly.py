"""Nightlies: the newest complete day, a named day, never two days in one cell, never a release instead."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.project import answer, artifacts, at_source, must, record, stage
from tests.support.nightlies import COUNT, NEWEST, NUMBERS, Nightlies, last_days, nightly_scene
from tests.support.pytorch import MACOS, torch_wheel
from tests.support.wheels import build_wheel
from torchmatrix.sources.nightlies import day_of
from torchmatrix.target import Accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.pytorch import Scene
    from tests.support.stage import Stage

CELL = "py312-nightly-linux"
DAY = dt.timedelta(days=1)
WHERE = "Python 3.12 on linux-64"


@pytest.fixture
def scene(scene_wheels: Path) -> Iterator[Scene]:
    """An index without nightlies so far."""
    with nightly_scene(scene_wheels) as scene:
        yield scene


@pytest.fixture
def days() -> list[dt.date]:
    """Six days are as good as sixty where the window plays no part."""
    return last_days(count=6)


@pytest.fixture
def cpu(scene: Scene, days: list[dt.date]) -> Nightlies:
    """torch and torchvision for the CPU, complete on every day."""
    nightlies = Nightlies(scene=scene)
    nightlies.fill(days)
    return nightlies


@pytest.fixture
def cuda(scene: Scene, days: list[dt.date]) -> Nightlies:
    """The same for CUDA with its triton."""
    nightlies = Nightlies(scene=scene, accelerator="cu130")
    nightlies.fill(days)
    nightlies.add_triton()
    return nightlies


def matrix(
    torch: str = "nightly",
    *,
    accelerator: str = "cpu",
    packages: str = "torchvision",
    python: str = '"3.12"',
    platform: str = "linux-64",
) -> str:
    return (
        "version: 1\n"
        f"axes: {{python: [{python}], channel: [nightly], target: [linux]}}\n"
        f"channels: {{nightly: {{torch: {torch}}}}}\n"
        f"targets: {{linux: {{platform: {platform}, accelerator: {accelerator}, sandbox: native}}}}\n"
        f"packages: [{packages}]\n"
    )


def project(folder: Path, scene: Scene, text: str, **environ: str) -> Stage:
    """A project whose source ``pytorch`` is the scene itself, not a mirror."""
    at = stage(folder, None, text, TORCHMATRIX_DEFAULT_INDEX=scene.default_url, **environ)
    return at_source(at, scene.pytorch_url)


def locked_days(at: Stage, cell: str = CELL) -> set[dt.date]:
    """The days of what is locked: more than one would be a mixture."""
    found = {day_of_text(one["version"]) for one in artifacts(at, cell).values()}
    return {day for day in found if day is not None}


def day_of_text(version: str) -> dt.date | None:
    from packaging.version import Version

    return day_of(Version(version))


def failure(at: Stage, *arguments: str, code: int = 1) -> str:
    """The message of the one cell, when the run ends with ``code``; nothing is published."""
    before = at.published() if at.envs.exists() else {}
    told = answer(at.run("--json", "lock", *arguments), code)
    assert (at.published() if at.envs.exists() else {}) == before
    error = told["cells"][0]["error"] if "cells" in told else told["error"]
    return str(error["message"])


# -- the newest complete day ----------------------------------------------------------------------------------------


def test_the_newest_day_of_sixty(tmp_path: Path, scene: Scene) -> None:
    window = last_days()
    assert len(window) == COUNT == 60
    nightlies = Nightlies(scene=scene)
    nightlies.fill(window)
    at = project(tmp_path, scene, matrix())
    cell = answer(at.run("--json", "lock"))["cells"][0]
    found = artifacts(at, CELL)
    assert found["torch"]["version"] == nightlies.version("torch", NEWEST)
    assert found["torchvision"]["version"] == nightlies.version("torchvision", NEWEST)
    assert locked_days(at) == {NEWEST}
    assert {found[name]["source"] for name in ("torch", "torchvision")} == {"pytorch"}
    assert {one["source"] for name, one in found.items() if not name.startswith("torch")} == {"pypi"}
    assert not [note for note in cell["remarks"] if "nightly of" in note]
    assert record(at, CELL)["expires"] == str(NEWEST + 60 * DAY)


def test_every_package_is_of_one_day(tmp_path: Path, cuda: Nightlies, days: list[dt.date]) -> None:
    cuda.fill(days[2:], ["torchaudio"])
    at = project(tmp_path, cuda.scene, matrix(accelerator="cu130", packages="torchvision, torchaudio"))
    must(at.run("lock"))
    assert locked_days(at) == {days[2]}
    assert artifacts(at, CELL)["pytorch-triton"]["version"] == cuda.triton


def spoil(nightlies: Nightlies, day: dt.date, how: str) -> str:
    """Spoil a day; what is said to be missing."""
    match how:
        case "no torchvision":
            nightlies.drop("torchvision", day)
            return "torchvision"
        case "no torch for this Python":
            nightlies.add("torch", day, python="313")
            nightlies.drop("torch", day)
            return "torch"
        case "torchvision of another platform":
            nightlies.drop("torchvision", day)
            nightlies.add("torchvision", day, platform="manylinux_2_28_aarch64")
            return "torchvision"
        case "torch yanked":
            nightlies.yank("torch", day)
            return "torch"
        case "torchvision yanked":
            nightlies.yank("torchvision", day)
            return "torchvision"
        case "torchvision for the torch of the day before":
            nightlies.drop("torchvision", day)
            torch = f"{NUMBERS['torch']}.dev{day - DAY:%Y%m%d}"
            nightlies.add("torchvision", day, torch=torch)
            version = nightlies.version("torchvision", day)
            return f"torchvision for its torch (torchvision {version} needs torch=={torch})"
        case "another triton":
            nightlies.drop("torch", day)
            nightlies.add("torch", day, triton="3.9.0+gitffffffff")
            return "pytorch-triton==3.9.0+gitffffffff"
        case _:
            raise AssertionError(how)


SPOILT = [
    "no torchvision",
    "no torch for this Python",
    "torchvision of another platform",
    "torch yanked",
    "torchvision yanked",
    "torchvision for the torch of the day before",
    "another triton",
]


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_newest_day_is_passed_over_with_a_note(
    tmp_path: Path, cuda: Nightlies, days: list[dt.date], how: str
) -> None:
    lacking = spoil(cuda, days[0], how)
    at = project(tmp_path, cuda.scene, matrix(accelerator="cu130"))
    cell = answer(at.run("--json", "lock"))["cells"][0]
    assert locked_days(at) == {days[1]}
    note = f"nightly of {days[1]}: that of {days[0]} has no {lacking} for {WHERE} cu130"
    assert note in cell["remarks"]
    assert f"    note: {note}\n" in must(at.run("lock", "--upgrade")).stderr


def test_several_spoilt_days_name_the_newest(tmp_path: Path, cuda: Nightlies, days: list[dt.date]) -> None:
    for day, how in zip(days, SPOILT[:3], strict=False):
        spoil(cuda, day, how)
    at = project(tmp_path, cuda.scene, matrix(accelerator="cu130"))
    notes = [note for note in answer(at.run("--json", "lock"))["cells"][0]["remarks"] if "nightly of" in note]
    assert locked_days(at) == {days[3]}
    assert notes == [f"nightly of {days[3]}: that of {days[0]} has no torchvision for {WHERE} cu130"]


def test_more_days_without_triton_than_are_resolved(tmp_path: Path, scene: Scene) -> None:
    """Asking METADATA is cheap: however long triton was missing, the newest complete day is found."""
    cuda = Nightlies(scene=scene, accelerator="cu130")
    window = last_days(count=14)
    cuda.fill(window[12:])
    for day in window[:12]:
        cuda.add("torch", day, triton="3.9.0+gitffffffff")
        cuda.add("torchvision", day)
    cuda.add_triton()
    at = project(tmp_path, scene, matrix(accelerator="cu130"))
    must(at.run("lock"))
    assert locked_days(at) == {window[12]}


def test_two_versions_on_one_day(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    """A branch cut: torch is built as 2.16 and 2.17 on one day, and torchvision still needs 2.16."""
    cpu.add("torch", days[0], number="2.17.0")
    at = project(tmp_path / "with", cpu.scene, matrix())
    must(at.run("lock"))
    assert artifacts(at, CELL)["torch"]["version"] == cpu.version("torch", days[0])
    alone = project(tmp_path / "without", cpu.scene, matrix(packages="numpy"))
    must(alone.run("lock"))
    assert artifacts(alone, CELL)["torch"]["version"] == cpu.version("torch", days[0], "2.17.0")


def test_two_versions_of_both_on_one_day(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    """The higher torchvision needs a torch that is not there; the lower one fits."""
    cpu.add("torchvision", days[0], number="0.32.0", torch="2.17.0")
    at = project(tmp_path, cpu.scene, matrix())
    must(at.run("lock"))
    assert artifacts(at, CELL)["torchvision"]["version"] == cpu.version("torchvision", days[0])
    assert locked_days(at) == {days[0]}


def test_companions_that_need_different_torches(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    """Each of them alone would fit one of the day's two versions of torch, both together fit none."""
    cpu.add("torch", days[0], number="2.17.0")
    for day in days:
        torch = cpu.version("torch", day, "2.17.0" if day == days[0] else None).partition("+")[0]
        folder = cpu.scene.wheels / "audio-that-pins"
        version, tag = cpu.version("torchaudio", day), "cp312-cp312-manylinux_2_28_x86_64"
        cpu.place(build_wheel(folder, "torchaudio", version, tag=tag, requires=[f"torch=={torch}"]))
    at = project(tmp_path, cpu.scene, matrix(packages="torchvision, torchaudio"))
    must(at.run("lock"))
    assert locked_days(at) == {days[1]}


def test_without_any_complete_day(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    for day in days:
        cpu.drop("torchvision", day)
    message = failure(project(tmp_path, cpu.scene, matrix()))
    assert message == (
        f"{CELL}: no day that the index lists is complete for {WHERE} cpu: torchvision is missing on all 6"
    )


def test_without_any_triton(tmp_path: Path, cuda: Nightlies, days: list[dt.date]) -> None:
    cuda.scene.pytorch.remove(cuda.prefix, f"pytorch_triton-{cuda.triton}-cp312-cp312-{_triton_tag()}.whl")
    message = failure(project(tmp_path, cuda.scene, matrix(accelerator="cu130")))
    assert message.startswith(f"{CELL}: all complete days lack what their torch needs for {WHERE} cu130: {days[0]}: ")
    assert f"pytorch-triton=={cuda.triton}" in message
    assert message.endswith(" (and 3 more)")


def _triton_tag() -> str:
    from tests.support.pytorch import TRITON_TAG

    return TRITON_TAG


@pytest.mark.parametrize("status", [403, 404])
def test_an_accelerator_without_a_nightly_page(tmp_path: Path, scene: Scene, status: int) -> None:
    scene.pytorch.missing = status
    message = failure(project(tmp_path, scene, matrix()))
    assert message.startswith(f"{CELL}: ")
    assert f"/whl/nightly/cpu/torch/ lists no torch (it answered {status})" in message


def test_a_page_that_fails_is_no_missing_day(tmp_path: Path, cpu: Nightlies) -> None:
    cpu.scene.pytorch.fail("/whl/nightly/cpu/torchvision/", status=401)
    message = failure(project(tmp_path, cpu.scene, matrix(), UV_HTTP_RETRIES="0"), code=4)
    assert "answered 401" in message


def test_the_page_of_a_companion_is_not_there(tmp_path: Path, cpu: Nightlies) -> None:
    message = failure(project(tmp_path, cpu.scene, matrix(packages="torchvision, torchaudio")))
    assert "torchaudio is missing on all 6" in message


# -- nothing else ---------------------------------------------------------------------------------------------------


def test_never_a_release_instead(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    """Releases on the nightly pages and a higher torch on the default index change nothing."""
    folder, tag = cpu.scene.wheels / "intruders", "cp312-cp312-manylinux_2_28_x86_64"
    cpu.place(torch_wheel(folder, "2.99.0+cpu", tag))
    cpu.place(build_wheel(folder, "torchvision", "0.99.0+cpu", tag=tag))
    at = project(tmp_path, cpu.scene, matrix())
    must(at.run("lock"))
    assert locked_days(at) == {days[0]}
    assert artifacts(at, CELL)["torch"]["version"] == cpu.version("torch", days[0])


def test_a_companion_that_something_else_needs_is_of_the_same_day(
    tmp_path: Path, cpu: Nightlies, days: list[dt.date]
) -> None:
    """torchaudio does not pin torch: left alone uv would take its newest day, or a release of it."""
    cpu.fill(days, ["torchaudio"])
    cpu.drop("torchvision", days[0])
    folder, tag = cpu.scene.wheels / "intruders", "cp312-cp312-manylinux_2_28_x86_64"
    cpu.place(build_wheel(folder, "torchaudio", "2.99.0+cpu", tag=tag))
    user = build_wheel(folder, "listener", "1.0", requires=["torchaudio"])
    cpu.scene.default.add("/simple", user, host=cpu.scene.files, folder="/packages")
    at = project(tmp_path, cpu.scene, matrix(packages="torchvision, listener"))
    must(at.run("lock"))
    assert locked_days(at) == {days[1]}
    assert artifacts(at, CELL)["torchaudio"]["version"] == cpu.version("torchaudio", days[1])


def test_no_stand_in_and_no_release_where_nightlies_fail(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    """A demand that no nightly fulfils ends the cell; newer days that do not resolve are said."""
    message = failure(project(tmp_path, cpu.scene, matrix(packages='torchvision, "no-such-package"')))
    assert "no-such-package" in message


def test_a_day_that_does_not_resolve_is_said(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    cpu.scene.pytorch.remove(cpu.prefix, cpu.wheel("torch", days[0]).name)
    broken = torch_wheel(
        cpu.scene.wheels / "broken",
        cpu.version("torch", days[0]),
        "cp312-cp312-manylinux_2_28_x86_64",
        requires=["numpy==9999"],
    )
    cpu.place(broken)
    at = project(tmp_path, cpu.scene, matrix())
    cell = answer(at.run("--json", "lock"))["cells"][0]
    assert locked_days(at) == {days[1]}
    assert any(note.startswith(f"nightly of {days[1]}: newer ones do not resolve (") for note in cell["remarks"])


@pytest.mark.parametrize("ranges", [True, False])
def test_without_separate_metadata(tmp_path: Path, scene: Scene, days: list[dt.date], ranges: bool) -> None:
    """No PEP 658: what torch needs is found by resolving; a torchvision that does not fit costs its day."""
    scene.files.ranges = ranges
    cuda = Nightlies(scene=scene, accelerator="cu130", options={"metadata": False})
    cuda.fill(days)
    cuda.add_triton()
    spoil(cuda, days[0], "torchvision for the torch of the day before")
    spoil(cuda, days[1], "another triton")
    at = project(tmp_path, scene, matrix(accelerator="cu130"))
    must(at.run("lock"))
    assert locked_days(at) == {days[2]}
    assert artifacts(at, CELL)["pytorch-triton"]["version"] == cuda.triton


# -- a named day ----------------------------------------------------------------------------------------------------


def test_a_named_day_is_taken_exactly(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    at = project(tmp_path, cpu.scene, matrix(f"nightly {days[3]}"))
    cell = answer(at.run("--json", "lock"))["cells"][0]
    assert locked_days(at) == {days[3]}
    assert not [note for note in cell["remarks"] if "nightly of" in note]
    before = at.published()
    must(at.run("lock", "--upgrade"))
    assert at.published() == before


@pytest.mark.parametrize("how", SPOILT)
def test_a_named_day_that_is_spoilt_names_the_nearest(
    tmp_path: Path, cuda: Nightlies, days: list[dt.date], how: str
) -> None:
    lacking = spoil(cuda, days[2], how)
    at = project(tmp_path, cuda.scene, matrix(f"nightly {days[2]}", accelerator="cu130"))
    assert failure(at) == (
        f"{CELL}: no nightly of {days[2]} has {lacking} for {WHERE} cu130; "
        f"nearest complete days: {days[3]}, {days[1]}, {days[4]}"
    )


def test_the_nearest_days_are_complete_themselves(tmp_path: Path, cuda: Nightlies, days: list[dt.date]) -> None:
    for day in (days[2], days[3]):
        spoil(cuda, day, "another triton")
    spoil(cuda, days[1], "no torchvision")
    at = project(tmp_path, cuda.scene, matrix(f"nightly {days[2]}", accelerator="cu130"))
    assert failure(at).endswith(f"; nearest complete days: {days[4]}, {days[0]}, {days[5]}")


def test_a_day_before_the_window(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    message = failure(project(tmp_path, cpu.scene, matrix("nightly 2026-09-01")))
    assert message == (
        f"{CELL}: the index lists nightlies from {days[-1]} to {days[0]} only (it keeps the newest 60); "
        f"nearest complete days: {days[5]}, {days[4]}, {days[3]}"
    )


def test_a_day_of_the_future(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    message = failure(project(tmp_path, cpu.scene, matrix("nightly 2031-01-01")))
    assert message == (
        f"{CELL}: the index lists nightlies from {days[-1]} to {days[0]} only; "
        f"nearest complete days: {days[0]}, {days[1]}, {days[2]}"
    )


def test_a_day_without_any_nightly(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    for name in ("torch", "torchvision"):
        cpu.drop(name, days[2])
    message = failure(project(tmp_path, cpu.scene, matrix(f"nightly {days[2]}")))
    assert message.startswith(f"{CELL}: no nightly of {days[2]} is listed; nearest complete days: {days[3]}, ")


# -- other places and platforms -------------------------------------------------------------------------------------


def test_a_flat_folder_of_nightlies(tmp_path: Path, scene: Scene, days: list[dt.date]) -> None:
    """Both accelerators, several days and a release in one folder; the cell gets its build of the newest day."""
    folder = tmp_path / "flat"
    folder.mkdir()
    wheels = [torch_wheel(scene.wheels / "flat", "2.99.0+cpu", "cp312-cp312-manylinux_2_28_x86_64")]
    for accelerator in ("cpu", "cu130"):
        nightlies = Nightlies(scene=scene, accelerator=accelerator)
        wheels += [nightlies.wheel(name, day) for day in days[:3] for name in ("torch", "torchvision")]
    for wheel in wheels:
        shutil.copy(wheel, folder)
    (folder / Nightlies(scene=scene).wheel("torchvision", days[0]).name).unlink()
    at = stage(
        tmp_path,
        None,
        matrix(),
        TORCHMATRIX_DEFAULT_INDEX=scene.default_url,
        TORCHMATRIX_MIRRORS=f"pytorch={folder.as_uri()}",
    )
    must(at.run("lock"))
    found = artifacts(at, CELL)
    assert locked_days(at) == {days[1]}
    assert found["torch"]["version"].endswith("+cpu")
    assert found["torch"]["hash_from"] == "computed"
    assert scene.pytorch.requests == []


def test_the_same_lockfile_through_a_mirror_and_a_folder(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    """Pages without hashes, a mirror that computes them, a folder of wheels: byte for byte the same record."""
    source = project(tmp_path / "source", cpu.scene, matrix())
    must(source.run("lock"))
    for name in ("torch", "torchvision"):
        wheel = cpu.wheel(name, days[0])
        cpu.scene.files.add("/mirror/whl/nightly/cpu", wheel, hashes=True)
        (tmp_path / "flat").mkdir(exist_ok=True)
        shutil.copy(wheel, tmp_path / "flat")
    for number, place in enumerate([f"{cpu.scene.files.url}/mirror/whl", (tmp_path / "flat").as_uri()]):
        at = stage(
            tmp_path / f"mirror-{number}",
            None,
            matrix(),
            TORCHMATRIX_DEFAULT_INDEX=cpu.scene.default_url,
            TORCHMATRIX_MIRRORS=f"pytorch={place}",
        )
        must(at.run("lock"))
        assert at.published() == source.published()


def test_macos(tmp_path: Path, scene: Scene, days: list[dt.date]) -> None:
    """No local version, one wheel for cpu and mps, the index for nightlies also where releases are the default's."""
    nightlies = Nightlies(scene=scene)
    for day in days[:3]:
        for name in ("torch", "torchvision"):
            nightlies.add(name, day, platform=MACOS)
            nightlies.add(name, day)
    scene.pytorch.remove(nightlies.prefix, nightlies.wheel("torchvision", days[0], platform=MACOS).name)
    at = project(tmp_path, scene, matrix(accelerator="mps", platform="osx-arm64"))
    must(at.run("lock"))
    found = artifacts(at, CELL)
    assert found["torch"]["version"] == nightlies.version("torch", days[1], macos=True)
    assert found["torch"]["file"].endswith(f"-cp312-none-{MACOS}.whl")
    assert locked_days(at) == {days[1]}


def test_cells_of_one_run_may_have_different_days(tmp_path: Path, scene: Scene, days: list[dt.date]) -> None:
    both = Nightlies(scene=scene, pythons=("312", "313"))
    both.fill(days)
    both.drop("torch", days[0], python="313")
    at = project(tmp_path, scene, matrix(python='"3.12", "3.13"'))
    cells = {cell["id"]: cell for cell in answer(at.run("--json", "lock"))["cells"]}
    newer, older = CELL, "py313-nightly-linux"
    assert locked_days(at, newer) == {days[0]}
    assert locked_days(at, older) == {days[1]}
    note = f"nightly of {days[1]}: that of {days[0]} has no torch for Python 3.13 on linux-64 cpu"
    assert note in cells[older]["remarks"]
    assert not [note for note in cells[newer]["remarks"] if "nightly of" in note]


# -- locking again --------------------------------------------------------------------------------------------------


@pytest.fixture
def locked(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> Stage:
    """Locked on a day after which two more have come."""
    newer = [(name, day) for day in days[:2] for name in ("torch", "torchvision")]
    for name, day in newer:
        cpu.drop(name, day)
    at = project(tmp_path, cpu.scene, matrix())
    must(at.run("lock"))
    assert locked_days(at) == {days[2]}
    for name, day in newer:
        cpu.add(name, day)
    return at


def add_package(at: Stage, name: str) -> None:
    path = at.project / "matrix.yaml"
    path.write_text(path.read_text().replace("packages: [torchvision]", f"packages: [torchvision, {name}]"))


def test_locking_again_asks_nobody(locked: Stage, cpu: Nightlies) -> None:
    before = locked.published()
    cpu.scene.forget()
    must(locked.run("lock"))
    must(locked.run("lock", "--check"))
    assert locked.published() == before
    assert cpu.scene.pytorch.requests == []


def test_another_package_keeps_the_day(locked: Stage, days: list[dt.date]) -> None:
    held = artifacts(locked, CELL)
    add_package(locked, "iniconfig")
    cell = answer(locked.run("--json", "lock"))["cells"][0]
    found = artifacts(locked, CELL)
    assert {name: found[name] for name in held} == held
    assert set(found) - set(held) == {"iniconfig"}
    assert locked_days(locked) == {days[2]}
    assert not [note for note in cell["remarks"] if "nightly of" in note]


@pytest.mark.parametrize("arguments", [["--upgrade"], ["--upgrade=torch"], ["--upgrade=torchvision"]])
def test_an_upgrade_moves_on(locked: Stage, days: list[dt.date], arguments: list[str]) -> None:
    cell = answer(locked.run("--json", "lock", *arguments))["cells"][0]
    assert locked_days(locked) == {days[0]}
    assert {change["name"]: change["change"] for change in cell["changes"]} == {
        "torch": "upgraded",
        "torchvision": "upgraded",
    }
    assert record(locked, CELL)["expires"] == str(days[0] + 60 * DAY)


def test_an_upgrade_of_something_else_keeps_the_day(locked: Stage, days: list[dt.date]) -> None:
    must(locked.run("lock", "--upgrade=numpy"))
    assert locked_days(locked) == {days[2]}


def test_a_locked_day_that_lacks_the_new_companion(locked: Stage, cpu: Nightlies, days: list[dt.date]) -> None:
    cpu.fill(days[:2], ["torchaudio"])
    add_package(locked, "torchaudio")
    cell = answer(locked.run("--json", "lock"))["cells"][0]
    assert locked_days(locked) == {days[0]}
    note = f"nightly of {days[0]}: that of {days[2]}, which was locked, has no torchaudio for {WHERE} cpu"
    assert note in cell["remarks"]


def test_a_locked_day_that_is_gone(locked: Stage, cpu: Nightlies, days: list[dt.date]) -> None:
    for name in ("torch", "torchvision"):
        cpu.drop(name, days[2])
    add_package(locked, "iniconfig")
    cell = answer(locked.run("--json", "lock"))["cells"][0]
    assert locked_days(locked) == {days[0]}
    assert f"nightly of {days[0]}: that of {days[2]}, which was locked, is not listed any more" in cell["remarks"]


def test_from_any_day_to_a_named_one_and_back(locked: Stage, days: list[dt.date]) -> None:
    path = locked.project / "matrix.yaml"
    text = path.read_text()
    path.write_text(text.replace("{torch: nightly}", f"{{torch: nightly {days[4]}}}"))
    assert f"torch: nightly -> nightly {days[4]}" in must(locked.run("lock", "--check"), 3).stderr
    must(locked.run("lock"))
    assert locked_days(locked) == {days[4]}
    path.write_text(text)
    must(locked.run("lock"))
    assert len(locked_days(locked)) == 1


# -- as of ----------------------------------------------------------------------------------------------------------


def test_as_of_takes_the_newest_complete_day_up_to_it(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    """All files were stored after every day: the date in the version counts, not the storage's."""
    spoil(cpu, days[0], "no torchvision")
    spoil(cpu, days[2], "no torchvision")
    at = project(tmp_path, cpu.scene, matrix())
    cell = answer(at.run("--json", "lock", "--as-of", str(days[2])))["cells"][0]
    assert locked_days(at) == {days[3]}
    assert record(at, CELL)["as_of"] == str(days[2])
    note = f"nightly of {days[3]}: that of {days[2]} has no torchvision for {WHERE} cpu"
    assert [one for one in cell["remarks"] if "nightly of" in one] == [note]


def test_as_of_a_day_before_the_window(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    message = failure(project(tmp_path, cpu.scene, matrix()), "--as-of", "2026-09-15")
    assert f"the index lists nightlies from {days[-1]} to {days[0]} only (it keeps the newest 60)" in message


def test_a_named_day_later_than_the_as_of_date(tmp_path: Path, cpu: Nightlies, days: list[dt.date]) -> None:
    message = failure(project(tmp_path, cpu.scene, matrix(f"nightly {days[1]}")), "--as-of", str(days[2]), code=2)
    assert message == f"torch: nightly {days[1]} is later than the as-of date {days[2]}"
    assert cpu.scene.pytorch.requests == []


def test_the_accelerators_of_this_file_are_built_as_nightlies() -> None:
    """When the catalog says they ended, the cells above are dropped: name others."""
    from pathlib import Path

    import torchmatrix
    from torchmatrix.catalog import load_catalog
    from torchmatrix.catalog.nightly import current_nightlies
    from torchmatrix.target import Platform

    raw: Any = json.loads((Path(torchmatrix.__file__).parent / "catalog" / "catalog.json").read_text())
    assert raw["nightly"]["keep"] == COUNT
    current = current_nightlies(load_catalog(Path("none")), Platform("linux-64"))
    assert {"cpu", "cu130"} <= {Accelerator.parse(label).label for label in current}


def test_offline_asks_nobody(tmp_path: Path, cpu: Nightlies) -> None:
    at = project(tmp_path, cpu.scene, matrix())
    told = answer(at.run("--json", "--offline", "lock"), 4)["cells"][0]
    assert "--offline, and only the pages of source pytorch say which nightlies there are" in told["error"]["message"]
    assert cpu.scene.pytorch.requests == []
    assert cpu.scene.files.requests == []


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def garbled(path: Path) -> None:
    """Another compression than any that there is, in the directory at the end of the archive and in the file's head."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        entry = next(one for one in archive.infolist() if one.filename.endswith("/METADATA"))
    data = bytearray(path.read_bytes())
    name = entry.filename.encode()
    data[entry.header_offset + 8 : entry.header_offset + 10] = b"\x63\x00"
    listed = data.rindex(name) - 46
    data[listed + 10 : listed + 12] = b"\x63\x00"
    path.write_bytes(bytes(data))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [truncated, garbled, empty])
def test_a_broken_wheel_in_a_folder_is_named(
    tmp_path: Path, scene: Scene, days: list[dt.date], spoil: Callable[[Path], None]
) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    nightlies = Nightlies(scene=scene)
    for name in ("torch", "torchvision"):
        shutil.copy(nightlies.wheel(name, days[0]), folder)
    torch = folder / nightlies.wheel("torch", days[0]).name
    spoil(torch)
    at = stage(
        tmp_path,
        None,
        matrix(),
        TORCHMATRIX_DEFAULT_INDEX=scene.default_url,
        TORCHMATRIX_MIRRORS=f"pytorch={folder}",
    )
    error = answer(at.run("--json", "lock"), 4)["cells"][0]["error"]
    assert error["message"].startswith(f"source pytorch: {torch} is not a whole wheel: ")
    assert error["hint"] == "copy that file into the mirror again, or remove it there"
