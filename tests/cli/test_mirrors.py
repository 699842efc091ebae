"""The same lockfile whatever served it, the same environment whatever serves it, and no other bytes from anywhere."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.cli.project import PY, answer, artifacts, at_source, closed_port, must, stage
from tests.support.index import FakeIndex
from tests.support.mirrors import SOURCES, Sources, mirrors, serve, sources, write_flat, write_tree
from tests.support.pytorch import LINUX, torch_wheel
from tests.support.stage import HERE, SCENE_HAS_IT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stage import Stage

pytestmark = [
    pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}"),
    pytest.mark.xdist_group("mirrors"),
]
MATRIX = f"""\
version: 1
axes: {{python: ["{HERE}"], channel: [stable, nightly], target: [cpuonly, cu118, cu126, mac]}}
channels: {{stable: {{torch: "2.13.0"}}, nightly: {{torch: nightly}}}}
targets:
  cpuonly: {{platform: linux-64, accelerator: cpu}}
  cu118: {{platform: linux-64, accelerator: cu118, torch: "2.7.1"}}
  cu126: {{platform: linux-64, accelerator: cu126}}
  mac: {{platform: osx-arm64, accelerator: mps, macos: "14.0"}}
exclude:
  - {{channel: stable, target: cu126, reason: the scene has none}}
  - {{channel: nightly, target: mac, reason: the scene has no torchvision for it}}
packages: [torchvision, corp-lib]
sources: {{corp: {{index: "INDEX", packages: ["corp-*"]}}}}
"""
CELLS = ("stable-cpuonly", "stable-cu118", "stable-mac", "nightly-cpuonly", "nightly-cu126")
CELL = f"py{PY}-stable-cpuonly"
USER, PASSWORD = "robot", "s3cr3t:@/x"
KINDS = ("http", "below a prefix", "json", "absolute links", "tree", "flat", "flat uri")
AUTH = ("in the address", "netrc", "variables")


class Ground(NamedTuple):
    """The sources, what was locked from them directly, and the places that serve the same."""

    given: Sources
    direct: dict[str, bytes]
    places: dict[str, str]
    servers: dict[str, FakeIndex]
    wheels: Path


def project(folder: Path, given: Sources, places: str, **environ: str) -> Stage:
    """A project that gets everything from ``places``; the sources would be found, but must not be asked."""
    folder.mkdir(parents=True, exist_ok=True)
    return stage(
        folder, given.scene, MATRIX.replace("INDEX", given.corp_url), **{"TORCHMATRIX_MIRRORS": places, **environ}
    )


def direct(folder: Path, given: Sources) -> Stage:
    """The same without any mirror."""
    return at_source(project(folder, given, ""), given.scene.pytorch_url)


@pytest.fixture(scope="module")
def ground(scene_wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Everything served in every way, and locked once from the sources themselves."""
    folder = tmp_path_factory.mktemp("mirrors")
    with (
        sources(scene_wheels) as given,
        FakeIndex() as http,
        FakeIndex() as deep,
        FakeIndex(json=True) as modern,
        FakeIndex(links="absolute") as absolute,
        FakeIndex(auth=(USER, PASSWORD)) as guarded,
    ):
        servers = {"http": http, "below a prefix": deep, "json": modern, "absolute links": absolute, "auth": guarded}
        places = {
            name: serve(given, scene_wheels, server, "/artifacts/py%20mirror".replace("%20", "-") * (server is deep))
            for name, server in servers.items()
        }
        places["tree"] = write_tree(given, folder / "tree")
        places["flat"] = write_flat(given, folder / "flat", uri=False)
        places["flat uri"] = write_flat(given, folder / "flat uri", uri=True)
        at = direct(folder / "direct", given)
        must(at.run("lock"))
        # pylock.toml is written where every address is known: at the sources, not behind mirrors.
        direct_ones = {path: text for path, text in at.published().items() if not path.endswith("pylock.toml")}
        assert sorted(direct_ones) == sorted(
            f"py{PY}-{cell}/{file}" for cell in CELLS for file in ("cell.json", "requirements.txt")
        )
        yield Ground(given=given, direct=direct_ones, places=places, servers=servers, wheels=scene_wheels)


