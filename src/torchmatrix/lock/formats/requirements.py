"""``requirements.txt`` with hashes, for ``pip install --require-hashes -r`` and ``uv pip sync``.

Artifacts of the default index are ``name==version``; those of another source are direct URLs with their hash, because
nothing in this format can say "from that index and no other". Of a conda cell it holds what pip adds to the conda
packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchmatrix.lock.formats.addresses import Addresses
    from torchmatrix.lock.model import Artifact, Lockfile

DEFAULT_SOURCE = "pypi"
PIP_COMMAND = "pip install --require-hashes --no-deps -r requirements.txt"


def render(lockfile: Lockfile, addresses: Addresses) -> str:
    """The file's text; sorted, without a date and without anything of the host."""
    lines = [
        f"# {lockfile.cell}: Python {lockfile.python}, {lockfile.platform}, {lockfile.accelerator}",
        f"# lockfile {lockfile.digest}",
        f"# {PIP_COMMAND}",
    ]
    if lockfile.conda_artifacts:
        lines.append("# This is what pip adds; the environment with the conda packages comes first.")
    for artifact in lockfile.pip_artifacts:
        lines.append(f"{requirement(artifact, addresses)} \\")
        lines.append(f"    --hash=sha256:{artifact.sha256}")
    return "\n".join(lines) + "\n"


def requirement(artifact: Artifact, addresses: Addresses) -> str:
    """``name==version``, or ``name @ URL`` of a source that is not the default index."""
    # An address that only this machine knows would make another file of it elsewhere.
    if artifact.source != DEFAULT_SOURCE and artifact.path and (url := addresses.url(artifact)):
        return f"{artifact.name} @ {url}"
    return f"{artifact.name}=={artifact.version}"
