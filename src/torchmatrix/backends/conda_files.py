"""The files of conda packages: where they are served, downloaded, checked, compared with what is served now."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from torchmatrix.backends import Deviation
from torchmatrix.backends.absent import not_here
from torchmatrix.backends.conda_repodata import require_same
from torchmatrix.errors import IntegrityError, SourceUnreachableError
from torchmatrix.files import cannot_write
from torchmatrix.sources.channels import ChannelName, channel_of
from torchmatrix.sources.config import local_path
from torchmatrix.sources.downloads import GoneError, Wanted, drift, gone
from torchmatrix.sources.repodata import failure
from torchmatrix.sources.routes import unreachable
from torchmatrix.sources.transfer import hash_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torchmatrix.backends.conda_repodata import Opened
    from torchmatrix.lock.model import Artifact, Lockfile
    from torchmatrix.sources.channels import Channels
    from torchmatrix.sources.downloads import Downloads, Held
    from torchmatrix.sources.repodata import Repodata

_AT_ONCE = 8
_ATTEMPTS = 5
"""Rounds of downloading for one installation: another one that wants the same file may remove it in between."""


class CondaFiles:
    """The files of a run's conda packages."""

    def __init__(
        self, downloads: Downloads, channels: Channels, repodata: Repodata, opened: Opened, *, offline: bool
    ) -> None:
        self._downloads = downloads
        self._channels = channels
        self._repodata = repodata
        self._opened = opened
        self._offline = offline

    def held(self, artifact: Artifact) -> Path | None:
        """The file, if it is here already."""
        return self._downloads.held(artifact.file, artifact.sha256)

    @contextmanager
    def borrowed(
        self, lockfile: Lockfile, artifacts: Sequence[Artifact], *, tell: Callable[[str], None]
    ) -> Iterator[dict[str, Path]]:
        """`fetch` for one installation: every file is read and has the locked sha256; what was downloaded goes again.

        py-rattler takes files of this machine as they are, so nobody else compares them.
        """
        before = {artifact.file for artifact in artifacts if self.held(artifact)}
        scratch = self._downloads.root.parent / "scratch"
        try:
            scratch.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(scratch, error) from error
        with tempfile.TemporaryDirectory(prefix="conda-", dir=scratch) as folder:
            lent: dict[str, Path] = {}
            for _ in range(_ATTEMPTS):
                missing = [artifact for artifact in artifacts if artifact.file not in lent]
                found = self.fetch(lockfile, missing, tell=tell)
                for artifact in missing:
                    there = found[artifact.file]
                    if place := self._lent(artifact, there, Path(folder), checked=artifact.file not in before):
                        lent[artifact.file] = place
            if lacking := [artifact.file for artifact in artifacts if artifact.file not in lent]:
                raise SourceUnreachableError(
                    f"{lockfile.cell}: {', '.join(lacking)}: removed as soon as downloaded, {_ATTEMPTS} times",
                    hint="another process clears the store: let it end, and run the same again",
                )
            yield lent
        for artifact in artifacts:
            if artifact.file not in before and (path := self.held(artifact)):
                with suppress(OSError):  # its folder stays: another process may be about to put the same file there
                    path.unlink()

    def _lent(self, artifact: Artifact, path: Path, folder: Path, *, checked: bool) -> Path | None:
        """A name of our own for a download; ``None`` when somebody removed it, or it is not what its name says.

        ``checked``: it was hashed while it came. A file of a mirror is used where it is.
        """
        mine = self._downloads.root in path.parents
        if mine:
            place = folder / artifact.file
            try:
                os.link(path, place)
            except FileNotFoundError:
                return None
            except OSError:  # a file system without links
                shutil.copyfile(path, place)
        else:
            place = path
        if mine and checked:
            return place
        sha256 = hash_file(place).hexdigest()
        if sha256 == artifact.sha256:
            return place
        if not mine:
            raise drift(_wanted(artifact, str(path.parent)), sha256)
        for wrong in (place, path):
            wrong.unlink(missing_ok=True)
        return None

    def fetch(
        self, lockfile: Lockfile, artifacts: Sequence[Artifact], *, tell: Callable[[str], None]
    ) -> dict[str, Path]:
        """Every file, checked, by file name; each from the first place that has it.

        Errors: `SourceUnreachableError` when no place has one, `IntegrityError` for other bytes than the locked ones,
        offline also `SourceUnreachableError`, which lists the files that are not here.
        """
        found = {artifact.file: path for artifact in artifacts if (path := self.held(artifact))}
        lacking: list[Artifact] = []
        for source in dict.fromkeys(artifact.source for artifact in artifacts):
            wanted = [one for one in artifacts if one.source == source and one.file not in found]
            had, failures = self._from(source, wanted, tell)
            found |= {file: one.path for file, one in had.items()}
            left = [one for one in wanted if one.file not in found]
            if left and not self._offline:
                raise _nowhere(source, failures)
            lacking += left
        if lacking:
            raise not_here(lockfile, lacking, "offline")
        return found

    def _from(
        self, source: str, artifacts: Sequence[Artifact], tell: Callable[[str], None]
    ) -> tuple[dict[str, Held], list[tuple[str, SourceUnreachableError]]]:
        """What the places of a source have, one after the other, and what was wrong with each that lacked something."""
        found: dict[str, Held] = {}
        failures = []
        for place in self._channels.places(ChannelName(source)):
            left = [artifact for artifact in artifacts if artifact.file not in found]
            if not left:
                break
            if self._offline and local_path(place) is None:
                continue
            had, error = self._at(place, left, tell)
            found |= had
            if error is not None:
                failures.append((place, error))
        return found, failures

    def _at(
        self, place: str, artifacts: Sequence[Artifact], tell: Callable[[str], None]
    ) -> tuple[dict[str, Held], SourceUnreachableError | None]:
        """What one place has of the files, and why it does not have the rest."""
        wanted = [_wanted(artifact, place) for artifact in artifacts]
        error: SourceUnreachableError | None = None
        if (folder := local_path(place)) is not None:
            absent = [one for one in wanted if not _is_file(one.url)]
            wanted = [one for one in wanted if one not in absent]
            error = gone(absent[0], f"{folder} does not hold it") if absent else None
        try:
            return self._downloads.fetch(wanted, tell=tell), error
        except GoneError as trouble:
            error = trouble
        except SourceUnreachableError as trouble:
            return {}, trouble
        found: dict[str, Held] = {}
        for one in wanted:  # a place that lacks a file may have the others
            try:
                found |= self._downloads.fetch([one], tell=tell)
            except GoneError as trouble:
                error = trouble
            except SourceUnreachableError as trouble:
                return found, trouble
        return found, error

    def hashed(self, artifact: Artifact, *, tell: Callable[[str], None]) -> str:
        """The sha256 of a file for which its repodata has none, computed from its bytes, whose md5 must be right."""
        md5 = artifact.conda.md5 if artifact.conda else None
        key = f"conda {artifact.source} {artifact.path} md5 {md5}"
        if md5 and (known := self._downloads.recall(key)):
            return known
        found, failures = self._from(artifact.source, [artifact], tell)
        if artifact.file not in found and self._offline:
            raise SourceUnreachableError(
                f"source {artifact.source}: offline, and {artifact.file} is not here, whose sha256 nobody says",
                hint="run once without --offline, or name a folder in TORCHMATRIX_MIRRORS",
            )
        if artifact.file not in found:
            raise _nowhere(artifact.source, failures)
        held = found[artifact.file]
        with held.path.open("rb") as file:
            computed = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if md5 is not None and computed != md5:
            raise IntegrityError(
                f"source {artifact.source}: {artifact.file} has the md5 {computed}, its repodata says {md5}",
                hint="the server or the mirror serves another file than it lists; try again later",
            )
        if md5:
            self._downloads.note(key, held.sha256)
        return held.sha256

    def deviations(self, artifacts: Sequence[Artifact], platform: str) -> tuple[Deviation, ...]:
        """What the conda channels list otherwise than locked: other bytes, or not at all.

        `SourceUnreachableError` when a conda channel does not answer.
        """
        for channel in dict.fromkeys(channel_of(artifact) for artifact in artifacts):
            self._repodata.listings(channel, platform)  # that it does not answer is said once, not of every package

        def compare(artifact: Artifact) -> Deviation | None:
            try:
                self._compare(artifact, platform)
            except (SourceUnreachableError, IntegrityError) as error:
                return Deviation(artifact=artifact.name, error=error)
            return None

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return tuple(one for one in pool.map(compare, artifacts) if one is not None)

    def _compare(self, artifact: Artifact, platform: str) -> None:
        channel = channel_of(artifact)
        listings = self._repodata.listings(channel, platform)
        subdir = artifact.conda.subdir if artifact.conda else platform
        path = listings.files.get(subdir)
        records = self._opened.records(self._channels.address(channel), subdir, path, artifact.name) if path else []
        listed = next((record for record in records if record.file_name == artifact.file), None)
        if listed is None:
            raise gone(_wanted(artifact, listings.place), f"{channel}/{subdir}/repodata.json does not list it")
        require_same(artifact, listed)


def _wanted(artifact: Artifact, place: str) -> Wanted:
    folder = local_path(place)
    path = artifact.path or artifact.file
    url = f"{place}/{path}"
    if folder is not None:  # laid out as a conda channel, or a flat folder of packages
        url = str(folder / path if _is_file(folder / path) else folder / artifact.file)
    known = artifact.sha256 or (artifact.conda and artifact.conda.md5)
    return Wanted(
        file=artifact.file,
        url=url,
        source=artifact.source,
        sha256=artifact.sha256 or None,
        anywhere=bool(known),  # conda channels redirect to their storage; the bytes are known beforehand
        durable=False,
    )


def _is_file(path: str | Path) -> bool:
    try:
        return os.path.isfile(path)  # noqa: PTH113 - of a folder that may not be entered it says no
    except ValueError:
        return False


def _nowhere(source: str, failures: Sequence[tuple[str, SourceUnreachableError]]) -> SourceUnreachableError:
    """The error for a file that no place of its source gave."""
    if failures and all(isinstance(error, GoneError) for _, error in failures):
        return failures[-1][1]
    return unreachable(source, [failure(error, source, place) for place, error in failures])
