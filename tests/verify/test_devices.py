"""Grades of devices and their reasons, with a torch that claims what a test needs."""

from __future__ import annotations

import platform
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from torchmatrix.verify.checks import MIN_DRIVERS
from torchmatrix.verify.probe import canonical, devices
from torchmatrix.verify.probe.child import perform
from torchmatrix.verify.probe.context import Context
from torchmatrix.verify.probe.devices import Grade
from torchmatrix.verify.probe.driver import Driver

GPU = "NVIDIA Test GPU"


class Tensor:
    """As much of a tensor as allocation and one product need."""

    def __init__(self, rows: list[list[float]], error: str | None = None, factor: float = 1.0) -> None:
        self.rows, self.error, self.factor = rows, error, factor

    def tolist(self) -> list[Any]:
        return self.rows

    def to(self, _device: str) -> Tensor:
        if self.error:
            raise RuntimeError(self.error)
        return self

    def t(self) -> Tensor:
        return self

    def __matmul__(self, other: Tensor) -> Tensor:
        product = [[sum(a * b for a, b in zip(p, q, strict=True)) for q in other.rows] for p in self.rows]
        return Tensor([[value * self.factor for value in row] for row in product])

    def cpu(self) -> Tensor:
        return self

    def reshape(self, _size: int) -> Tensor:
        return Tensor([value for row in self.rows for value in row])  # type: ignore[misc]  # a flat one


def make_torch(
    *,
    cuda: str | None = None,
    hip: str | None = None,
    flags: str = "sm_80 sm_90",
    available: bool = True,
    capability: tuple[int, int] = (9, 0),
    error: str | None = None,
    factor: float = 1.0,
    mps: bool | None = None,
) -> Any:
    device = SimpleNamespace(
        is_available=lambda: available,
        get_device_name=lambda _index: GPU,
        get_device_capability=lambda _index: capability,
    )
    backend = SimpleNamespace(is_built=lambda: bool(mps), is_available=lambda: available)
    return SimpleNamespace(
        __version__="2.13.0+test",
        version=SimpleNamespace(cuda=cuda, hip=hip),
        _C=SimpleNamespace(_cuda_getArchFlags=lambda: flags),
        cuda=device,
        backends=SimpleNamespace(mps=backend) if mps is not None else SimpleNamespace(),
        manual_seed=lambda _seed: None,
        rand=lambda rows, columns: Tensor([[0.5] * columns for _ in range(rows)], error, factor),
    )


def on_linux_with(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices, "nvidia_driver", lambda: driver)


def on_mac_with(monkeypatch: pytest.MonkeyPatch, *, machine: str = "arm64", macos: str = "15.1", **sysctl: str) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "mac_ver", lambda: (macos, ("", "", ""), machine))
    monkeypatch.setattr(devices, "_sysctl", lambda name: sysctl.get(name.partition(".")[2]))


SPEC = {"min_drivers": dict(MIN_DRIVERS)}