def same(at: Stage, ground: Ground) -> None:
    """Every file is that of the sources, to the byte; differences are told by field."""
    published = {path: text for path, text in at.published().items() if not path.endswith("pylock.toml")}
    assert sorted(published) == sorted(ground.direct)
    for name, expected in ground.direct.items():
        if name.endswith(".json"):
            assert json.loads(published[name]) == json.loads(expected), name
        assert published[name] == expected, name


def with_all_hashes(direct: dict[str, bytes]) -> dict[str, bytes]:
    """The same if the source's pages gave the hash of every release.

    A folder of wheels does not show that a page lacks one: the only word that it cannot know is who said that hash.
    """
    name = f"py{PY}-stable-cu118/cell.json"
    assert direct[name].count(b'"hash_from":"computed"') + direct[name].count(b'"hash_from": "computed"') == 1
    return {**direct, name: direct[name].replace(b"computed", b"index")}


# Locking


@pytest.mark.parametrize("kind", KINDS)
def test_lockfiles_are_the_same_to_the_byte(kind: str, ground: Ground, tmp_path: Path) -> None:
    at = project(tmp_path, ground.given, ground.places[kind])
    ground.given.forget()
    must(at.run("lock"))
    same(at, ground._replace(direct=with_all_hashes(ground.direct)) if kind.startswith("flat") else ground)
    assert ground.given.asked == []


def test_what_the_cells_hold(ground: Ground) -> None:
    """The cells that are compared have what is hard about them."""
    cells = {name.split("/")[0]: json.loads(text) for name, text in ground.direct.items() if name.endswith(".json")}
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


@pytest.mark.parametrize("trouble", ["down", "lacks the page", "answers 500", "no such folder", "an empty folder"])
def test_several_mirrors_in_order(trouble: str, ground: Ground, tmp_path: Path) -> None:
    good = dict(pair.split("=", 1) for pair in ground.places["http"].split())
    with FakeIndex() as bad:
        first = mirrors(bad.url)
        if trouble == "down":
            bad.stop()
        elif trouble == "answers 500":
            bad.fail("*", status=500)
        elif trouble in ("no such folder", "an empty folder"):
            folder = tmp_path / "bad"
            if trouble == "an empty folder":
                folder.mkdir()
            first = " ".join(f"{source}={folder}" for source in SOURCES)
        at = project(tmp_path / "x", ground.given, f"{first} {' '.join(f'{k}={v}' for k, v in good.items())}")
        must(at.run("lock"))
        same(at, ground)


@pytest.mark.parametrize("way", AUTH)
def test_credentials(way: str, ground: Ground, tmp_path: Path) -> None:
    places = ground.places["auth"]
    must(project(tmp_path / "without", ground.given, places, UV_HTTP_RETRIES="0").run("lock", CELL), 4)
    environ: dict[str, str] = {}
    if way == "in the address":
        plain, login = ground.servers["auth"].url, "robot:s3cr3t%3A%40%2Fx@"
        places = places.replace(plain, plain.replace("://", f"://{login}"))
    elif way == "netrc":
        environ["NETRC"] = str(tmp_path / "netrc")
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n", encoding="utf-8")
    else:
        for source in SOURCES:
            environ |= {f"UV_INDEX_{source.upper()}_USERNAME": USER, f"UV_INDEX_{source.upper()}_PASSWORD": PASSWORD}
    at = project(tmp_path / "with", ground.given, places, **environ)
    outcome = must(at.run("-v", "lock"))
    same(at, ground)
    assert "s3cr3t" not in outcome.stdout + outcome.stderr


def test_locking_again_elsewhere_changes_nothing(ground: Ground, tmp_path: Path) -> None:
    """A record that was made at the sources stays as it is, where a mirror can tell less than they can."""
    with FakeIndex() as plain:
        places = serve(ground.given, ground.wheels, plain, hashed=False)
        at = project(tmp_path / "first", ground.given, places)
        must(at.run("lock", CELL))
        assert artifacts(at, CELL)["numpy"]["path"] is None, "this mirror's paths say nothing about the index's"
        again = project(tmp_path / "second", ground.given, places)
        for name, content in ground.direct.items():
            (again.envs / name).parent.mkdir(parents=True, exist_ok=True)
            (again.envs / name).write_bytes(content)
        must(again.run("lock", "--upgrade"))
        same(again, ground)


