"""Files that are whole or not there: a temporary file beside the target, fsync, rename."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from torchmatrix.errors import HostError


def write_atomic(path: Path, text: str) -> bool:
    """Write ``text`` to ``path`` so that every reader sees the old file or the new one; ``False`` when it was the same.

    A full or read-only disk is a `HostError`, and the old file is still there.
    """
    data = text.encode("utf-8")
    try:
        if path.read_bytes() == data:
            return False
    except OSError:
        pass
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    return True


def sweep_temporary(folder: Path) -> None:
    """Remove what killed writers left in ``folder``; its caller holds the lock under which that folder is written."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
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
