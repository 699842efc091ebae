"""Repodata as py-rattler reads it: opened once a run, its records read when somebody wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmatrix.errors import IntegrityError
from torchmatrix.sources.once import Once

if TYPE_CHECKING:
    from pathlib import Path

    from rattler import SparseRepoData


class Opened:
    """Opened repodata of a run; several threads may ask at once."""

    def __init__(self) -> None:
        self._known: Once[tuple[str, str, Path], SparseRepoData] = Once()

    def get(self, address: str, subdir: str, path: Path) -> SparseRepoData:
        """The repodata at ``path``, whose packages are at ``address``; `IntegrityError` when it is none."""
        return self._known.get((address, subdir, path), _open)


def _open(question: tuple[str, str, Path]) -> SparseRepoData:
    from rattler import Channel, SparseRepoData

    address, subdir, path = question
    try:
        return SparseRepoData(Channel(address), subdir, path)
    except (OSError, ValueError) as error:
        raise IntegrityError(
            f"{address}/{subdir}/repodata.json is no repodata: {error}",
            hint="try again; if it stays, its server or mirror is broken",
        ) from error
