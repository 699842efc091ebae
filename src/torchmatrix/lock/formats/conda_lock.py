"""``conda-lock.yml``, version 1: the unified lockfile of conda-lock, which micromamba installs too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError
from torchmatrix.lock.formats.addresses import Addresses, channel_words, conda_urls, require_all
from torchmatrix.lock.formats.depends import dependencies
from torchmatrix.lock.formats.yaml_text import scalar

if TYPE_CHECKING:
    from torchmatrix.lock.model import Artifact, Lockfile


def lacks(lockfile: Lockfile) -> str | None:
    """Why conda-lock could not read the file: it refuses conda packages without an md5."""
    names = [one.name for one in lockfile.conda_artifacts if one.conda is not None and not one.conda.md5]
    if not names:
        return None
    return f"conda-lock wants an md5 of every conda package, and these have none: {', '.join(names)}"


def render(lockfile: Lockfile, addresses: Addresses) -> str:
    """The file's text; `UsageError` when an address or an md5 is unknown."""
    if reason := lacks(lockfile):
        raise UsageError(f"conda-lock.yml of {lockfile.cell}: {reason}", hint="write another format: explicit")
    conda = conda_urls(lockfile, addresses)
    require_all(lockfile, addresses, "conda-lock.yml")
    lines = [
        f"# {lockfile.cell}: Python {lockfile.python}, {lockfile.platform}, {lockfile.accelerator}",
        f"# lockfile {lockfile.digest}",
        "# conda-lock install --name NAME conda-lock.yml",
        "version: 1",
        "metadata:",
        "  content_hash:",
        f"    {scalar(lockfile.platform)}: {scalar(lockfile.input_digest.removeprefix('sha256:'))}",
        "  channels:",
    ]
    for channel in channel_words(lockfile, addresses):
        lines += [f"  - url: {scalar(channel)}", "    used_env_vars: []"]
    lines += ["  platforms:", f"  - {scalar(lockfile.platform)}", "  sources:", "  - matrix.yaml"]
    packages = [*conda, *((artifact, addresses.url(artifact) or "") for artifact in lockfile.pip_artifacts)]
    lines.append("package:" if packages else "package: []")
    for artifact, url in packages:
        lines += _package(artifact, url, lockfile.platform)
    return "\n".join(lines) + "\n"


def _package(artifact: Artifact, url: str, platform: str) -> list[str]:
    conda = artifact.conda
    lines = [
        f"- name: {scalar(artifact.name)}",
        f"  version: {scalar(str(artifact.version))}",
        f"  manager: {'conda' if conda else 'pip'}",
        f"  platform: {scalar(platform)}",
    ]
    needed = dependencies(conda.depends) if conda else {}
    lines.append("  dependencies:" if needed else "  dependencies: {}")
    lines += [f"    {scalar(name)}: {scalar(constraint)}" for name, constraint in needed.items()]
    lines += [f"  url: {scalar(url)}", "  hash:"]
    if conda and conda.md5:
        lines.append(f"    md5: {scalar(conda.md5)}")
    lines.append(f"    sha256: {scalar(artifact.sha256)}")
    return [*lines, "  category: main", "  optional: false"]
