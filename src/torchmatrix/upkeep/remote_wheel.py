"""METADATA out of a wheel on a server, without downloading the wheel: a zip file read by HTTP ranges."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

BLOCK = 1 << 18
"""Bytes a request asks for; the directory of torch's wheels is about 1 MB long."""


class _Remote(io.RawIOBase):
    """A file of which ``fetch(first, last)`` gives the bytes from ``first`` to ``last``, both included."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        last = min(self._place + len(view), self._size) - 1
        if last < self._place:
            return 0
        content = self._fetch(self._place, last)
        view[: len(content)] = content
        self._place += len(content)
        return len(content)


def read_metadata(size: int, fetch: Callable[[int, int], bytes]) -> str:
    """The text of METADATA in a wheel of ``size`` bytes; ``ValueError`` when it is no wheel."""
    try:
        with zipfile.ZipFile(io.BufferedReader(_Remote(size, fetch), BLOCK)) as wheel:
            names = [name for name in wheel.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA")]
            if len(names) != 1:
                raise ValueError(f"{len(names)} METADATA files")
            return wheel.read(names[0]).decode("utf-8", "replace")
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
