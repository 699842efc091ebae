"""Files that are whole or not there: a temporary file beside the target, fsync, rename."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from torchmatrix.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable

_RANDOM = "[a-z0-9_]" * 8
"""What stands in the name of a temporary file beside the name of its target, as a glob pattern."""


def write_atomic(path: Path, text: str, *, durable: bool = True) -> bool:
    """Write ``text`` to ``path`` so that every reader sees the old file or the new one; ``False`` when it was the same.

    A full or read-only disk is a `HostError`, and the old file is still there. What is no plain file (a device, a pipe)
    is written to, not replaced. What may be lost with the machine's power need not be ``durable``: waiting for the disk
    is most of what writing a small file costs.
    """
    data = text.encode("utf-8")
    try:
        target = path.resolve() if path.is_symlink() else path  # a link stays a link
        if _is_special(target):
            target.write_bytes(data)
            return True
        if _holds(target, data):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_beside(target, (data,), durable=durable)
    except OSError as error:
        raise cannot_write(path, error) from error
    return True


def write_blocks(path: Path, blocks: Iterable[bytes]) -> None:
    """Write what does not fit into memory, block by block, so that every reader sees the old file or the new one.

    The folder must exist. Errors as in `write_atomic`; an `OSError` of ``blocks`` itself counts as one of ``path``, so
    whoever reads them has to say first what could not be read.
    """
    try:
        target = path.resolve() if path.is_symlink() else path
        if _is_special(target):
            with target.open("wb") as file:
                for block in blocks:
                    file.write(block)
        else:
            _write_beside(target, blocks, durable=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def _write_beside(target: Path, blocks: Iterable[bytes], *, durable: bool) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for block in blocks:
                file.write(block)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
    if durable:
        _sync_folder(target.parent)


def place_folder(temporary: Path, folder: Path) -> None:
    """Make a finished folder appear as ``folder``, which must not exist or be empty; its files are synced already.

    Raises `OSError`, and then ``temporary`` is as it was.
    """
    for top, _, _ in os.walk(temporary):
        _sync_folder(Path(top))
    if folder.is_dir():
        folder.rmdir()  # only an empty one; Windows renames onto nothing at all
    temporary.rename(folder)
    _sync_folder(folder.parent)


def _is_special(path: Path) -> bool:
    """A device or a pipe: a rename over /dev/null would replace the device, for everybody on the machine."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def sweep_temporary(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers left in ``folder``, those of the file or folder ``name`` alone where it is given.

    The caller holds the lock under which that is written.
    """
    # Eight characters, as `tempfile` has them and whoever else makes such names: the writer of ``name.tar`` beside it
    # holds another lock.
    for path in folder.glob(f".{escape(name)}.{_RANDOM}.tmp" if name else ".*.tmp"):
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def cannot_write(path: Path, error: OSError) -> HostError:
    """The error for a file or folder that cannot be written."""
    if error.errno == errno.ENOSPC:
        return HostError(f"{path}: the disk is full", hint="free space, for example: torchmatrix cache gc")
    return HostError(f"{path}: cannot be written: {error.strerror or error}", hint="check the folder's permissions")


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
