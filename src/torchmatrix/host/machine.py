"""The machine itself: system, architecture, libc, macOS release, drivers and GPUs.

`detect_host` reads a handful of small files and starts no process; `detect_devices` asks ``nvidia-smi`` once.
Every file is read below a ``root`` that tests replace.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from torchmatrix.errors import HostError
from torchmatrix.target import Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torchmatrix.command import Command, Outcome

Runner: TypeAlias = "Callable[[Command], Outcome]"
"""Anything that runs a command as `torchmatrix.command.run` does."""

ROOT = Path("/")
SMI_TIMEOUT = 5.0
"""Seconds that ``nvidia-smi`` gets: it hangs where the driver is broken."""

_PLATFORMS = {
    ("linux", "x86_64"): Platform.LINUX_64,
    ("linux", "aarch64"): Platform.LINUX_AARCH64,
    ("darwin", "arm64"): Platform.OSX_ARM64,
    ("darwin", "x86_64"): Platform.OSX_64,
    ("win32", "AMD64"): Platform.WIN_64,
}
_MACHINES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_SYSTEMS = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}
_DRIVER = re.compile(r"Kernel Module\b.*?\s(\d{2,4}\.\d+(?:\.\d+)?)\s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What the operating system says of itself to this process, not yet judged."""

    system: str
    """``sys.platform``: linux, darwin, win32."""
    machine: str
    """As ``platform.machine()`` spells it there."""
    glibc: str | None = None
    """``2.36``; ``None`` where the C library of this process is another one."""
    translated: bool = False
    """An x86_64 process on Apple silicon (Rosetta)."""
    virtual: bool = False
    """macOS inside a virtual machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One NVIDIA GPU. ``capability`` such as ``9.0``, where ``nvidia-smi`` knows it."""

    name: str
    capability: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine we run on, as this process sees it: a container, Rosetta and WSL show through."""

    system: str
    machine: str
    platform: Platform | None
    platform_reason: str | None = None
    """Why there is no platform, in words; ``None`` when there is one."""
    glibc: str | None = None
    musl: bool = False
    macos: str | None = None
    rosetta: bool = False
    virtual: bool = False
    wsl: bool = False
    nvidia_driver: str | None = None
    """``550.54.15``; ``None`` when no driver is loaded or `detect_devices` has yet to ask (WSL, Windows)."""
    nvidia_nodes: bool = False
    """Whether device nodes exist (``/dev/nvidia0``, on WSL ``/dev/dxg``): a container may see a driver without."""
    amd_node: bool = False
    """Whether ``/dev/kfd`` exists, the device node of AMD's compute driver."""
    intel_gpu: bool = False
    """Whether a render node belongs to an Intel GPU; old integrated ones count too."""
    gpus: tuple[Gpu, ...] = ()
    """Filled by `detect_devices` only."""
    smi: str | None = None
    """What ``nvidia-smi`` said when it failed; filled by `detect_devices` only."""

    @property
    def label(self) -> str:
        """``Linux x86_64, glibc 2.36``, for people."""
        library = f", glibc {self.glibc}" if self.glibc else ", musl" if self.musl else ""
        release = f" {self.macos}" if self.macos else ""
        rosetta = " under Rosetta" if self.rosetta else ""
        return f"{_SYSTEMS.get(self.system, self.system)}{release} {self.machine}{rosetta}{library}"


def read_kernel(env: Mapping[str, str]) -> Kernel:
    """Ask the running system: ``os.uname``, ``os.confstr``, and ``sysctl`` on macOS. Starts no process."""
    machine = os.uname().machine if hasattr(os, "uname") else _windows_machine(env)
    return Kernel(
        system=sys.platform,
        machine=machine,
        glibc=_own_glibc(),
        translated=sys.platform == "darwin" and _sysctl_flag("sysctl.proc_translated"),
        virtual=sys.platform == "darwin" and _sysctl_flag("kern.hv_vmm_present"),
    )


def detect_host(env: Mapping[str, str], *, root: Path = ROOT, kernel: Kernel | None = None) -> Host:
    """What this machine is, without starting a process; below a millisecond or two."""
    seen = kernel or read_kernel(env)
    platform, reason = _platform_of(seen)
    wsl = seen.system == "linux" and (root / "dev/dxg").exists()
    return Host(
        system=seen.system,
        machine=seen.machine,
        platform=platform,
        platform_reason=reason,
        glibc=seen.glibc if seen.system == "linux" else None,
        musl=seen.system == "linux" and seen.glibc is None and any((root / "lib").glob("ld-musl-*.so.1")),
        macos=_macos_release(root) if seen.system == "darwin" else None,
        rosetta=seen.translated,
        virtual=seen.virtual,
        wsl=wsl,
        nvidia_driver=_nvidia_driver(root),
        nvidia_nodes=wsl or any((root / "dev").glob("nvidia[0-9]*")),
        amd_node=(root / "dev/kfd").exists(),
        intel_gpu=_has_intel_gpu(root),
    )


