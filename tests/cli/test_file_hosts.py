"""Links and redirects to hosts that are none of a source's: refused by name, unless somebody allows them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.project import CELL, PY, SMALL, answer, artifacts, must, stage
from tests.support.backends import (
    FORGE,
    LABEL,
    OLD_CONDA,
    OLD_CONDA_CELL,
    CondaScenario,
    edit_repodata,
    other_torch,
)
from tests.support.conda import Channel
from tests.support.conda_scene import modules
from tests.support.hostile import Alias, renamed
from tests.support.index import FakeIndex
from tests.support.pytorch import LINUX, Scene, torch_wheel
from tests.support.stage import HERE, SCENE_HAS_IT
from tests.support.wheels import build_wheel, read_metadata, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.conda_scene import CondaScene
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


# Conda channels: repodata says which bytes are right, so it alone must not come from elsewhere


REPODATA = f"{FORGE}/repodata.json.zst"


@pytest.fixture
def conda(conda_scene: CondaScene) -> CondaScenario:
    return CondaScenario(scene=conda_scene)


def move_repodata(conda: CondaScenario, stranger: Alias) -> None:
    """The same bytes under another name of the machine."""
    server = conda.scene.server
    stranger.put(REPODATA, server._bodies[REPODATA].content)
    server.fail(REPODATA, redirect=stranger.address(REPODATA))


def test_a_redirect_of_repodata_to_a_stranger(tmp_path: Path, conda: CondaScenario, stranger: Alias) -> None:
    move_repodata(conda, stranger)
    at = conda.stage(tmp_path)
    message = refused(at, source="conda-forge")
    assert f"a redirect of {conda.scene.server.url}{REPODATA} leads to localhost" in message
    refused(at, source="conda-forge")
    assert stranger.requests == []


def test_a_redirect_of_repodata_to_a_host_that_is_allowed(
    tmp_path: Path, conda: CondaScenario, stranger: Alias
) -> None:
    move_repodata(conda, stranger)
    at = conda.stage(tmp_path, TORCHMATRIX_FILE_HOSTS="conda-forge=localhost")
    must(at.run("lock"))
    allowed = at.published()
    conda.scene.server.heal()
    must(conda.stage(tmp_path).run("lock", "--upgrade"))
    assert at.published() == allowed
    refused_too = conda.stage(tmp_path / "other", TORCHMATRIX_FILE_HOSTS="nvidia=localhost")
    move_repodata(conda, stranger)
    refused(refused_too, source="conda-forge")


def test_a_redirect_of_repodata_that_was_read_before(tmp_path: Path, conda: CondaScenario, stranger: Alias) -> None:
    """What is kept is not asked about elsewhere either."""
    at = conda.stage(tmp_path)
    must(at.run("lock"))
    before = at.published()
    move_repodata(conda, stranger)
    for arguments in (["lock", "--upgrade"], ["lock", "--check", "--online"]):
        said = must(at.run(*arguments), 5).stderr
        assert "leads to localhost, which is none of its file hosts (127.0.0.1, conda.anaconda.org)" in said
    assert at.published() == before
    assert stranger.requests == []


@pytest.mark.parametrize("same", [True, False], ids=["the locked bytes", "other bytes"])
@pytest.mark.parametrize("way", ["address", "netrc", "variables"])
def test_a_redirect_of_a_conda_package(
    same: bool, way: str, tmp_path: Path, conda: CondaScenario, stranger: Alias
) -> None:
    """As conda channels redirect to their storage: its sha256 is known. The storage is shown no credentials."""
    at = conda.stage(tmp_path)
    must(at.run("lock"))
    server = conda.scene.server
    server.auth = ("robot", "hunter2")
    environ = {"TORCHMATRIX_MIRRORS": f"conda-forge={server.url}/conda-forge"}
    if way == "address":
        environ["TORCHMATRIX_MIRRORS"] = f"conda-forge={server.url_with_auth}/conda-forge"
    elif way == "netrc":
        environ["NETRC"] = str(tmp_path / "netrc")
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login robot password hunter2\n", encoding="utf-8")
    else:
        environ |= {"UV_INDEX_CONDA_FORGE_USERNAME": "robot", "UV_INDEX_CONDA_FORGE_PASSWORD": "hunter2"}
    package = conda.package(artifacts(at, conda.cell)["pytorch"]["file"])
    content = package.read_bytes() if same else other_torch(tmp_path / "other").read_bytes()
    path = f"{FORGE}/{package.name}"
    stranger.put(path, content)
    server.fail(path, redirect=stranger.address(path))
    outcome = conda.stage(tmp_path, **environ).run("--json", "build", "--no-verify")
    if same:
        must(outcome)
    else:
        error = answer(outcome, 5)["cells"][0]["error"]
        assert error["message"].startswith(f"source conda-forge: {package.name} is not the file that was locked: ")
    assert stranger.paths() == [path] * 2, "HEAD, then GET"
    assert {request.headers.get("authorization") for request in stranger.requests} == {None}
    assert server.requests[-1].headers.get("authorization")


def test_a_redirect_of_a_package_that_is_known_by_its_md5(
    tmp_path: Path, conda: CondaScenario, stranger: Alias
) -> None:
    file = "cuda-cudart-11.8.89-0.tar.bz2"
    stranger.put(f"{LABEL}/{file}", conda.package(file).read_bytes())
    conda.scene.server.fail(f"{LABEL}/{file}", redirect=stranger.address(f"{LABEL}/{file}"))
    at = conda.stage(tmp_path, OLD_CONDA)
    must(at.run("lock"))
    assert artifacts(at, OLD_CONDA_CELL)["cuda-cudart"]["sha256"] == sha256(conda.package(file))


def test_a_redirect_of_a_package_of_which_nothing_is_known(
    tmp_path: Path, conda: CondaScenario, stranger: Alias
) -> None:
    """No hash at all: then its host has to be right."""
    file = "cuda-cudart-11.8.89-0.tar.bz2"

    def forget(records: dict[str, Any]) -> None:
        del records[file]["md5"]

    edit_repodata(conda.scene.server, LABEL, forget)
    stranger.put(f"{LABEL}/{file}", b"anything")
    conda.scene.server.fail(f"{LABEL}/{file}", redirect=stranger.address(f"{LABEL}/{file}"))
    refused(conda.stage(tmp_path, OLD_CONDA), source="nvidia")
    assert stranger.requests == []


BASES = (
    "http://localhost:1/conda-forge/linux-64/",
    "https://evil.example/packages/",
    "https://conda.anaconda.org/evil/linux-64/",
    "https://conda.anaconda.org/conda-forge/label/evil/linux-64/",
    "https://conda.anaconda.org/conda-forge/noarch/",
    "../../evil/linux-64/",
    "/evil/linux-64/",
)


@pytest.mark.parametrize("base", BASES)
def test_repodata_that_names_another_place(tmp_path: Path, conda: CondaScenario, base: str) -> None:
    """``info.base_url`` (CEP 15) would have the solver believe that packages are elsewhere."""
    server = conda.scene.server
    said = json.loads(server._bodies[f"{FORGE}/repodata.json"].content)
    said["info"]["base_url"] = base
    server.drop(REPODATA)
    server.put(f"{FORGE}/repodata.json", json.dumps(said))
    at = conda.stage(tmp_path)
    error = answer(at.run("--json", "lock"), 5)["cells"][0]["error"]
    assert re.match(
        rf"{conda.cell}: \S+ is said to be at \S+, which is no place of it on the cell's conda channels "
        r"\(conda-forge\)$",
        error["message"],
    )
    assert error["hint"] == (
        "a repodata that names other addresses is not followed: use a conda channel that serves its files"
    )
    assert at.published() == {}


def test_repodata_that_names_another_conda_channel_of_the_cell(tmp_path: Path, conda: CondaScenario) -> None:
    """It would count as that one's."""
    server = conda.scene.server
    said = json.loads(server._bodies[f"{FORGE}/repodata.json"].content)
    said["info"]["base_url"] = "https://conda.anaconda.org/pytorch/linux-64/"
    server.drop(REPODATA)
    server.put(f"{FORGE}/repodata.json", json.dumps(said))
    error = answer(conda.stage(tmp_path, OLD_CONDA).run("--json", "lock"), 5)["cells"][0]["error"]
    assert " is said to be at https://conda.anaconda.org/pytorch/linux-64/" in error["message"]


