"""The packaged facts: complete, in order, free of addresses of package registries, and read back as written."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from torchmatrix.catalog import PACKAGED, load_catalog
from torchmatrix.catalog.write import format_catalog
from torchmatrix.errors import UsageError
from torchmatrix.target import Accelerator, Platform, PythonVersion

if TYPE_CHECKING:
    from pathlib import Path

CATALOG = load_catalog()
LINUX = Platform.LINUX_64
CU118 = Accelerator.parse("cu118")
CPU = Accelerator.parse("cpu")


def raw() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(PACKAGED.read_text(encoding="utf-8"))
    return content


def test_file_is_what_the_writer_writes() -> None:
    assert PACKAGED.read_text(encoding="utf-8") == format_catalog(raw())


def test_each_release_is_one_line() -> None:
    lines = PACKAGED.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith(' {"version": ') for line in lines) == len(CATALOG.releases) >= 52


def test_every_fact_group_names_its_source() -> None:
    facts = raw()
    for group in ("hosts", "family", "plain_wheels", "drivers"):
        assert facts[group]["from"]
    for group in ("mps", "ended"):
        assert all(row["url"].startswith("https://") for row in facts[group])
    assert all(row["url"].startswith("https://") for row in facts["evidence"].values())
    assert facts["nightly"]["url"].startswith("https://github.com/pytorch/")
    letters = {
        letter
        for row in facts["releases"]
        for builds in row["accelerators"].values()
        for letter in "".join(builds.values())
    }
    assert letters <= facts["origins"].keys()


def test_releases_ascend_and_the_newest_is_last() -> None:
    versions = [release.version for release in CATALOG.releases]
    assert versions == sorted(versions)
    assert CATALOG.newest().version == versions[-1]
    assert CATALOG.newest(dt.date(2025, 1, 30)).version == Version("2.6.0")


def test_no_release_is_older_than_the_first() -> None:
    with pytest.raises(UsageError) as caught:
        CATALOG.newest(dt.date(2010, 1, 1))
    assert str(caught.value) == (
        "no release of torch in the catalog is as old as 2010-01-01\nhint: the first is torch 1.0.0 of 2018-12-07"
    )


@pytest.mark.parametrize(
    ("first", "last", "label"),
    [
        ("2.1.0", "2.4.1", "cu121"),
        ("2.5.0", "2.6.0", "cu124"),
        ("2.7.0", "2.7.1", "cu126"),
        ("2.8.0", "2.10.0", "cu128"),
        ("2.11.0", "2.14.1", "cu130"),
        ("2.15.0", "2.15.0", "cu132"),
    ],
)
def test_what_pypi_carries_on_linux(first: str, last: str, label: str) -> None:
    versions = [each.version for each in CATALOG.releases if Version(first) <= each.version <= Version(last)]
    assert versions
    assert {CATALOG.pypi_accelerator(version, LINUX) for version in versions} == {label}


def test_what_pypi_carries_elsewhere() -> None:
    assert CATALOG.pypi_accelerator(Version("2.10.0"), Platform.LINUX_AARCH64) == "cpu"
    assert CATALOG.pypi_accelerator(Version("2.11.0"), Platform.LINUX_AARCH64) == "cu130"
    assert CATALOG.pypi_accelerator(Version("2.13.0"), Platform.WIN_64) == "cpu"
    assert CATALOG.pypi_accelerator(Version("2.13.0"), Platform.OSX_ARM64) == "cpu"
    assert CATALOG.pypi_accelerator(Version("99"), LINUX) is None


def test_first_and_last_release_of_an_accelerator() -> None:
    assert CATALOG.span(CU118) == (Version("2.0.0"), Version("2.7.1"))
    assert CATALOG.span(Accelerator.parse("cu128")) == (Version("2.7.0"), Version("2.11.0"))
    assert CATALOG.span(CU118, Platform.LINUX_AARCH64) is None


def test_macos_versions_come_from_the_wheel_names() -> None:
    release = CATALOG.release(Version("2.7.1"))
    assert release is not None
    assert release.macos_floor(Platform.OSX_ARM64, PythonVersion.parse("3.13")) == "11.0"
    assert release.macos_floor(Platform.OSX_ARM64, PythonVersion.parse("3.13t")) == "14.0"
    newer = CATALOG.release(Version("2.12.0"))
    assert newer is not None
    assert newer.macos_floor(Platform.OSX_ARM64, PythonVersion.parse("3.13")) == "14.0"


def test_companions() -> None:
    assert CATALOG.companion("torchvision", Version("2.13.0")) == Version("0.28.0")
    assert CATALOG.companion("TorchAudio", Version("2.11.0")) == Version("2.11.0")
    assert CATALOG.companion("torchaudio", Version("2.12.0")) is None
    assert CATALOG.companion("torchvision", Version("99")) is None
    assert CATALOG.companion("numpy", Version("2.13.0")) is None


@pytest.mark.parametrize(
    ("label", "platform", "driver"),
    [
        ("cu118", "linux-64", "450.80.2"),
        ("cu126", "linux-64", "525.60.13"),
        ("cu130", "linux-64", "580"),
        ("cu126", "win-64", "528.33"),
        ("cu134", "linux-64", "580"),
        ("cpu", "linux-64", None),
        ("cu999", "linux-64", None),
    ],
)
def test_minimum_driver(label: str, platform: str, driver: str | None) -> None:
    assert CATALOG.min_driver(Accelerator.parse(label), Platform(platform)) == driver


def test_minimum_macos_for_mps() -> None:
    assert CATALOG.min_macos(Version("1.11.0")) is None
    assert CATALOG.min_macos(Version("1.12.0")) == "12.3"
    assert CATALOG.min_macos(Version("2.8.0")) == "12.3"
    assert CATALOG.min_macos(Version("2.11.0")) == "14.0"
    assert CATALOG.min_macos(None) == "14.0"


@pytest.mark.parametrize(
    "name", ["torch", "torchvision", "Torch_Vision".replace("_V", "v"), "pytorch_triton", "triton", "triton-rocm"]
)
def test_family(name: str) -> None:
    assert CATALOG.is_family(name)


@pytest.mark.parametrize("name", ["numpy", "markupsafe", "certifi", "nvidia-cublas-cu12", "requests", "torchmetrics"])
def test_not_family(name: str) -> None:
    assert not CATALOG.is_family(name)


def test_family_source() -> None:
    assert CATALOG.family_source(Platform.OSX_ARM64, Accelerator.parse("mps"), False) == "pypi"
    assert CATALOG.family_source(Platform.OSX_ARM64, Accelerator.parse("mps"), True) == "pytorch"
    assert CATALOG.family_source(LINUX, CPU, False) == "pytorch"
    assert CATALOG.family_source(Platform.WIN_64, CPU, False) == "pytorch"


@pytest.mark.parametrize(
    ("name", "file", "label", "nightly", "path"),
    [
        (
            "torch",
            "torch-2.7.1+cu118-cp311-cp311-win_amd64.whl",
            "cu118",
            False,
            "cu118/torch-2.7.1%2Bcu118-cp311-cp311-win_amd64.whl",
        ),
        (
            "torch",
            "torch-2.13.0.dev20261118-cp311-cp311-macosx_14_0_arm64.whl",
            "mps",
            True,
            "nightly/cpu/torch-2.13.0.dev20261118-cp311-cp311-macosx_14_0_arm64.whl",
        ),
        (
            "triton",
            "triton-3.3.1-cp311-cp311-manylinux_2_28_x86_64.whl",
            "cu126",
            False,
            "triton-3.3.1-cp311-cp311-manylinux_2_28_x86_64.whl",
        ),
        (
            "pytorch_triton",
            "pytorch_triton-3.5.0+git1-cp311-cp311-linux_x86_64.whl",
            "cu130",
            True,
            "nightly/pytorch_triton-3.5.0%2Bgit1-cp311-cp311-linux_x86_64.whl",
        ),
    ],
)
def test_canonical_path(name: str, file: str, label: str, nightly: bool, path: str) -> None:
    assert CATALOG.family_path(name, file, accelerator=Accelerator.parse(label), nightly=nightly) == path


@pytest.mark.parametrize(
    ("version", "platform", "label", "source", "local"),
    [
        ("2.7.1", "linux-64", "cu118", "pytorch", "cu118"),
        ("2.13.0", "win-64", "cpu", "pytorch", "cpu"),
        (None, "linux-64", "cu130", "pytorch", "cu130"),
        ("2.13.0", "linux-64", "cu130", "pypi", None),
        ("2.13.0", "osx-arm64", "mps", "pypi", None),
        ("2.13.0", "osx-arm64", "cpu", "pytorch", None),
        ("1.7.1", "linux-64", "cu102", "pytorch", None),
        ("1.8.1", "linux-64", "cu102", "pytorch", "cu102"),
        ("2.5.1", "linux-aarch64", "cpu", "pytorch", None),
        ("2.6.0", "linux-aarch64", "cpu", "pytorch", "cpu"),
    ],
)
def test_expected_local_version(version: str | None, platform: str, label: str, source: str, local: str | None) -> None:
    parsed = Version(version) if version else None
    assert CATALOG.expected_local(parsed, Platform(platform), Accelerator.parse(label), source) == local


def test_newer_user_copy_wins_and_an_older_one_does_not(tmp_path: Path) -> None:
    copy = tmp_path / "catalog.json"
    for date, expected in (("2999-01-01", dt.date(2999, 1, 1)), ("2001-01-01", CATALOG.date)):
        copy.write_text(format_catalog({**raw(), "date": date}), encoding="utf-8")
        assert load_catalog(copy).date == expected
    assert load_catalog(tmp_path / "none.json").date == CATALOG.date


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 99}', '{"schema": 1, "date": "x"}'])
def test_broken_user_copy_names_the_file_and_what_to_do(tmp_path: Path, content: str) -> None:
    copy = tmp_path / "catalog.json"
    copy.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_catalog(copy)
    assert caught.value.message.startswith(f"{copy}: not a catalog that this version reads (")
    assert caught.value.hint == (
        "delete the file to use the packaged catalog, or refresh it with: python -m torchmatrix.upkeep catalog --user"
    )
