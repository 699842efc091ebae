"""Facts about files: sizes by HEAD or stat, sha256 from the bytes, the path below a file host."""

from __future__ import annotations

import hashlib
import re
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from torchmatrix.errors import SourceUnreachableError
from torchmatrix.sources.config import local_path

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from torchmatrix.sources.web import Web

_BLOCK = 1 << 20
_HEADS = 16
_DEFAULT_PATH = re.compile(r"(packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[^/]+)$")


class Asked:
    """Which sizes are being asked for: cells that resolve at the same time have most artifacts in common."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: dict[str, Future[int | None]] = {}

    def claim(self, wanted: Iterable[str]) -> tuple[dict[str, Future[int | None]], dict[str, Future[int | None]]]:
        """Those that the caller has to ask for and to answer, and those that somebody else does."""
        mine, others = {}, {}
        with self._lock:
            for sha256 in wanted:
                if sha256 in self._futures:
                    others[sha256] = self._futures[sha256]
                else:
                    mine[sha256] = self._futures[sha256] = Future()
        return mine, others


def sizes(
    web: Web, wanted: Iterable[tuple[str, str, str]], known: MutableMapping[str, int], asked: Asked | None = None
) -> None:
    """Add to ``known`` (sha256 -> bytes) the size of each (sha256, address, source) that a HEAD or the file tells.

    What cannot be told stays out: a size is never estimated. ``asked`` is shared by threads that ask at the same time.
    A redirect to a host that is none of the source's is an `IntegrityError`.
    """
    missing = {sha256: (address, source) for sha256, address, source in wanted if sha256 not in known}
    mine, others = (asked or Asked()).claim(missing)
    try:
        if mine:
            with ThreadPoolExecutor(min(_HEADS, len(mine))) as pool:
                found = pool.map(lambda sha256: _size(web, *missing[sha256]), mine)
                for future, size in zip(mine.values(), found, strict=True):
                    future.set_result(size)
    finally:
        for future in mine.values():
            future.cancel()  # nobody may wait for an answer that a failure took away
    for sha256, future in {**mine, **others}.items():
        with suppress(CancelledError):
            if (size := future.result()) is not None:
                known[sha256] = size


def _size(web: Web, address: str, source: str) -> int | None:
    path = local_path(address)
    if path is not None:
        return path.stat().st_size if path.is_file() else None
    try:
        reply = web.head(address, source=source)
    except SourceUnreachableError:
        return None
    page = reply.headers.get("content-type", "").startswith("text/html")  # of a login, or of what went wrong
    return reply.length if reply.status == 200 and not page else None


def default_index_path(address: str) -> str | None:
    """The path of a file of the default index, which is made from the BLAKE2b-256 digest of its bytes.

    Read from the address where it has that form, computed from the bytes where the file is at hand, else ``None``.
    Source: the file paths of the default index, ``packages/<2>/<2>/<60 hex digits>/<file>``.
    """
    if match := _DEFAULT_PATH.search(unquote(urlsplit(address).path)):
        return quote(match[1])
    path = local_path(address)
    if path is None or not path.is_file():
        return None
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    text = digest.hexdigest()
    return quote(f"packages/{text[:2]}/{text[2:4]}/{text[4:]}/{path.name}")


def file_name(address: str) -> str:
    """The file name at the end of an address, decoded."""
    return Path(unquote(urlsplit(address).path)).name
