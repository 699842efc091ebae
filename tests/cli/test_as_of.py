"""``lock --as-of``: releases by the catalog's dates, the default index by upload time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import answer, artifacts, at_source, must, record, stage
from tests.support.nightlies import nightly_scene
from tests.support.pytorch import LINUX, torch_wheel, torchvision_wheel
from tests.support.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.pytorch import Scene
    from tests.support.stage import Stage

LINUX_CELL, MAC_CELL = "py312-stable-linux", "py312-stable-mac"
MACOS = "macosx_11_0_arm64"
MATRIX = """\
version: 1
axes: {python: ["3.12"], channel: [stable], target: [linux, mac]}
targets:
  linux: {platform: linux-64, accelerator: cpu}
  mac: {platform: osx-arm64, accelerator: mps, macos: "14.0"}
packages: [torchvision, numpy]
"""
RELEASES = [
    ("2.5.1", "0.20.1", "2024-10-29T16:00:00Z", "2026-10-01T00:00:00Z"),
    ("2.6.0", "0.21.0", "2025-01-29T16:00:00Z", "2020-01-01T00:00:00Z"),
    ("2.15.0", "0.29.2", "2026-10-28T16:00:00Z", "2019-01-01T00:00:00Z"),
]
"""torch, its torchvision, upload to the default index, and the time that the storage of the PyTorch index says."""
BOUNDARY = [
    ("2025-01-28", "2.5.1", "0.20.1"),
    ("2025-01-29", "2.6.0", "0.21.0"),
    ("2025-01-30", "2.6.0", "0.21.0"),
]


@pytest.fixture
def scene(scene_wheels: Path) -> Iterator[Scene]:
    """Three releases on both indexes; numpy uploaded in the last and in the first second of a day."""
    with nightly_scene(scene_wheels) as scene:
        folder = scene_wheels / "as-of"
        for torch, vision, uploaded, stored in RELEASES:
            tag = f"cp312-cp312-{LINUX}"
            for wheel in (
                torch_wheel(folder, f"{torch}+cpu", tag),
                torchvision_wheel(folder, f"{vision}+cpu", tag, torch),
            ):
                scene.pytorch.add("/whl/cpu", wheel, upload_time=stored)
            for wheel in (
                torch_wheel(folder, torch, f"cp312-none-{MACOS}"),
                torchvision_wheel(folder, vision, f"cp312-cp312-{MACOS}", torch),
            ):
                scene.default.add("/simple", wheel, host=scene.files, folder="/packages", upload_time=uploaded)
        for version, uploaded in (("2.0.1", "2025-01-28T23:59:59Z"), ("2.0.2", "2025-01-29T00:00:00Z")):
            wheel = build_wheel(folder, "numpy", version)
            scene.default.add("/simple", wheel, host=scene.files, folder="/packages", upload_time=uploaded)
        yield scene


@pytest.fixture
def at(tmp_path: Path, scene: Scene) -> Stage:
    """A project that reaches both sources themselves, in a time zone far from UTC."""
    plain = stage(tmp_path, None, MATRIX, TORCHMATRIX_DEFAULT_INDEX=scene.default_url, TZ="Pacific/Kiritimati")
    return at_source(plain, scene.pytorch_url)


def without_times(scene: Scene, *names: str) -> None:
    """Let the default index say nothing about uploads, of all packages or of some."""
    for page, links in scene.default._pages.items():
        if not names or page.rstrip("/").rsplit("/", 1)[-1] in names:
            scene.default._pages[page] = {file: replace(link, upload_time=None) for file, link in links.items()}


def rewrite(at: Stage, before: str, after: str) -> None:
    path = at.project / "matrix.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def versions(at: Stage, cell: str) -> dict[str, str]:
    return {name: one["version"] for name, one in artifacts(at, cell).items()}


# -- releases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "torch", "vision"), BOUNDARY)
def test_stable_is_the_release_of_that_day(at: Stage, day: str, torch: str, vision: str) -> None:
    """On Linux the storage's times contradict the dates; on macOS upload times and release dates agree."""
    must(at.run("lock", "--as-of", day))
    linux, mac = artifacts(at, LINUX_CELL), artifacts(at, MAC_CELL)
    assert (linux["torch"]["version"], linux["torchvision"]["version"]) == (f"{torch}+cpu", f"{vision}+cpu")
    assert (mac["torch"]["version"], mac["torchvision"]["version"]) == (torch, vision)
    assert (linux["torch"]["source"], mac["torch"]["source"]) == ("pytorch", "pypi")
    assert {record(at, cell)["as_of"] for cell in (LINUX_CELL, MAC_CELL)} == {day}
    assert record(at, LINUX_CELL)["inputs"]["torch"] == "stable"


