"""Solving a cell with py-rattler, in this process: repodata in, artifacts out."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import os
import threading
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import unquote

from packaging.utils import canonicalize_name

from torchmatrix.backends.conda_repodata import records_of, require_same, unreadable
from torchmatrix.backends.conda_specs import FAMILY, Names, Question, question
from torchmatrix.backends.conda_words import unsolvable
from torchmatrix.errors import IntegrityError, SourceUnreachableError, UsageError
from torchmatrix.files import cannot_write, write_atomic
from torchmatrix.lock.conda_version import CondaVersion
from torchmatrix.lock.model import Artifact, CondaBuild, HashFrom
from torchmatrix.sources.channels import ChannelName
from torchmatrix.sources.once import Once
from torchmatrix.sources.reach import Reach
from torchmatrix.sources.repodata import NOARCH

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rattler import MatchSpec, RepoDataRecord, SparseRepoData

    from torchmatrix.backends import ResolveRequest
    from torchmatrix.backends.conda_repodata import Opened
    from torchmatrix.catalog import Catalog
    from torchmatrix.matrix.model import Cell, PrivateSource
    from torchmatrix.sources.channels import Channels
    from torchmatrix.sources.repodata import Listings, Repodata

SOLVE_SECONDS = 600.0
"""After which a solve is given up; a hard one takes seconds."""


class Solver:
    """The solves of a run. Repodata is opened once; several threads may solve at the same time."""

    def __init__(
        self, repodata: Repodata, channels: Channels, catalog: Catalog, opened: Opened, *, scratch: Path
    ) -> None:
        """``scratch``: where the store keeps repodata."""
        self._repodata = repodata
        self._channels = channels
        self._catalog = catalog
        self._scratch = scratch
        self._opened = opened
        self._names: Once[tuple[Path, ...], frozenset[str]] = Once()
        # A solve needs memory more than time: with all of conda-forge, hundreds of megabytes.
        self._room = threading.Semaphore(max(2, os.cpu_count() or 2))

    def solve(self, request: ResolveRequest) -> tuple[tuple[Artifact, ...], tuple[str, ...]]:
        """The conda packages of a cell, sorted by name, and remarks. sha256 is empty where the repodata has none.

        Errors: `UsageError` for a package that no conda channel has, `CellError` for what has no solution,
        `SourceUnreachableError`, `IntegrityError` for a package from a place that it must not come from.
        """
        cell = request.cell
        names = tuple(ChannelName.parse(text) for text in cell.conda_channels)
        listings = [self._listings(name, request) for name in names]
        _require_platform(listings, cell)
        known = self._known(listings)
        asked = question(cell, request.demands, Names(known=known), self._channels.address)
        claims = [
            f"{self._channels.address(_channel_of(source.name, names))}::{name}"
            for source in request.sources.values()
            if source.conda_channel and any(one.source == source.name for one in names)
            for name in sorted(known)
            if _claims(source, name, cell)
        ]
        with self._room:
            records = asyncio.run(self._solve(request, asked, listings, claims))
        artifacts = tuple(sorted((self._artifact(record, names, cell) for record in records), key=lambda a: a.name))
        self._check_sources(artifacts, asked, request)
        return artifacts, asked.remarks

    # -- repodata -----------------------------------------------------------------------------------------------------

    def _listings(self, channel: ChannelName, request: ResolveRequest) -> Listings:
        """What a conda channel has; of a private one only what it may serve."""
        platform = str(request.cell.target.platform)
        listings = self._repodata.listings(channel, platform)
        source = request.sources.get(channel.source)
        if source is None:
            return listings
        files = {subdir: self._claimed(path, source, request.cell) for subdir, path in listings.files.items()}
        return type(listings)(channel=listings.channel, files=files, place=listings.place)

    def _claimed(self, path: Path, source: PrivateSource, cell: Cell) -> Path:
        """The repodata without packages that the source does not claim: those would win over everybody else's."""
        status = path.stat()
        key = json.dumps([str(path), status.st_size, status.st_mtime_ns, source.packages, cell.source == source.name])
        kept = self._scratch / f"claimed-{hashlib.sha256(key.encode()).hexdigest()[:32]}" / "repodata.json"
        if kept.is_file():
            return kept
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            # No other group is taken over: newer forms of repodata list packages elsewhere too.
            said = {"info": data.get("info", {})}
            for group in ("packages", "packages.conda"):
                listed = data.get(group, {})
                said[group] = {file: one for file, one in listed.items() if _claims(source, one.get("name", ""), cell)}
        except (ValueError, AttributeError) as error:
            raise IntegrityError(f"source {source.name}: {path.name} is no repodata: {error}") from error
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(kept, error) from error
        write_atomic(kept, json.dumps(said), durable=False)
        return kept

    def _open(self, listings: Listings) -> list[SparseRepoData]:
        address = self._channels.address(listings.channel)
        return [self._opened.get(address, subdir, path) for subdir, path in listings.files.items()]

    def _known(self, listings: Iterable[Listings]) -> frozenset[str]:
        listings = tuple(listings)
        files = tuple(path for one in listings for path in one.files.values())

        def read(_: tuple[Path, ...]) -> frozenset[str]:
            opened = [data for one in listings for data in self._open(one)]
            return frozenset(name for data in opened for name in data.package_names())

        return self._names.get(files, read)

    # -- the solve ----------------------------------------------------------------------------------------------------

    async def _solve(
        self, request: ResolveRequest, asked: Question, listings: list[Listings], claims: list[str]
    ) -> list[RepoDataRecord]:
        from rattler import ChannelPriority, GenericVirtualPackage, PackageName, Subdir, Version, solve
        from rattler.exceptions import GatewayError, SolverError
        from rattler.package import BuildString

        sources = [data for one in listings for data in self._open(one)]
        virtual = [
            GenericVirtualPackage(PackageName(one.name), Version(one.version), BuildString(one.build))
            for one in asked.virtual
        ]
        specs = [_parsed(text, request.cell) for text in asked.specs]
        limits = [_parsed(text, request.cell) for text in (*asked.constraints, *claims)]
        until = dt.datetime.combine(request.as_of, dt.time(23, 59, 59), dt.UTC) if request.as_of else None
        try:
            return await solve(
                sources,
                specs,
                platforms=[Subdir(str(request.cell.target.platform)), Subdir("noarch")],
                locked_packages=self._locked(request, sources),
                virtual_packages=virtual,
                channel_priority=ChannelPriority.Strict,
                timeout=dt.timedelta(seconds=SOLVE_SECONDS),
                exclude_newer=until,
                constraints=limits,
            )
        except SolverError as error:
            raise unsolvable(request, asked, str(error), self._catalog) from error
        except GatewayError as error:
            raise unreadable(f"{request.cell}: the repodata of a conda channel", error) from error

    def _locked(self, request: ResolveRequest, sources: list[SparseRepoData]) -> list[RepoDataRecord]:
        """What was locked before and still is listed: it is preferred, unless it is to be upgraded.

        `IntegrityError` for a package that was rebuilt under its old name: that is reported, never passed over.
        """
        if request.previous is None or request.upgrade:
            return []
        upgraded = set(request.upgrade_packages) | ({"pytorch"} if "torch" in request.upgrade_packages else set())
        wanted = {a.name: a for a in request.previous.conda_artifacts if canonicalize_name(a.name) not in upgraded}
        listed = [
            (wanted[name], record)
            for data in sources
            for name in sorted(wanted.keys() & set(data.package_names()))
            for record in records_of(data, name)
            if record.file_name == wanted[name].file
        ]
        for locked, record in listed:
            if record.url == f"{self._channels.base(locked.source)}/{locked.path}":
                require_same(locked, record)
        return [record for locked, record in listed if _same_bytes(record, locked)]

    # -- the answer ---------------------------------------------------------------------------------------------------

    def _artifact(self, record: RepoDataRecord, names: Iterable[ChannelName], cell: Cell) -> Artifact:
        fitting = [
            (name, path)
            for name in names
            if (path := self._channels.path(record.url, name)) is not None
            and unquote(path) == f"{name.below}/{record.subdir}/{record.file_name}".lstrip("/")
            and record.subdir in (str(cell.target.platform), NOARCH)
            and not {"/", "\\"} & set(record.file_name)
        ]
        if not fitting:
            raise IntegrityError(
                f"{cell}: {record.file_name} is said to be at {record.url}, which is no place of it on the cell's "
                f"conda channels ({', '.join(cell.conda_channels)})",
                hint="a repodata that names other addresses is not followed: use a conda channel that serves its files",
            )
        name, path = max(fitting, key=lambda each: len(str(each[0])))
        noarch = record.noarch
        return Artifact(
            name=record.name.normalized,
            version=CondaVersion(str(record.version)),
            file=record.file_name,
            sha256=record.sha256.hex() if record.sha256 else "",
            source=name.source,
            hash_from=HashFrom.INDEX,
            size=record.size,
            path=path,
            conda=CondaBuild(
                build=str(record.build),
                number=record.build_number,
                subdir=record.subdir,
                md5=record.md5.hex() if record.md5 else None,
                noarch="python" if noarch.python else "generic" if noarch.generic else None,
                depends=tuple(record.depends),
                constrains=tuple(record.constrains),
                site_packages=record.python_site_packages_path,
            ),
        )

    def _check_sources(self, artifacts: Iterable[Artifact], asked: Question, request: ResolveRequest) -> None:
        """Nothing of the family, and nothing that a private source claims, from anywhere else."""
        owners = dict(asked.pinned)
        for artifact in artifacts:
            claimed = [s.name for s in request.sources.values() if s.conda_channel and _claims(s, artifact.name)]
            owner = claimed[0] if claimed else owners.get(artifact.name)
            if owner is not None and artifact.source != owner:
                raise IntegrityError(
                    f"{request.cell}: {artifact.name} {artifact.version} came from {artifact.source}, and only "
                    f"{owner} may serve it",
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


def _claims(source: PrivateSource, name: str, cell: Cell | None = None) -> bool:
    if cell is not None and cell.source == source.name and name in FAMILY:
        return True
    return any(fnmatchcase(name, pattern) for pattern in source.packages)


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


def _channel_of(source: str, names: Iterable[ChannelName]) -> ChannelName:
    return next(name for name in names if name.source == source)


def _same_bytes(record: RepoDataRecord, artifact: Artifact) -> bool:
    """Whether a listed package is the locked one; one that has no sha256 in the repodata is compared by md5."""
    if record.sha256:
        return record.sha256.hex() == artifact.sha256
    return artifact.conda is not None and record.md5 is not None and record.md5.hex() == artifact.conda.md5
