"""``environment.yml`` with exact builds, for ``conda env create`` and ``micromamba create``.

The only conda format without hashes: conda solves again, with one build of each package to take from one
conda channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmatrix.lock.formats.addresses import Addresses, channel_words
from torchmatrix.lock.formats.requirements import requirement
from torchmatrix.lock.formats.yaml_text import scalar
from torchmatrix.sources.channels import channel_of

if TYPE_CHECKING:
    from torchmatrix.lock.model import Lockfile


def render(lockfile: Lockfile, addresses: Addresses) -> str:
    """The file's text; `UsageError` when the address of a private conda channel is unknown."""
    lines = [
        f"# {lockfile.cell}: Python {lockfile.python}, {lockfile.platform}, {lockfile.accelerator}",
        f"# lockfile {lockfile.digest}",
        "# conda env create --file environment.yml",
        f"name: {scalar(lockfile.cell)}",
        "channels:",
        *(f"  - {scalar(channel)}" for channel in channel_words(lockfile, addresses)),
        "  - nodefaults",
        "dependencies:",
    ]
    words = dict(zip(lockfile.conda_channels, channel_words(lockfile, addresses), strict=True))
    pins = {name: f"{word}::" for name, word in words.items()}
    for artifact in sorted(lockfile.conda_artifacts, key=lambda one: one.name):
        if artifact.conda is not None:
            pin = pins.get(str(channel_of(artifact)), "")
            lines.append(f"  - {scalar(f'{pin}{artifact.name}={artifact.version}={artifact.conda.build}')}")
    if lockfile.pip_artifacts:
        if not any(artifact.name == "pip" for artifact in lockfile.conda_artifacts):
            lines.append("  # pip is not among the conda packages: conda takes whichever pip it finds for these.")
        lines.append("  - pip:")
        lines += [
            f"      - {scalar(f'{requirement(artifact, addresses)} --hash=sha256:{artifact.sha256}')}"
            for artifact in lockfile.pip_artifacts
        ]
    return "\n".join(lines) + "\n"
