"""What is not on this machine, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmatrix.console import human_bytes
from torchmatrix.errors import SourceUnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchmatrix.lock.model import Artifact, Lockfile


def not_here(lockfile: Lockfile, lacking: Sequence[Artifact], why: str) -> SourceUnreachableError:
    """The error that lists files which are not on this machine while the network is not to be used."""
    unknown = sum(artifact.size is None for artifact in lacking)
    total = human_bytes(sum(artifact.size or 0 for artifact in lacking))
    total += f" and {unknown} of unknown size" if unknown else ""
    lines = [
        f"  {a.file} ({human_bytes(a.size) if a.size is not None else 'size unknown'}, {a.source})" for a in lacking
    ]
    return SourceUnreachableError(
        f"{lockfile.cell}: {why}, and {len(lacking)} of {len(lockfile.artifacts)} files are not here ({total}):\n"
        + "\n".join(lines),
        hint="run it once with the network, put the files into a folder and name that in TORCHMATRIX_MIRRORS, "
        "or use a bundle (torchmatrix unbundle)",
    )
