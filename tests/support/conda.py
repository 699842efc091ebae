"""Conda packages and conda channels: real enough for rattler to index, solve and install.

channel = Channel(folder=tmp_path / "conda-forge")
channel.add("numpy", "2.2.6", build="py311_h0_0", depends=["python >=3.11,<3.12.0a0"], files={"lib/x.txt": "x"})
channel.index()
url = channel.serve(fake_index, "/conda-forge")  # with the faults and credentials of that server
"""

from __future__ import annotations

import asyncio
import bz2
import fnmatch
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.support.index import FakeIndex

PLACEHOLDER = ("/build/placehold" + "_placehold" * 30)[:255]
"""The prefix that files were built for; an installer puts its own in its place. As long as conda-build's."""
TIMESTAMP_MS = 1_700_000_000_000
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Absent(Exception):  # noqa: N818 - not an error: a test that needs it skips
    """Something of the machine that a helper needs is not there; its text is the reason to skip."""


@dataclass(frozen=True, kw_only=True)
class _Meta:
    """What info/index.json says."""

    name: str
    version: str
    build: str
    number: int
    subdir: str
    depends: tuple[str, ...]
    constrains: tuple[str, ...]
    noarch: Literal["python", "generic"] | None
    timestamp_ms: int | None
    track_features: tuple[str, ...]
    site_packages: str | None

    def index_json(self) -> dict[str, object]:
        """The file as conda-build writes it."""
        said: dict[str, object] = {
            "build": self.build,
            "build_number": self.number,
            "constrains": list(self.constrains),
            "depends": list(self.depends),
            "license": "BSD-3-Clause",
            "name": self.name,
            "noarch": self.noarch,
            "python_site_packages_path": self.site_packages,
            "subdir": self.subdir,
            "timestamp": self.timestamp_ms,
            "track_features": " ".join(self.track_features),
            "version": self.version,
        }
        kept = ("build", "depends", "name", "version")
        return {key: value for key, value in said.items() if key in kept or value not in (None, "", [])}


def build_conda_package(
    folder: Path,
    name: str,
    version: str,
    *,
    build: str = "0",
    number: int = 0,
    subdir: str = "linux-64",
    depends: Iterable[str] = (),
    constrains: Iterable[str] = (),
    files: Mapping[str, bytes | str | Callable[[], bytes]] | None = None,
    links: Mapping[str, str] | None = None,
    executable: Iterable[str] = (),
    noarch: Literal["python", "generic"] | None = None,
    entry_points: Iterable[str] = (),
    timestamp_ms: int | None = TIMESTAMP_MS,
    track_features: Iterable[str] = (),
    site_packages: str | None = None,
    archive: Literal[".conda", ".tar.bz2"] = ".conda",
    level: int = 3,
    threads: int = 0,
) -> Path:
    """Write ``{subdir}/{name}-{version}-{build}.conda`` into ``folder``; equal to the byte for equal arguments.

    ``files`` by their path in the prefix (noarch python: below ``site-packages/`` and ``python-scripts/``); a function
    is called when its file is written. Those that hold `PLACEHOLDER` are listed for replacement, as text or as binary.
    ``links`` are symbolic links with their targets, ``executable`` globs of paths, ``entry_points`` lines such as
    ``command = module:function`` (noarch python only). ``noarch`` puts it into that subdir. ``site_packages`` is what
    newer Pythons say of themselves. ``level`` and ``threads`` are zstd's.
    """
    meta = _Meta(
        name=name,
        version=version,
        build=build,
        number=number,
        subdir="noarch" if noarch else subdir,
        depends=tuple(depends),
        constrains=tuple(constrains),
        noarch=noarch,
        timestamp_ms=timestamp_ms,
        track_features=tuple(track_features),
        site_packages=site_packages,
    )
    path = folder / meta.subdir / f"{name}-{version}-{build}{archive}"
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = _Payload(files=files or {}, links=links or {}, executable=tuple(executable))
    commands = tuple(entry_points)
    assert noarch == "python" or not commands, "only noarch python packages have entry points"
    with path.open("wb") as out:
        if archive == ".conda":
            _write_conda(out, path.name.removesuffix(archive), meta, payload, commands, level=level, threads=threads)
        else:
            with bz2.open(out, "wb") as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
                _add_all(tar, _info(meta, payload.write(tar), commands))
    return path


@dataclass(frozen=True, kw_only=True)
class _Payload:
    """The files of a package."""

    files: Mapping[str, bytes | str | Callable[[], bytes]]
    links: Mapping[str, str]
    executable: tuple[str, ...]

    def write(self, tar: tarfile.TarFile) -> list[dict[str, object]]:
        """Write them in order of their paths; what info/paths.json says of them."""
        listed, digests = [], {}
        for path in sorted(self.files):
            content = _bytes(self.files[path])
            runs = any(fnmatch.fnmatchcase(path, pattern) for pattern in self.executable)
            _add(tar, path, content, mode=0o755 if runs else 0o644)
            digests[path] = (hashlib.sha256(content).hexdigest(), len(content))
            listed.append(_described(path, content, digests[path]))
        for path, target in sorted(self.links.items()):
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
            tar.addfile(entry)
            place = os.path.normpath(f"{os.path.dirname(path)}/{target}")  # noqa: PTH120 - of the archive, not here
            digest, size = digests.get(place, (hashlib.sha256(b"").hexdigest(), 0))
            listed.append({"_path": path, "path_type": "softlink", "sha256": digest, "size_in_bytes": size})
        return sorted(listed, key=lambda one: str(one["_path"]))


