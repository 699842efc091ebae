"""Repodata as py-rattler reads it: opened once a run, its records read when somebody wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmatrix.errors import IntegrityError
from torchmatrix.sources.downloads import DRIFT_HINT, Wanted, drift
from torchmatrix.sources.once import Once

if TYPE_CHECKING:
    from pathlib import Path

    from rattler import RepoDataRecord, SparseRepoData

    from torchmatrix.lock.model import Artifact


class Opened:
    """Opened repodata of a run; several threads may ask at once."""

    def __init__(self) -> None:
        self._known: Once[tuple[str, str, Path], SparseRepoData] = Once()

    def get(self, address: str, subdir: str, path: Path) -> SparseRepoData:
        """The repodata at ``path``, whose packages are at ``address``; `IntegrityError` when it is none."""
        return self._known.get((address, subdir, path), _open)

    def records(self, address: str, subdir: str, path: Path, name: str) -> list[RepoDataRecord]:
        """What it lists under the name of a package; `IntegrityError` for what cannot be read."""
        return records_of(self.get(address, subdir, path), name)


def _open(question: tuple[str, str, Path]) -> SparseRepoData:
    from rattler import Channel, SparseRepoData

    address, subdir, path = question
    try:
        return SparseRepoData(Channel(address), subdir, path)
    except (OSError, ValueError) as error:
        raise unreadable(f"{address}/{subdir}/repodata.json", error) from error


def records_of(data: SparseRepoData, name: str) -> list[RepoDataRecord]:
    """What is listed under the name of a package; `IntegrityError` for records that cannot be read."""
    from rattler import PackageName

    try:
        return data.load_records(PackageName(name))
    except (OSError, ValueError) as error:
        raise unreadable(f"what {data.subdir}/repodata.json says of {name}", error) from error


def require_same(locked: Artifact, listed: RepoDataRecord) -> None:
    """`IntegrityError` when a file is listed with other bytes than locked; by md5 where that is all there is."""
    if listed.sha256 is not None:
        if listed.sha256.hex() != locked.sha256:
            wanted = Wanted(file=locked.file, url="", source=locked.source, sha256=locked.sha256)
            raise drift(wanted, listed.sha256.hex())
        return
    md5 = locked.conda.md5 if locked.conda else None
    if listed.md5 is not None and md5 is not None and listed.md5.hex() != md5:
        raise IntegrityError(
            f"source {locked.source}: {locked.file} is not the file that was locked: md5 {listed.md5.hex()}, "
            f"locked {md5}",
            hint=DRIFT_HINT,
        )


def unreadable(what: str, error: Exception) -> IntegrityError:
    """The error for repodata that py-rattler does not understand."""
    words = " ".join(str(error).split())
    return IntegrityError(
        f"{what} cannot be read: {words}", hint="try again; if it stays, its server or mirror is broken"
    )
