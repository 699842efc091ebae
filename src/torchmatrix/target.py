"""What torch must run on, where: platforms, accelerators, Python versions, wheel tags and markers.

Nothing in this module looks at the machine it runs on; the target is always an argument.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.tags import Tag

DEFAULT_GLIBC = "2.28"
"""Floor of glibc for Linux targets: the manylinux level of torch's own wheels since 2.6 (wheel names on PyPI)."""
DEFAULT_MACOS = {"osx-arm64": "14.0", "osx-64": "10.13"}
"""Floor of macOS for targets that do not name one: torch >= 2.12 arm64 wheels are ``macosx_14_0`` (wheel names)."""


class Platform(StrEnum):
    """A platform in conda's words."""

    LINUX_64 = "linux-64"
    LINUX_AARCH64 = "linux-aarch64"
    OSX_ARM64 = "osx-arm64"
    OSX_64 = "osx-64"
    WIN_64 = "win-64"

    @property
    def is_linux(self) -> bool:
        """Whether wheels for it are manylinux wheels."""
        return self in (Platform.LINUX_64, Platform.LINUX_AARCH64)

    @property
    def is_macos(self) -> bool:
        """Whether wheels for it are macosx wheels."""
        return self in (Platform.OSX_ARM64, Platform.OSX_64)

    @property
    def machine(self) -> str:
        """``platform.machine()`` there: x86_64, aarch64, arm64 or AMD64."""
        return {"linux-64": "x86_64", "linux-aarch64": "aarch64", "osx-arm64": "arm64", "osx-64": "x86_64"}.get(
            self.value, "AMD64"
        )


class AcceleratorKind(StrEnum):
    """Which family of builds of torch."""

    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"
    ROCM = "rocm"
    XPU = "xpu"