def test_without_a_date_stable_is_the_newest(at: Stage) -> None:
    must(at.run("lock"))
    assert versions(at, LINUX_CELL)["torch"] == "2.15.0+cpu"
    assert "as_of" not in record(at, LINUX_CELL)


def test_a_specifier_is_limited_by_the_date(at: Stage) -> None:
    rewrite(at, "packages:", "channels: {stable: {torch: '>=2.5,<2.16'}}\npackages:")
    must(at.run("lock", "--as-of", "2025-01-28"))
    assert (versions(at, LINUX_CELL)["torch"], versions(at, MAC_CELL)["torch"]) == ("2.5.1+cpu", "2.5.1")


def test_a_release_date_outweighs_a_later_upload(at: Stage, scene: Scene) -> None:
    """Wheels are added to a release after its day; the catalog says when it came out."""
    for page in ("/simple/torch/", "/simple/torchvision/"):
        links = scene.default._pages[page]
        scene.default._pages[page] = {
            file: replace(link, upload_time="2025-03-01T00:00:00Z" if "-2.6.0-" in file or "-0.21.0-" in file else time)
            for file, link in links.items()
            for time in [link.upload_time]
        }
    must(at.run("lock", "--as-of", "2025-01-30"))
    assert (versions(at, MAC_CELL)["torch"], versions(at, MAC_CELL)["torchvision"]) == ("2.6.0", "0.21.0")


# -- everything else ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "numpy"), [("2025-01-27", "1.26.4"), ("2025-01-28", "2.0.1"), ("2025-01-29", "2.0.2")])
def test_the_end_of_the_day_is_that_of_utc(at: Stage, day: str, numpy: str) -> None:
    must(at.run("lock", "--as-of", day))
    found = versions(at, LINUX_CELL)
    assert found["numpy"] == numpy
    assert found["filelock"] == "3.14.0"  # needed by torch; 3.20.0 came in 2026


def test_an_index_without_upload_times(at: Stage, scene: Scene) -> None:
    without_times(scene)
    cells = answer(at.run("--json", "lock", "--as-of", "2025-01-30"), 1)["cells"]
    assert not at.envs.exists()
    for cell in cells:
        error = cell["error"]
        assert error["message"].startswith(
            f"{cell['id']}: {scene.default_url}/numpy/ gives no upload times, so that nobody can tell which numpy "
            "there was on 2025-01-30\n"
        )
        assert error["hint"] == (
            "lock from an index that gives upload times (PEP 700), or through a mirror that passes them on"
        )
        assert "exclude-newer" not in str(error)
    must(at.run("lock"))


def test_one_dependency_without_upload_times(at: Stage, scene: Scene) -> None:
    without_times(scene, "sympy")
    message = answer(at.run("--json", "lock", "--as-of", "2025-01-30"), 1)["cells"][0]["error"]["message"]
    assert "/sympy/ gives no upload times" in message


def test_html_pages_have_upload_times_too(at: Stage, scene: Scene) -> None:
    scene.default.json = False
    must(at.run("lock", "--as-of", "2025-01-28"))
    assert versions(at, LINUX_CELL)["numpy"] == "2.0.1"


