"""The files of conda packages: where they are served, downloaded, checked, compared with what is served now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from torchmatrix.backends import Deviation
from torchmatrix.backends.absent import not_here
from torchmatrix.errors import IntegrityError, SourceUnreachableError
from torchmatrix.sources.channels import ChannelName
from torchmatrix.sources.config import local_path
from torchmatrix.sources.downloads import GoneError, Wanted, drift, gone
from torchmatrix.sources.reach import Reach, Trouble
from torchmatrix.sources.routes import unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from torchmatrix.backends.conda_repodata import Opened
    from torchmatrix.lock.model import Artifact, Lockfile
    from torchmatrix.sources.channels import Channels
    from torchmatrix.sources.downloads import Downloads
    from torchmatrix.sources.repodata import Repodata

_AT_ONCE = 8


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

    def drop(self, artifacts: Iterable[Artifact]) -> None:
        """Remove downloads that were unpacked, and are not needed any more."""
        for artifact in artifacts:
            if path := self.held(artifact):
                with suppress(OSError):
                    path.unlink()
                    path.parent.rmdir()

    def fetch(
        self, lockfile: Lockfile, artifacts: Sequence[Artifact], *, tell: Callable[[str], None]
    ) -> dict[str, Path]:
        """Every file, checked, by file name; from the first place that has it.

        Errors: `SourceUnreachableError` when no place has one, `IntegrityError` for other bytes than the locked ones,
        offline also `SourceUnreachableError`, which lists the files that are not here.
        """
        found = {artifact.file: path for artifact in artifacts if (path := self.held(artifact))}
        missing = [artifact for artifact in artifacts if artifact.file not in found]
        for channel in dict.fromkeys(self._channels.name_of(artifact) for artifact in missing):
            wanted = [artifact for artifact in missing if self._channels.name_of(artifact) == channel]
            found |= self._fetch_from(lockfile, channel, wanted, tell)
        return found

    def _fetch_from(
        self, lockfile: Lockfile, channel: ChannelName, artifacts: list[Artifact], tell: Callable[[str], None]
    ) -> dict[str, Path]:
        tried: list[Reach] = []
        lacking: GoneError | None = None
        for place in self._channels.places(ChannelName(channel.source)):
            if self._offline and local_path(place) is None:
                continue
            wanted = [_wanted(artifact, place, artifact.sha256) for artifact in artifacts]
            try:
                return {file: have.path for file, have in self._downloads.fetch(wanted, tell=tell).items()}
            except GoneError as error:
                lacking = error
            except SourceUnreachableError as error:
                reason = error.message.rpartition(": ")[2]
                tried.append(Reach(address=place, trouble=Trouble.ANSWER, reason=reason, hint=error.hint))
        if self._offline:
            raise not_here(lockfile, artifacts, "offline")
        if lacking is not None and not tried:
            raise lacking
        raise unreachable(channel.source, tried)

    def hashed(self, artifact: Artifact, *, tell: Callable[[str], None]) -> str:
        """The sha256 of a file for which its repodata has none, computed from its bytes, whose md5 must be right."""
        import hashlib

        last: SourceUnreachableError | None = None
        for place in self._channels.places(ChannelName(artifact.source)):
            try:
                held = self._downloads.fetch([_wanted(artifact, place, None)], tell=tell)[artifact.file]
            except SourceUnreachableError as error:
                last = error
                continue
            md5 = artifact.conda.md5 if artifact.conda else None
            with held.path.open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            if md5 is not None and found != md5:
                raise IntegrityError(
                    f"source {artifact.source}: {artifact.file} has the md5 {found}, its repodata says {md5}",
                    hint="the server or the mirror serves another file than it lists; try again later",
                )
            return held.sha256
        raise last or SourceUnreachableError(f"source {artifact.source}: nowhere to get {artifact.file} from")

    def deviations(self, artifacts: Iterable[Artifact], platform: str) -> tuple[Deviation, ...]:
        """What the conda channels list otherwise than locked: other bytes, or not at all."""

        def compare(artifact: Artifact) -> Deviation | None:
            try:
                self._compare(artifact, platform)
            except (SourceUnreachableError, IntegrityError) as error:
                return Deviation(artifact=artifact.name, error=error)
            return None

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return tuple(one for one in pool.map(compare, artifacts) if one is not None)

    def _compare(self, artifact: Artifact, platform: str) -> None:
        from rattler import PackageName

        channel = self._channels.name_of(artifact)
        listings = self._repodata.listings(channel, platform)
        subdir = artifact.conda.subdir if artifact.conda else platform
        wanted = _wanted(artifact, listings.place, artifact.sha256)
        path = listings.files.get(subdir)
        listed = []
        if path is not None:
            data = self._opened.get(self._channels.address(channel), subdir, path)
            records = data.load_records(PackageName(artifact.name))
            listed = [record for record in records if record.file_name == artifact.file]
        if not listed:
            raise gone(wanted, f"{channel}/{subdir}/repodata.json does not list it")
        said = listed[0].sha256
        if said is not None and said.hex() != artifact.sha256:
            raise drift(wanted, said.hex())
        if said is None and artifact.conda and listed[0].md5 and listed[0].md5.hex() != artifact.conda.md5:
            raise drift(wanted, f"unknown, md5 {listed[0].md5.hex()}")


def _wanted(artifact: Artifact, place: str, sha256: str | None) -> Wanted:
    folder = local_path(place)
    path = artifact.path or artifact.file
    url = f"{place}/{path}"
    if folder is not None:  # laid out as a conda channel, or a flat folder of packages
        url = str(folder / path if (folder / path).is_file() else folder / artifact.file)
    return Wanted(file=artifact.file, url=url, source=artifact.source, sha256=sha256, anywhere=True)
