"""What the solver is asked for a cell: match specs, constraints and virtual packages, as text. Pure.

A match spec has up to three fields, ``name version build``. As a string py-rattler rejects ``pytorch=2.*``, so the
fields are always apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import Version

from torchmatrix.catalog.model import PYTORCH_CONDA
from torchmatrix.errors import CellError
from torchmatrix.matrix.model import TorchKind
from torchmatrix.target import AcceleratorKind, Platform

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from packaging.requirements import Requirement
    from packaging.specifiers import Specifier, SpecifierSet

    from torchmatrix.lock.demands import Demands
    from torchmatrix.matrix.model import Cell, TorchRequest
    from torchmatrix.target import PythonVersion, Target

PYTORCH = "pytorch"
"""torch's name on conda."""
FAMILY = ("pytorch", "torchvision", "torchaudio", "libtorch", "pytorch-cuda", "pytorch-mutex", "cpuonly", "torchtriton",
          "pytorch-gpu", "pytorch-cpu")  # fmt: skip
"""Conda packages that come from the family's source alone. conda-forge's triton serves others too."""
_BUILDS = ("pytorch", "libtorch", "torchvision", "torchaudio")
"""Those whose build string says which accelerator they are for."""
KERNEL = "4.18"
"""Linux kernel that environments are solved for: that of RHEL 8, the oldest system in use with glibc 2.28."""
RENAMED = {
    "torch": "pytorch",
    "build": "python-build",
    "graphviz": "python-graphviz",
    "msgpack": "msgpack-python",
    "opencv-python": "py-opencv",
    "opencv-python-headless": "py-opencv",
    "tables": "pytables",
}
"""Projects of the default index whose conda package has another name (conda-forge's feedstocks)."""
_CUDA_BUILD = re.compile(r"(?:^|_)(?:cuda|cu)(\d+)\.?(\d?)")
_CPU_BUILD = re.compile(r"(?:^|_)cpu(?:_|$|py)")
_PLAIN_BUILD = re.compile(r"[A-Za-z0-9_*]+")
"""What a third field may hold; anything else goes into brackets."""
_PYTORCH_CUDA_SINCE = (11, 6)
"""CUDA that ``pytorch-cuda`` begins with, at torch 1.13; before that ``cudatoolkit`` said it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualPackage:
    """What a machine brings, as the solver sees it: ``__glibc 2.28 0``."""

    name: str
    version: str
    build: str = "0"

    def __str__(self) -> str:
        return f"{self.name}={self.version}={self.build}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything that a solve depends on beside the repodata."""

    specs: tuple[str, ...]
    constraints: tuple[str, ...]
    virtual: tuple[VirtualPackage, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Which conda packages there are: a requirement's name is looked up in the spellings that conda channels use."""

    known: Collection[str]

    def of(self, project: str) -> str | None:
        """The conda package of a project; ``None`` where the conda channels have none."""
        name = str(canonicalize_name(project))
        spellings = (RENAMED.get(name, name), name, project.lower(), name.replace("-", "_"), name.replace("-", "."))
        return next((spelling for spelling in spellings if spelling in self.known), None)


def virtual_packages(target: Target) -> tuple[VirtualPackage, ...]:
    """What the target promises, never what this machine has (https://docs.conda.io, "Managing virtual packages")."""
    platform = target.platform
    if platform is Platform.WIN_64:
        found = [
            VirtualPackage(name="__win", version="0"),
            VirtualPackage(name="__archspec", version="1", build="x86_64"),
        ]
    else:
        machine = {"arm64": "m1"}.get(platform.machine, platform.machine)
        found = [VirtualPackage(name="__unix", version="0")]
        if platform.is_linux:
            found.append(VirtualPackage(name="__linux", version=KERNEL))
            found.append(VirtualPackage(name="__glibc", version=target.glibc))
        else:
            found.append(VirtualPackage(name="__osx", version=target.macos_floor))
        found.append(VirtualPackage(name="__archspec", version="1", build=machine))
    if target.accelerator.kind is AcceleratorKind.CUDA and target.accelerator.version:
        found.append(VirtualPackage(name="__cuda", version=target.accelerator.version))
    return tuple(found)


def question(cell: Cell, demands: Demands, names: Names) -> Question:
    """What is asked for ``cell``; `CellError` names packages that no conda channel of the cell has."""
    remarks: list[str] = []
    specs = [python_spec(cell.python), *family_specs(cell)]
    missing: list[str] = []
    for requirement in demands.requirements:
        name = _conda_name(requirement, cell, names, remarks, missing)
        if name is not None and name != PYTORCH:
            specs.append(_companion(name, _specifier(requirement, cell), cell))
        elif name is not None:
            specs.append(_spec(PYTORCH, versions(_specifier(requirement, cell))))
    specs += [_exact(text) for text in cell.conda_packages]
    if missing:
        raise _no_such_package(cell, missing, names)
    constraints = [*family_constraints(cell)]
    for requirement in demands.constraints:
        name = _conda_name(requirement, cell, names, [], [])
        if name is not None:
            constraints.append(_spec(name, versions(_specifier(requirement, cell))))
    return Question(
        specs=tuple(dict.fromkeys(specs)),
        constraints=tuple(dict.fromkeys(constraints)),
        virtual=virtual_packages(cell.target),
        remarks=tuple(dict.fromkeys(remarks)),
    )


def python_spec(python: PythonVersion) -> str:
    """Any patch release; conda-forge's free-threaded builds have a build string of their own (``*_cp313t``)."""
    if python.free_threaded:
        return f"python {python.release}.* *_cp{python.nodot}"
    return f"python {python.release}.*"


def family_specs(cell: Cell) -> list[str]:
    """torch in the cell's version and variant, and what chooses the variant."""
    version, build = torch_versions(cell.torch), build_glob(cell)
    specs = [_spec(PYTORCH, version, build)]
    kind = cell.target.accelerator.kind
    if cell.source == PYTORCH_CONDA and kind is AcceleratorKind.CPU and not cell.target.platform.is_macos:
        specs.append("cpuonly")
    return specs


def family_constraints(cell: Cell) -> list[str]:
    """CUDA libraries of the accelerator's own release: the oldest driver that it needs is then enough."""
    accelerator = cell.target.accelerator
    if accelerator.kind is not AcceleratorKind.CUDA or not accelerator.version:
        return []
    version = accelerator.version
    limits = [f"cuda-version {version}.*", f"cudatoolkit {version}.*"]
    if cell.source == PYTORCH_CONDA and tuple(map(int, version.split("."))) >= _PYTORCH_CUDA_SINCE:
        limits.append(f"pytorch-cuda {version}.*")
    return limits


def build_glob(cell: Cell) -> str | None:
    """The build strings of torch that are the cell's variant; ``None`` where there is but one variant."""
    accelerator, version = cell.target.accelerator, cell.target.accelerator.version
    if cell.source == PYTORCH_CONDA:  # py3.11_cpu_0, py3.11_cuda11.8_cudnn8.7.0_0; macOS: py3.11_0
        if cell.target.platform.is_macos:
            return None
        return f"*_cuda{version}_*" if accelerator.kind is AcceleratorKind.CUDA else "*_cpu_*"
    if accelerator.kind is AcceleratorKind.CUDA:  # cuda118_py311h4ee7bbc_301, cuda129_mkl_py311_h49b8cc7_300
        return f"cuda{(version or '').replace('.', '')}*"
    return "cpu*"  # cpu_mkl_py311_…, and on Apple's machines cpu_generic_py311_…, which has MPS


def build_accelerator(build: str) -> str | None:
    """Which accelerator a build string names: ``cpu``, ``cu118``; ``None`` where it names none."""
    if found := _CUDA_BUILD.search(build):
        digits = found[1] + found[2]
        return f"cu{digits}" if len(digits) > 1 else None
    return "cpu" if _CPU_BUILD.search(build) else None


def is_build(name: str) -> bool:
    """Whether the build string of a package says which accelerator it is for."""
    return name in _BUILDS


def torch_versions(request: TorchRequest) -> str | None:
    """The version field for torch; ``None`` leaves the choice to the solver, which takes the newest."""
    if request.kind is TorchKind.EXACT:
        return f"=={request.version}"
    return versions(request.specifier) if request.specifier is not None else None


def versions(specifier: SpecifierSet) -> str | None:
    """A specifier of PEP 440 in conda's words; ``None`` for any version."""
    return ",".join(_clause(each) for each in sorted(specifier, key=str)) or None


def _clause(specifier: Specifier) -> str:
    operator, version = specifier.operator, specifier.version
    match operator:
        case "==" if version.endswith(".*"):
            return version
        case "===":
            return f"=={version}"
        case "~=":
            shared = ".".join(str(part) for part in Version(version).release[:-1])
            return f">={version},{shared}.*"
        case "<" if not Version(version).is_prerelease:
            return f"<{version}a0"  # PEP 440 leaves out pre-releases of what is excluded, conda's order does not
        case _:
            return f"{operator}{version}"


def _exact(text: str) -> str:
    """A package of the matrix for py-rattler, which wants ``==`` where a bare version says the same to conda."""
    name, *rest = text.split()
    if rest:
        clauses = re.split(r"([,|])", rest[0])
        rest[0] = "".join(f"=={one}" if one[:1].isalnum() and "*" not in one else one for one in clauses)
    return " ".join([name, *rest])


def _companion(name: str, specifier: SpecifierSet, cell: Cell) -> str:
    """Of the channel pytorch, the companions' builds too name their variant: ``py310_cpu``, ``py310_cu118``."""
    build = None
    if cell.source == PYTORCH_CONDA and name in _BUILDS and not cell.target.platform.is_macos:
        build = f"*_{cell.target.accelerator.label}"
    return _spec(name, versions(specifier), build)


def _spec(name: str, version: str | None = None, build: str | None = None) -> str:
    if build is None:
        return f"{name} {version}" if version else name
    if _PLAIN_BUILD.fullmatch(build):
        return f"{name} {version or '*'} {build}"
    return f'{name} {version or "*"}[build="{build}"]'


def _conda_name(
    requirement: Requirement, cell: Cell, names: Names, remarks: list[str], missing: list[str]
) -> str | None:
    if requirement.marker and not requirement.marker.evaluate(cell.target.marker_environment(cell.python)):
        return None
    if any(canonicalize_name(requirement.name) == canonicalize_name(each.name) for each in cell.pip_packages):
        return None  # pip installs it on top
    name = names.of(requirement.name)
    if name is None:
        missing.append(requirement.name)
    elif requirement.extras:
        extras = ",".join(sorted(requirement.extras))
        remarks.append(
            f"conda packages have no extras: {requirement.name}[{extras}] is taken as {name}; name what the extra "
            "brings under conda-packages"
        )
    return name


def _specifier(requirement: Requirement, cell: Cell) -> SpecifierSet:
    """What a requirement says of versions; `CellError` for what conda packages do not have."""
    if any("+" in each.version for each in requirement.specifier):
        raise CellError(
            f"{cell}: {requirement}: conda packages have no local versions",
            hint="leave the local version away; the target's accelerator chooses the build",
        )
    return requirement.specifier


def _no_such_package(cell: Cell, missing: Iterable[str], names: Names) -> CellError:
    what = list(dict.fromkeys(missing))
    near = {name: get_close_matches(str(canonicalize_name(name)), names.known, n=1, cutoff=0.7) for name in what}
    meant = "".join(f"; {name}: did you mean {found[0]}?" for name, found in near.items() if found)
    return CellError(
        f"{cell}: no conda package{'s' if len(what) > 1 else ''} {', '.join(what)} for {cell.target.platform} in "
        f"{', '.join(cell.conda_channels)}{meant}",
        hint="name it under conda-packages by its conda name, let pip install it on top (pip-packages), or add a conda "
        "channel that has it (conda-channels)",
    )