_ACCELERATOR = re.compile(
    r"(?P<cpu>cpu)|(?P<mps>mps)|(?P<xpu>xpu)|cu(?P<cuda>\d{2,3})|rocm(?P<rocm>\d+\.\d+(?:\.\d+)?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """Which build of torch: ``cpu``, ``cu118``, ``mps``, ``rocm6.4`` or ``xpu``; never what a machine has."""

    kind: AcceleratorKind
    version: str | None = None
    """``11.8`` for cu118, ``6.4`` for rocm6.4, ``None`` for the kinds without a version."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a label such as ``cu118``; ``ValueError`` when it is none."""
        match = _ACCELERATOR.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no accelerator; write cpu, cuXYZ (cu118), mps, rocmX.Y (rocm6.4) or xpu")
        if digits := match["cuda"]:
            return cls(kind=AcceleratorKind.CUDA, version=f"{digits[:-1]}.{digits[-1]}")
        if rocm := match["rocm"]:
            return cls(kind=AcceleratorKind.ROCM, version=rocm)
        return cls(kind=AcceleratorKind(text))

    @property
    def label(self) -> str:
        """The folder of the PyTorch index and the local version of its wheels: cu118, cpu, rocm6.4 (mps: cpu)."""
        return "cpu" if self.kind is AcceleratorKind.MPS else str(self)

    def __str__(self) -> str:
        if self.kind is AcceleratorKind.CUDA and self.version:
            return "cu" + self.version.replace(".", "")
        return f"{self.kind}{self.version or ''}"


@dataclass(frozen=True, slots=True, order=True)
class PythonVersion:
    """A Python feature release, ``3.11`` or free-threaded ``3.13t``."""

    major: int
    minor: int
    free_threaded: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``3.11`` or ``3.13t``; ``ValueError`` otherwise."""
        match = re.fullmatch(r"(\d)\.(\d{1,2})(t?)", text)
        if match is None:
            raise ValueError(f"{text!r} is no Python version; write major.minor such as 3.11, or 3.13t")
        return cls(int(match[1]), int(match[2]), bool(match[3]))

    @property
    def release(self) -> str:
        """``3.13`` also for 3.13t."""
        return f"{self.major}.{self.minor}"

    @property
    def nodot(self) -> str:
        """``311``, ``313t``: the part of a cell id and of a wheel's ABI tag."""
        return f"{self.major}{self.minor}{'t' if self.free_threaded else ''}"

    def __str__(self) -> str:
        return self.release + ("t" if self.free_threaded else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A named platform with an accelerator and the oldest system libraries that it must run on."""

    name: str
    platform: Platform
    accelerator: Accelerator
    glibc: str = DEFAULT_GLIBC
    """Oldest glibc, ``major.minor``; used on Linux only."""
    macos: str | None = None
    """Oldest macOS, ``major.minor``; ``None`` means the default of the platform."""

    @property
    def macos_floor(self) -> str:
        """Oldest macOS as ``major.minor``; only meaningful on macOS."""
        return self.macos or DEFAULT_MACOS.get(self.platform, "14.0")

    @property
    def uv_platform(self) -> str:
        """The value of uv's ``--python-platform``."""
        glibc = self.glibc.replace(".", "_")
        match self.platform:
            case Platform.LINUX_64:
                return f"x86_64-manylinux_{glibc}"
            case Platform.LINUX_AARCH64:
                return f"aarch64-manylinux_{glibc}"
            case Platform.OSX_ARM64:
                return "aarch64-apple-darwin"
            case Platform.OSX_64:
                return "x86_64-apple-darwin"
            case Platform.WIN_64:
                return "x86_64-pc-windows-msvc"

    def platform_tags(self) -> Iterator[str]:
        """Platform tags of wheels that run on the target, best first (PEP 425, PEP 600)."""
        from packaging.tags import mac_platforms

        if self.platform.is_linux:
            yield from _manylinux_tags(self.glibc, self.platform.machine)
        elif self.platform.is_macos:
            major, minor = (int(part) for part in self.macos_floor.split(".")[:2])
            yield from mac_platforms((major, minor), self.platform.machine)
        else:
            yield "win_amd64"

    def marker_environment(self, python: PythonVersion) -> dict[str, str]:
        """The PEP 508 environment of CPython ``python`` there, the patch release taken as 0 as uv does."""
        system, sys_platform, os_name = (
            ("Linux", "linux", "posix")
            if self.platform.is_linux
            else ("Darwin", "darwin", "posix")
            if self.platform.is_macos
            else ("Windows", "win32", "nt")
        )
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{python.release}.0",
            "os_name": os_name,
            "platform_machine": self.platform.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": system,
            "platform_version": "",
            "python_full_version": f"{python.release}.0",
            "python_version": python.release,
            "sys_platform": sys_platform,
            "extra": "",
        }


_LEGACY_MANYLINUX = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


def _manylinux_tags(glibc: str, machine: str) -> Iterator[str]:
    major, minor = (int(part) for part in glibc.split(".")[:2])
    oldest = 5 if machine == "x86_64" else 17
    for level in range(minor, oldest - 1, -1):
        yield f"manylinux_{major}_{level}_{machine}"
        if legacy := _LEGACY_MANYLINUX.get((major, level)):
            yield f"{legacy}_{machine}"
    yield f"linux_{machine}"


@lru_cache(maxsize=256)
def wheel_tags(target: Target, python: PythonVersion) -> dict[Tag, int]:
    """Every wheel tag that CPython ``python`` accepts on ``target`` with its rank, 0 best."""
    from packaging.tags import compatible_tags, cpython_tags

    version = (python.major, python.minor)
    platforms = list(target.platform_tags())
    abis = [f"cp{python.nodot}"]
    interpreter = f"cp{python.major}{python.minor}"
    ordered = [
        *cpython_tags(version, abis=abis, platforms=platforms),
        *compatible_tags(version, interpreter=interpreter, platforms=platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(ordered)))}
