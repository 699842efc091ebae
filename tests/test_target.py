"""Targets: labels, tags and markers, compared with what packaging says of a machine that is one."""

from __future__ import annotations

import platform
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker, default_environment
from packaging.tags import Tag, mac_platforms, parse_tag, sys_tags
from packaging.utils import parse_wheel_filename

from torchmatrix.target import Accelerator, AcceleratorKind, Platform, PythonVersion, Target, wheel_tags

PYTHON = PythonVersion.parse("3.11")


def target(name: str = "linux-64", accelerator: str = "cpu", **more: Any) -> Target:
    return Target(name="x", platform=Platform(name), accelerator=Accelerator.parse(accelerator), **more)


def rank(file: str, on: Target, python: PythonVersion = PYTHON) -> int | None:
    """The best rank of a wheel's tags, ``None`` when it does not run there."""
    tags = wheel_tags(on, python)
    return min((tags[tag] for tag in parse_wheel_filename(file)[3] if tag in tags), default=None)


# Accelerators


@pytest.mark.parametrize(
    ("text", "kind", "version", "label"),
    [
        ("cpu", AcceleratorKind.CPU, None, "cpu"),
        ("mps", AcceleratorKind.MPS, None, "cpu"),
        ("xpu", AcceleratorKind.XPU, None, "xpu"),
        ("cu118", AcceleratorKind.CUDA, "11.8", "cu118"),
        ("cu92", AcceleratorKind.CUDA, "9.2", "cu92"),
        ("cu130", AcceleratorKind.CUDA, "13.0", "cu130"),
        ("rocm6.4", AcceleratorKind.ROCM, "6.4", "rocm6.4"),
        ("rocm6.2.4", AcceleratorKind.ROCM, "6.2.4", "rocm6.2.4"),
    ],
)
def test_accelerators(text: str, kind: AcceleratorKind, version: str | None, label: str) -> None:
    found = Accelerator.parse(text)
    assert (found.kind, found.version, found.label, str(found)) == (kind, version, label, text)


@pytest.mark.parametrize("text", ["", "cuda", "cu", "cu1", "cu1180", "cu11.8", "CPU", "rocm", "rocm6", " cpu", "cpu\n"])
def test_what_is_no_accelerator(text: str) -> None:
    with pytest.raises(ValueError, match="accelerator") as caught:
        Accelerator.parse(text)
    assert str(caught.value) == (f"{text!r} is no accelerator; write cpu, cuXYZ (cu118), mps, rocmX.Y (rocm6.4) or xpu")


# Python versions


@pytest.mark.parametrize(
    ("text", "release", "nodot"), [("3.9", "3.9", "39"), ("3.11", "3.11", "311"), ("3.13t", "3.13", "313t")]
)
def test_python_versions(text: str, release: str, nodot: str) -> None:
    found = PythonVersion.parse(text)
    assert (found.release, found.nodot, str(found)) == (release, nodot, text)


@pytest.mark.parametrize("text", ["3", "3.11.7", "3.1x", "py311", "3.11 ", "", "3.11T", "3.100"])
def test_what_is_no_python_version(text: str) -> None:
    with pytest.raises(ValueError, match="Python version") as caught:
        PythonVersion.parse(text)
    assert str(caught.value) == f"{text!r} is no Python version; write major.minor such as 3.11, or 3.13t"


def test_python_versions_are_ordered_by_number() -> None:
    texts = ["3.9", "3.10", "3.13", "3.13t", "3.14"]
    assert [str(one) for one in sorted(map(PythonVersion.parse, reversed(texts)))] == texts


# Platforms


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        (target("linux-64"), "x86_64-manylinux_2_28"),
        (target("linux-64", glibc="2.17"), "x86_64-manylinux_2_17"),
        (target("linux-aarch64", glibc="2.39"), "aarch64-manylinux_2_39"),
        (target("osx-arm64"), "aarch64-apple-darwin"),
        (target("osx-64"), "x86_64-apple-darwin"),
        (target("win-64"), "x86_64-pc-windows-msvc"),
    ],
)
def test_uvs_word_for_it(on: Target, expected: str) -> None:
    assert on.uv_platform == expected


