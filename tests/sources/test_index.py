"""Index pages as we read them: of folders in every form, and where links and redirects lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.faulty import ScriptedServer
from torchmatrix.errors import IntegrityError, SourceUnreachableError
from torchmatrix.sources.config import SourceConfig
from torchmatrix.sources.hosts import FileHosts
from torchmatrix.sources.index import Indexes
from torchmatrix.sources.routes import Place, Route, Via
from torchmatrix.sources.web import Web

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.faulty import Asked, Wire

WHEEL = "torch-2.13.0-py3-none-any.whl"
PAGE = f'<!DOCTYPE html><html><body><a href="{WHEEL}#sha256={"a" * 64}">{WHEEL}</a></body></html>'


def indexes() -> Indexes:
    config = SourceConfig(default_index=None)
    hosts = FileHosts(config, known={"pytorch": ("127.0.0.1",)})
    return Indexes(Web(config, hosts=hosts, sleep=lambda _: None))


def route(address: str, *, flat: bool = False) -> Route:
    return Route(source="pytorch", via=Via.SOURCE, places=(Place(address=address, flat=flat),), origin="a test")


@pytest.mark.parametrize("form", ["relative", "absolute", "uri"])
@pytest.mark.parametrize("flat", [False, True])
def test_a_folder_may_be_named_in_every_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, flat: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mirror"
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "index.html").write_text(PAGE)
    (folder / WHEEL).write_bytes(b"PK")
    address = {"relative": "mirror", "absolute": str(folder), "uri": folder.as_uri()}[form]
    listing = indexes().listing(route(address, flat=flat), None, "Torch")
    expected = folder / WHEEL if flat else folder / "torch" / WHEEL
    assert [one.url for one in listing.files] == [expected.as_uri()]


@pytest.mark.parametrize("flat", [False, True])
def test_a_folder_that_cannot_be_read_is_said_with_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flat: bool
) -> None:
    """Permissions do not stop root, who may run the tests."""
    page = tmp_path / "torch" / "index.html"
    page.parent.mkdir()
    page.write_text(PAGE)
    refused = tmp_path if flat else page

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(refused))

    monkeypatch.setattr("torchmatrix.sources.index.flat_files" if flat else "pathlib.Path.read_bytes", refuse)
    with pytest.raises(SourceUnreachableError) as caught:
        indexes().listing(route(str(tmp_path), flat=flat), None, "torch")
    assert caught.value.message == f"source pytorch: {refused}: cannot be read: Permission denied"
    assert caught.value.hint == "check the folder that mirrors the source, and the rights to it"


def test_a_folder_that_is_gone_is_said_too(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachableError, match=r"gone: cannot be read: No such file"):
        indexes().listing(route(str(tmp_path / "gone"), flat=True), None, "torch")


def redirecting(asked: Asked, wire: Wire) -> None:
    if asked.path == "/away":
        wire.answer(302, b"", {"Location": "https://stranger.example/"})
    elif asked.path == "/dead":
        wire.reset()
    else:
        wire.answer(200, b"fine")


@pytest.mark.parametrize("threads", [True, False])
def test_redirects_are_looked_at_once_and_refused_every_time(monkeypatch: pytest.MonkeyPatch, threads: bool) -> None:
    with ScriptedServer(redirecting) as server:
        one = indexes()
        addresses = [("pytorch", f"{server.url}/{name}") for name in ("here", "dead", "away", "here")]
        one.examine(addresses[:2])

        def refuse(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            if not threads:
                patch.setattr("concurrent.futures.ThreadPoolExecutor.submit", refuse)
            for _ in range(2):
                with pytest.raises(IntegrityError, match=r"stranger\.example"):
                    one.examine(addresses)
        paths = [asked.path for asked in server.asked]
    assert (paths.count("/here"), paths.count("/away")) == (1, 1)