def _described(path: str, content: bytes, digest: tuple[str, int]) -> dict[str, object]:
    said: dict[str, object] = {
        "_path": path,
        "path_type": "hardlink",
        "sha256": digest[0],
        "size_in_bytes": digest[1],
    }
    if PLACEHOLDER.encode() in content:
        said |= {"file_mode": "binary" if b"\0" in content else "text", "prefix_placeholder": PLACEHOLDER}
    return said


def _info(meta: _Meta, paths: list[dict[str, object]], entry_points: tuple[str, ...]) -> dict[str, bytes]:
    """The members below info/."""
    members: dict[str, object] = {
        "info/index.json": meta.index_json(),
        "info/paths.json": {"paths": paths, "paths_version": 1},
        "info/about.json": {"summary": "a conda package for tests"},
    }
    if meta.noarch == "python":
        link = {"type": "python", **({"entry_points": list(entry_points)} if entry_points else {})}
        members["info/link.json"] = {"noarch": link, "package_metadata_version": 1}
    written = {path: (json.dumps(said, indent=2, sort_keys=True) + "\n").encode() for path, said in members.items()}
    return written | {"info/files": "".join(f"{one['_path']}\n" for one in paths).encode()}


def _write_conda(
    out: IO[bytes],
    stem: str,
    meta: _Meta,
    payload: _Payload,
    entry_points: tuple[str, ...],
    *,
    level: int,
    threads: int,
) -> None:
    with tempfile.TemporaryFile() as package, tempfile.TemporaryFile() as info:
        with _zst_tar(package, level, threads) as tar:
            paths = payload.write(tar)
        with _zst_tar(info, level, 0) as tar:
            _add_all(tar, _info(meta, paths, entry_points))
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo("metadata.json", _EPOCH), '{"conda_pkg_format_version": 2}')
            for member, content in ((f"info-{stem}.tar.zst", info), (f"pkg-{stem}.tar.zst", package)):
                content.seek(0)
                with archive.open(zipfile.ZipInfo(member, _EPOCH), "w", force_zip64=True) as stream:
                    shutil.copyfileobj(content, stream, 1 << 20)


@contextmanager
def _zst_tar(stream: IO[bytes], level: int, threads: int) -> Iterator[tarfile.TarFile]:
    """A tar that is compressed into a stream, which stays open."""
    compressor = zstandard.ZstdCompressor(level=level, threads=threads)
    with (
        compressor.stream_writer(stream, closefd=False) as packed,
        tarfile.open(fileobj=packed, mode="w|", bufsize=1 << 20) as tar,
    ):
        yield tar


def _add(tar: tarfile.TarFile, path: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode, entry.mtime = len(content), mode, TIMESTAMP_MS // 1000
    tar.addfile(entry, io.BytesIO(content))


def _add_all(tar: tarfile.TarFile, members: Mapping[str, bytes]) -> None:
    for path, content in members.items():
        _add(tar, path, content)


def _bytes(content: bytes | str | Callable[[], bytes]) -> bytes:
    if isinstance(content, bytes):
        return content
    return content.encode() if isinstance(content, str) else content()


EMPTY_NOARCH = {"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": {}, "repodata_version": 1}


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A conda channel in a folder named as the conda channel."""

    folder: Path

    @property
    def url(self) -> str:
        """``file://…``: rattler reads it without any server."""
        return self.folder.resolve().as_uri()

    def add(self, name: str, version: str, **settings: Any) -> Path:
        """`build_conda_package` into this conda channel; it has to be indexed afterwards."""
        return build_conda_package(self.folder, name, version, **settings)

    def index(self, *, without_sha256: Iterable[str] = (), without_size: Iterable[str] = ()) -> None:
        """Write repodata.json and repodata.json.zst of every subdir; old records know an md5 only, or no size."""
        from rattler.index import index_fs

        asyncio.run(index_fs(self.folder, write_zst=True, write_shards=False, force=True))
        bare = {"sha256": set(without_sha256), "size": set(without_size)}

        def forget(_: str, record: dict[str, Any]) -> None:
            for key, names in bare.items():
                if record["name"] in names:
                    record.pop(key, None)

        if any(bare.values()):
            for subdir in self.subdirs():
                self.edit(subdir, forget)

    def subdirs(self) -> list[str]:
        """Those that are indexed."""
        return sorted(path.parent.name for path in self.folder.glob("*/repodata.json"))

    def records(self, subdir: str) -> dict[str, dict[str, Any]]:
        """The records of a subdir by file name."""
        said = json.loads((self.folder / subdir / "repodata.json").read_bytes())
        found: dict[str, dict[str, Any]] = {**said["packages"], **said["packages.conda"]}
        return found

    def edit(self, subdir: str, change: Callable[[str, dict[str, Any]], None]) -> None:
        """Let ``change`` have every record with its file name, as a repodata patch would, and write both files."""
        said = json.loads((self.folder / subdir / "repodata.json").read_bytes())
        for kind in ("packages", "packages.conda"):
            for filename, record in said[kind].items():
                change(filename, record)
        write_repodata(self.folder / subdir, said)

    def serve(self, server: FakeIndex, prefix: str) -> str:
        """Let a server have everything below ``prefix``, nested conda channels (labels) too; returns the address."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.name.endswith((".json", ".zst", ".conda", ".tar.bz2")):
                kind = "application/json" if path.suffix == ".json" else "application/octet-stream"
                place = f"{prefix.rstrip('/')}/{path.relative_to(self.folder).as_posix()}"
                server.put(place, path.read_bytes(), kind)
        return server.address(prefix.rstrip("/"))


def write_repodata(folder: Path, said: Mapping[str, Any]) -> None:
    """repodata.json and repodata.json.zst of one subdir."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(said, separators=(",", ":")).encode()
    (folder / "repodata.json").write_bytes(content)
    (folder / "repodata.json.zst").write_bytes(zstandard.ZstdCompressor(level=3).compress(content))
