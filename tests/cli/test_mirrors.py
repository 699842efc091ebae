"""The same lockfile whatever served it, the same environment whatever serves it, and no other bytes from anywhere."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import PY, answer, artifacts, closed_port, must
from tests.support.conda import Channel
from tests.support.index import FakeIndex
from tests.support.mirror_grounds import (
    PASSWORD,
    USER,
    CondaGround,
    PipGround,
    conda_ground,
    conda_mirrors,
    given,
    pip_ground,
    serve_conda,
)
from tests.support.mirrors import serve
from tests.support.stage import HERE, SCENE_HAS_IT
from torchmatrix.sources.credentials import variable_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.mirror_grounds import Ground
    from tests.support.stage import Stage

pytestmark = [
    pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}"),
    pytest.mark.xdist_group("mirrors"),
]
KINDS = {
    "pip": ("http", "below a prefix", "json", "absolute links", "tree", "flat", "flat uri"),
    "conda": ("http", "below a prefix", "plain", "bz2", "tree", "folder"),
}
"""What lockfiles can be made from. A flat folder of conda packages has no repodata: it is good for building alone."""
AUTH = ("in the address", "netrc", "variables")
EACH = pytest.mark.parametrize("ground", KINDS, indirect=True)


def each_kind(*more: tuple[str, str], only: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Every kind of place of both backends, or those named ``only``, and ``more``."""
    found = [(backend, kind) for backend, kinds in KINDS.items() for kind in kinds if kind in (only or kinds)]
    return pytest.mark.parametrize(("ground", "kind"), [*found, *more], indirect=["ground"])


@pytest.fixture(scope="module")
def pip(scene_wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipGround]:
    with pip_ground(scene_wheels, tmp_path_factory.mktemp("mirrors")) as made:
        yield made


@pytest.fixture(scope="module")
def conda(conda_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CondaGround]:
    with conda_ground(conda_folder, tmp_path_factory.mktemp("mirrors")) as made:
        yield made


@pytest.fixture(scope="module")
def ground(request: pytest.FixtureRequest) -> Ground:
    """What the backend is that the test names."""
    made: Ground = request.getfixturevalue(request.param)
    return made


def same(at: Stage, ground: Ground, expected: Mapping[str, bytes] | None = None) -> None:
    """Every file is that of the sources, to the byte; differences are told by field."""
    published = ground.published(at)
    wanted = ground.locked if expected is None else expected
    assert sorted(published) == sorted(wanted)
    for name, content in wanted.items():
        if name.endswith(".json"):
            assert json.loads(published[name]) == json.loads(content), name
        assert published[name] == content, name


def with_all_hashes(locked: dict[str, bytes]) -> dict[str, bytes]:
    """The same if the source's pages gave the hash of every release.

    A folder of wheels does not show that a page lacks one: the only word that it cannot know is who said that hash.
    """
    name = f"py{PY}-stable-cu118/cell.json"
    assert locked[name].count(b'"hash_from":"computed"') + locked[name].count(b'"hash_from": "computed"') == 1
    return {**locked, name: locked[name].replace(b"computed", b"index")}


# Locking


@each_kind()
def test_lockfiles_are_the_same_to_the_byte(ground: Ground, kind: str, tmp_path: Path) -> None:
    at = ground.project(tmp_path, ground.places[kind])
    ground.forget()
    must(at.run("lock"))
    same(at, ground, with_all_hashes(ground.locked) if kind.startswith("flat") else None)
    assert ground.asked() == []


def test_what_the_cells_hold(pip: PipGround) -> None:
    """The cells that are compared have what is hard about them."""
    cells = {name.split("/")[0]: json.loads(text) for name, text in pip.locked.items() if name.endswith(".json")}
    found = {cell: {one["name"]: one for one in record["artifacts"]} for cell, record in cells.items()}
    assert {one["corp-lib"]["source"] for one in found.values()} == {"corp"}
    assert {one["corp-lib"]["version"] for one in found.values()} == {"1.1"}
    assert found[f"py{PY}-stable-mac"]["torch"]["source"] == "pypi"
    stable = found[f"py{PY}-stable-cu118"]
    assert {name: stable[name]["hash_from"] for name in ("torch", "torchvision", "triton")} == {
        "torch": "index",
        "torchvision": "computed",
        "triton": "index",
    }
    nightly = found[f"py{PY}-nightly-cu126"]
    assert {nightly[name]["hash_from"] for name in ("torch", "torchvision", "pytorch-triton")} == {"computed"}
    assert all(one["size"] for cell in found.values() for one in cell.values())
    assert [one["name"] for cell in found.values() for one in cell.values() if one["path"] is None] == ["corp-lib"] * 5


