"""The environment digest: one sum over the files of an environment, equal wherever and by whatever it was made."""

from __future__ import annotations

import concurrent.futures
import configparser
import contextlib
import csv
import hashlib
import os
import re
from typing import Any, Dict, Iterator, Mapping, Sequence, Tuple

from .context import Context, Failed, Result, Skipped
from .installed import conda_records, distributions, normalized

BLOCK = 1 << 20
"""Bytes read at a time; hashlib lets other threads run for blocks of this size."""

_INSTALLER_FILES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
_VENV_ROOT = {"pyvenv.cfg", ".gitignore", "CACHEDIR.TAG", ".lock", "lib64"}
_VENV_SCRIPT = re.compile(
    r"(?i)(?:python|𝜋thon|pypy)w?[\d.]*t?(?:\.exe)?|(?:de)?activate(?:[._].*)?|pydoc\.bat|venvw?(?:launcher)?\.exe"
)
_SCRIPT_FOLDERS = ("bin", "Scripts")


def environment_digest(prefix: str, skip_dists: Sequence[str] = ()) -> str:
    """``sha256:…`` over the files of the environment at ``prefix``: for each, sorted, its path, NUL, its own sha256.

    Equal for two folders, whatever tool made and filled them. Left out: bytecode, what installers note down for
    themselves, what belongs to the venv and not to a package, and the files of ``skip_dists``.
    """
    prefix = os.path.realpath(prefix)
    skip = {normalized(name) for name in skip_dists}
    left_out, scripts = _files_and_scripts(prefix, skip)
    blanked = {path for record in conda_records(prefix) for path in _relocated(record)}
    paths = [path for path in _walk(prefix) if path not in left_out]

    def hash_one(path: str) -> str:
        return _hash_entry(prefix, path, scripts, path in blanked)

    # The largest first: libtorch alone is half of an environment, and nobody should wait for it at the end.
    order = sorted(paths, key=lambda path: -os.lstat(os.path.join(prefix, path)).st_size)
    with concurrent.futures.ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        hashes = dict(zip(order, pool.map(hash_one, order, chunksize=1)))
    total = hashlib.sha256()
    for path in sorted(os.fsencode(name) for name in paths):
        total.update(path + b"\0" + hashes[os.fsdecode(path)].encode() + b"\n")
    return "sha256:" + total.hexdigest()


def _walk(prefix: str) -> Iterator[str]:
    """Paths below ``prefix`` with slashes, files and links, those that never count left out."""
    venv = os.path.isfile(os.path.join(prefix, "pyvenv.cfg"))
    stack = [""]
    while stack:
        folder = stack.pop()
        with os.scandir(os.path.join(prefix, folder)) as entries:
            for entry in entries:
                path = folder + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__" and path != "conda-meta":
                        stack.append(path + "/")
                elif entry.name.endswith((".pyc", ".pyo")) or (venv and _of_venv(folder, entry.name)):
                    continue
                elif not (folder.endswith(".dist-info/") and entry.name in _INSTALLER_FILES):
                    yield path


def _of_venv(folder: str, name: str) -> bool:
    if folder == "":
        return name in _VENV_ROOT
    if folder.rstrip("/") in _SCRIPT_FOLDERS:
        return _VENV_SCRIPT.fullmatch(name) is not None
    return folder.endswith("/site-packages/") and name in ("_virtualenv.py", "_virtualenv.pth")