def detect_devices(host: Host, env: Mapping[str, str], *, root: Path = ROOT, run: Runner | None = None) -> Host:
    """``host`` with its NVIDIA GPUs, and the driver where only ``nvidia-smi`` knows it (WSL, Windows).

    At most two processes of `SMI_TIMEOUT` seconds; a host without ``nvidia-smi`` comes back as it is.
    """
    program = _find_smi(host, env, root)
    if program is None:
        return host
    # Drivers before 510 do not know compute_cap and refuse the whole query.
    failure = ""
    for fields in ("name,driver_version,compute_cap", "name,driver_version"):
        outcome = _ask_smi(program, fields, env, run)
        if isinstance(outcome, str):
            return replace(host, smi=outcome)
        if outcome.ok:
            return _with_gpus(host, outcome.stdout)
        if outcome.timed_out:
            return replace(host, smi=f"no answer within {SMI_TIMEOUT:.0f} s")
        failure = (outcome.stdout + outcome.stderr).strip().splitlines()[0] if outcome.stdout + outcome.stderr else ""
    return replace(host, smi=failure or "it failed without a word")


def free_disk(path: Path) -> int:
    """Free bytes on the file system that ``path`` is on or will be on."""
    existing = path.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return shutil.disk_usage(existing).free


def _platform_of(kernel: Kernel) -> tuple[Platform | None, str | None]:
    platform = _PLATFORMS.get((kernel.system, kernel.machine))
    if platform is None and kernel.system == "linux":
        platform = _PLATFORMS.get(("linux", _MACHINES.get(kernel.machine.lower(), kernel.machine)))
    if platform is not None:
        return platform, None
    system = _SYSTEMS.get(kernel.system, kernel.system)
    known = ", ".join(Platform)
    return None, f"{system} on {kernel.machine} is none of the platforms that torchmatrix knows ({known})"


def _own_glibc() -> str | None:
    # On musl the name is unknown or the call answers nothing; on macOS and Windows there is no confstr name at all.
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") if hasattr(os, "confstr") else None
    except (ValueError, OSError):
        return None
    name, _, version = (text or "").partition(" ")
    return version if name == "glibc" and version else None


def _windows_machine(env: Mapping[str, str]) -> str:
    # A 32-bit process on 64-bit Windows finds the machine in the second variable.
    return env.get("PROCESSOR_ARCHITEW6432") or env.get("PROCESSOR_ARCHITECTURE") or "unknown"


def _sysctl_flag(name: str) -> bool:
    """Whether the integer ``name`` of macOS's sysctl is 1; false where it does not exist (Intel, old releases)."""
    import ctypes

    try:
        function = ctypes.CDLL(None).sysctlbyname
    except (OSError, AttributeError):
        return False
    value = ctypes.c_int(0)
    size = ctypes.c_size_t(ctypes.sizeof(value))
    failed = function(name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
    return not failed and value.value == 1


def _macos_release(root: Path) -> str | None:
    import plistlib
    from xml.parsers.expat import ExpatError

    # The first file gives the true release; the second says 10.16 to programs linked against an old SDK.
    for name in (".SystemVersionPlatform.plist", "SystemVersion.plist"):
        with suppress(OSError, plistlib.InvalidFileException, ExpatError):
            with (root / "System/Library/CoreServices" / name).open("rb") as file:
                version = plistlib.load(file).get("ProductVersion")
            if isinstance(version, str):
                return version
    return None


def _nvidia_driver(root: Path) -> str | None:
    if text := _read(root / "sys/module/nvidia/version"):
        return text
    match = _DRIVER.search(_read(root / "proc/driver/nvidia/version") + "\n")
    return match[1] if match else None


def _has_intel_gpu(root: Path) -> bool:
    return any(_read(file) == "0x8086" for file in (root / "sys/class/drm").glob("renderD*/device/vendor"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _find_smi(host: Host, env: Mapping[str, str], root: Path) -> str | None:
    if host.system not in ("linux", "win32"):
        return None
    if found := shutil.which("nvidia-smi", path=env.get("PATH", "")):
        return found
    # WSL keeps it beside the libraries of the Windows driver, in a folder that is not always on PATH.
    beside = root / "usr/lib/wsl/lib/nvidia-smi"
    return str(beside) if host.wsl and beside.exists() else None


def _ask_smi(program: str, fields: str, env: Mapping[str, str], run: Runner | None) -> Outcome | str:
    from torchmatrix import command

    argv = (program, f"--query-gpu={fields}", "--format=csv,noheader")
    try:
        return (run or command.run)(command.Command(argv=argv, env=env, timeout=SMI_TIMEOUT))
    except HostError as error:
        return error.message


def _with_gpus(host: Host, text: str) -> Host:
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines() if "," in line]
    gpus = tuple(
        Gpu(name=row[0], capability=row[2] if len(row) > 2 and re.fullmatch(r"\d+\.\d+", row[2]) else None)
        for row in rows
    )
    driver = host.nvidia_driver or (rows[0][1] if rows else None)
    return replace(host, gpus=gpus, nvidia_driver=driver)
