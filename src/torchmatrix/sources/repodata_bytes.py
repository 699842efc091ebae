"""The bytes of a ``repodata.json``: unpacked, and looked at cheaply before anybody keeps them.

A solver reads the whole later. But what is kept is not asked for again while its server says that it did not change:
half a file, or a login page, would stay for ever.
"""

from __future__ import annotations

import bz2
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MAGIC = (b"\x28\xb5\x2f\xfd", b"BZh")
"""What zst and bz2 begin with."""
_ENDS = 64
"""Bytes that are looked at where a file begins and ends."""


class WrongRepodataError(Exception):
    """It is something else than repodata: a login page, for one. The text goes on after its name."""


class DamagedRepodataError(WrongRepodataError):
    """It is repodata that was cut off or spoilt."""


def blocks_of(path: Path) -> Iterator[bytes]:
    """A file in pieces."""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def unpack(blocks: Iterator[bytes], name: str, path: Path) -> None:
    """Write what ``blocks`` hold, unpacked, whole or not at all. The caller holds the lock of the folder."""
    for left in path.parent.glob(f".{path.name}.*.partial"):  # of a process that was killed
        left.unlink(missing_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        look = _Look()
        with partial.open("wb") as file:
            for block in _unpacked(blocks, name):
                look.at(block)
                file.write(block)
        look.require(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _unpacked(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The plain bytes. Errors: `DamagedRepodataError` when the archive is not whole, `WrongRepodataError` when it
    is none.
    """
    if name == "repodata.json":
        yield from blocks
        return
    opened, broken = _archives(name)
    archive, head = opened(), b""
    for block in blocks:
        head += block[: _ENDS - len(head)]
        rest = block
        try:
            while rest:
                if archive.eof:  # archives of several parts, as pzstd and pbzip2 write them
                    archive = opened()
                yield archive.decompress(rest)
                rest = archive.unused_data if archive.eof else b""
        except broken as error:
            if head.startswith(_MAGIC):
                raise DamagedRepodataError(f"it is damaged: {error}") from error
            raise WrongRepodataError(f"is no repodata: {_shown(head)}") from error
    if not archive.eof:
        if head and not head.startswith(_MAGIC):
            raise WrongRepodataError(f"is no repodata: {_shown(head)}")
        raise DamagedRepodataError("it ends too early")


def _archives(name: str) -> tuple[Callable[[], Any], type[Exception]]:
    """What unpacks a file of that name, and what it raises."""
    if name.endswith(".bz2"):
        return bz2.BZ2Decompressor, OSError
    import zstandard

    return lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(), zstandard.ZstdError


class _Look:
    """Looks at plain bytes as they pass: are they the JSON of a conda channel, as far as that is told cheaply?"""

    def __init__(self) -> None:
        self._head = self._tail = b""
        self._depth = 0
        self._lists = False

    def at(self, block: bytes) -> None:
        """One block after the other."""
        self._head += block[: _ENDS - len(self._head)]
        around = self._tail + block
        self._lists = self._lists or b'"packages' in around
        self._tail = around[-_ENDS:]
        self._depth += block.count(b"{") - block.count(b"}")

    def require(self, path: Path) -> None:
        """Raise for what is something else, or not whole; ``path`` has it all."""
        _require_begins(self._head)
        if not self._tail.rstrip().endswith(b"}"):
            raise DamagedRepodataError("it ends too early")
        if self._depth:  # braces within texts may be alone
            try:
                json.loads(path.read_bytes())
            except ValueError as error:
                raise DamagedRepodataError("it ends too early") from error
        if not self._lists:
            raise WrongRepodataError(f"is no repodata, it lists no packages: {_shown(self._head.lstrip())}")


def is_whole(path: Path) -> bool:
    """Whether a file is repodata, as far as `unpack` would have told."""
    look = _Look()
    try:
        for block in blocks_of(path):
            look.at(block)
        look.require(path)
    except (OSError, WrongRepodataError):
        return False
    return True


def require_ends(path: Path) -> None:
    """Of a file that is read where it is, every time: no more than the first and the last bytes."""
    with path.open("rb") as file:
        head = file.read(_ENDS)
        file.seek(max(0, path.stat().st_size - _ENDS))
        tail = file.read().rstrip()
    _require_begins(head)
    if not tail.endswith(b"}"):
        raise DamagedRepodataError("it ends too early")


def _require_begins(head: bytes) -> None:
    if not head.lstrip().startswith(b"{"):
        raise WrongRepodataError(f"is no repodata: {_shown(head.lstrip())}")


def _shown(head: bytes) -> str:
    text = head.decode("utf-8", "replace").split("\n")[0][:40]
    return f"it begins with {text!r}" if text else "it is empty"
