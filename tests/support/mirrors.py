"""The sources of a scene, and every kind of place that serves the same bytes: HTTP, ``file://`` trees, flat folders."""

from __future__ import annotations

import hashlib
import html
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.support.index import FakeIndex
from tests.support.pytorch import Scene, pytorch_scene
from tests.support.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.index import Link

SOURCES = {"pytorch": "/whl", "pypi": "/simple", "corp": "/corp/simple"}
"""Where the pages of each source begin, on its own server and on HTTP mirrors."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The scene, whose default index has the paths of the real one, and a private index."""

    scene: Scene
    corp: FakeIndex

    def links(self, source: str) -> Iterator[tuple[str, Link, bytes]]:
        """Everything that a source lists: page (``cpu/torch``), link, bytes."""
        index = {"pytorch": self.scene.pytorch, "pypi": self.scene.default, "corp": self.corp}[source]
        prefix = SOURCES[source]
        for page, links in list(index._pages.items()):
            for link in list(links.values()):
                below = page.removeprefix(prefix).strip("/")
                yield below, link, link.host._bodies[link.path].content

    @property
    def corp_url(self) -> str:
        """The address of the private index."""
        return self.corp.url + SOURCES["corp"]

    def forget(self) -> None:
        """Empty the request logs."""
        self.scene.forget()
        self.corp.forget()

    @property
    def asked(self) -> list[str]:
        """What the sources themselves were asked for."""
        indexes = (self.scene.pytorch, self.scene.default, self.scene.files, self.corp)
        return [path for index in indexes for path in index.paths()]


@contextmanager
def sources(wheels: Path) -> Iterator[Sources]:
    """Start the scene with the paths of the real default index, and a private index."""
    with pytorch_scene(wheels) as scene, FakeIndex() as corp:
        made = Sources(scene=scene, corp=corp)
        for page, link, content in list(made.links("pypi")):
            wheel = _wheel(wheels, link.filename, content)
            scene.default.add(
                "/simple",
                wheel,
                host=scene.files,
                folder=hashed_folder(content),
                upload_time=link.upload_time,
                project=page,
            )
        for version in ("1.0", "1.1"):
            corp.add(SOURCES["corp"], build_wheel(wheels / "corp", "corp-lib", version), folder="/files")
        scene.default.add("/simple", build_wheel(wheels / "corp-hostile", "corp-lib", "9.0"))
        yield made


def hashed_folder(content: bytes) -> str:
    """Where the default index keeps a file: by the BLAKE2b digest of its bytes."""
    text = hashlib.blake2b(content, digest_size=32).hexdigest()
    return f"/packages/{text[:2]}/{text[2:4]}/{text[4:]}"


def _wheel(wheels: Path, name: str, content: bytes) -> Path:
    path = wheels / "relinked" / hashlib.sha256(content).hexdigest()[:16] / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return path


def serve(given: Sources, wheels: Path, mirror: FakeIndex, prefix: str = "", *, hashed: bool = True) -> str:
    """Fill an HTTP server with everything below a path prefix; the value of TORCHMATRIX_MIRRORS.

    ``hashed``: whether files of the default index keep their paths with a digest; else they lie beside each other.
    """
    for source, below in SOURCES.items():
        for page, link, content in given.links(source):
            accelerator, _, project = page.rpartition("/")
            folder = prefix + (
                hashed_folder(content) if source == "pypi" and hashed else f"/files/{source}/{accelerator}"
            )
            mirror.add(
                f"{prefix}{below}/{accelerator}".rstrip("/"),
                _wheel(wheels, link.filename, content),
                hashes=link.sha256 is not None,
                folder=folder,
                project=project,
                upload_time=link.upload_time,
            )
    return mirrors(mirror.url + prefix)


def mirrors(base: str) -> str:
    """TORCHMATRIX_MIRRORS for everything below ``base``, the pages as on the sources."""
    return " ".join(f"{source}={base}{below}" for source, below in SOURCES.items())


def write_tree(given: Sources, root: Path) -> str:
    """A tree of pages as ``file://`` serves it, links relative; the value of TORCHMATRIX_MIRRORS."""
    for source, below in SOURCES.items():
        pages: dict[str, list[str]] = {}
        for page, link, content in given.links(source):
            file = root / "files" / source / page / link.filename
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            up = "../" * (len(below.strip("/").split("/")) + len(page.split("/")))
            fragment = f"#sha256={link.sha256}" if link.sha256 else ""
            href = html.escape(f"{up}files/{source}/{quote(page)}/{quote(link.filename)}{fragment}")
            pages.setdefault(page, []).append(f'<a href="{href}">{html.escape(link.filename)}</a>')
        for page, anchors in pages.items():
            index = root / below.strip("/") / page / "index.html"
            index.parent.mkdir(parents=True, exist_ok=True)
            lines = ["<!DOCTYPE html>", "<html><body>", *anchors, "</body></html>", ""]
            index.write_text("\n".join(lines), encoding="utf-8")
    return mirrors(root.as_uri())


def write_flat(given: Sources, root: Path, *, uri: bool) -> str:
    """A folder of wheels for each source, as a path or as a URL; the value of TORCHMATRIX_MIRRORS."""
    for source in SOURCES:
        (root / source).mkdir(parents=True)
        for _, link, content in given.links(source):
            (root / source / link.filename).write_bytes(content)
    return " ".join(f"{source}={(root / source).as_uri() if uri else root / source}" for source in SOURCES)
