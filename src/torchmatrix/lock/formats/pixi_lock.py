"""``pixi.lock``, written by rattler itself in the version of the format that the installed py-rattler writes.

So a newer py-rattler may write another text of the same meaning; that is why it is written only where it is asked for.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError
from torchmatrix.lock.formats.addresses import Addresses, channel_urls, conda_urls, require_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchmatrix.lock.model import Lockfile

ENVIRONMENT = "default"


def render(lockfile: Lockfile, addresses: Addresses) -> str:
    """The file's text, with one environment; `UsageError` when an address is unknown."""
    conda = conda_urls(lockfile, addresses)
    require_all(lockfile, addresses, "pixi.lock")
    channels = channel_urls(lockfile, addresses)

    from rattler import LockChannel, LockFile, LockPlatform  # only this format pays for it

    from torchmatrix.lock.formats.rattler_record import repodata_record

    platform = LockPlatform(lockfile.platform)
    made = LockFile([platform])
    made.set_channels(ENVIRONMENT, [LockChannel(url) for url in channels])
    for artifact, url in conda:
        made.add_conda_package(ENVIRONMENT, platform, repodata_record(artifact, url, url.rsplit("/", 2)[0]))
    hashes: dict[str, str] = {}
    for artifact in lockfile.pip_artifacts:
        url = addresses.url(artifact) or ""
        made.add_pypi_package(ENVIRONMENT, platform, artifact.name, str(artifact.version), url)
        hashes[artifact.name] = artifact.sha256
    with tempfile.TemporaryDirectory(prefix="torchmatrix-") as scratch:
        path = Path(scratch, "pixi.lock")
        made.to_path(path)
        if hashes:  # rattler's API takes none for these, but its reader does: what it read, it writes
            path.write_text(_with_hashes(path.read_text(encoding="utf-8"), hashes), encoding="utf-8")
            LockFile.from_path(path).to_path(path)
        return path.read_text(encoding="utf-8")


def _with_hashes(text: str, hashes: Mapping[str, str]) -> str:
    """The text with the sha256 of each package of pip, by name; `UsageError` when there is no place for one."""
    lines, pending, inside = [], dict(hashes), False
    for line in text.splitlines():
        lines.append(line)
        key, _, value = line.partition(": ")
        if line.startswith("- "):  # not indented: an entry itself, not its mention in an environment
            inside = key == "- pypi"
        if inside and key == "  name" and (sha256 := pending.pop(value.strip("'\""), None)):
            lines.append(f"  sha256: {sha256}")
    if pending:
        raise UsageError(
            f"pixi.lock: the installed py-rattler leaves no place for the hash of {', '.join(pending)}",
            hint="write another format: explicit",
        )
    return "\n".join(lines) + "\n"
