"""``conda-<platform>.lock``: an ``@EXPLICIT`` file, which conda, mamba and micromamba install without a solve.

They read URLs with a hash, and pass over comments. What pip adds stands in comments as conda-lock writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmatrix.lock.formats.addresses import Addresses, conda_urls
from torchmatrix.lock.formats.depends import by_dependency
from torchmatrix.lock.formats.requirements import PIP_COMMAND, requirement

if TYPE_CHECKING:
    from torchmatrix.lock.model import Lockfile

FILE = "conda-{platform}.lock"
"""Its file name: conda wants no certain one, conda-lock and others write this."""


def render(lockfile: Lockfile, addresses: Addresses) -> str:
    """The file's text; a package stands after what it needs (CEP 23). `UsageError` when an address is unknown."""
    file = FILE.format(platform=lockfile.platform)
    lines = [
        f"# {lockfile.cell}: Python {lockfile.python}, {lockfile.platform}, {lockfile.accelerator}",
        f"# lockfile {lockfile.digest}",
        f"# conda create --name NAME --file {file}",
        f"# micromamba create --name NAME --file {file}",
        "# The hashes are sha256; conda reads them from 24.9 on (https://github.com/conda/conda/pull/14048).",
    ]
    if lockfile.pip_artifacts:
        lines.append(f"# conda passes over the lines `# pip`; in the environment, then: {PIP_COMMAND}")
    lines += [f"# platform: {lockfile.platform}", "@EXPLICIT"]  # `conda-lock install` looks for the platform
    urls = {artifact.name: url for artifact, url in conda_urls(lockfile, addresses)}
    lines += [f"{urls[artifact.name]}#{artifact.sha256}" for artifact in by_dependency(lockfile)]
    lines += [
        f"# pip {requirement(artifact, addresses)} --hash=sha256:{artifact.sha256}"
        for artifact in lockfile.pip_artifacts
    ]
    return "\n".join(lines) + "\n"
