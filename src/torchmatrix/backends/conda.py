"""The conda backend: py-rattler solves, unpacks and links in this process; no conda binary is needed."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from torchmatrix.backends import Resolution
from torchmatrix.backends.conda_specs import PYTORCH, build_accelerator, is_build
from torchmatrix.errors import CellError, IntegrityError
from torchmatrix.lock.demands import floor_of, input_digest, input_form
from torchmatrix.lock.model import Artifact, HashFrom, Lockfile
from torchmatrix.target import AcceleratorKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torchmatrix.backends import CreateRequest, Deviation, FetchRequest, ResolveRequest
    from torchmatrix.backends.conda_create import Linker
    from torchmatrix.backends.conda_files import CondaFiles
    from torchmatrix.backends.conda_pip import PipOnTop
    from torchmatrix.backends.conda_solve import Solver
    from torchmatrix.backends.shared import SharedResolutions
    from torchmatrix.catalog import Catalog
    from torchmatrix.matrix.model import Cell, Project
    from torchmatrix.sandboxes import Sandbox
    from torchmatrix.sources.channels import Channels
    from torchmatrix.sources.config import SourceConfig
    from torchmatrix.sources.web import Web
    from torchmatrix.store import Store

PACKAGES = "conda-packages"
"""The store's folder of unpacked packages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the backend consists of, made when it is first needed: a build in which nothing changed needs none."""

    web: Web
    channels: Channels
    solver: Solver
    files: CondaFiles
    linker: Linker
    shared: SharedResolutions


