"""Links and redirects to hosts that are none of a source's: refused by name, unless somebody allows them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import CELL, PY, SMALL, answer, artifacts, must, stage
from tests.support.hostile import Alias, renamed
from tests.support.index import FakeIndex
from tests.support.pytorch import LINUX, Scene, torch_wheel
from tests.support.stage import HERE, SCENE_HAS_IT
from tests.support.wheels import build_wheel, read_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stage import Stage

pytestmark = pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}")
TORCH = f"torch-2.13.0+cpu-cp{PY}-cp{PY}-{LINUX}.whl"
STRANGER = "localhost"
"""Another name of the same machine, which is another host to everybody who looks at names."""


@pytest.fixture
def stranger() -> Iterator[Alias]:
    """A server under a name that no source knows."""
    with Alias(json=True) as index:
        yield index


def refused(at: Stage, host: str = STRANGER, source: str = "pytorch") -> str:
    """The message of a lock that ends with 5 and names the host; nothing is published."""
    error = answer(at.run("--json", "lock"), 5)["cells"][0]["error"]
    assert re.match(
        rf"source {source}: .* leads to {re.escape(host)}, which is none of its file hosts", error["message"]
    )
    assert f'TORCHMATRIX_FILE_HOSTS="{source}={host}"' in error["hint"]
    assert at.published() == {}
    return str(error["message"])


def redirect_metadata(scene: Scene) -> None:
    content = read_metadata(scene.wheels / "cpu" / TORCH)
    scene.files.put("/moved/torch.metadata", content, "text/plain")
    scene.files.fail(f"/whl/cpu/{TORCH}.metadata", redirect=renamed(scene.files.url) + "/moved/torch.metadata")


def redirect_wheel(scene: Scene, content: bytes | None = None) -> None:
    wheel = scene.wheels / "cpu" / TORCH
    scene.files.put("/moved/torch.whl", wheel.read_bytes() if content is None else content)
    scene.files.fail(f"/whl/cpu/{TORCH}", redirect=renamed(scene.files.url) + "/moved/torch.whl")


def redirect_page(scene: Scene) -> None:
    """Every link of the page that it ends at leads back to the right host: only the redirect tells."""
    wheel = scene.wheels / "cpu" / TORCH
    scene.pytorch.add("/moved", wheel, host=scene.files, folder="/whl/cpu")
    scene.pytorch.fail("/whl/cpu/torch/", redirect=renamed(scene.pytorch.url) + "/moved/torch/")


REDIRECTS = [redirect_metadata, redirect_wheel, redirect_page]


# The source pytorch


def test_a_link_to_a_stranger(tmp_path: Path, scene: Scene, stranger: Alias) -> None:
    scene.pytorch.add("/whl/cpu", scene.wheels / "cpu" / TORCH, host=stranger)
    message = refused(stage(tmp_path, scene))
    assert TORCH in message


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_a_redirect_to_a_stranger(redirect, tmp_path: Path, scene: Scene) -> None:  # type: ignore[no-untyped-def]
    redirect(scene)
    at = stage(tmp_path, scene)
    assert "a redirect of http://127.0.0.1:" in refused(at)
    refused(at)  # what uv holds in its cache now changes nothing


@pytest.mark.parametrize("redirect", REDIRECTS)
@pytest.mark.parametrize("way", ["variable", "file"])
def test_a_stranger_that_is_allowed(redirect, way: str, tmp_path: Path, scene: Scene) -> None:  # type: ignore[no-untyped-def]
    redirect(scene)
    environ = {"TORCHMATRIX_FILE_HOSTS": f"pytorch={STRANGER}"} if way == "variable" else {}
    if way == "file":
        (tmp_path / "config.toml").write_text(f'[file-hosts]\npytorch = ["{STRANGER}"]\n', encoding="utf-8")
    at = stage(tmp_path, scene, **environ)
    must(at.run("lock"))
    allowed = at.published()
    scene.pytorch.heal()
    scene.files.heal()
    must(stage(tmp_path, scene).run("lock", "--upgrade"))
    assert at.published() == allowed, "where the bytes came from is no part of the record"


def test_a_host_is_allowed_for_its_source_alone(tmp_path: Path, scene: Scene) -> None:
    redirect_wheel(scene)
    refused(stage(tmp_path, scene, TORCHMATRIX_FILE_HOSTS=f"pypi={STRANGER}"))


@pytest.mark.parametrize("json", [False, True])
def test_a_redirect_of_the_default_index(json: bool, tmp_path: Path, scene: Scene) -> None:
    """A JSON page says every size, so that nobody has to ask the file for it: its redirect is noticed all the same."""
    scene.default.json = json
    numpy = "numpy-2.3.4-py3-none-any.whl"
    scene.files.put("/moved/numpy.whl", (scene.wheels / "default" / numpy).read_bytes())
    scene.files.fail(f"/packages/{numpy}", redirect=renamed(scene.files.url) + "/moved/numpy.whl")
    refused(stage(tmp_path, scene), source="pypi")


def test_a_redirect_from_within_is_no_matter(tmp_path: Path, scene: Scene) -> None:
    wheel = scene.wheels / "cpu" / TORCH
    scene.files.put("/moved/torch.whl", wheel.read_bytes())
    scene.files.fail(f"/whl/cpu/{TORCH}", redirect="/moved/torch.whl", status=307)
    must(stage(tmp_path, scene).run("build", "--no-verify"))


@pytest.mark.parametrize("same", [True, False], ids=["the locked bytes", "other bytes"])
def test_a_redirect_while_building(same: bool, tmp_path: Path, scene: Scene) -> None:
    """The locked sha256 decides: whoever serves the bytes cannot change them."""
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    other = torch_wheel(tmp_path / "other", "2.13.0+cpu", f"cp{PY}-cp{PY}-{LINUX}", note="of somebody else")
    redirect_wheel(scene, None if same else other.read_bytes())
    outcome = must(at.run("--json", "build", "--no-verify"), 0 if same else 5)
    if not same:
        assert "the bytes are not those of the lockfile" in answer(outcome, 5)["cells"][0]["error"]["message"]


# The default index: its file host is learned


def default_at(scene: Scene, tmp_path: Path, **environ: str) -> Stage:
    """A project whose default index is on one host while its files lie on another."""
    return stage(tmp_path, scene, **{"TORCHMATRIX_DEFAULT_INDEX": renamed(scene.default_url), **environ})


def test_the_file_host_is_learned(tmp_path: Path, scene: Scene) -> None:
    must(default_at(scene, tmp_path).run("lock"))


@pytest.mark.parametrize("host", ["0.0.0.0"])
def test_the_odd_one_is_refused(host: str, tmp_path: Path, scene: Scene) -> None:
    with Alias() as odd:
        odd.host = host
        scene.default.add("/simple", scene.wheels / "default" / "numpy-2.3.4-py3-none-any.whl", host=odd)
        assert "numpy-2.3.4" in refused(default_at(scene, tmp_path), host, "pypi")


def test_one_link_to_a_stranger_makes_no_file_host(tmp_path: Path, scene: Scene, stranger: Alias) -> None:
    """An index that serves its files itself: the only other host is not its file host, but a stranger."""
    scene.default.add("/simple", scene.wheels / "default" / "numpy-2.3.4-py3-none-any.whl", host=stranger)
    assert "numpy-2.3.4" in refused(stage(tmp_path, scene), source="pypi")


def test_a_later_change_is_refused(tmp_path: Path, scene: Scene) -> None:
    at = default_at(scene, tmp_path)
    must(at.run("lock"))
    before = at.published()
    with Alias() as other:
        other.host = "0.0.0.0"
        move_everything(scene, other)
        at = default_at(scene, tmp_path, UV_CACHE_DIR=str(tmp_path / "no-pages"))  # pages are good for two minutes
        error = answer(at.run("--json", "lock", "--upgrade"), 5)["cells"][0]["error"]
        assert "leads to 0.0.0.0, which is none of its file hosts" in error["message"]
        assert at.published() == before
        again = default_at(scene, tmp_path, TORCHMATRIX_FILE_HOSTS="pypi=0.0.0.0", UV_CACHE_DIR=at.env["UV_CACHE_DIR"])
        must(again.run("lock", "--upgrade"))


def test_another_default_index_has_another_file_host(tmp_path: Path, scene: Scene, scene_wheels: Path) -> None:
    """What was learned of one index says nothing about the next one, of another employer perhaps."""
    must(default_at(scene, tmp_path).run("lock"))
    with Alias() as other:
        other.host = "0.0.0.0"
        move_everything(scene, other)
        must(stage(tmp_path, scene).run("lock", "--upgrade"))


def move_everything(scene: Scene, host: FakeIndex) -> None:
    """The default index links to another host from now on."""
    for page in list(scene.default._pages.values()):
        for name, link in list(page.items()):
            for folder in ("default", "default-torch"):
                wheel = scene.wheels / folder / name
                if wheel.exists() and link.host is scene.files:
                    scene.default.add("/simple", wheel, host=host, folder="/packages", upload_time=link.upload_time)


# Private sources


def test_a_private_source_has_its_own_hosts(tmp_path: Path, scene: Scene, stranger: Alias) -> None:
    with FakeIndex() as corp:
        wheel = build_wheel(scene.wheels / "corp", "corp-lib", "1.0")
        corp.add("/simple", wheel, host=stranger)
        matrix = SMALL.replace("[numpy]", "[corp-lib]") + (
            f'sources: {{corp: {{index: "{corp.url}/simple", packages: [corp-lib]}}}}\n'
        )
        refused(stage(tmp_path, scene, matrix), source="corp")
        at = stage(tmp_path, scene, matrix, TORCHMATRIX_FILE_HOSTS=f"corp={STRANGER}")
        must(at.run("lock"))
        assert artifacts(at, CELL)["corp-lib"]["source"] == "corp"