def test_what_the_conda_cells_hold(conda: CondaGround) -> None:
    cells = {name.split("/")[0]: json.loads(text) for name, text in conda.locked.items() if name.endswith("cell.json")}
    found = {cell: {one["name"]: one for one in record["artifacts"]} for cell, record in cells.items()}
    assert {one["corp-lib"]["source"] for one in found.values()} == {"corp"}
    assert {one["corp-lib"]["version"] for one in found.values()} == {"1.1"}
    old = found["py311-stable-old-conda"]
    assert {old[name]["source"] for name in ("pytorch", "torchvision", "pytorch-cuda")} == {"pytorch-conda"}
    assert old["cuda-cudart"]["path"] == "label/cuda-11.8.0/linux-64/cuda-cudart-11.8.89-0.tar.bz2"
    assert (old["cuda-cudart"]["source"], old["cuda-cudart"]["hash_from"]) == ("nvidia", "computed")
    assert old["numpy"]["source"] == "conda-forge"
    assert all(one["size"] for cell in found.values() for one in cell.values())


TROUBLES = ("down", "lacks the page", "answers 500", "no such folder", "an empty folder")


@pytest.mark.parametrize("trouble", TROUBLES)
@EACH
def test_several_mirrors_in_order(ground: Ground, trouble: str, tmp_path: Path) -> None:
    with FakeIndex() as bad:
        first = ground.mirrors(bad.url)
        if trouble == "down":
            bad.stop()
        elif trouble == "answers 500":
            bad.fail("*", status=500)
        elif trouble in ("no such folder", "an empty folder"):
            folder = tmp_path / "bad"
            if trouble == "an empty folder":
                folder.mkdir()
            first = ground.mirrors(str(folder))
        at = ground.project(tmp_path / "x", f"{first} {ground.places['http']}", UV_HTTP_RETRIES="1")
        ground.forget()
        must(at.run("lock"))
        same(at, ground)
        assert ground.asked() == []


@pytest.mark.parametrize("way", AUTH)
@EACH
def test_credentials(ground: Ground, way: str, tmp_path: Path) -> None:
    places = ground.places["auth"]
    must(ground.project(tmp_path / "without", places, UV_HTTP_RETRIES="0").run("lock", ground.cell), 4)
    environ: dict[str, str] = {}
    if way == "in the address":
        plain, login = ground.servers["auth"].url, "robot:s3cr3t%3A%40%2Fx@"
        places = places.replace(plain, plain.replace("://", f"://{login}"))
    elif way == "netrc":
        environ["NETRC"] = str(tmp_path / "netrc")
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n", encoding="utf-8")
    else:
        for name in map(variable_of, ground.names):
            environ |= {f"UV_INDEX_{name}_USERNAME": USER, f"UV_INDEX_{name}_PASSWORD": PASSWORD}
    at = ground.project(tmp_path / "with", places, **environ)
    outcome = must(at.run("-v", "lock"))
    same(at, ground)
    built = must(at.run("-v", "build", "--no-verify", "--frozen", ground.cell))
    assert "s3cr3t" not in outcome.stdout + outcome.stderr + built.stdout + built.stderr


def test_locking_again_elsewhere_changes_nothing(pip: PipGround, tmp_path: Path) -> None:
    """A record that was made at the sources stays as it is, where a mirror can tell less than they can."""
    with FakeIndex() as plain:
        places = serve(pip.given, pip.wheels, plain, hashed=False)
        at = pip.project(tmp_path / "first", places)
        must(at.run("lock", pip.cell))
        assert artifacts(at, pip.cell)["numpy"]["path"] is None, "this mirror's paths say nothing about the index's"
        again = given(pip.project(tmp_path / "second", places), pip.locked)
        must(again.run("lock", "--upgrade"))
        same(again, pip)


def test_the_path_is_computed_where_the_bytes_are_here(pip: PipGround, tmp_path: Path) -> None:
    """The paths of the default index are made from the bytes: a bundle brings them here."""
    with FakeIndex() as plain:
        at = pip.project(tmp_path, serve(pip.given, pip.wheels, plain, hashed=False))
        must(at.run("lock", pip.cell))
        must(at.run("bundle", pip.cell))
        must(at.run("lock", pip.cell, "--upgrade"))
        same_cell = {name: text for name, text in pip.locked.items() if name.startswith(pip.cell)}
        assert {name: text for name, text in at.published().items() if name in same_cell} == same_cell


# Building


def digest(at: Stage, cell: str) -> str:
    """The digest of the environment that a build gave; the fake torch fails the checks that compute something."""
    found = answer(at.run("--json", "build", "--frozen", cell), 1)["cells"][0]
    assert found["created"], found["error"]
    return next(str(one["actual"]) for one in found["verification"]["findings"] if one["check"] == "environment-digest")