def test_floors_of_macos() -> None:
    assert target("osx-arm64").macos_floor == "14.0"
    assert target("osx-64").macos_floor == "10.13"
    assert target("osx-arm64", macos="12.3").macos_floor == "12.3"


@pytest.mark.parametrize(
    ("name", "system", "sys_platform", "os_name", "machine"),
    [
        ("linux-64", "Linux", "linux", "posix", "x86_64"),
        ("linux-aarch64", "Linux", "linux", "posix", "aarch64"),
        ("osx-arm64", "Darwin", "darwin", "posix", "arm64"),
        ("osx-64", "Darwin", "darwin", "posix", "x86_64"),
        ("win-64", "Windows", "win32", "nt", "AMD64"),
    ],
)
def test_markers(name: str, system: str, sys_platform: str, os_name: str, machine: str) -> None:
    environment = target(name).marker_environment(PythonVersion.parse("3.13t"))
    assert set(default_environment()) <= set(environment), "a marker would be evaluated for the running machine"
    marker = Marker(
        f"platform_system == '{system}' and sys_platform == '{sys_platform}' and os_name == '{os_name}' "
        f"and platform_machine == '{machine}' and python_version == '3.13' and python_full_version == '3.13.0' "
        "and implementation_name == 'cpython' and platform_python_implementation == 'CPython'"
    )
    assert marker.evaluate(environment)
    assert not Marker("extra == 'test'").evaluate(environment)


HERE = {
    ("linux", "x86_64"): "linux-64",
    ("linux", "aarch64"): "linux-aarch64",
    ("darwin", "arm64"): "osx-arm64",
    ("win32", "AMD64"): "win-64",
}.get((sys.platform, platform.machine()))
needs_known_machine = pytest.mark.skipif(HERE is None, reason="this machine is none of the platforms")


@needs_known_machine
def test_markers_of_this_machine_are_packagings() -> None:
    assert HERE is not None
    real: dict[str, Any] = dict(default_environment())
    ours = target(HERE).marker_environment(PythonVersion(*sys.version_info[:2]))
    vague = {"platform_release", "platform_version", "implementation_version", "python_full_version", "extra"}
    assert {key: value for key, value in ours.items() if key not in vague} == {
        key: value for key, value in real.items() if key not in vague
    }


@needs_known_machine
@pytest.mark.skipif(sys.platform == "darwin", reason="the release of macOS decides there")
def test_tags_of_this_machine_are_packagings_in_the_same_order() -> None:
    """Except for plain ``linux_*``, which packaging ranks differently from release to release."""
    assert HERE is not None
    version = platform.libc_ver()[1]
    on = target(HERE, **({"glibc": version} if sys.platform == "linux" else {}))
    python = PythonVersion(*sys.version_info[:2], free_threaded="t" in getattr(sys, "abiflags", ""))
    tags = wheel_tags(on, python)
    real = list(sys_tags())
    assert set(tags) == set(real)
    ours = sorted(tags, key=tags.__getitem__)
    assert [tag for tag in ours if not tag.platform.startswith("linux_")] == [
        tag for tag in real if not tag.platform.startswith("linux_")
    ]


def test_the_exact_tag_of_the_target_is_the_best() -> None:
    assert wheel_tags(target(), PYTHON)[Tag("cp311", "cp311", "manylinux_2_28_x86_64")] == 0


@pytest.mark.parametrize(
    ("file", "runs"),
    [
        ("torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", True),
        ("torch-1.0-cp311-cp311-manylinux2014_x86_64.whl", True),
        ("torch-1.0-cp311-cp311-manylinux1_x86_64.whl", True),
        ("torch-1.0-cp311-cp311-linux_x86_64.whl", True),
        ("torch-1.0-cp38-abi3-manylinux_2_5_x86_64.manylinux1_x86_64.whl", True),
        ("torch-1.0-py3-none-manylinux_2_28_x86_64.whl", True),
        ("torch-1.0-py2.py3-none-any.whl", True),
        ("torch-1.0-cp311-none-any.whl", True),
        ("torch-1.0-cp311-cp311-manylinux_2_29_x86_64.whl", False),
        ("torch-1.0-cp311-cp311-manylinux_2_28_aarch64.whl", False),
        ("torch-1.0-cp311-cp311-musllinux_1_2_x86_64.whl", False),
        ("torch-1.0-cp312-abi3-manylinux_2_28_x86_64.whl", False),
        ("torch-1.0-cp312-cp312-manylinux_2_28_x86_64.whl", False),
        ("torch-1.0-cp311-cp311-win_amd64.whl", False),
        ("torch-1.0-cp311-none-macosx_14_0_arm64.whl", False),
        ("torch-1.0-py2-none-any.whl", False),
    ],
)
def test_wheels_on_linux(file: str, runs: bool) -> None:
    assert (rank(file, target()) is not None) is runs


