"""The real PyTorch index as it was recorded, replayed on loopback: its pages and what its wheels require, no wheel.

with Replay() as replay:
    ...  # TORCHMATRIX_MIRRORS=f"pytorch={replay.whl}"
    replay.at(f"{CANONICAL}/triton-3.3.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl").sha256
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

import pytest
from packaging.utils import canonicalize_name

from tests.support.index import Body, FakeIndex, Link, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "pytorch-index.json"
"""Beside the checkout; its README says where each entry was seen."""
CANONICAL = "https://download.pytorch.org/whl"

_REQUIRES = {
    ("triton", "2.1.0"): ("filelock",),
    ("triton", "3.2.0"): (),
    ("triton", "3.3.1"): ("setuptools>=40.8.0",),
}
"""What the record does not say: Requires-Dist, without extras, of the same release on the default index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One wheel of the record. ``path`` is below the host, decoded; ``sha256`` is ``None`` where only a name was seen,
    ``requires`` where nobody recorded its METADATA; ``complete`` is false where the record lacks accelerator pins."""

    filename: str
    path: str
    sha256: str | None
    requires: tuple[str, ...] | None
    requires_python: str | None
    complete: bool = True

    @property
    def metadata(self) -> str | None:
        """A METADATA with name, version and requirements; ``None`` where they are not known."""
        if self.requires is None:
            return None
        name, version = _identity(self.filename)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Python: {self.requires_python}"] if self.requires_python else []
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        return "\n".join(lines) + "\n"


@functools.cache
def recorded(path: Path = RECORDED) -> Mapping[str, tuple[Entry, ...]]:
    """The record: ``cu118/torch``, or ``/triton`` for what lies beside the accelerators, to its wheels, read once.

    A file that several pages list has one hash: where one of them says it, it is known.
    """
    pages = {key: value for key, value in json.loads(path.read_text(encoding="utf-8")).items() if key != "_about"}
    hashes = {one["url"]: one["sha256"] for page in pages.values() for one in page if one["sha256"]}
    return {
        key: tuple(_entry(one, hashes.get(one["url"])) for one in page if one["filename"].endswith(".whl"))
        for key, page in pages.items()
    }


def _entry(one: Mapping[str, object], sha256: str | None) -> Entry:
    filename, requires = str(one["filename"]), one["requires_dist"]
    if not isinstance(requires, list):
        requires = _REQUIRES.get(_identity(filename))
    return Entry(
        filename=filename,
        path=unquote(urlsplit(str(one["url"])).path),
        sha256=sha256,
        requires=None if requires is None else tuple(requires),
        requires_python=str(one["requires_python"]) if one["requires_python"] else None,
        complete="not recorded" not in str(one["requires_dist_source"]),
    )


def _identity(filename: str) -> tuple[str, str]:
    """Name and version as the file name has them: the real index also lists names that are no valid wheel names."""
    name, version = filename.split("-", 2)[:2]
    return str(canonicalize_name(name)), version


@dataclass(kw_only=True)
class Replay(FakeIndex):
    """Serves the record below ``/whl`` in HTML with root links, as the real index does; a context manager.

    ``unhashed``: list also wheels of which only the name is known. Entering skips the test where there is no record.
    """

    data: Path = RECORDED
    unhashed: bool = False
    _files: dict[str, Entry] = field(default_factory=dict)

    def __enter__(self) -> Self:
        if not self.data.exists():
            pytest.skip(f"the record of the PyTorch index (../shared/data/{self.data.name}) is not here")
        self._fill(recorded(self.data))
        return super().__enter__()

    @property
    def whl(self) -> str:
        """What stands for ``https://download.pytorch.org/whl``."""
        return f"{self.url}/whl"

    def find(self, address: str) -> Entry | None:
        """The wheel at a canonical address (``https://download.pytorch.org/whl/…``), ``None`` if it is not served."""
        return self._files.get(unquote(urlsplit(address).path))

    def at(self, address: str) -> Entry:
        """The wheel at a canonical address that the record must have."""
        entry = self.find(address)
        assert entry is not None, f"the record has no {address}"
        return entry

    def body(self, request: Request) -> Body | str | None:
        """A page, the METADATA of a wheel, or that there are no bytes here; a HEAD of a wheel finds it, but no size."""
        entry = self._files.get(request.path.removesuffix(".metadata"))
        if entry is None:
            return super().body(request)
        if request.path.endswith(".metadata"):
            return Body(content=entry.metadata.encode(), content_type="text/plain") if entry.metadata else None
        if request.method == "HEAD":
            return Body(content=b"", sized=False)
        text = f"{entry.filename}: this is a replay of index pages; it has no bytes of wheels\n"
        return Body(content=text.encode(), content_type="text/plain", status=404)

    def _fill(self, pages: Mapping[str, tuple[Entry, ...]]) -> None:
        for key, entries in pages.items():
            shown = [entry for entry in entries if entry.sha256 or self.unhashed]
            self._files |= {entry.path: entry for entry in shown}
            self._pages[f"/whl/{key.strip('/')}/"] = {entry.filename: self._link(entry) for entry in shown}
        beside = {key for key in pages if key.startswith("/") and not key.startswith("/torch")}
        for folder in {key.rpartition("/")[0] for key in pages if not key.startswith(("/", "nightly/"))}:
            for key in beside:  # the page of each accelerator lists what lies beside the accelerators
                self._pages.setdefault(f"/whl/{folder}{key}/", dict(self._pages[f"/whl{key}/"]))

    def _link(self, entry: Entry) -> Link:
        return Link(
            filename=entry.filename,
            path=entry.path,
            host=self,
            sha256=entry.sha256,
            metadata="true" if entry.requires is not None else None,
            size=None,
            requires_python=entry.requires_python,
        )