def test_the_path_is_computed_where_the_bytes_are_here(ground: Ground, tmp_path: Path) -> None:
    """The paths of the default index are made from the bytes: a bundle brings them here."""
    with FakeIndex() as plain:
        at = project(tmp_path, ground.given, serve(ground.given, ground.wheels, plain, hashed=False))
        must(at.run("lock", CELL))
        must(at.run("bundle", CELL))
        must(at.run("lock", CELL, "--upgrade"))
        same_cell = {name: text for name, text in ground.direct.items() if name.startswith(CELL)}
        assert {name: text for name, text in at.published().items() if name in same_cell} == same_cell


# Building


def digest(at: Stage) -> str:
    """The digest of the environment that a build gave; the fake torch fails the checks that compute something."""
    cell = answer(at.run("--json", "build", "--frozen", CELL), 1)["cells"][0]
    assert cell["created"], cell["error"]
    return next(str(one["actual"]) for one in cell["verification"]["findings"] if one["check"] == "environment-digest")


def given_the_lockfile(at: Stage, published: dict[str, bytes]) -> Stage:
    """The project with lockfiles that somebody else made."""
    for name, content in published.items():
        (at.envs / name).parent.mkdir(parents=True, exist_ok=True)
        (at.envs / name).write_bytes(content)
    return at


@pytest.fixture(scope="module")
def environment(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the environment that is built without any mirror."""
    return digest(given_the_lockfile(direct(tmp_path_factory.mktemp("built"), ground.given), ground.direct))


@pytest.mark.parametrize("kind", KINDS)
def test_locked_without_a_mirror_built_with_one(kind: str, ground: Ground, environment: str, tmp_path: Path) -> None:
    at = given_the_lockfile(project(tmp_path, ground.given, ground.places[kind]), ground.direct)
    ground.given.forget()
    assert digest(at) == environment
    assert ground.given.asked == []
    same(at, ground)


@pytest.mark.parametrize("kind", ["http", "tree", "flat"])
def test_locked_with_a_mirror_built_without_one(kind: str, ground: Ground, environment: str, tmp_path: Path) -> None:
    locked = project(tmp_path / "here", ground.given, ground.places[kind])
    must(locked.run("lock"))
    there = given_the_lockfile(direct(tmp_path / "there", ground.given), locked.published())
    for server in ground.servers.values():
        server.forget()
    assert digest(there) == environment
    assert [path for server in ground.servers.values() for path in server.paths()] == []


@pytest.mark.parametrize("kind", ["http", "tree", "flat"])
def test_a_mirror_with_other_bytes(kind: str, ground: Ground, scene_wheels: Path, tmp_path: Path) -> None:
    """Whatever the mirror says about the hash."""
    other = torch_wheel(tmp_path / "other", "2.13.0+cpu", f"cp{PY}-cp{PY}-{LINUX}", note="of somebody else")
    with FakeIndex() as bad:
        if kind == "http":
            places = serve(ground.given, scene_wheels, bad)
            bad.add("/whl/cpu", other, folder="/other")
        else:
            write = write_tree if kind == "tree" else lambda given, root: write_flat(given, root, uri=False)
            places = write(ground.given, tmp_path / "places")
            for file in (tmp_path / "places").rglob(other.name):
                shutil.copy(other, file)
        at = given_the_lockfile(project(tmp_path / "x", ground.given, places), ground.direct)
        cell = answer(at.run("--json", "build", "--frozen", "--no-verify", CELL), 5)["cells"][0]
        assert cell["class"] == "integrity"
        assert "torch" in cell["error"]["message"]
        same(at, ground)


@pytest.mark.parametrize("order", ["bad first", "good first"])
def test_a_dead_mirror_is_passed_over_while_building(
    order: str, ground: Ground, environment: str, tmp_path: Path
) -> None:
    dead = mirrors(f"http://127.0.0.1:{closed_port()}")
    both = (dead, ground.places["http"]) if order == "bad first" else (ground.places["http"], dead)
    at = given_the_lockfile(project(tmp_path, ground.given, " ".join(both)), ground.direct)
    assert digest(at) == environment
