"""``pylock.toml`` (PEP 751), single use: this Python, this platform, no markers to evaluate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from torchmatrix.lock.formats.addresses import Addresses, require_all

if TYPE_CHECKING:
    from torchmatrix.lock.model import Artifact, Lockfile


def render(lockfile: Lockfile, addresses: Addresses) -> str:
    """The file's text; `UsageError` when an address is unknown."""
    require_all(lockfile, addresses, "pylock.toml")
    release = lockfile.python.rstrip("t")
    major, minor = release.split(".")
    lines = [
        'lock-version = "1.0"',
        f"environments = [{_text(_marker(lockfile))}]",
        f'requires-python = ">={release},<{major}.{int(minor) + 1}"',
        'created-by = "torchmatrix"',
    ]
    for artifact in lockfile.artifacts:
        lines += ["", "[[packages]]", f"name = {_text(artifact.name)}", f"version = {_text(str(artifact.version))}"]
        lines += _file(artifact, addresses.url(artifact) or "")
    return "\n".join(lines) + "\n"


def _file(artifact: Artifact, url: str) -> list[str]:
    fields = [f"name = {_text(artifact.file)}", f"url = {_text(url)}"]
    if artifact.size is not None:
        fields.append(f"size = {artifact.size}")
    fields.append(f"hashes = {{ sha256 = {_text(artifact.sha256)} }}")
    table = "{ " + ", ".join(fields) + " }"
    return [f"wheels = [{table}]"] if artifact.is_wheel else [f"sdist = {table}"]


_MACHINES = {
    "linux-64": ("linux", "x86_64"),
    "linux-aarch64": ("linux", "aarch64"),
    "osx-arm64": ("darwin", "arm64"),
    "osx-64": ("darwin", "x86_64"),
    "win-64": ("win32", "AMD64"),
}


def _marker(lockfile: Lockfile) -> str:
    system, machine = _MACHINES[lockfile.platform]
    return f"sys_platform == '{system}' and platform_machine == '{machine}' and implementation_name == 'cpython'"


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's, and no artifact field holds a DEL character."""
    return json.dumps(value, ensure_ascii=False)