def test_repodata_that_names_its_own_place(tmp_path: Path, conda: CondaScenario) -> None:
    server = conda.scene.server
    said = json.loads(server._bodies[f"{FORGE}/repodata.json"].content)
    said["info"]["base_url"] = "https://conda.anaconda.org/conda-forge/linux-64/"
    server.drop(REPODATA)
    server.put(f"{FORGE}/repodata.json", json.dumps(said))
    must(conda.stage(tmp_path).run("build", "--no-verify"))


def add_pyyaml(conda: CondaScenario, file: str, **change: str) -> None:
    """List a newer pyyaml under a file name."""

    def add(records: dict[str, Any]) -> None:
        [known] = [one for name, one in records.items() if name.startswith("pyyaml-")]
        records[file] = known | {"version": "9.0"} | change

    edit_repodata(conda.scene.server, "/conda-forge/noarch", add)


@pytest.mark.parametrize("file", ["pyyaml-9.0-0/../../../evil.conda", "pyyaml-9.0-0/evil.conda"])
def test_repodata_with_a_path_for_a_file_name(tmp_path: Path, conda: CondaScenario, file: str) -> None:
    add_pyyaml(conda, file)
    at = conda.stage(tmp_path)
    error = answer(at.run("--json", "lock"), 5)["cells"][0]["error"]
    assert error["message"].startswith(f"{conda.cell}: {file} is said to be at https://conda.anaconda.org/")
    assert at.published() == {}


