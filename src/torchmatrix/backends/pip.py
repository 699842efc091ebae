"""The pip backend: uv resolves for any platform from any host, and installs from the record alone."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torchmatrix.backends.pip_resolve import Resolver
from torchmatrix.backends.uv import config_file, explain, folder_of, project_file
from torchmatrix.command import Command, run
from torchmatrix.errors import SourceUnreachableError
from torchmatrix.sources.artifacts import Asked
from torchmatrix.sources.config import SourceConfig
from torchmatrix.sources.routes import PYPI, Policy, Route, Router, Via

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from torchmatrix.backends import CreateRequest, Resolution, ResolveRequest
    from torchmatrix.catalog import Catalog
    from torchmatrix.lock.model import Lockfile
    from torchmatrix.matrix.model import Project
    from torchmatrix.sandboxes import Sandbox
    from torchmatrix.sources.reach import Web


@dataclass(slots=True, kw_only=True)
class PipBackend:
    """uv, with the sources of a matrix. ``pypi`` is the address of the default index, where it is known."""

    uv: Path
    config: SourceConfig
    web: Web
    catalog: Catalog
    pypi: str | None
    scratch: Path
    sizes: MutableMapping[str, int] = field(default_factory=dict)
    """sha256 -> bytes, shared by all cells of a run and remembered between runs."""
    asked: Asked = field(default_factory=Asked)
    name: str = "pip"

    def router(self, request: ResolveRequest | CreateRequest) -> Router:
        """The router for a request's private sources."""
        private = {name: source.index for name, source in request.sources.items()}
        return Router(self.config, self.web, pypi=self.pypi, private=private)

    def resolve(self, request: ResolveRequest) -> Resolution:
        """Resolve a cell; see `Resolver`."""
        return Resolver(self, request, self.router(request)).resolve()

    def create(self, request: CreateRequest, sandbox: Sandbox) -> tuple[str, ...]:
        """A virtual environment with exactly the artifacts of the record, each checked against its sha256."""
        env = self.uv_env()
        venv = [str(self.uv), "venv", "--no-config", "--no-project", "--quiet", "--clear"]
        outcome = sandbox.run(Command(argv=(*venv, "--python", str(request.interpreter), str(request.prefix)), env=env))
        if not outcome.ok:
            raise explain(outcome, f"making the virtual environment of {request.lockfile.cell}")
        routes, remarks, offline = self._routes(request)
        with tempfile.TemporaryDirectory(prefix="pip-", dir=self.scratch) as scratch:
            argv = [str(self.uv), "pip", "sync", *self._inputs(request, routes, Path(scratch))]
            argv += _build_options(request.lockfile)
            argv += ["--offline"] if offline else []
            outcome = sandbox.run(Command(argv=tuple(argv), env=env), live=request.live)
        if not outcome.ok:
            raise explain(outcome, f"installing {request.lockfile.cell}")
        return remarks

    def _inputs(
        self,
        request: CreateRequest,
        routes: Mapping[str, Route],
        scratch: Path,
        *,
        only: str | None = None,
        option: tuple[str, ...] = (),
    ) -> list[str]:
        """Write what uv installs from, and the arguments that name it."""
        files = {
            "pyproject.toml": install_file(request.lockfile, routes, only=only),
            "hashes.txt": hash_file(request.lockfile),
            "uv.toml": config_file(placed(request.lockfile, routes)),
        }
        for name, text in files.items():
            (scratch / name).write_text(text, encoding="utf-8")
        project, hashes, settings = (str(scratch / name) for name in files)
        python = str(self.python(request.prefix))
        return ["--config-file", settings, *option, project, "-c", hashes, "--require-hashes", "--python", python]

    def _routes(self, request: CreateRequest) -> tuple[dict[str, Route], tuple[str, ...], bool]:
        """The route of every source in the record. Unreachable without a stand-in: only the cache is left to try."""
        router, lockfile = self.router(request), request.lockfile
        policy = Policy(
            frozen=request.frozen,
            nightly=lockfile.torch.is_devrelease,
            matrix_allows_in_ci=request.stand_in_in_ci,
        )
        routes: dict[str, Route] = {}
        offline = self.config.offline
        for source in sorted({artifact.source for artifact in lockfile.artifacts}):
            names = [artifact.name for artifact in lockfile.artifacts if artifact.source == source]
            stood_in = any(artifact.stand_in for artifact in lockfile.artifacts if artifact.source == source)
            if offline and stood_in and (route := router.local_stand_in(source, policy=policy, names=names)):
                routes[source] = route
                continue
            try:
                routes[source] = router.route(source, policy=policy, names=() if source == PYPI else names)
            except SourceUnreachableError:
                routes[source] = self._from_cache(request, router, source)
                offline = True
        return routes, tuple(f"{route}" for route in routes.values() if route.via is not Via.SOURCE), offline

    def _from_cache(self, request: CreateRequest, router: Router, source: str) -> Route:
        """The unreachable source's own route, if uv's cache alone can serve the record; otherwise raise again."""
        config = SourceConfig(
            **{name: getattr(self.config, name) for name in SourceConfig.__dataclass_fields__ if name != "offline"},
            offline=True,
        )
        private = {name: private.index for name, private in request.sources.items()}
        cached = Router(config, self.web, pypi=self.pypi, private=private)
        route = cached.route(source, policy=Policy(frozen=True))
        with tempfile.TemporaryDirectory(prefix="pip-", dir=self.scratch) as scratch:
            inputs = self._inputs(request, {source: route}, Path(scratch), only=source, option=("-r",))
            argv = (str(self.uv), "pip", "install", "--offline", "--dry-run", "--no-deps", *inputs)
            if not run(Command(argv=argv, env=self.uv_env())).ok:
                router.route(source, policy=Policy(frozen=True))  # raises with the hosts and reasons
        return route

    def install_project(self, project: Project, folder: Path, python: Path, sandbox: Sandbox) -> None:
        """Install the project itself, without dependencies: those are in the record."""
        path = (folder / project.path).resolve()
        argv = [str(self.uv), "pip", "install", "--no-config", "--no-deps", "--python", str(python)]
        argv += self.uv_options()
        if self.pypi:
            argv += ["--default-index", self.pypi]
        if project.editable:
            argv += ["--editable", str(path)]
        else:
            argv += ["--reinstall", "--refresh", str(path)]
        outcome = sandbox.run(Command(argv=tuple(argv), env=self.uv_env()))
        if not outcome.ok:
            raise explain(outcome, f"installing the project {project.path}")

    def python(self, prefix: Path) -> Path:
        """The interpreter of a virtual environment."""
        return venv_python(prefix)

    def uv_env(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The cleaned environment of a uv process."""
        return {**self.config.child_env, **(extra or {})}

    def uv_options(self) -> list[str]:
        """Options of every uv command that may use the network."""
        return ["--offline"] if self.config.offline else []


def venv_python(prefix: Path) -> Path:
    """The interpreter of the virtual environment at ``prefix``."""
    return prefix / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install_file(lockfile: Lockfile, routes: Mapping[str, Route], *, only: str | None = None) -> str:
    """The project file that uv syncs: every artifact as ``name==version``, each from its own source's place."""
    artifacts = [a for a in lockfile.artifacts if only in (None, a.source)]
    return project_file(
        (f"{artifact.name}=={artifact.version}" for artifact in artifacts),
        placed(lockfile, routes),
        {artifact.name: artifact.source for artifact in artifacts if artifact.source != PYPI},
        lockfile.python.rstrip("t"),
    )


def placed(lockfile: Lockfile, routes: Mapping[str, Route]) -> dict[str, tuple[Route, str | None]]:
    """Every route that has a place, with the folder of the lockfile's accelerator below an index."""
    nightly = lockfile.torch.is_devrelease
    return {
        source: (route, folder_of(source, lockfile.accelerator, nightly=nightly))
        for source, route in routes.items()
        if route.places
    }


def hash_file(lockfile: Lockfile) -> str:
    """Constraints with the sha256 of every artifact: uv takes no other bytes."""
    return "".join(f"{a.name}=={a.version} --hash=sha256:{a.sha256}\n" for a in lockfile.artifacts)


def _build_options(lockfile: Lockfile) -> list[str]:
    options = ["--only-binary", ":all:"]
    for artifact in lockfile.artifacts:
        if not artifact.is_wheel:
            options += ["--no-binary", artifact.name]
    return options
