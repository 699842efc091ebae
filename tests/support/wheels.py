"""Tiny wheels: real enough for uv and pip to resolve and install, equal to the byte for equal arguments."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EPOCH = (1980, 1, 1, 0, 0, 0)


def build_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    tag: str = "py3-none-any",
    requires: Iterable[str] = (),
    files: Mapping[str, str | bytes] | None = None,
    scripts: Mapping[str, str] | None = None,
    requires_python: str | None = None,
) -> Path:
    """Write ``{name}-{version}-{tag}.whl`` into ``folder``.

    ``files`` are the members below site-packages (default: one importable package with ``__version__``), ``scripts``
    console scripts as ``{"command": "module:function"}``. ``tag`` may be a compressed set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[-_.]+", "_", name)
    path = folder / f"{stem}-{version}-{tag}.whl"
    info = f"{stem}-{version}.dist-info"
    members: dict[str, bytes] = {}
    for member, content in (files if files is not None else default_files(name, version)).items():
        members[member] = content.encode() if isinstance(content, str) else content
    members[f"{info}/METADATA"] = metadata_text(name, version, requires, requires_python).encode()
    members[f"{info}/WHEEL"] = _wheel_text(path.name, tag).encode()
    if scripts:
        lines = [f"{command} = {place}" for command, place in sorted(scripts.items())]
        members[f"{info}/entry_points.txt"] = ("\n".join(["[console_scripts]", *lines]) + "\n").encode()
    record = f"{info}/RECORD"
    rows = [f"{member},sha256={_urlsafe_sha256(content)},{len(content)}" for member, content in sorted(members.items())]
    members[record] = ("\n".join([*rows, f"{record},,"]) + "\n").encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            entry = zipfile.ZipInfo(member, date_time=_EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def default_files(name: str, version: str) -> dict[str, str]:
    """One importable package named as the distribution, with ``__version__`` and a ``main``."""
    module = re.sub(r"[-_.]+", "_", name).lower()
    source = f'__version__ = "{version}"\n\n\ndef main():\n    print("{name} " + __version__)\n'
    return {f"{module}/__init__.py": source}


def metadata_text(name: str, version: str, requires: Iterable[str] = (), requires_python: str | None = None) -> str:
    """The METADATA of a wheel."""
    requires = list(requires)
    extras = {
        extra
        for requirement in requires
        for extra in re.findall(r"extra\s*==\s*['\"]([\w.-]+)['\"]", str(Requirement(requirement).marker or ""))
    }
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Summary: a wheel for tests"]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Provides-Extra: {extra}" for extra in sorted(extras)]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return "\n".join(lines) + "\n"


def read_metadata(wheel: bytes | Path) -> bytes:
    """The METADATA member of a wheel."""
    from io import BytesIO

    with zipfile.ZipFile(BytesIO(wheel) if isinstance(wheel, bytes) else wheel) as archive:
        member = next(one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        return archive.read(member)


def sha256(content: bytes | Path) -> str:
    """Hex digest of bytes or of a file."""
    return hashlib.sha256(content.read_bytes() if isinstance(content, Path) else content).hexdigest()


def _wheel_text(filename: str, tag: str) -> str:
    tags = sorted(str(one) for one in parse_wheel_filename(filename)[3])
    pure = "true" if tag.endswith("-any") else "false"
    lines = ["Wheel-Version: 1.0", "Generator: torchmatrix-tests", f"Root-Is-Purelib: {pure}"]
    return "\n".join([*lines, *(f"Tag: {one}" for one in tags)]) + "\n"


def _urlsafe_sha256(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