# -- pins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", ["2025-01-30", "2026-10-01"])
def test_an_exact_pin_is_not_moved(at: Stage, day: str) -> None:
    rewrite(at, "packages:", 'channels: {stable: {torch: "2.5.1"}}\npackages:')
    must(at.run("lock", "--as-of", day))
    for cell, local in ((LINUX_CELL, "+cpu"), (MAC_CELL, "")):
        assert versions(at, cell)["torch"] == f"2.5.1{local}"
        assert versions(at, cell)["torchvision"] == f"0.20.1{local}"


def test_a_torch_pin_later_than_the_date_names_both(at: Stage) -> None:
    rewrite(at, "packages:", 'channels: {stable: {torch: "2.6.0"}}\npackages:')
    error = answer(at.run("--json", "lock", "--as-of", "2025-01-28"), 2)["error"]
    assert error["message"] == "torch 2.6.0 was released on 2025-01-29, after the as-of date 2025-01-28"
    assert not at.envs.exists()


def test_another_pin_later_than_the_date_names_both(at: Stage) -> None:
    rewrite(at, "numpy]", '"numpy==2.0.2"]')
    error = answer(at.run("--json", "lock", "--as-of", "2025-01-28"), 1)["cells"][0]["error"]
    assert error["message"].startswith(
        f"{LINUX_CELL}: numpy 2.0.2 was uploaded on 2025-01-29, after the as-of date 2025-01-28\n"
    )
    assert error["hint"] == "choose a later as-of date, or another version"


def test_a_package_that_did_not_exist_yet(at: Stage, scene: Scene) -> None:
    wheel = build_wheel(scene.wheels / "as-of", "newcomer", "1.0")
    scene.default.add("/simple", wheel, host=scene.files, folder="/packages", upload_time="2026-02-03T04:05:06Z")
    rewrite(at, "numpy]", "newcomer]")
    message = answer(at.run("--json", "lock", "--as-of", "2025-01-28"), 1)["cells"][0]["error"]["message"]
    assert message.startswith(
        f"{LINUX_CELL}: newcomer did not exist on the as-of date 2025-01-28: its first version, 1.0, was uploaded on "
        "2026-02-03\n"
    )


def test_before_the_first_release(at: Stage) -> None:
    error = answer(at.run("--json", "lock", "--as-of", "2010-01-01"), 2)["error"]
    assert error["message"] == "no release of torch in the catalog is as old as 2010-01-01"


# -- afterwards -----------------------------------------------------------------------------------------------------


def test_what_was_locked_as_of_a_date_stays(at: Stage, scene: Scene) -> None:
    """The inputs are the same: the date is how it was locked, not what was asked for."""
    must(at.run("lock", "--as-of", "2025-01-28"))
    before = at.published()
    must(at.run("lock", "--check"))
    scene.forget()
    outcome = must(at.run("lock"))
    assert outcome.stderr == "0 locked, 2 already up to date\n"
    assert scene.default.requests == []
    must(at.run("lock", "--as-of", "2025-01-28"))
    assert at.published() == before


def test_another_package_later_moves_nothing_else(at: Stage) -> None:
    must(at.run("lock", "--as-of", "2025-01-28"))
    held = versions(at, LINUX_CELL)
    rewrite(at, "numpy]", "numpy, iniconfig]")
    must(at.run("lock", "py312-stable-linux"))
    assert versions(at, LINUX_CELL) == {**held, "iniconfig": "2.3.0"}
    assert "as_of" not in record(at, LINUX_CELL)


def test_an_upgrade_leaves_the_date_behind(at: Stage) -> None:
    must(at.run("lock", "--as-of", "2025-01-28"))
    must(at.run("lock", "--upgrade"))
    assert versions(at, LINUX_CELL)["torch"] == "2.15.0+cpu"
    assert versions(at, LINUX_CELL)["numpy"] == "2.3.4"
    assert "as_of" not in record(at, LINUX_CELL)