class CondaBackend:
    """Conda packages, and on top of them what ``pip`` installs."""

    name = "conda"
    brings_python = True

    def __init__(
        self,
        config: SourceConfig,
        catalog: Catalog,
        store: Store,
        *,
        home: Path,
        private: Mapping[str, str],
        pip: PipOnTop,
    ) -> None:
        """``private``: addresses of the matrix's own conda channels by name; ``home`` holds netrc."""
        self._config = config
        self._catalog = catalog
        self._store = store
        self._home = home
        self._private = dict(private)
        self._pip = pip
        self._lock = threading.Lock()
        self._made: _Parts | None = None
        self._stopped = False

    @property
    def _parts(self) -> _Parts:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            if self._stopped:  # while it was made
                self._made.web.stopping.set()
            return self._made

    def _make(self) -> _Parts:
        from torchmatrix.backends.conda_create import Linker
        from torchmatrix.backends.conda_files import CondaFiles
        from torchmatrix.backends.conda_repodata import Opened
        from torchmatrix.backends.conda_solve import Solver
        from torchmatrix.backends.shared import SharedResolutions
        from torchmatrix.sources.channels import CONDA_BASES, Channels
        from torchmatrix.sources.credentials import Credentials
        from torchmatrix.sources.downloads import Downloads
        from torchmatrix.sources.hosts import FileHosts
        from torchmatrix.sources.repodata import Repodata
        from torchmatrix.sources.web import Web

        hosts = FileHosts(self._config)
        for name, address in {**CONDA_BASES, **self._private}.items():
            hosts.allow(name, address)
        credentials = Credentials(self._config, home=self._home, private=self._private)
        web = Web(self._config, hosts=hosts, credentials=credentials)
        channels = Channels(self._config, self._private)
        repodata = Repodata(self._store, web, channels, offline=self._config.offline)
        opened = Opened()
        files = CondaFiles(Downloads(self._store, web), channels, repodata, opened, offline=self._config.offline)
        return _Parts(
            web=web,
            channels=channels,
            solver=Solver(repodata, channels, self._catalog, opened, scratch=self._store.root / "repodata"),
            files=files,
            linker=Linker(files, channels, self._store.root / PACKAGES),
            shared=SharedResolutions(),
        )

    def stop(self) -> None:
        """As `Backend.stop`. Takes no lock, and no time."""
        self._stopped = True
        if (made := self._made) is not None:
            made.web.stopping.set()

    # -- locking ----------------------------------------------------------------------------------------------------

    def resolve(self, request: ResolveRequest) -> Resolution:
        """Solve a cell for its platform, then resolve what pip installs on top of it."""
        return self._parts.shared.resolve(request, self._resolve)

    def _resolve(self, request: ResolveRequest) -> Resolution:
        if request.cell.pip_packages:
            from torchmatrix.backends.conda_pip import require_no_family

            require_no_family(request, self._catalog)
        request.tell("solving")
        artifacts, remarks = self._parts.solver.solve(request)
        artifacts = self._hashed(artifacts, request)
        check_variant(request.cell, artifacts)
        resolution = Resolution(lockfile=_lockfile(request, artifacts), remarks=(*request.cell.notes, *remarks))
        if not request.cell.pip_packages:
            return resolution
        request.tell("resolving pip-packages")
        added = self._pip.resolve_on_top(request, artifacts)
        return replace(
            resolution,
            lockfile=replace(resolution.lockfile, artifacts=(*artifacts, *added.artifacts)),
            bases=added.bases,
            remarks=tuple(dict.fromkeys([*resolution.remarks, *added.remarks])),
        )

    def _hashed(self, artifacts: Iterable[Artifact], request: ResolveRequest) -> tuple[Artifact, ...]:
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
                sha256 = self._parts.files.hashed(artifact, tell=request.tell)
                made.append(replace(artifact, sha256=sha256, hash_from=HashFrom.COMPUTED))
        return tuple(made)

    # -- files and environments ---------------------------------------------------------------------------------------

    def fetch(self, request: FetchRequest) -> Mapping[str, Path]:
        """Every file of the lockfile, checked, by file name."""
        lockfile = request.lockfile
        found = self._parts.files.fetch(lockfile, lockfile.conda_artifacts, tell=request.tell)
        if lockfile.pip_artifacts:
            found |= self._pip.fetch(replace(request, lockfile=_pip_part(lockfile)))
        return found

    def deviations(self, request: FetchRequest) -> tuple[Deviation, ...]:
        """What the conda channels, and the indexes of pip's part, serve otherwise than locked."""
        lockfile = request.lockfile
        found = self._parts.files.deviations(lockfile.conda_artifacts, lockfile.platform)
        if lockfile.pip_artifacts:
            found += self._pip.deviations(replace(request, lockfile=_pip_part(lockfile)))
        return found

    def create(self, request: CreateRequest, sandbox: Sandbox) -> tuple[str, ...]:
        """The environment from the record alone: unpacked packages are shared, and linked."""
        remarks = self._parts.linker.create(request)
        if request.lockfile.pip_artifacts:
            from torchmatrix.backends.conda_pip import install_on_top

            remarks += install_on_top(self._pip, request, self.python(request.prefix), sandbox)
        return remarks

    def install_project(self, project: Project, folder: Path, python: Path, sandbox: Sandbox) -> None:
        """As the pip backend does it: a project under test is built by its own build backend."""
        self._pip.install_project(project, folder, python, sandbox)

    def python(self, prefix: Path) -> Path:
        """The interpreter of a conda environment."""
        return prefix / "python.exe" if os.name == "nt" else prefix / "bin" / "python"

    def environ(self, prefix: Path, base: Mapping[str, str], sandbox: Sandbox) -> dict[str, str]:
        """As activating it sets them; its activation scripts are run."""
        from torchmatrix.backends.conda_activate import activated

        return activated(prefix, base, sandbox.run)


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
        exact = artifact.name in (PYTORCH, "libtorch")
        if (found != "cpu") != is_cuda or (is_cuda and exact and found != str(wanted)):
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
    form = input_form(cell, request.demands, request.sources)
    return Lockfile(
        cell=cell.id,
        python=str(cell.python),
        channel=cell.channel,
        target=cell.target.name,
        platform=str(cell.target.platform),
        accelerator=str(cell.target.accelerator),
        backend=str(cell.backend),
        floor=floor_of(cell),
        torch=version,
        input_digest=input_digest(form),
        inputs=MappingProxyType(form),
        as_of=request.as_of.isoformat() if request.as_of else None,
        artifacts=artifacts,
        conda_channels=cell.conda_channels,
    )


def _pip_part(lockfile: Lockfile) -> Lockfile:
    return replace(lockfile, artifacts=lockfile.pip_artifacts)


def _md5(artifact: Artifact) -> str | None:
    return artifact.conda.md5 if artifact.conda else None