@pytest.mark.parametrize("subdir", ["../../..", "win-64", "noarch"])
def test_a_package_is_where_it_is_listed(tmp_path: Path, conda: CondaScenario, subdir: str) -> None:
    """Whatever its record says."""
    add_pyyaml(conda, "pyyaml-9.0-pyhd8ed1ab_0.conda", subdir=subdir)
    at = conda.stage(tmp_path)
    must(at.run("lock"))
    found = artifacts(at, conda.cell)["pyyaml"]
    assert (found["path"], found["subdir"]) == ("noarch/pyyaml-9.0-pyhd8ed1ab_0.conda", "noarch")
    must(at.run("lock", "--check", "--online"))


@pytest.mark.parametrize("change", [{"version": 3}, {"version": "1..!2"}, {"sha256": "no"}, {"depends": "python"}])
def test_a_record_that_nobody_can_read(tmp_path: Path, conda: CondaScenario, change: dict[str, Any]) -> None:
    at = conda.stage(tmp_path)
    must(at.run("lock"))
    before = at.published()

    def spoil(records: dict[str, Any]) -> None:
        for name, one in records.items():
            if name.startswith("pyyaml-"):
                one.update(change)

    edit_repodata(conda.scene.server, "/conda-forge/noarch", spoil)
    for arguments in (["lock", "--upgrade"], ["lock", "--upgrade=numpy"], ["lock", "--check", "--online"]):
        outcome = must(at.run(*arguments), 5)
        assert " cannot be read: " in outcome.stderr
        assert "hint: try again; if it stays, its server or mirror is broken" in outcome.stderr
        assert "Traceback" not in outcome.stderr
    assert at.published() == before


def test_a_private_conda_channel_has_its_own_hosts(tmp_path: Path, conda: CondaScenario, stranger: Alias) -> None:
    corp = Channel(folder=tmp_path / "corp")
    corp.add("corp-lib", "1.0", noarch="python", files=modules("site-packages", "corp-lib", "1.0"))
    corp.index()
    with FakeIndex() as server:
        address = corp.serve(server, "/corp")
        corp.serve(stranger, "/corp")
        server.fail("*/noarch/repodata.json*", redirect=stranger.address("/corp/noarch/repodata.json.zst"))
        matrix = conda.matrix.replace("[pyyaml]", "[corp-lib]") + (
            f'sources: {{corp: {{conda-channel: "{address}", packages: ["corp-*"]}}}}\n'
        )
        refused(conda.stage(tmp_path, matrix), source="corp")
        at = conda.stage(tmp_path, matrix, TORCHMATRIX_FILE_HOSTS="corp=localhost")
        must(at.run("lock"))
        assert artifacts(at, conda.cell)["corp-lib"]["source"] == "corp"
