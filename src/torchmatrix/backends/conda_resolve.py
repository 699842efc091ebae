"""From a solve to a lockfile: hashes, the variant looked at once more, and what pip adds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from torchmatrix.backends import Resolution
from torchmatrix.backends.conda_specs import PYTORCH, build_accelerator, is_build
from torchmatrix.backends.shared import lockfile_of
from torchmatrix.errors import CellError, IntegrityError
from torchmatrix.lock.model import Artifact, HashFrom, Lockfile
from torchmatrix.target import AcceleratorKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torchmatrix.backends import ResolveRequest
    from torchmatrix.backends.conda_files import CondaFiles
    from torchmatrix.backends.conda_pip import PipOnTop
    from torchmatrix.backends.conda_solve import Solver
    from torchmatrix.catalog import Catalog
    from torchmatrix.matrix.model import Cell


def resolve_cell(
    request: ResolveRequest, solver: Solver, files: CondaFiles, pip: PipOnTop, catalog: Catalog
) -> Resolution:
    """The lockfile of a cell: its conda packages, then what pip installs on top of them."""
    if request.cell.pip_packages:
        from torchmatrix.backends.conda_pip import require_no_family

        require_no_family(request, catalog)
    request.tell("solving")
    solved, remarks = solver.solve(request)
    artifacts = _hashed(solved, request, files)
    check_variant(request.cell, artifacts)
    resolution = Resolution(lockfile=_lockfile(request, artifacts), remarks=(*request.cell.notes, *remarks))
    if not request.cell.pip_packages:
        return resolution
    request.tell("resolving pip-packages")
    added = pip.resolve_on_top(request, artifacts)
    return replace(
        resolution,
        lockfile=replace(resolution.lockfile, artifacts=(*artifacts, *added.artifacts)),
        bases=added.bases,
        remarks=tuple(dict.fromkeys([*resolution.remarks, *added.remarks])),
    )


def _hashed(artifacts: Iterable[Artifact], request: ResolveRequest, files: CondaFiles) -> tuple[Artifact, ...]:
    """The same, each with a sha256. That nothing locked has other bytes now, the solver has looked at."""
    before = {one.name: one for one in request.previous.conda_artifacts} if request.previous else {}
    made = []
    for artifact in artifacts:
        locked = before.get(artifact.name)
        same = locked is not None and (locked.source, locked.path) == (artifact.source, artifact.path)
        if artifact.sha256:
            made.append(artifact)
        elif locked is not None and same and _md5(locked) == _md5(artifact) is not None:
            made.append(replace(artifact, sha256=locked.sha256, hash_from=locked.hash_from))
        else:
            sha256 = files.hashed(artifact, tell=request.tell)
            made.append(replace(artifact, sha256=sha256, hash_from=HashFrom.COMPUTED))
    return tuple(made)


def check_variant(cell: Cell, artifacts: Iterable[Artifact]) -> None:
    """`IntegrityError` unless torch and its companions are builds for the cell's accelerator, as their names say."""
    wanted = cell.target.accelerator
    is_cuda = wanted.kind is AcceleratorKind.CUDA
    for artifact in artifacts:
        if artifact.conda is None or not is_build(artifact.name):
            continue
        found = build_accelerator(artifact.conda.build)
        if artifact.name == PYTORCH and found is None and not cell.target.platform.is_macos:
            raise IntegrityError(
                f"{cell}: nothing in the build {artifact.conda.build} of torch {artifact.version} says that it is for "
                f"{wanted}",
                hint="name a conda channel whose builds say it: conda-forge, pytorch-conda",
            )
        if found is None:
            continue
        if found != (str(wanted) if is_cuda else "cpu"):
            raise IntegrityError(
                f"{cell}: asked for the {wanted} build, and {artifact.name} {artifact.version} "
                f"{artifact.conda.build} from {artifact.source} is a {found} build",
                hint="look at conda-packages and conda-channels in the matrix",
            )


def _lockfile(request: ResolveRequest, artifacts: tuple[Artifact, ...]) -> Lockfile:
    cell = request.cell
    torch = next((artifact for artifact in artifacts if artifact.name == PYTORCH), None)
    if torch is None:
        raise CellError(f"{cell}: the solution holds no torch")
    try:
        version = Version(str(torch.version))
    except InvalidVersion as error:
        raise CellError(f"{cell}: torch has the version {torch.version}, which is none of torch's") from error
    return lockfile_of(request, version, artifacts)


def _md5(artifact: Artifact) -> str | None:
    return artifact.conda.md5 if artifact.conda else None