def test_cuda_needs_a_cuda_build() -> None:
    assert devices.grade_cuda(make_torch(), SPEC) == Grade("not built", "CPU build (torch 2.13.0+test) installed")
    rocm = devices.grade_cuda(make_torch(hip="6.4.43482"), SPEC)
    assert rocm == Grade("not built", "ROCm 6.4.43482 build (torch 2.13.0+test) installed")


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (Driver("470.82.01", 1), "NVIDIA driver 470.82.01 is too old for CUDA 12.6: needs >= 525.60"),
        (Driver("525.60.13", 0), "the NVIDIA driver reports no device"),
        (Driver(None, 0, "no NVIDIA driver on this machine"), "no NVIDIA driver on this machine"),
    ],
)
def test_cuda_is_only_built_where_the_driver_does_not_reach(
    monkeypatch: pytest.MonkeyPatch, driver: Driver, reason: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    on_linux_with(monkeypatch, driver)
    assert devices.grade_cuda(make_torch(cuda="12.6"), SPEC) == Grade("built", reason)


def test_driver_of_the_cell_wins_over_the_rule_of_the_major_version(monkeypatch: pytest.MonkeyPatch) -> None:
    on_linux_with(monkeypatch, Driver("530.30.02", 1))
    assert devices.grade_cuda(make_torch(cuda="12.6"), SPEC).grade == "usable"
    grade = devices.grade_cuda(make_torch(cuda="12.6"), {"min_drivers": {"12": "560.28.03"}})
    assert grade == Grade("built", "NVIDIA driver 530.30.02 is too old for CUDA 12.6: needs >= 560.28.03")


def test_hidden_devices_are_called_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    on_linux_with(monkeypatch, Driver("580.65.06", 0))
    grade = devices.grade_cuda(make_torch(cuda="13.0"), SPEC)
    assert grade == Grade("built", "CUDA_VISIBLE_DEVICES hides every device")


def test_driver_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    on_linux_with(monkeypatch, Driver("580.65.06", 1))
    grade = devices.grade_cuda(make_torch(cuda="13.0", available=False), SPEC)
    assert grade == Grade("built", "NVIDIA driver 580.65.06 is loaded, but torch finds no CUDA device")


def test_architecture_that_is_not_compiled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    on_linux_with(monkeypatch, Driver("580.65.06", 1))
    grade = devices.grade_cuda(make_torch(cuda="11.8", capability=(10, 0)), SPEC)
    assert grade == Grade("present", f"{GPU} is sm_100, compiled in are sm_80 sm_90")


def test_usable_names_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    on_linux_with(monkeypatch, Driver("580.65.06", 1))
    grade = devices.grade_cuda(make_torch(cuda="12.6"), SPEC)
    assert grade == Grade("usable", f"{GPU} (sm_90), driver 580.65.06")


def test_present_where_allocation_fails_and_wrong_where_numbers_are(monkeypatch: pytest.MonkeyPatch) -> None:
    on_linux_with(monkeypatch, Driver("580.65.06", 1))
    full = devices.grade_cuda(make_torch(cuda="12.6", error="CUDA out of memory"), SPEC)
    assert full == Grade("present", f"{GPU} (sm_90), driver 580.65.06: CUDA out of memory")
    wrong = devices.grade_cuda(make_torch(cuda="12.6", factor=1.5), SPEC)
    assert wrong == Grade("wrong", f"{GPU} (sm_90), driver 580.65.06: x @ x.T on cuda is wrong by 2")


@pytest.mark.parametrize(
    ("flags", "capability", "covered"),
    [
        ("sm_80", (8, 0), True),
        ("sm_80", (8, 6), True),
        ("sm_86", (8, 0), False),
        ("sm_80", (9, 0), False),
        ("sm_80 compute_80", (9, 0), True),
        ("compute_90", (8, 6), False),
        ("sm_90a", (9, 0), True),
        ("sm_90a compute_90a", (10, 0), False),
        ("sm_50 sm_90", (10, 0), False),
        ("sm_100 sm_120", (12, 0), True),
        ("sm_37", (3, 7), True),
        ("", (9, 0), False),
    ],
)
def test_which_architectures_run_where(flags: str, capability: tuple[int, int], covered: bool) -> None:
    assert devices.arch_covers(flags.split(), capability) is covered


def test_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    on_mac_with(monkeypatch)
    assert devices.grade_mps(make_torch(mps=True), {}) == Grade("usable", "Apple silicon, macOS 15.1")
    assert devices.grade_mps(make_torch(), {}) == Grade("not built", "CPU build (torch 2.13.0+test) installed")
    none = devices.grade_mps(make_torch(mps=True, available=False), {})
    assert none == Grade("built", "torch finds no MPS device")
    failing = devices.grade_mps(make_torch(mps=True, error="out of memory"), {})
    assert failing == Grade("present", "Apple silicon, macOS 15.1: out of memory")


def test_mps_on_a_hosted_machine_that_fails_to_allocate(monkeypatch: pytest.MonkeyPatch) -> None:
    on_mac_with(monkeypatch, hv_vmm_present="1")
    grade = devices.grade_mps(make_torch(mps=True, error="MPS backend out of memory"), {})
    assert grade.grade == "present"
    assert grade.reason.startswith("a virtual machine reports MPS and fails to allocate: ")
    assert devices.grade_mps(make_torch(mps=True), {}).grade == "usable"


def test_mps_under_rosetta_on_intel_and_on_an_old_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    on_mac_with(monkeypatch, machine="x86_64", proc_translated="1")
    rosetta = "this Python is an x86_64 build under Rosetta; MPS needs an arm64 Python"
    assert devices.grade_mps(make_torch(), {}) == Grade("not built", rosetta)
    on_mac_with(monkeypatch, machine="x86_64")
    assert devices.grade_mps(make_torch(mps=True), {}).reason.startswith("MPS needs Apple silicon")
    on_mac_with(monkeypatch, macos="13.6")
    old = devices.grade_mps(make_torch(mps=True), {"min_macos": "14.0"})
    assert old == Grade("built", "macOS 13.6 is too old for MPS in this torch: needs >= 14.0")
    assert devices.grade_mps(make_torch(mps=True), {}).grade == "usable"


def context_with(torch: Any, **check: object) -> Context:
    context = Context({"min_drivers": dict(MIN_DRIVERS)}, "", lambda _: None)
    context._torch, context.check = torch, check
    return context


def test_device_that_the_machine_has_not_is_skipped_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    on_linux_with(monkeypatch, Driver(None, 0, "no NVIDIA driver on this machine"))
    context = context_with(make_torch(cuda="12.6"), id="device-cuda", required=True)
    finding = perform(context)
    assert finding["status"] == "skipped"
    assert finding["reason"] == "built, not run on a GPU: no NVIDIA driver on this machine"
    assert context.extra["device"]["grade"] == "built"


@pytest.mark.parametrize(("required", "status"), [(True, "failed"), (False, "skipped")])
def test_build_without_the_device_fails_only_where_it_was_asked(required: bool, status: str) -> None:
    finding = perform(context_with(make_torch(), id="device-cuda", required=required))
    assert finding["status"] == status
    assert "CPU build (torch 2.13.0+test) installed" in finding["reason"]


def test_device_with_wrong_numbers_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    on_linux_with(monkeypatch, Driver("580.65.06", 1))
    finding = perform(context_with(make_torch(cuda="12.6", factor=2.0), id="device-cuda", required=True))
    assert (finding["status"], finding["actual"]) == ("failed", "computes wrong numbers")


def test_every_grader_answers_for_a_cpu_build() -> None:
    grades = {name: grader(make_torch(), {}).grade for name, grader in devices.GRADERS.items()}
    assert grades == {"cpu": "usable", "cuda": "not built", "mps": "not built", "rocm": "not built", "xpu": "not built"}


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("1.0", "1.0"),
        ("v1.0-RC1", "1.0rc1"),
        ("2024.01.02", "2024.1.2"),
        ("1.0-1", "1.0.post1"),
        ("1.0.post", "1.0.post0"),
        ("2.14.0.DEV20261118+CU130", "2.14.0.dev20261118+cu130"),
        ("1!2.0a1.post3.dev4+local-1", "1!2.0a1.post3.dev4+local.1"),
        ("1.1.1w", "1.1.1w"),
        ("2.13.0+cpu.cxx11.abi", "2.13.0+cpu.cxx11.abi"),
    ],
)
def test_normal_form_of_versions(written: str, normal: str) -> None:
    from packaging.version import InvalidVersion, Version

    assert canonical(written) == normal
    try:
        assert str(Version(written)) == normal
    except InvalidVersion:
        assert written == normal
