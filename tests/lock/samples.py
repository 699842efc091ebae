"""Lockfiles, cells and matrices for the tests of lock/ and of what stands on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.version import Version

from torchmatrix.lock.conda_version import CondaVersion
from torchmatrix.lock.model import Artifact, CondaBuild, HashFrom, Lockfile
from torchmatrix.matrix.model import Backend, Cell, Matrix, SandboxKind, Settings, TargetSpec, TorchRequest
from torchmatrix.target import Accelerator, Platform, PythonVersion, Target

if TYPE_CHECKING:
    from pathlib import Path

LINUX = Target(name="cpuonly", platform=Platform.LINUX_64, accelerator=Accelerator.parse("cpu"))
MACOS = Target(name="mps", platform=Platform.OSX_ARM64, accelerator=Accelerator.parse("mps"))
WINDOWS = Target(name="win", platform=Platform.WIN_64, accelerator=Accelerator.parse("cpu"))


def artifact(name: str, version: str, **more: Any) -> Artifact:
    """A pure wheel of the default index, with a sha256 made from its name."""
    values: dict[str, Any] = {
        "name": name,
        "version": Version(version),
        "file": f"{name.replace('-', '_')}-{version}-py3-none-any.whl",
        "sha256": (name.encode().hex() + "0" * 64)[:64],
        "source": "pypi",
        "path": f"packages/{name}/{name}-{version}.whl",
    }
    return Artifact(**(values | more))


TORCH = artifact(
    "torch",
    "2.13.0+cpu",
    file="torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256="ab" * 32,
    source="pytorch",
    size=191_800_000,
    path="cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl",
)
FILELOCK = artifact("filelock", "3.20.0", hash_from=HashFrom.COMPUTED, size=16_012)


def lockfile(**more: Any) -> Lockfile:
    """A lockfile of py311-stable-cpuonly with torch and filelock."""
    values: dict[str, Any] = {
        "cell": "py311-stable-cpuonly",
        "python": "3.11",
        "channel": "stable",
        "target": "cpuonly",
        "platform": "linux-64",
        "accelerator": "cpu",
        "backend": "pip",
        "floor": "glibc 2.28",
        "torch": Version("2.13.0+cpu"),
        "input_digest": "sha256:" + "1" * 64,
        "inputs": {"torch": "2.13.0", "packages": ["numpy"]},
        "artifacts": (FILELOCK, TORCH),
    }
    return Lockfile(**(values | more))


def conda_package(name: str, version: str, build: str, **more: Any) -> Artifact:
    """A package of conda-forge for linux-64, with hashes made from its name; ``label`` and fields of both classes."""
    values: dict[str, Any] = {"number": 0, "subdir": "linux-64", "md5": (name.encode().hex() + "0" * 32)[:32]}
    values |= {key: more.pop(key) for key in list(more) if key in CondaBuild.__slots__}
    label = f"label/{found}/" if (found := more.pop("label", None)) else ""
    file = more.pop("file", f"{name}-{version}-{build}.conda")
    fields: dict[str, Any] = {
        "name": name,
        "version": CondaVersion(version),
        "file": file,
        "sha256": (name.encode().hex() + "0" * 64)[:64],
        "source": "conda-forge",
        "path": f"{label}{values['subdir']}/{file}",
        "conda": CondaBuild(build=build, **values),
    }
    return Artifact(**(fields | more))


CUDART = conda_package(
    "cuda-cudart", "11.8.89", "0", source="nvidia", label="cuda-11.8.0", file="cuda-cudart-11.8.89-0.tar.bz2"
)
NUMPY = conda_package(
    "numpy",
    "2.2.6",
    "py311h_1",
    number=1,
    size=8_000_000,
    depends=("python >=3.11,<3.12.0a0", "__glibc >=2.17,<3.0.a0", "python_abi 3.11.* *_cp311"),
    constrains=("numpy-base <0a0",),
)
PYTHON = conda_package("python", "3.11.9", "h_0_cpython", site_packages="lib/python3.11/site-packages")
PYTHON_ABI = conda_package("python_abi", "3.11", "8_cp311", number=8, subdir="noarch", noarch="generic")
PYTORCH = conda_package(
    "pytorch",
    "2.5.1",
    "py3.11_cuda11.8_cudnn9.1.0_0",
    source="pytorch-conda",
    file="pytorch-2.5.1-py3.11_cuda11.8_cudnn9.1.0_0.tar.bz2",
    depends=("python >=3.11,<3.12.0a0", "numpy"),
)
TZDATA = conda_package("tzdata", "2025b", "h_1", number=1, subdir="noarch", noarch="python", sha256="0f" * 32)
CONDA_PACKAGES = (CUDART, NUMPY, PYTHON, PYTHON_ABI, PYTORCH, TZDATA)


def conda_lockfile(**more: Any) -> Lockfile:
    """A lockfile of py311-stable-cu118-conda, from three conda channels, without wheels."""
    values: dict[str, Any] = {
        "cell": "py311-stable-cu118-conda",
        "target": "cu118",
        "accelerator": "cu118",
        "backend": "conda",
        "torch": Version("2.5.1"),
        "artifacts": CONDA_PACKAGES,
        "conda_channels": ("pytorch-conda", "nvidia/label/cuda-11.8.0", "conda-forge"),
    }
    return lockfile(**(values | more))


def cell(**more: Any) -> Cell:
    """py311-stable-cpuonly; ``packages`` may be texts."""
    values: dict[str, Any] = {
        "id": "py311-stable-cpuonly",
        "python": PythonVersion.parse("3.11"),
        "channel": "stable",
        "target": LINUX,
        "backend": Backend.PIP,
        "sandbox": SandboxKind.NATIVE,
        "torch": TorchRequest.parse("2.13.0"),
        "torch_version": Version("2.13.0"),
        "source": "pytorch",
    }
    values |= more
    values["packages"] = tuple(Requirement(str(text)) for text in values.get("packages", ()))
    return Cell(**values)


def matrix(folder: Path, **more: Any) -> Matrix:
    """A matrix of that one cell in ``folder``."""
    values: dict[str, Any] = {
        "path": folder / "matrix.yaml",
        "version": 1,
        "pythons": (PythonVersion.parse("3.11"),),
        "channel_axis": ("stable",),
        "target_axis": ("cpuonly",),
        "channels": {"stable": Settings(torch=TorchRequest.parse("2.13.0"))},
        "targets": {"cpuonly": TargetSpec(platform=LINUX.platform, accelerator=LINUX.accelerator)},
        "defaults": Settings(),
    }
    return Matrix(**(values | more))
