"""The files of a lockfile: had on this machine, and compared with what their sources serve now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmatrix.backends import FetchRequest
from torchmatrix.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torchmatrix.backends import Backend, Deviation
    from torchmatrix.lock.model import Lockfile
    from torchmatrix.workspace import Workspace


def fetch_artifacts(lockfile: Lockfile, workspace: Workspace) -> Mapping[str, Path]:
    """Every artifact of ``lockfile``, by file name, as a local file whose sha256 is the locked one.

    Errors: `SourceUnreachableError` (also for what a source does not have any more), `IntegrityError`, `HostError`.
    """
    workspace.tell(lockfile.cell, f"fetching {len(lockfile.artifacts)} artifacts")
    return _backend(lockfile, workspace).fetch(_request(lockfile, workspace))


def find_deviations(lockfile: Lockfile, workspace: Workspace) -> tuple[Deviation, ...]:
    """Artifacts that their sources serve with other bytes, or not at all any more."""
    workspace.tell(lockfile.cell, f"comparing {len(lockfile.artifacts)} artifacts with their sources")
    return _backend(lockfile, workspace).deviations(_request(lockfile, workspace))


def _backend(lockfile: Lockfile, workspace: Workspace) -> Backend:
    try:
        return workspace.backends[lockfile.backend]
    except KeyError:
        raise HostError(f"{lockfile.cell}: the {lockfile.backend} backend is not part of this release") from None


def _request(lockfile: Lockfile, workspace: Workspace) -> FetchRequest:
    return FetchRequest(
        lockfile=lockfile,
        sources=workspace.matrix.sources,
        stand_in_in_ci=workspace.matrix.stand_in_in_ci,
        tell=lambda text: workspace.tell(lockfile.cell, text),
    )
