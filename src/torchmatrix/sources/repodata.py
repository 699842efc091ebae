"""What conda channels list: ``repodata.json`` of a platform and of noarch, from a mirror or the channel itself.

Kept in the store, unpacked, with the validator that the server gave (ETag, else Last-Modified), and asked for again
in every run: a conda channel changes all day. Only repodata.json says which file, under which sha256, a package is.
"""

from __future__ import annotations

import bz2
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from torchmatrix.command import redact
from torchmatrix.errors import SourceUnreachableError
from torchmatrix.files import cannot_write, write_atomic
from torchmatrix.sources.config import local_path
from torchmatrix.sources.downloads import answer_hint
from torchmatrix.sources.once import Once
from torchmatrix.sources.reach import Reach, Trouble
from torchmatrix.sources.routes import unreachable
from torchmatrix.sources.web import BrokenOffError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torchmatrix.sources.channels import ChannelName, Channels
    from torchmatrix.sources.replies import Reply
    from torchmatrix.sources.web import Web

NOARCH = "noarch"
FILES = ("repodata.json.zst", "repodata.json.bz2", "repodata.json")
"""Forms of one file, the smallest first (CEP 16 calls the others obsolete; not every server has the first)."""
_HINT = "look whether the address is that of a conda channel: it has a folder noarch with a file repodata.json"


