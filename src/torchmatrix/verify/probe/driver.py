"""The NVIDIA driver of the machine and what it can run."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import sys
from typing import List, NamedTuple


class Driver(NamedTuple):
    """The NVIDIA driver of the machine; ``problem`` says in words why it cannot be used."""

    version: str | None = None
    devices: int = 0
    problem: str | None = None


def why_no_cuda(driver: Driver, cuda: str, oldest: str | None) -> str | None:
    """Why torch built for ``cuda`` cannot reach a device with this driver; ``None`` when nothing speaks against it."""
    if sys.platform == "darwin":
        return "there is no CUDA on macOS"
    if oldest and driver.version and numbers(driver.version) < numbers(oldest):
        return f"NVIDIA driver {driver.version} is too old for CUDA {cuda}: needs >= {oldest}"
    if driver.problem:
        return driver.problem
    if driver.devices == 0:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        return "CUDA_VISIBLE_DEVICES hides every device" if hidden else "the NVIDIA driver reports no device"
    return None


def numbers(text: str) -> List[int]:
    """The numbers of a version, without zeros at its end, to compare it with another."""
    numbers = [int(part) for part in re.findall(r"\d+", text)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def nvidia_driver() -> Driver:
    """Ask the driver library itself; nothing of torch is involved."""
    library = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    version = _driver_version()
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        if version:
            return Driver(
                version, 0, f"NVIDIA driver {version} is loaded, but {library} is missing (in a container: --gpus all)"
            )
        return Driver(None, 0, f"no NVIDIA driver on this machine ({library} and nvidia-smi are missing)")
    code = cuda.cuInit(0)
    count = ctypes.c_int(0)
    if code == 0:
        code = cuda.cuDeviceGetCount(ctypes.byref(count))
    if code not in (0, 100):  # 100 is CUDA_ERROR_NO_DEVICE, which a count of 0 says as well
        return Driver(version, 0, f"the NVIDIA driver {version or ''} does not start: error {code} of cuInit")
    return Driver(version, count.value)


def _driver_version() -> str | None:
    with contextlib.suppress(OSError), open("/proc/driver/nvidia/version", encoding="utf-8") as stream:
        match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", stream.read())
        if match:
            return match[1]
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return None
    argv = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(rb"\d+\.\d+(?:\.\d+)?", answer.stdout)
    return found[0].decode() if found else None
