"""Facts about files: sizes by HEAD or stat, sha256 from the bytes, the path below a file host."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from torchmatrix.command import redact
from torchmatrix.errors import SourceUnreachableError
from torchmatrix.sources.config import local_path
from torchmatrix.sources.once import Once

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from torchmatrix.sources.web import Web

_BLOCK = 1 << 20
_HEADS = 16
_DEFAULT_PATH = re.compile(r"(packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[^/]+)$")


class Asked(Once[str, int | None]):
    """Sizes by sha256: cells that resolve at the same time have most artifacts in common."""


def sizes(
    web: Web, wanted: Iterable[tuple[str, str, str]], known: MutableMapping[str, int], asked: Asked | None = None
) -> None:
    """Add to ``known`` (sha256 -> bytes) the size of each (sha256, address, source) that the server or the file tells.

    What cannot be told stays out: a size is never estimated. ``asked`` is shared by threads that ask at the same time.
    Errors: `IntegrityError` for a redirect to a host that is none of the source's, `SourceUnreachableError` for a
    server that gives no answer, which another day would tell the size.
    """
    missing = {sha256: (address, source) for sha256, address, source in wanted if sha256 not in known}
    found = (asked or Asked()).all(missing, lambda sha256: _size(web, *missing[sha256]), threads=_HEADS)
    known.update({sha256: size for sha256, size in found.items() if size is not None})


def _size(web: Web, address: str, source: str) -> int | None:
    path = local_path(address)
    if path is not None:
        return path.stat().st_size if path.is_file() else None
    reply = web.describe(address, source=source)
    if reply.status >= 500:
        raise SourceUnreachableError(
            f"source {source}: {redact(address)} answered {reply.status}",
            hint=f'try again later, or name a mirror: TORCHMATRIX_MIRRORS="{source}=ADDRESS"',
        )
    return reply.length if reply.status == 200 and not reply.is_page else None


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
