"""How far a device goes: built for, present, usable."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
from typing import Any, Callable, Dict, Mapping, NamedTuple, Sequence

from .context import Context, Failed, Result, Skipped, first_lines, flat
from .driver import numbers, nvidia_driver, why_no_cuda
from .facts import arch_flags, describe_build, mps_built, xpu_compiled


class Grade(NamedTuple):
    """How far a device goes: ``not built`` < ``built`` < ``present`` < ``usable``; ``wrong``: it computes nonsense."""

    grade: str
    reason: str


def compute_on(torch: Any, device: str) -> str | None:
    """Allocate on the device, multiply there, compare with Python's own sums; what is wrong, or ``None``."""
    torch.manual_seed(0)
    x = torch.rand(16, 16)
    rows, there = x.tolist(), x.to(device)
    actual = flat((there @ there.t()).cpu())
    expected = [sum(a * b for a, b in zip(p, q)) for p in rows for q in rows]
    # Tensor cores round to ten bits of mantissa (TF32): sums of 16 products below 1 stay well within 0.05.
    difference = max(abs(a - b) for a, b in zip(actual, expected))
    return None if difference < 0.05 else f"x @ x.T on {device} is wrong by {difference:.3g}"


def grade_cpu(torch: Any, _spec: Mapping[str, Any]) -> Grade:
    """The CPU: always there."""
    wrong = compute_on(torch, "cpu")
    return Grade("wrong", wrong) if wrong else Grade("usable", platform.machine() or "CPU")


def grade_cuda(torch: Any, spec: Mapping[str, Any]) -> Grade:
    """CUDA: build, driver, device, architecture, allocation, in this order."""
    cuda = getattr(torch.version, "cuda", None)
    if cuda is None:
        return Grade("not built", f"{describe_build(torch)} installed")
    driver = nvidia_driver()
    reason = why_no_cuda(driver, cuda, (spec.get("min_drivers") or {}).get(cuda.split(".")[0]))
    if reason is None and not torch.cuda.is_available():
        reason = f"NVIDIA driver {driver.version or 'of unknown version'} is loaded, but torch finds no CUDA device"
    if reason:
        return Grade("built", reason)
    name, capability = torch.cuda.get_device_name(0), tuple(torch.cuda.get_device_capability(0))
    flags = arch_flags(torch)
    if not arch_covers(flags, capability):
        return Grade("present", f"{name} is sm_{capability[0]}{capability[1]}, compiled in are {' '.join(flags)}")
    return _try_device(torch, "cuda", f"{name} (sm_{capability[0]}{capability[1]}), driver {driver.version}")


def arch_covers(flags: Sequence[str], capability: tuple[int, ...]) -> bool:
    """Whether one of the architectures runs on a device: same major and no later minor, or PTX of an earlier one."""
    for flag in flags:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", flag)
        if match is None:
            continue
        built = (int(match[2]), int(match[3]))
        if built == capability or (not match[4] and match[1] == "compute" and built <= capability):
            return True
        if not match[4] and built[0] == capability[0] and built <= capability:
            return True
    return False


def grade_rocm(torch: Any, _spec: Mapping[str, Any]) -> Grade:
    """ROCm: torch speaks to it under the name cuda."""
    if getattr(torch.version, "hip", None) is None:
        return Grade("not built", f"{describe_build(torch)} installed")
    if not os.path.exists("/dev/kfd"):
        return Grade("built", "no AMD GPU for computing: /dev/kfd does not exist")
    if not torch.cuda.is_available():
        return Grade("built", "/dev/kfd exists, but torch finds no ROCm device")
    return _try_device(torch, "cuda", str(torch.cuda.get_device_name(0)))


def grade_xpu(torch: Any, _spec: Mapping[str, Any]) -> Grade:
    """Intel GPUs."""
    if not getattr(torch.version, "xpu", None) and not xpu_compiled(torch):
        return Grade("not built", f"{describe_build(torch)} installed")
    if not torch.xpu.is_available():
        return Grade("built", "torch finds no Intel GPU")
    return _try_device(torch, "xpu", str(torch.xpu.get_device_name(0)))


def grade_mps(torch: Any, spec: Mapping[str, Any]) -> Grade:
    """Apple's GPUs."""
    if not mps_built(torch):
        return Grade(
            "not built",
            why_no_mps(sys.platform, platform.machine(), _sysctl("sysctl.proc_translated"))
            or f"{describe_build(torch)} installed",
        )
    reason = why_no_mps(sys.platform, platform.machine(), _sysctl("sysctl.proc_translated"))
    macos, oldest = platform.mac_ver()[0], spec.get("min_macos") or "12.3"
    if reason is None and macos and numbers(macos) < numbers(oldest):
        reason = f"macOS {macos} is too old for MPS in this torch: needs >= {oldest}"
    if reason is None and not torch.backends.mps.is_available():
        reason = "torch finds no MPS device"
    if reason:
        return Grade("built", reason)
    grade = _try_device(torch, "mps", f"Apple silicon, macOS {macos}")
    if grade.grade == "present" and _sysctl("kern.hv_vmm_present") == "1":
        return Grade("present", f"a virtual machine reports MPS and fails to allocate: {grade.reason}")
    return grade


def why_no_mps(system: str, machine: str, translated: str | None) -> str | None:
    """Why this process could never reach MPS, whatever torch is installed."""
    if system != "darwin":
        return "there is no MPS but on macOS"
    if translated == "1":
        return "this Python is an x86_64 build under Rosetta; MPS needs an arm64 Python"
    return None if machine == "arm64" else "MPS needs Apple silicon; this Mac has an Intel processor"


def _sysctl(name: str) -> str | None:
    if sys.platform != "darwin":
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.check_output(["/usr/sbin/sysctl", "-n", name], timeout=10).decode().strip()
    return None


def _try_device(torch: Any, device: str, name: str) -> Grade:
    try:
        wrong = compute_on(torch, device)
    except Exception as error:
        return Grade("present", f"{name}: {first_lines(str(error), 2)}")
    return Grade("wrong", f"{name}: {wrong}") if wrong else Grade("usable", name)


GRADERS: Dict[str, Callable[[Any, Mapping[str, Any]], Grade]] = {
    "cpu": grade_cpu,
    "cuda": grade_cuda,
    "mps": grade_mps,
    "rocm": grade_rocm,
    "xpu": grade_xpu,
}


def check_device(context: Context) -> Result:
    """Passed only when the device computes; skipped, in words, when this machine is the obstacle."""
    device = context.check["id"].partition("-")[2]
    grade, reason = GRADERS[device](context.torch, context.spec)
    context.extra["device"] = {"device": device, "grade": grade, "reason": reason}
    if grade == "wrong":
        raise Failed("usable", "computes wrong numbers", reason)
    if grade == "not built":
        if context.check.get("required"):
            raise Failed(f"built for {device}", "not built", reason)
        raise Skipped(f"not built for {device}: {reason}")
    if grade != "usable":
        raise Skipped(f"built, not run on a GPU: {reason}")
    return "usable", f"usable: {reason}"
