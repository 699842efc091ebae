"""Solving a cell with py-rattler, in this process: repodata in, artifacts out."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import TYPE_CHECKING
from urllib.parse import unquote

from packaging.utils import canonicalize_name

from torchmatrix.backends.conda_owned import Owned
from torchmatrix.backends.conda_repodata import require_same, unreadable
from torchmatrix.backends.conda_specs import Names, Question, question
from torchmatrix.backends.conda_words import unsolvable
from torchmatrix.errors import IntegrityError, SourceUnreachableError, UsageError
from torchmatrix.lock.conda_version import CondaVersion
from torchmatrix.lock.model import Artifact, CondaBuild, HashFrom
from torchmatrix.sources.channels import ChannelName, package_stem
from torchmatrix.sources.reach import Reach
from torchmatrix.sources.repodata import NOARCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rattler import MatchSpec, RepoDataRecord

    from torchmatrix.backends import ResolveRequest
    from torchmatrix.backends.conda_repodata import Opened
    from torchmatrix.catalog import Catalog
    from torchmatrix.matrix.model import Cell
    from torchmatrix.sources.channels import Channels
    from torchmatrix.sources.repodata import Listings, Repodata

SOLVERS = 4
"""Solves at once."""
SOLVE_SECONDS = 600.0
"""After which a solve is given up; a hard one takes seconds."""


class Solver:
    """The solves of a run. Repodata is opened once; several threads may solve at the same time."""

    def __init__(self, repodata: Repodata, channels: Channels, catalog: Catalog, opened: Opened) -> None:
        self._repodata = repodata
        self._channels = channels
        self._catalog = catalog
        self._opened = opened
        # A solve needs memory more than time: with all of conda-forge, hundreds of megabytes.
        self._room = threading.Semaphore(SOLVERS)

    def solve(self, request: ResolveRequest) -> tuple[tuple[Artifact, ...], tuple[str, ...]]:
        """The conda packages of a cell, sorted by name, and remarks. sha256 is empty where the repodata has none.

        Errors: `CellError` for a package that no conda channel has and for what has no solution,
        `SourceUnreachableError`, `IntegrityError` for a package from a place that it must not come from.
        """
        cell = request.cell
        names = tuple(ChannelName.parse(text) for text in cell.conda_channels)
        listings = [self._repodata.listings(name, str(cell.target.platform)) for name in names]
        _require_platform(listings, cell)
        owned = Owned(cell, listings, request.sources, self._channels, self._opened)
        asked = question(cell, request.demands, Names(known=owned.owners.keys()))
        with self._room:
            records = asyncio.run(self._solve(request, asked, owned))
        artifacts = tuple(sorted((self._artifact(record, names, cell) for record in records), key=lambda a: a.name))
        _check_sources(artifacts, owned, cell)
        return artifacts, asked.remarks

    # -- the solve ----------------------------------------------------------------------------------------------------

    async def _solve(self, request: ResolveRequest, asked: Question, owned: Owned) -> list[RepoDataRecord]:
        from rattler import ChannelPriority, GenericVirtualPackage, PackageName, Subdir, Version, solve
        from rattler.exceptions import GatewayError, SolverError
        from rattler.package import BuildString

        virtual = [
            GenericVirtualPackage(PackageName(one.name), Version(one.version), BuildString(one.build))
            for one in asked.virtual
        ]
        until = dt.datetime.combine(request.as_of, dt.time(23, 59, 59), dt.UTC) if request.as_of else None
        specs = [_parsed(text, request.cell) for text in asked.specs]
        limits = [_parsed(text, request.cell) for text in asked.constraints]
        try:
            return await solve(
                [owned],
                specs,
                platforms=[Subdir(str(request.cell.target.platform)), Subdir(NOARCH)],
                locked_packages=self._locked(request, owned),
                virtual_packages=virtual,
                channel_priority=ChannelPriority.Strict,
                timeout=dt.timedelta(seconds=SOLVE_SECONDS),
                exclude_newer=until,
                constraints=limits,
                channel_relations="disabled",
            )
        except SolverError as error:
            raise unsolvable(request, asked, str(error), self._catalog) from error
        except GatewayError as error:
            raise owned.failure or unreadable(f"{request.cell}: the repodata of a conda channel", error) from error

    def _locked(self, request: ResolveRequest, owned: Owned) -> list[RepoDataRecord]:
        """What was locked before and its owner still lists: it is preferred, unless it is to be upgraded.

        `IntegrityError` for a package that was rebuilt under its old name: that is reported, never passed over.
        """
        if request.previous is None or request.upgrade:
            return []
        upgraded = set(request.upgrade_packages) | ({"pytorch"} if "torch" in request.upgrade_packages else set())
        kept = []
        for locked in request.previous.conda_artifacts:
            if canonicalize_name(locked.name) in upgraded:
                continue
            for subdir in (str(request.cell.target.platform), NOARCH):
                for record in owned.records(subdir, locked.name):
                    if record.url == f"{self._channels.base(locked.source)}/{locked.path}":
                        require_same(locked, record)
                    if record.file_name == locked.file and _same_bytes(record, locked):
                        kept.append(record)
        return kept

    # -- the answer ---------------------------------------------------------------------------------------------------

    def _artifact(self, record: RepoDataRecord, names: Iterable[ChannelName], cell: Cell) -> Artifact:
        folders: tuple[str, ...] = (str(cell.target.platform), NOARCH)
        if record.subdir in folders:  # else it is where it is listed, whatever its record says
            folders = (record.subdir,)
        fitting = [
            (name, path)
            for name in names
            if record.channel.rstrip("/") == self._channels.address(name)
            and (path := self._channels.path(record.url, name)) is not None
            and unquote(path) in [f"{name.below}/{one}/{record.file_name}".lstrip("/") for one in folders]
            and package_stem(record.file_name) == f"{record.name.normalized}-{record.version}-{record.build}"
        ]
        if not fitting:
            raise IntegrityError(
                f"{cell}: {record.file_name} is said to be at {record.url}, which is no place of it on the cell's "
                f"conda channels ({', '.join(cell.conda_channels)})",
                hint="a repodata that names other addresses is not followed: use a conda channel that serves its files",
            )
        name, path = fitting[0]
        try:
            conda = _build(record, subdir=path.split("/")[-2])
        except ValueError as error:
            raise IntegrityError(
                f"{cell}: the repodata of {name} cannot be right about {record.file_name}: {error}",
                hint="its server or mirror is broken, or somebody tampered with it",
            ) from error
        return Artifact(
            name=record.name.normalized,
            version=CondaVersion(str(record.version)),
            file=record.file_name,
            sha256=record.sha256.hex() if record.sha256 else "",
            source=name.source,
            hash_from=HashFrom.INDEX,
            size=record.size,
            path=path,
            conda=conda,
        )


def _build(record: RepoDataRecord, *, subdir: str) -> CondaBuild:
    noarch = record.noarch
    return CondaBuild(
        build=str(record.build),
        number=record.build_number,
        subdir=subdir,
        md5=record.md5.hex() if record.md5 else None,
        noarch="python" if noarch.python else "generic" if noarch.generic else None,
        depends=tuple(record.depends),
        constrains=tuple(record.constrains),
        site_packages=record.python_site_packages_path,
    )


def _check_sources(artifacts: Iterable[Artifact], owned: Owned, cell: Cell) -> None:
    """Nothing from a source that must not serve it: the solver was shown nothing else, and this does not rely on it."""
    for artifact in artifacts:
        owner = owned.owners.get(artifact.name)
        if owner is None or artifact.source != owner.source:
            raise IntegrityError(
                f"{cell}: {artifact.name} {artifact.version} came from {artifact.source}, and only "
                f"{owner or 'nobody'} may serve it",
                hint="look at conda-channels and sources in the matrix",
            )


def _parsed(text: str, cell: Cell) -> MatchSpec:
    from rattler import MatchSpec
    from rattler.exceptions import InvalidMatchSpecError

    try:
        return MatchSpec(text, strict=True)
    except InvalidMatchSpecError as error:
        raise UsageError(
            f"{cell}: {text.rpartition('::')[2]!r} is no match spec: {error}",
            hint="write up to three fields: name, version, build: numpy >=2, mkl 2024.*, libblas * *openblas",
        ) from error


def _require_platform(listings: Iterable[Listings], cell: Cell) -> None:
    """Python comes from the folder of the platform: without any there is nothing to solve."""
    platform = str(cell.target.platform)
    if any(platform in one.files for one in listings):
        return
    where = "; ".join(f"{one.channel}: {Reach(address=one.place).host}" for one in listings)
    raise SourceUnreachableError(
        f"{cell}: no conda channel of it has {platform}/repodata.json ({where})",
        hint="look whether the mirror is complete, or name another one in TORCHMATRIX_MIRRORS",
    )


def _same_bytes(record: RepoDataRecord, artifact: Artifact) -> bool:
    """Whether a listed package is the locked one; one that has no sha256 in the repodata is compared by md5."""
    if record.sha256:
        return record.sha256.hex() == artifact.sha256
    return artifact.conda is not None and record.md5 is not None and record.md5.hex() == artifact.conda.md5
