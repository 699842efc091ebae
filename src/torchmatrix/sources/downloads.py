"""Files that we download ourselves: to compute a sha256 that no page gives, and to bundle.

``<root>/<sha256>/<file>`` holds finished files, so every folder is a flat index of one wheel; ``<root>/partial`` holds
what is under way. What a file's sha256 was is remembered by address, size and validator (ETag, else Last-Modified): the
same bytes are never downloaded twice, other bytes under the same address are noticed.
"""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from torchmatrix.command import redact
from torchmatrix.errors import IntegrityError, SourceUnreachableError, TorchmatrixError
from torchmatrix.files import cannot_write
from torchmatrix.sources.config import local_path
from torchmatrix.sources.web import RETRIES, BrokenOffError, Reply, Web

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

PARALLEL = 4
"""Files at once: enough to fill most lines, few enough that a large file still comes on."""
_BLOCK = 1 << 20
_STEP = 0.2
"""Seconds between two words about progress."""
_HASHES = "hashes"


class Memory(Protocol):
    """The store, as far as it is needed here."""

    @property
    def root(self) -> Path:
        """The store's folder."""

    def remember(self, name: str) -> dict[str, object]:
        """A small memory by name."""

    def memorize(self, name: str, values: Mapping[str, object]) -> None:
        """Add to it."""

    def lock(self, name: str, *, on_wait: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """A lock between processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One file to be had. ``sha256``: what it must be; ``None``: whatever it is."""

    file: str
    url: str
    """Address, or path of a local file."""
    source: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A complete file on this machine."""

    path: Path
    sha256: str
    size: int


class GoneError(SourceUnreachableError):
    """A source answers, but does not have the file (any more)."""


class Downloads:
    """The downloads of a store; several threads and processes may use it at once."""

    def __init__(self, memory: Memory, web: Web) -> None:
        self._memory = memory
        self._web = web
        self._lock = threading.Lock()

    @property
    def root(self) -> Path:
        """The folder of all downloads."""
        return self._memory.root / "downloads"

    def held(self, file: str, sha256: str) -> Path | None:
        """The finished file with these bytes, if it is here."""
        path = self.root / sha256 / file
        return path if path.is_file() else None

    def known_sha256(self, url: str, reply: Reply) -> str | None:
        """The sha256 that the bytes of ``url`` had when size and validator were those of ``reply``."""
        key = _key(url, reply)
        known = self._memory.remember(_HASHES).get(key) if key else None
        return known if isinstance(known, str) else None

    def describe(self, wanted: Wanted) -> Reply:
        """Size and validator of a file by HEAD; `GoneError` when the source does not have it."""
        reply = self._web.head(wanted.url, source=wanted.source)
        if reply.status in (404, 410):
            raise gone(wanted, f"{urlsplit(wanted.url).hostname} answered {reply.status}")
        if not reply.ok:
            raise SourceUnreachableError(
                f"source {wanted.source}: {redact(wanted.url)} answered {reply.status}", hint=answer_hint(reply.status)
            )
        return reply

    def fetch(self, wanted: Sequence[Wanted], *, tell: Callable[[str], None]) -> dict[str, Held]:
        """Have every file here, several at a time; by file name. The first failure ends the rest, and is raised.

        What was received stays: the next call goes on where this one ended. Errors: `GoneError`,
        `SourceUnreachableError`, `IntegrityError`, `HostError` for a full disk.
        """
        progress = _Progress(len(wanted), tell)
        pool = ThreadPoolExecutor(max(1, min(PARALLEL, len(wanted))))
        futures = [pool.submit(self._one, one, progress) for one in wanted]
        try:
            return {one.file: future.result() for one, future in zip(wanted, futures, strict=True)}
        finally:
            progress.stop()
            pool.shutdown(wait=True, cancel_futures=True)

    # -- one file ---------------------------------------------------------------------------------------------------

    def _one(self, wanted: Wanted, progress: _Progress) -> Held:
        if wanted.sha256 and (path := self.held(wanted.file, wanted.sha256)):
            return Held(path=path, sha256=wanted.sha256, size=path.stat().st_size)
        if local_path(wanted.url) is not None:
            return self._local(wanted)
        reply = self.describe(wanted)
        known = self.known_sha256(wanted.url, reply)
        if known and wanted.sha256 is None and (path := self.held(wanted.file, known)):
            return Held(path=path, sha256=known, size=path.stat().st_size)
        key = wanted.sha256 or _key(wanted.url, reply)
        name = hashlib.sha256((key or wanted.url).encode()).hexdigest()[:32]
        with self._memory.lock(f"download-{name}"):
            if wanted.sha256 and (path := self.held(wanted.file, wanted.sha256)):
                return Held(path=path, sha256=wanted.sha256, size=path.stat().st_size)
            partial = self.root / "partial" / name
            try:
                partial.parent.mkdir(parents=True, exist_ok=True)
                if key is None:  # nothing says whether what is there belongs to these bytes
                    partial.unlink(missing_ok=True)
                digest = self._receive(wanted, reply, partial, progress)
                return self._finish(wanted, reply, partial, digest)
            except OSError as error:
                raise cannot_write(partial, error) from error

    def _local(self, wanted: Wanted) -> Held:
        path = local_path(wanted.url)
        assert path is not None  # noqa: S101 - the caller asked
        try:
            status = path.stat()
            key = f"{path} {status.st_size} {status.st_mtime_ns}"
            known = self._memory.remember(_HASHES).get(key)
            sha256 = known if isinstance(known, str) else _hash_file(path).hexdigest()
        except OSError as error:
            raise SourceUnreachableError(
                f"{path}: cannot be read: {error.strerror}", hint="check the folder that mirrors the source"
            ) from error
        self._note(key, sha256)
        if wanted.sha256 not in (None, sha256):
            raise drift(wanted, sha256)
        return Held(path=path, sha256=sha256, size=status.st_size)

    def _receive(self, wanted: Wanted, reply: Reply, partial: Path, progress: _Progress) -> hashlib._Hash:
        """Append what is missing, over as many connections as that takes, and hash everything."""
        transfer = _Transfer(partial)
        failures = 0
        progress.expect(wanted.file, reply.length, transfer.offset)
        while transfer.offset != reply.length:
            before = transfer.offset
            try:
                self._connect(wanted, reply, transfer, progress)
                break
            except BrokenOffError as error:
                failures = 1 if transfer.offset > before else failures + 1
                if failures > RETRIES:
                    raise BrokenOffError(
                        f"{error.message}, after {transfer.offset} of {reply.length or 'unknown'} bytes",
                        hint="run the same again: it goes on where it ended",
                    ) from error
                time.sleep(0.25 * 2 ** (failures - 1))
        return transfer.digest

    def _connect(self, wanted: Wanted, reply: Reply, transfer: _Transfer, progress: _Progress) -> None:
        """One connection's worth; `BrokenOffError` when it ends too early."""
        headers = {}
        if transfer.offset:
            headers["Range"] = f"bytes={transfer.offset}-"
            if validator := _validator(reply):
                headers["If-Range"] = validator
        with self._web.stream(wanted.url, source=wanted.source, headers=headers) as (answer, blocks):
            if answer.status == 416 or (answer.status == 206 and _range_start(answer) != transfer.offset):
                offset = transfer.offset
                transfer.restart()  # what is here is no beginning of what is there
                raise BrokenOffError(f"{redact(wanted.url)}: the server refuses to go on at byte {offset}")
            if answer.status not in (200, 206):
                raise SourceUnreachableError(
                    f"source {wanted.source}: {redact(wanted.url)} answered {answer.status}",
                    hint=answer_hint(answer.status),
                )
            if answer.status == 200:
                transfer.restart()
            with transfer.path.open("ab") as file:
                for block in blocks:
                    file.write(block)
                    transfer.took(block)
                    progress.add(wanted.file, len(block))
        if reply.length is not None and transfer.offset != reply.length:
            came = transfer.offset
            if came > reply.length:
                transfer.restart()
            raise BrokenOffError(f"{redact(wanted.url)}: {came} bytes came where {reply.length} were announced")

    def _finish(self, wanted: Wanted, reply: Reply, partial: Path, digest: hashlib._Hash) -> Held:
        sha256, size = digest.hexdigest(), partial.stat().st_size
        if wanted.sha256 not in (None, sha256):
            partial.unlink()
            raise drift(wanted, sha256)
        if wanted.sha256 is None:
            _require_wheel(wanted, partial)
        path = self.root / sha256 / wanted.file
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(path)
        if key := _key(wanted.url, reply):
            self._note(key, sha256)
        return Held(path=path, sha256=sha256, size=size)

    def _note(self, key: str, sha256: str) -> None:
        with self._lock:
            self._memory.memorize(_HASHES, {key: sha256})


def gone(wanted: Wanted, why: str) -> GoneError:
    """The error for a file that its source does not have any more."""
    return GoneError(
        f"source {wanted.source}: {wanted.file} is gone: {why}",
        hint="nightlies are kept for about 60 days; lock again, or rebuild from a bundle (torchmatrix unbundle)",
    )


def drift(wanted: Wanted, sha256: str) -> IntegrityError:
    """The error for other bytes under the name that was locked."""
    return IntegrityError(
        f"source {wanted.source}: {wanted.file} is not the file that was locked: sha256 {sha256}, "
        f"locked {wanted.sha256}",
        hint="it was rebuilt under the same name, or the mirror serves something else; if that is wanted, "
        "run: torchmatrix lock --upgrade",
    )


def answer_hint(status: int) -> str:
    """What to do about a status that is no success."""
    if status in (401, 403, 407):
        return "give credentials through netrc, keyring, or UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD"
    if status in (404, 410):
        return "check the address of the source or mirror"
    return "try again later, or name a mirror in TORCHMATRIX_MIRRORS"


def _key(url: str, reply: Reply) -> str | None:
    """Address, size and validator; ``None`` where the server gives too little to recognize the bytes."""
    validator = reply.headers.get("etag") or reply.headers.get("last-modified")
    return f"{redact(url)} {reply.length} {validator}" if validator and reply.length is not None else None


def _validator(reply: Reply) -> str | None:
    """What ``If-Range`` takes: a strong ETag, or a date."""
    etag = reply.headers.get("etag")
    return etag if etag and not etag.startswith("W/") else reply.headers.get("last-modified")


def _range_start(reply: Reply) -> int | None:
    unit, _, rest = reply.headers.get("content-range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else None


def _hash_file(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest


def _require_wheel(wanted: Wanted, path: Path) -> None:
    """A length that a server got wrong cuts a file off unnoticed; a wheel's directory is at its end."""
    if not wanted.file.endswith(".whl"):
        return
    import zipfile

    with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as wheel:
        if any(name.endswith(".dist-info/RECORD") for name in wheel.namelist()):
            return
    path.unlink(missing_ok=True)
    raise SourceUnreachableError(
        f"source {wanted.source}: what {redact(wanted.url)} serves is no complete wheel",
        hint="the server or a proxy on the way cuts it off, or answers with something else; try again later",
    )


class _Transfer:
    """What of a file is here, and its digest so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = path.stat().st_size if path.exists() else 0
        self.digest = _hash_file(path) if self.offset else hashlib.sha256()

    def took(self, block: bytes) -> None:
        self.offset += len(block)
        self.digest.update(block)

    def restart(self) -> None:
        self.path.unlink(missing_ok=True)
        self.offset, self.digest = 0, hashlib.sha256()


class _Progress:
    """Adds up what several files have received, and says it now and then."""

    def __init__(self, files: int, tell: Callable[[str], None]) -> None:
        self._files = files
        self._tell = tell
        self._lock = threading.Lock()
        self._totals: dict[str, int | None] = {}
        self._done: dict[str, int] = {}
        self._started = time.monotonic()
        self._fresh = 0
        self._said = 0.0

    def expect(self, file: str, total: int | None, done: int) -> None:
        with self._lock:
            self._totals[file], self._done[file] = total, done

    def add(self, file: str, count: int) -> None:
        with self._lock:
            if self._files < 0:
                raise TorchmatrixError("another download failed")  # nobody waits for this one any more
            self._done[file] = self._done.get(file, 0) + count
            self._fresh += count
            now = time.monotonic()
            if now - self._said < _STEP:
                return
            self._said = now
            text = self._words(now)
        self._tell(text)

    def stop(self) -> None:
        with self._lock:
            self._files = -1

    def _words(self, now: float) -> str:
        from torchmatrix.console import human_bytes

        done, totals = sum(self._done.values()), list(self._totals.values())
        known = sum(total for total in totals if total is not None)
        complete = None not in totals and len(totals) == self._files
        of = f" of {'' if complete else 'at least '}{human_bytes(known)}" if known else ""
        speed = self._fresh / max(now - self._started, 0.001)
        files = "1 file" if self._files == 1 else f"{self._files} files"
        return f"downloading {files}, {human_bytes(done)}{of}, {human_bytes(int(speed))}/s"