class Memory(Protocol):
    """The store, as far as it is needed here."""

    @property
    def root(self) -> Path:
        """The store's folder."""

    def lock(self, name: str, *, on_wait: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """A lock between processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listings:
    """What one conda channel lists for a platform: a file for each subdir that it has, and where they came from."""

    channel: ChannelName
    files: dict[str, Path]
    """Subdir -> unpacked repodata.json."""
    place: str
    """Address of the mirror, or of the channel itself."""


class Repodata:
    """The repodata of a run; several threads may ask at once, and each file is asked for once."""

    def __init__(self, memory: Memory, web: Web, channels: Channels, *, offline: bool) -> None:
        self._memory = memory
        self._web = web
        self._channels = channels
        self._offline = offline
        self._known: Once[tuple[str, str], Listings] = Once()
        self._files: Once[tuple[str, str, str], Path | None] = Once()

    def listings(self, channel: ChannelName, platform: str) -> Listings:
        """What ``channel`` has for ``platform`` and for noarch, from the first place that has it.

        `SourceUnreachableError` when no place does, with what is wrong with each.
        """
        return self._known.get((str(channel), platform), lambda _: self._listings(channel, platform))

    def _listings(self, channel: ChannelName, platform: str) -> Listings:
        tried: list[Reach] = []
        for place in self._channels.places(channel):
            try:
                files = {
                    subdir: path
                    for subdir in (platform, NOARCH)
                    if (path := self._files.get((channel.source, place, subdir), self._file)) is not None
                }
            except SourceUnreachableError as error:
                reason = error.message.rpartition(": ")[2]
                tried.append(Reach(address=place, trouble=Trouble.ANSWER, reason=reason, hint=error.hint))
                continue
            if files:
                return Listings(channel=channel, files=files, place=place)
            reason = f"it has neither {platform}/repodata.json nor noarch/repodata.json"
            tried.append(Reach(address=place, trouble=Trouble.ANSWER, reason=reason, hint=_HINT))
        raise unreachable(str(channel), tried)

    def _file(self, question: tuple[str, str, str]) -> Path | None:
        """The unpacked repodata.json of one subdir; ``None`` when the place has none."""
        source, place, subdir = question
        folder = local_path(place)
        if folder is not None:
            return self._local(folder, subdir, source)
        base = f"{place}/{subdir}"
        kept = self._memory.root / "repodata" / hashlib.sha256(base.encode()).hexdigest()[:32]
        if self._offline:
            if (kept / "repodata.json").is_file():
                return kept / "repodata.json"
            if (kept / "state.json").is_file():
                return None
            raise SourceUnreachableError(
                f"source {source}: {urlsplit(place).hostname}: not asked, because of --offline, and its {subdir} was "
                "not read before",
                hint="run without --offline, or name a folder in TORCHMATRIX_MIRRORS",
            )
        try:
            kept.mkdir(parents=True, exist_ok=True)
            with self._memory.lock(f"repodata-{kept.name}"):
                return self._fetch(source, base, kept)
        except OSError as error:
            raise cannot_write(kept, error) from error

    def _local(self, folder: Path, subdir: str, source: str) -> Path | None:
        """A folder that holds the same files: its repodata.json is read where it is, a packed one is unpacked."""
        try:
            plain = folder / subdir / "repodata.json"
            if plain.is_file():
                return plain
            for name in FILES[:2]:
                packed = folder / subdir / name
                if not packed.is_file():
                    continue
                status = packed.stat()
                key = f"{packed} {status.st_size} {status.st_mtime_ns}"
                kept = self._memory.root / "repodata" / hashlib.sha256(key.encode()).hexdigest()[:32]
                kept.mkdir(parents=True, exist_ok=True)
                with self._memory.lock(f"repodata-{kept.name}"):
                    if not (kept / "repodata.json").is_file():
                        _unpack(_blocks(packed), name, kept / "repodata.json", str(packed), source)
                return kept / "repodata.json"
            if not folder.is_dir():
                raise SourceUnreachableError(f"source {source}: {folder} is no folder", hint=_HINT)
        except OSError as error:
            raise SourceUnreachableError(
                f"source {source}: {folder} cannot be read: {error.strerror or error}", hint=_HINT
            ) from error
        return None

    def _fetch(self, source: str, base: str, kept: Path) -> Path | None:
        """Ask whether what is kept is still right, and take the new one where it is not."""
        state = _read_state(kept)
        path = kept / "repodata.json"
        known = state.get("file")
        for name in FILES if not isinstance(known, str) else (known, *(one for one in FILES if one != known)):
            headers = {}
            if name == known and path.is_file():
                if etag := state.get("etag"):
                    headers["If-None-Match"] = etag
                elif changed := state.get("last-modified"):
                    headers["If-Modified-Since"] = changed
            reply = self._take(source, f"{base}/{name}", name, path, headers)
            if reply.status == 304:
                with suppress(OSError):
                    os.utime(path)
                return path
            if reply.ok:
                kept_headers = {key: reply.headers[key] for key in ("etag", "last-modified") if key in reply.headers}
                _write_state(kept, {"file": name, "url": redact(f"{base}/{name}"), **kept_headers})
                return path
            if reply.status not in (403, 404, 410):
                raise SourceUnreachableError(
                    f"source {source}: {redact(base)}/{name}: it answered {reply.status}",
                    hint=answer_hint(reply.status, source),
                )
            if reply.status == 403 and name == FILES[-1]:
                raise SourceUnreachableError(
                    f"source {source}: {redact(base)}/{name}: it answered 403", hint=answer_hint(403, source)
                )
        path.unlink(missing_ok=True)
        _write_state(kept, {})  # offline, it is known that there is none
        return None

    def _take(self, source: str, url: str, name: str, path: Path, headers: dict[str, str]) -> Reply:
        """One answer, its body unpacked to ``path``; repeated while it breaks off."""
        for attempt in range(1, self._web.retries + 2):
            try:
                with self._web.stream(url, source=source, headers=headers) as (reply, blocks):
                    if reply.ok:
                        _unpack(_counted(blocks, reply, url), name, path, redact(url), source)
                    return reply
            except BrokenOffError as error:
                if attempt > self._web.retries:
                    words = f"source {source}: {error.message}, {attempt} times"
                    raise SourceUnreachableError(words, hint=error.hint or answer_hint(500, source)) from error
                self._web.sleep(0.25 * 2 ** (attempt - 1))
        raise AssertionError("unreachable")


def _counted(blocks: Iterator[bytes], reply: Reply, url: str) -> Iterator[bytes]:
    """The blocks; `BrokenOffError` when fewer bytes came than were announced."""
    count = 0
    for block in blocks:
        count += len(block)
        yield block
    if reply.length is not None and count != reply.length:
        raise BrokenOffError(f"{redact(url)}: {count} bytes came where {reply.length} were announced")


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def _unpack(blocks: Iterator[bytes], name: str, path: Path, where: str, source: str) -> None:
    """Write what ``blocks`` hold, unpacked, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            for block in _unpacked(blocks, name):
                file.write(block)
        _require_json(partial, where, source)
        partial.replace(path)
    except (EOFError, ValueError) as error:
        raise BrokenOffError(f"source {source}: {where} is damaged, or cut off: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _unpacked(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The plain bytes; ``EOFError`` or ``ValueError`` for what is no such archive, or not a whole one."""
    if not name.endswith((".zst", ".bz2")):
        yield from blocks
        return
    if name.endswith(".bz2"):
        plain = bz2.BZ2Decompressor()
        for block in blocks:
            try:
                yield plain.decompress(block)
            except OSError as error:
                raise ValueError(str(error)) from error
        if not plain.eof:
            raise EOFError("it ends too early")
        return
    import zstandard

    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
    for block in blocks:
        try:
            yield unpacker.decompress(block)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    if not unpacker.eof:
        raise EOFError("it ends too early")


def _require_json(path: Path, where: str, source: str) -> None:
    """Refuse what cannot be repodata (a login page, for one) before a solver reads it; the whole is the solver's."""
    with path.open("rb") as file:
        head = file.read(64).lstrip()
        file.seek(max(0, path.stat().st_size - 64))
        tail = file.read().rstrip()
    if not head.startswith(b"{"):
        raise SourceUnreachableError(f"source {source}: {where} is no repodata: {_shown(head)}", hint=_HINT)
    if not tail.endswith(b"}"):
        raise EOFError("it ends too early")


def _shown(head: bytes) -> str:
    text = head.decode("utf-8", "replace").split("\n")[0][:40]
    return f"it begins with {text!r}" if text else "it is empty"


def _read_state(kept: Path) -> dict[str, str]:
    try:
        data = json.loads((kept / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}


def _write_state(kept: Path, state: dict[str, str]) -> None:
    write_atomic(kept / "state.json", json.dumps(state, sort_keys=True) + "\n", durable=False)
