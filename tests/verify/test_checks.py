"""The spec: pure, and in step with the probe."""

from __future__ import annotations

import json
from typing import Any

import pytest
from packaging.version import Version

from torchmatrix.errors import CellError
from torchmatrix.matrix.model import Backend, Cell, SandboxKind, TorchRequest
from torchmatrix.target import Accelerator, Platform, PythonVersion, Target
from torchmatrix.verify import expectations, generic_expectations, probe
from torchmatrix.verify.checks import CHECKS, MIN_DRIVERS, NOT_LOCKED, SCHEMA, time_limit

LOCKED = {"torch": Version("2.7.1+cu118"), "numpy": Version("2.4.6")}


def make_cell(accelerator: str, platform: Platform = Platform.LINUX_64, backend: Backend = Backend.PIP) -> Cell:
    target = Target(name="target", platform=platform, accelerator=Accelerator.parse(accelerator))
    return Cell(
        id="py311-stable-target",
        python=PythonVersion(3, 11),
        channel="stable",
        target=target,
        backend=backend,
        sandbox=SandboxKind.NATIVE,
        torch=TorchRequest.parse("2.7.1"),
        torch_version=Version("2.7.1"),
        source="pytorch",
    )


def ids(spec: dict[str, Any]) -> list[str]:
    return [check["id"] for check in spec["checks"]]


def test_spec_of_a_cuda_cell() -> None:
    spec: dict[str, Any] = expectations(
        make_cell("cu118"), LOCKED, expected_local="cu118", min_driver="450.80.02", project_names=("b", "a")
    )
    assert spec["torch"] == {
        "version": "2.7.1+cu118",
        "local": "cu118",
        "accelerator": "cu118",
        "kind": "cuda",
        "release": "11.8",
        "conda": False,
        "remark": None,
    }
    assert spec["distributions"] == {"numpy": "2.4.6", "torch": "2.7.1+cu118"}
    assert spec["project"] == ["a", "b"]
    assert spec["min_drivers"] == {"11": "450.80.02", "12": "525.60", "13": "580"}
    assert spec["min_macos"] is None
    assert ids(spec)[-2:] == ["device-cpu", "device-cuda"]
    assert "numpy" in ids(spec)
    assert not {"vision-nms", "vision-transforms", "audio-resample"} & set(ids(spec))
    json.dumps(spec)


def test_packages_of_the_cell_bring_their_checks() -> None:
    more = {**LOCKED, "torchvision": Version("0.22.1"), "torchaudio": Version("2.7.1")}
    spec: dict[str, Any] = expectations(make_cell("cpu"), more, expected_local="cpu")
    assert {"vision-nms", "vision-transforms", "audio-resample"} <= set(ids(spec))
    assert ids(spec)[-1] == "device-cpu"


def test_spec_of_a_mac() -> None:
    cell = make_cell("mps", Platform.OSX_ARM64)
    spec: dict[str, Any] = expectations(cell, LOCKED, expected_local=None)
    assert spec["min_macos"] == "14.0"
    assert ids(spec)[-2:] == ["device-cpu", "device-mps"]
    other: dict[str, Any] = expectations(cell, LOCKED, expected_local=None, min_macos="12.3")
    assert other["min_macos"] == "12.3"


def test_conda_calls_torch_pytorch() -> None:
    cell = make_cell("cpu", backend=Backend.CONDA)
    spec: dict[str, Any] = expectations(cell, {"pytorch": Version("2.5.1")}, expected_local=None)
    assert (spec["torch"]["version"], spec["torch"]["conda"]) == ("2.5.1", True)


def test_remark_when_pypi_carries_another_build() -> None:
    carried = Accelerator.parse("cu130")
    spec: dict[str, Any] = expectations(make_cell("cpu"), LOCKED, expected_local=None, pypi_accelerator=carried)
    assert spec["torch"]["remark"] == "PyPI carries the cu130 build for linux-64: `source: pytorch` has cpu"
    same: dict[str, Any] = expectations(make_cell("cu130"), LOCKED, expected_local=None, pypi_accelerator=carried)
    assert same["torch"]["remark"] is None


def test_lockfile_without_torch_is_an_error() -> None:
    with pytest.raises(CellError) as caught:
        expectations(make_cell("cpu"), {"numpy": Version("2.4.6")}, expected_local=None)
    assert caught.value.message == "py311-stable-target: its lockfile has no torch, so there is nothing to verify"


def test_any_interpreter_is_judged_without_a_lockfile() -> None:
    spec: dict[str, Any] = generic_expectations()
    skipped = {check["id"]: check["skip"] for check in spec["checks"] if "skip" in check}
    assert skipped == dict.fromkeys(("distributions", "version", "variant"), NOT_LOCKED)
    assert [check["id"] for check in spec["checks"] if check.get("optional")] == [
        "numpy",
        "vision-nms",
        "vision-transforms",
        "audio-resample",
    ]
    assert not any(check.get("required") for check in spec["checks"])
    assert spec["min_drivers"] == dict(MIN_DRIVERS)


def test_probe_has_every_check_and_no_other() -> None:
    assert probe.SCHEMA == SCHEMA
    assert sorted(ids(generic_expectations())) == sorted(probe.CHECKS)
    assert {check.id for check in CHECKS if check.id in probe.WITHOUT_TORCH} == set(probe.WITHOUT_TORCH)


def test_the_order_that_people_read() -> None:
    order = ids(expectations(make_cell("cu118"), LOCKED, expected_local="cu118"))
    assert order[:4] == ["import", "version", "variant", "distributions"]
    assert order[-3:] == ["environment-digest", "device-cpu", "device-cuda"]


def test_the_whole_probe_has_a_limit_above_the_sum_of_its_checks() -> None:
    spec: dict[str, Any] = {"checks": [{"id": "import", "limit": 10}, {"id": "svd", "limit": 5}]}
    assert time_limit(spec) == 15 + 2 * 10 + 60