def test_arm_linux_begins_with_glibc_2_17() -> None:
    platforms = list(target("linux-aarch64").platform_tags())
    assert platforms[0] == "manylinux_2_28_aarch64"
    assert platforms[-3:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"]
    assert list(target().platform_tags())[-3:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64"]


@pytest.mark.parametrize(
    ("file", "macos", "runs"),
    [
        ("torch-2.13.0-cp311-none-macosx_14_0_arm64.whl", None, True),
        ("torch-2.13.0-cp311-none-macosx_14_0_arm64.whl", "13.0", False),
        ("torch-2.13.0-cp311-none-macosx_11_0_arm64.whl", "12.3", True),
        ("torch-2.13.0-cp311-cp311-macosx_10_9_universal2.whl", "14.0", True),
        ("torch-2.13.0-cp311-cp311-macosx_15_0_arm64.whl", None, False),
        ("torch-2.13.0-cp311-cp311-macosx_11_0_x86_64.whl", None, False),
    ],
)
def test_wheels_on_arm_macs(file: str, macos: str | None, runs: bool) -> None:
    assert (rank(file, target("osx-arm64", "mps", macos=macos)) is not None) is runs


def test_macos_tags_are_packagings() -> None:
    assert list(target("osx-arm64", macos="12.3").platform_tags()) == list(mac_platforms((12, 3), "arm64"))
    assert next(iter(target("osx-64").platform_tags())) == "macosx_10_13_x86_64"


def test_windows() -> None:
    assert list(target("win-64").platform_tags()) == ["win_amd64"]
    assert rank("torch-1.0-cp311-cp311-win_amd64.whl", target("win-64")) == 0
    assert rank("torch-1.0-cp311-cp311-win32.whl", target("win-64")) is None


def test_free_threaded_wheels_are_others() -> None:
    free = PythonVersion.parse("3.13t")
    plain = PythonVersion.parse("3.13")
    wheel, other = "torch-1.0-cp313-cp313t-linux_x86_64.whl", "torch-1.0-cp313-cp313-linux_x86_64.whl"
    stable = "torch-1.0-cp310-abi3-linux_x86_64.whl"
    assert rank(wheel, target(), free) is not None
    assert rank(other, target(), free) is None
    assert rank(stable, target(), free) is None, "the stable ABI is not that of free-threaded builds"
    assert rank(wheel, target(), plain) is None
    assert rank(stable, target(), plain) is not None
    assert rank("torch-1.0-py3-none-any.whl", target(), free) is not None


def test_a_newer_build_is_better_than_an_older_one() -> None:
    files = [
        "torch-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "torch-1.0-cp311-abi3-manylinux_2_28_x86_64.whl",
        "torch-1.0-py3-none-manylinux_2_28_x86_64.whl",
        "torch-1.0-py3-none-any.whl",
    ]
    ranks = [rank(file, target()) for file in files]
    assert None not in ranks
    assert ranks == sorted(ranks)  # type: ignore[type-var]
    assert len(set(ranks)) == len(ranks)


@given(st.integers(5, 45), st.integers(5, 45))
def test_a_wheel_runs_exactly_on_its_own_glibc_and_newer_ones(wheel: int, floor: int) -> None:
    [tag] = parse_tag(f"cp311-cp311-manylinux_2_{wheel}_x86_64")
    assert (tag in wheel_tags(target(glibc=f"2.{floor}"), PYTHON)) is (wheel <= floor)
