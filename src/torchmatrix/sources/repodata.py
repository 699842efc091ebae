"""What conda channels list: ``repodata.json`` of a platform and of noarch, from a mirror or the channel itself.

Kept in the store, unpacked, with the validator that the server gave (ETag, else Last-Modified), and asked for again
in every run: a conda channel changes all day. Only repodata.json says which file, under which sha256, a package is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torchmatrix.command import redact
from torchmatrix.errors import SourceUnreachableError
from torchmatrix.files import cannot_write, write_atomic
from torchmatrix.sources.config import local_path
from torchmatrix.sources.downloads import answer_hint
from torchmatrix.sources.once import Once
from torchmatrix.sources.reach import Reach, Trouble
from torchmatrix.sources.repodata_bytes import (
    DamagedRepodataError,
    WrongRepodataError,
    blocks_of,
    is_whole,
    require_ends,
    unpack,
)
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
_PLAIN_FIRST = (FILES[2], *FILES[:2])
"""In which order they are looked for in a folder: what is plain need not be unpacked."""
_HINT = "look whether the address is that of a conda channel: it has a folder noarch with a file repodata.json"
_NOT_HINT = "a login page or a proxy may answer in its place; check the address, the proxy and the mirror"


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
        partial: Listings | None = None
        places = self._channels.places(channel)
        for place in places:
            try:
                files = {
                    subdir: path
                    for subdir in (platform, NOARCH)
                    if (path := self._files.get((channel.source, place, subdir), self._file)) is not None
                }
            except SourceUnreachableError as error:
                tried.append(failure(error, channel.source, place))
                continue
            found = Listings(channel=channel, files=files, place=place)
            if len(files) == 2 or (files and place == places[-1]):
                return found
            # Half a mirror: what it lacks may be all that matters, and another conda channel would step in for it.
            partial = partial or (found if platform in files else None)
            lacks = [f"{one}/repodata.json" for one in (platform, NOARCH) if one not in files]
            reason = f"it has no {lacks[0]}" if len(lacks) == 1 else f"it has neither {' nor '.join(lacks)}"
            tried.append(Reach(address=place, trouble=Trouble.ANSWER, reason=reason, hint=_HINT))
        if partial is not None:
            return partial
        raise unreachable(str(channel), tried)

    def _file(self, question: tuple[str, str, str]) -> Path | None:
        """The unpacked repodata.json of one subdir; ``None`` when the place has none."""
        source, place, subdir = question
        folder = local_path(place)
        if folder is not None:
            return self._local(folder, subdir, source)
        kept = self._memory.root / "repodata" / _name(f"{place}/{subdir}")
        if self._offline:
            return _known_offline(source, place, subdir, kept)
        try:
            kept.mkdir(parents=True, exist_ok=True)
            with self._memory.lock(f"repodata-{kept.name}"):
                return self._fetch(source, place, subdir, kept)
        except OSError as error:
            raise cannot_write(kept, error) from error

    def _local(self, folder: Path, subdir: str, source: str) -> Path | None:
        """A folder that holds the same files: its repodata.json is read where it is, a packed one is unpacked."""
        found = None
        try:
            found = next((path for name in _PLAIN_FIRST if (path := folder / subdir / name).is_file()), None)
            if found is not None and found.name == FILES[-1]:
                require_ends(found)
                return found
            if found is not None:
                status = found.stat()
                kept = self._memory.root / "repodata" / _name(f"{found} {status.st_size} {status.st_mtime_ns}")
                kept.mkdir(parents=True, exist_ok=True)
                path = kept / "repodata.json"
                with self._memory.lock(f"repodata-{kept.name}"):
                    if _read_state(kept).get("stamp") != _stamp(path):
                        unpack(blocks_of(found), found.name, path)
                        _write_state(kept, {"file": str(found), "stamp": _stamp(path)})
                return path
            if not folder.is_dir():
                raise _failed(source, str(folder), "it is no folder", _HINT)
        except WrongRepodataError as error:
            raise _failed(source, str(folder), f"{subdir}/{found.name if found else ''} {error}", _HINT) from error
        except OSError as error:
            raise _failed(source, str(folder), f"it cannot be read: {error.strerror or error}", _HINT) from error
        return None

    def _fetch(self, source: str, place: str, subdir: str, kept: Path) -> Path | None:
        """Ask whether what is kept is still right, and take the new one where it is not."""
        state = _read_state(kept)
        path = kept / "repodata.json"
        known = state.get("file")
        for name in FILES if known not in FILES else (known, *(one for one in FILES if one != known)):
            headers = {}
            if name == known and state.get("stamp") == _stamp(path):  # a damaged one is asked for as if it were none
                if etag := state.get("etag"):
                    headers["If-None-Match"] = etag
                elif changed := state.get("last-modified"):
                    headers["If-Modified-Since"] = changed
            reply = self._take(source, place, f"{subdir}/{name}", path, headers)
            if reply.status == 304:
                return path
            if reply.ok:
                validators = {key: reply.headers[key] for key in ("etag", "last-modified") if key in reply.headers}
                url = redact(f"{place}/{subdir}/{name}")
                _write_state(kept, {"file": name, "url": url, "stamp": _stamp(path), **validators})
                return path
            # A server that may not be listed says 403 to what it does not have; to all three forms, it means it.
            if reply.status not in (403, 404, 410) or (reply.status == 403 and name == FILES[-1]):
                why, hint = f"{subdir}/{name} answered {reply.status}", answer_hint(reply.status, source)
                raise _failed(source, place, why, hint)
        path.unlink(missing_ok=True)
        _write_state(kept, {"absent": "yes"})
        return None

    def _take(self, source: str, place: str, below: str, path: Path, headers: dict[str, str]) -> Reply:
        """One answer, its body unpacked to ``path``; repeated while it breaks off, or is damaged."""
        url, name = f"{place}/{below}", below.rpartition("/")[2]
        for attempt in range(1, self._web.retries + 2):
            try:
                with self._web.stream(url, source=source, headers=headers) as (reply, blocks):
                    if reply.ok:
                        unpack(_counted(blocks, reply), name, path)
                    return reply
            except BrokenOffError as error:
                why = error.message.removeprefix(f"{redact(url)}: ")
            except DamagedRepodataError as error:
                why = str(error)
            except WrongRepodataError as error:
                raise _failed(source, place, f"{below} {error}", _NOT_HINT) from error
            if attempt > self._web.retries:
                raise _failed(source, place, f"{below}: {why}, {attempt} times", answer_hint(500, source))
            self._web.sleep(0.25 * 2 ** (attempt - 1))
        raise AssertionError("unreachable")


def failure(error: SourceUnreachableError, source: str, place: str) -> Reach:
    """What was wrong with a place, for `unreachable`, which names source and host itself."""
    prefixes = f"source {source}: ", f"{Reach(address=place).host}: "
    reason = error.message
    for prefix in prefixes:
        reason = reason.removeprefix(prefix)
    return Reach(address=place, trouble=Trouble.ANSWER, reason=reason, hint=error.hint)


def _failed(source: str, place: str, why: str, hint: str | None) -> SourceUnreachableError:
    return SourceUnreachableError(f"source {source}: {Reach(address=place).host}: {why}", hint=hint)


def _known_offline(source: str, place: str, subdir: str, kept: Path) -> Path | None:
    """What an earlier run left here."""
    path, state = kept / "repodata.json", _read_state(kept)
    if state.get("absent"):
        return None
    if not path.is_file():
        why = f"its {subdir} was not read before"
    elif state.get("stamp") == _stamp(path) or is_whole(path):
        return path
    else:
        why = f"what was kept of its {subdir} is damaged"
    hint = "run without --offline, or name a folder in TORCHMATRIX_MIRRORS"
    raise _failed(source, place, f"not asked, because of --offline, and {why}", hint)


def _counted(blocks: Iterator[bytes], reply: Reply) -> Iterator[bytes]:
    """The blocks; `BrokenOffError` when fewer bytes came than were announced."""
    count = 0
    for block in blocks:
        count += len(block)
        yield block
    if reply.length is not None and count != reply.length:
        raise BrokenOffError(f"{count} bytes came where {reply.length} were announced")


def _name(text: str) -> str:
    """A folder's name for an address: addresses may hold a token."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _stamp(path: Path) -> str:
    """Size and time of a file: another one means that somebody else wrote it. Empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _read_state(kept: Path) -> dict[str, str]:
    try:
        data = json.loads((kept / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}


def _write_state(kept: Path, state: dict[str, str]) -> None:
    write_atomic(kept / "state.json", json.dumps(state, sort_keys=True) + "\n", durable=False)