@pytest.fixture(scope="module")
def environment(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the environment that is built without any mirror."""
    at = ground.direct(tmp_path_factory.mktemp("built"))
    return digest(given(at, ground.locked), ground.cell)


@each_kind(("conda", "flat"))
def test_locked_without_a_mirror_built_with_one(ground: Ground, kind: str, environment: str, tmp_path: Path) -> None:
    at = given(ground.project(tmp_path, ground.places[kind]), ground.locked)
    ground.forget()
    assert digest(at, ground.cell) == environment
    assert ground.asked() == []
    same(at, ground)


@each_kind(only=("http", "tree", "flat", "folder"))
def test_locked_with_a_mirror_built_without_one(ground: Ground, kind: str, environment: str, tmp_path: Path) -> None:
    locked = ground.project(tmp_path / "here", ground.places[kind])
    must(locked.run("lock"))
    there = given(ground.direct(tmp_path / "there"), locked.published())
    for server in ground.servers.values():
        server.forget()
    assert digest(there, ground.cell) == environment
    assert [path for server in ground.servers.values() for path in server.paths()] == []


@each_kind(only=("http", "tree", "flat", "folder"))
def test_a_mirror_with_other_bytes(ground: Ground, kind: str, tmp_path: Path) -> None:
    """Whatever the mirror says about the hash."""
    with FakeIndex() as bad:
        places = ground.spoil(kind, tmp_path, bad)
        at = given(ground.project(tmp_path / "x", places), ground.locked)
        cell = answer(at.run("--json", "build", "--frozen", "--no-verify", ground.cell), 5)["cells"][0]
        assert cell["class"] == "integrity"
        assert ground.torch in cell["error"]["message"]
        same(at, ground)


@pytest.mark.parametrize("order", ["bad first", "good first"])
@EACH
def test_a_dead_mirror_is_passed_over_while_building(
    ground: Ground, order: str, environment: str, tmp_path: Path
) -> None:
    dead = ground.mirrors(f"http://127.0.0.1:{closed_port()}")
    both = (dead, ground.places["http"]) if order == "bad first" else (ground.places["http"], dead)
    at = given(ground.project(tmp_path, " ".join(both), UV_HTTP_RETRIES="1"), ground.locked)
    ground.forget()
    assert digest(at, ground.cell) == environment
    assert ground.asked() == []


# Conda's own


@pytest.fixture(scope="module")
def built(conda: CondaGround, tmp_path_factory: pytest.TempPathFactory) -> str:
    """As ``environment``."""
    return digest(given(conda.direct(tmp_path_factory.mktemp("built")), conda.locked), conda.cell)


@pytest.mark.parametrize("kind", ["http", "folder"])
def test_files_are_gathered_from_several_places(kind: str, conda: CondaGround, built: str, tmp_path: Path) -> None:
    """Each of two mirrors lacks what the other one has."""
    packages = [path for path in conda.scene.folder.rglob("*.conda") if path.parent.name in ("linux-64", "noarch")]
    files = sorted({path.name for path in packages})
    assert len(files) > 20
    if kind == "folder":
        one, two = tmp_path / "one", tmp_path / "two"
        for half, names in ((one, files[::2]), (two, files[1::2])):
            half.mkdir()
            for path in packages:
                if path.name in names:
                    (half / path.name).write_bytes(path.read_bytes())
        places = " ".join(f"{name}={half}" for half in (one, two) for name in conda.names)
        assert digest(given(conda.project(tmp_path / "x", places), conda.locked), conda.cell) == built
        return
    with FakeIndex() as first, FakeIndex() as second:
        places = f"{serve_conda(conda.scene.folder, first)} {serve_conda(conda.scene.folder, second)}"
        for server, lacking in ((first, files[::2]), (second, files[1::2])):
            for name in lacking:
                server.drop(f"*/{name}")
        conda.forget()
        assert digest(given(conda.project(tmp_path / "x", places), conda.locked), conda.cell) == built
        assert conda.asked() == []


def test_one_file_that_no_place_has(conda: CondaGround, tmp_path: Path) -> None:
    with FakeIndex() as mirror:
        places = serve_conda(conda.scene.folder, mirror)
        mirror.drop("*/numpy-*.conda")
        at = given(conda.project(tmp_path, places, UV_HTTP_RETRIES="0"), conda.locked)
        error = answer(at.run("--json", "build", "--frozen", "--no-verify", conda.cell), 4)["cells"][0]["error"]
    file = next(path.name for path in conda.scene.folder.rglob(f"linux-64/numpy-2*py{PY}*.conda"))
    start = (
        f"source conda-forge cannot be reached: 127.0.0.1: {file} is gone: 127.0.0.1 answered 404; conda.anaconda.org: "
    )
    assert error["message"].startswith(start)


def test_a_mirror_is_named_in_no_file(conda: CondaGround, tmp_path: Path) -> None:
    """Neither in lockfiles nor in what an environment says of itself."""
    mirror = conda.servers["below a prefix"]
    at = conda.project(tmp_path, conda.places["below a prefix"])
    must(at.run("lock"))
    cell = answer(at.run("--json", "build", "--no-verify", conda.cell))["cells"][0]
    prefix = at.project / cell["environment"]
    records = sorted((prefix / "conda-meta").glob("*.json"))
    assert len(records) > 10
    for path in [*at.envs.rglob("*"), *prefix.rglob("*")]:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert b"py-mirror" not in content, path
            assert f":{mirror.port}".encode() not in content, path
    said = {record["name"]: record for record in map(json.loads, (path.read_bytes() for path in records))}
    assert said["numpy"]["channel"] == "https://conda.anaconda.org/conda-forge"
    assert said["numpy"]["url"].startswith("https://conda.anaconda.org/conda-forge/linux-64/numpy-")
    assert {said["corp-lib"]["url"], said["corp-lib"]["channel"]} == {
        f"{conda.corp.url}/corp/noarch/corp-lib-1.1-0.conda",
        f"{conda.corp.url}/corp",
    }


def test_half_a_mirror_is_passed_over(conda: CondaGround, tmp_path: Path) -> None:
    """Another conda channel would step in for what it lacks, so the next place is asked whether that is all."""
    with FakeIndex() as mirror:
        half = serve_conda(conda.scene.folder, mirror)
        mirror.drop("*/linux-64/repodata.json*")
        at = conda.project(tmp_path / "one", f"{half} {conda.places['http']}")
        conda.forget()
        must(at.run("lock"))
        same(at, conda)
        assert conda.asked() == []
        at = conda.project(tmp_path / "two", half, UV_HTTP_RETRIES="0")
        error = answer(at.run("--json", "lock", conda.cell), 4)["cells"][0]["error"]
    start = "source conda-forge cannot be reached: 127.0.0.1: it has no linux-64/repodata.json; conda.anaconda.org: "
    assert error["message"].startswith(start)
    assert at.published() == {}


def test_repodata_is_asked_for_once_for_all_cells(conda: CondaGround, tmp_path: Path) -> None:
    """By one process, and by several at once: one receives it, the others hear that it is still the same."""
    http = conda.servers["http"]
    http.forget()
    at = conda.project(tmp_path / "one", conda.places["http"])
    must(at.run("lock"))
    asked = http.paths("*/repodata.json*")
    assert len(asked) == len(set(asked)) > 6
    http.forget()
    several = [conda.project(tmp_path / f"at{number}", conda.places["http"]) for number in range(4)]
    store = {"TORCHMATRIX_CACHE": str(tmp_path / "store of all")}
    running = [
        replace(one, env={**one.env, **store}).start("lock", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for one in several
    ]
    assert [(process.communicate(timeout=300), process.returncode)[1] for process in running] == [0] * 4
    for one in several:
        same(one, conda)
    whole = [request.path for request in http.requests if "if-none-match" not in request.headers]
    assert sorted(path for path in whole if "repodata" in path) == sorted(asked)


def test_damaged_repodata_in_the_store_is_had_again(conda: CondaGround, tmp_path: Path) -> None:
    at = conda.project(tmp_path, conda.places["http"])
    must(at.run("lock"))
    kept = [path for path in (tmp_path / "store" / "repodata").glob("*/repodata.json") if path.stat().st_size > 1000]
    assert len(kept) > 2
    for path in kept:
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size // 2)
    cell = answer(at.run("--json", "--offline", "lock", "--upgrade", conda.cell), 4)["cells"][0]
    assert "is damaged" in cell["error"]["message"]
    must(at.run("lock", "--upgrade"))
    same(at, conda)


def test_a_mirror_that_is_behind(conda: CondaGround, tmp_path: Path) -> None:
    """It is asked first, and what it does not list yet does not exist; what is locked is had from the next place."""
    tree = tmp_path / "behind"
    stale = Channel(folder=tree / "conda-forge")
    for path in conda.scene.folder.rglob("*"):
        below = path.relative_to(conda.scene.folder)
        if path.is_file() and not path.name.startswith("numpy-2"):
            (tree / below).parent.mkdir(parents=True, exist_ok=True)
            (tree / below).write_bytes(path.read_bytes())
    stale.index()
    places = f"{conda_mirrors(str(tree))} {conda.places['http']}"
    at = conda.project(tmp_path / "x", places)
    must(at.run("lock", conda.cell))
    assert artifacts(at, conda.cell)["numpy"]["version"] == "1.26.4"
    at = given(conda.project(tmp_path / "y", places), conda.locked)
    must(at.run("build", "--frozen", "--no-verify", conda.cell))