def _files_and_scripts(prefix: str, skip: set[str]) -> Tuple[set[str], Dict[str, set[str]]]:
    """Files of the distributions to skip, and the entry points of each script name."""
    left_out = set()
    scripts: Dict[str, set[str]] = {}
    for name, distribution in distributions(prefix):
        if name in skip:
            for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
                full = os.path.normpath(os.path.join(str(distribution.locate_file("")), *row[0].split("/")))
                left_out.add(os.path.relpath(full, prefix).replace(os.sep, "/"))
            continue
        parser = configparser.ConfigParser(delimiters=("=",), strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # script names keep their case
        with contextlib.suppress(configparser.Error):
            parser.read_string(distribution.read_text("entry_points.txt") or "")
        for section in ("console_scripts", "gui_scripts"):
            for script, target in parser.items(section) if parser.has_section(section) else ():
                scripts.setdefault(script, set()).add(re.sub(r"\s|\[.*", "", target))
    return left_out, scripts


def _relocated(record: Mapping[str, Any]) -> Iterator[str]:
    for path in (record.get("paths_data") or {}).get("paths", ()):
        if path.get("prefix_placeholder"):
            yield path["_path"]


def _hash_entry(prefix: str, path: str, scripts: Mapping[str, set[str]], blank: bool) -> str:
    full = os.path.join(prefix, path)
    if os.path.islink(full):
        target = os.path.realpath(full)
        if target.startswith(prefix + os.sep) or not os.path.isfile(target):
            link = os.readlink(full)
            inside = os.path.isabs(link) and target.startswith(prefix + os.sep)
            text = os.path.relpath(link, os.path.dirname(full)) if inside else link
            return hashlib.sha256(b"link:" + os.fsencode(text.replace(os.sep, "/"))).hexdigest()
    folder, _, name = path.rpartition("/")
    if folder in _SCRIPT_FOLDERS:
        return hashlib.sha256(_script_bytes(full, name, scripts, prefix if blank else None)).hexdigest()
    if blank:
        with open(full, "rb") as stream:
            return hashlib.sha256(_without_prefix(stream.read(), prefix)).hexdigest()
    return _hash_file(full)


def _hash_file(full: str) -> str:
    digest = hashlib.sha256()
    with open(full, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        buffer = memoryview(bytearray(max(1, min(size + 1, BLOCK))))
        while True:
            count = stream.readinto(buffer)
            if not count:
                return digest.hexdigest()
            digest.update(buffer[:count])


def _script_bytes(full: str, name: str, scripts: Mapping[str, set[str]], prefix: str | None) -> bytes:
    """What a script counts as: its entry point when an installer wrote it, else its text below the shebang."""
    with open(full, "rb") as stream:
        content = stream.read()
    stem = re.sub(r"(?:-script\.pyw?|\.exe)$", "", name)
    for script in (stem, re.sub(r"-?\d+(?:\.\d+)*$", "", stem)):  # pip3.11 has no entry point of its own
        for target in sorted(scripts.get(script, ())):
            module, _, attribute = target.partition(":")
            # The text on disk must really call it: a script that somebody changed counts as what it is.
            if name.endswith(".exe") or f"from {module} import {attribute.split('.')[0]}".encode() in content:
                return target.encode()
    if content.startswith(b"#!/bin/sh\n'''exec'"):  # a shebang too long for the kernel takes three lines
        return b"\n" + content.split(b"\n", 3)[-1]
    if content.startswith(b"#!"):
        content = b"\n" + content.partition(b"\n")[2]
    return content if prefix is None else _without_prefix(content, prefix)


def _without_prefix(content: bytes, prefix: str) -> bytes:
    """``content`` as if conda had installed it into a folder without a name: binaries keep their length."""
    own = os.fsencode(prefix)
    if b"\0" not in content:
        return content.replace(own, b"")

    def pad(match: re.Match[bytes]) -> bytes:
        short = match[0].replace(own, b"")
        return short + b"\0" * (len(match[0]) - len(short))

    return re.sub(re.escape(own) + rb"[^\0]*", pad, content)


def check_environment_digest(context: Context) -> Result:
    """The digest of the files; compared when the spec names one."""
    if not os.path.isfile(os.path.join(context.prefix, "pyvenv.cfg")) and not conda_records(context.prefix):
        raise Skipped(f"{context.prefix} is no environment of its own but a whole Python installation")
    digest = environment_digest(context.prefix, context.spec.get("project", ()))
    context.extra["environment_digest"] = digest
    expected = context.spec.get("environment_digest")
    if expected and expected != digest:
        raise Failed(expected, digest, "files of the environment are not those that were verified")
    return expected, digest
