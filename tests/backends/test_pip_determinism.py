"""The same bytes from every place, on every Python: cell.json and requirements.txt do not know where they were made."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import artifacts, at_source, must, stage
from tests.support.index import FakeIndex
from tests.support.pytorch import (
    Scene,
    cublas,
    place_default,
    place_pytorch,
    stable_cpu,
    stable_cu118,
    tritons,
)
from torchmatrix.host import Interpreter, find_interpreters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.stage import Stage

pytestmark = pytest.mark.xdist_group("pip-determinism")

MATRIX = """\
version: 1
axes: {python: ["3.12"], channel: [stable], target: [cpuonly, cu118, mac]}
channels: {stable: {torch: "2.13.0"}}
targets:
  cpuonly: {platform: linux-64, accelerator: cpu, packages: [torchvision]}
  cu118: {platform: linux-64, accelerator: cu118, torch: "2.7.1"}
  mac: {platform: osx-arm64, accelerator: mps, macos: "14.0"}
packages: [numpy]
"""
FILES = ("cell.json", "requirements.txt")


@dataclass(frozen=True, kw_only=True)
class World:
    """One server with everything at its root and again below a path prefix, and the same files in two flat folders."""

    url: str
    torches: Path
    others: Path

    def index(self, prefix: str) -> dict[str, str]:
        """Both sources as mirrors below ``prefix``."""
        return {"TORCHMATRIX_MIRRORS": f"pytorch={self.url}{prefix}/whl pypi={self.url}{prefix}/simple"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, scene_wheels: Path) -> Iterator[World]:
    """The scene's wheels; files of the default index lie where the real one has them, below their BLAKE2 digest."""
    folder = tmp_path_factory.mktemp("flat")
    torches, others = folder / "torches", folder / "others"
    torches.mkdir()
    others.mkdir()
    with FakeIndex() as scratch, FakeIndex(json=True) as unused, FakeIndex() as index:
        place = Scene(pytorch=scratch, default=unused, files=scratch, wheels=scene_wheels)
        place_pytorch(place)
        place_default(place)
        for prefix in ("", "/deep/in here"):
            _place(index, prefix, scene_wheels)
        for wheel in [*stable_cpu(scene_wheels), *stable_cu118(scene_wheels), *tritons(scene_wheels)]:
            shutil.copy(wheel, torches)
        for wheel in _of_default(scene_wheels):
            shutil.copy(wheel, others)
        yield World(url=index.url, torches=torches, others=others)


def _of_default(wheels: Path) -> list[Path]:
    below = [wheels / name for name in ("default", "default-torch")]
    return [cublas(wheels), *(wheel for folder in below for wheel in sorted(folder.glob("*.whl")))]


def _place(index: FakeIndex, prefix: str, wheels: Path) -> None:
    for wheel in stable_cpu(wheels):
        index.add(f"{prefix}/whl/cpu", wheel)
    for wheel in stable_cu118(wheels):
        index.add(f"{prefix}/whl/cu118", wheel)
    for wheel in tritons(wheels):
        index.add(f"{prefix}/whl/cu118", wheel, folder=f"{prefix}/whl")
    for wheel in _of_default(wheels):
        digest = hashlib.blake2b(wheel.read_bytes(), digest_size=32).hexdigest()
        below = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}"
        index.add(f"{prefix}/simple", wheel, folder=f"{prefix}/{below}")


@pytest.fixture(scope="module")
def reference(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What comes of locking where both sources are reached themselves."""
    at = stage(tmp_path_factory.mktemp("source"), None, MATRIX, TORCHMATRIX_DEFAULT_INDEX=f"{world.url}/simple")
    must(at_source(at, f"{world.url}/whl").run("lock"))
    found = comparable(at)
    assert len(found) == 6
    paths = {name: one["path"] for name, one in artifacts(at, "py312-stable-cu118").items()}
    assert paths["torch"].startswith("cu118/torch-2.7.1%2Bcu118-cp312")
    assert paths["triton"].startswith("triton-3.3.1-cp312")
    assert paths["numpy"].startswith("packages/")
    assert paths["numpy"].count("/") == 4
    return found


def comparable(at: Stage) -> dict[str, bytes]:
    """The files that must be the same everywhere. pylock.toml needs addresses that a mirror does not tell."""
    return {name: data for name, data in at.published().items() if name.endswith(FILES)}


def test_a_mirror_below_a_path_never_shows(world: World, reference: dict[str, bytes], tmp_path: Path) -> None:
    """Nor do the time zone and the locale of the host."""
    at = stage(tmp_path, None, MATRIX, **world.index("/deep/in%20here"), TZ="Pacific/Kiritimati", LC_ALL="C", LANG="C")
    must(at.run("lock"))
    assert comparable(at) == reference


def test_a_flat_folder_never_shows(world: World, reference: dict[str, bytes], tmp_path: Path) -> None:
    at = stage(tmp_path, None, MATRIX, TORCHMATRIX_MIRRORS=f"pytorch={world.torches} pypi={world.others}")
    must(at.run("lock"))
    assert comparable(at) == reference


def test_mirrors_in_the_configuration_file(world: World, reference: dict[str, bytes], tmp_path: Path) -> None:
    at = stage(tmp_path, None, MATRIX)
    (tmp_path / "config.toml").write_text(
        f'[mirrors]\npytorch = ["{tmp_path}/not-there", "{world.url}/whl"]\npypi = "{world.others.as_uri()}"\n'
    )
    must(at.run("lock"))
    assert comparable(at) == reference


def test_upgrading_with_empty_caches_changes_nothing(world: World, tmp_path: Path) -> None:
    at = stage(tmp_path, None, MATRIX, **world.index(""))
    must(at.run("lock"))
    before = at.published()
    for name in ("store", "uv-cache"):
        shutil.rmtree(tmp_path / name)
    outcome = must(at.run("lock", "--upgrade"))
    assert outcome.stderr.count("no change") == 3
    assert at.published() == before


@functools.cache
def other_pythons() -> tuple[Interpreter, ...]:
    """Interpreters on this machine, one of each release, that can import what torchmatrix needs."""
    found: dict[str, Interpreter] = {}
    for one in find_interpreters(dict(os.environ), home=Path.home()):
        if (
            one.implementation != "cpython"
            or (one.version.major, one.version.minor) < (3, 11)
            or one.version.free_threaded
        ):
            continue
        text = f"{one.full or one.version}"
        if one.path.resolve() != Path(sys.executable).resolve() and text not in found and _imports(one.path):
            found[text] = one
    return tuple(found.values())


def _imports(python: Path) -> bool:
    code = "import filelock, packaging, platformdirs, urllib3, uv, yaml, argcomplete; uv.find_uv_bin()"
    env = {**os.environ, "PYTHONPATH": _python_path()}
    return subprocess.run([python, "-c", code], env=env, capture_output=True, check=False).returncode == 0


def _python_path() -> str:
    import packaging

    import torchmatrix

    return os.pathsep.join(str(Path(module.__file__ or "").parents[1]) for module in (torchmatrix, packaging))


def test_other_pythons_write_the_same(world: World, reference: dict[str, bytes], tmp_path: Path) -> None:
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no other Python here can import what torchmatrix needs")
    for position, python in enumerate(pythons[:2]):
        folder = tmp_path / str(position)
        folder.mkdir()
        at = stage(folder, None, MATRIX, **world.index(""))
        env = {**at.environ(), "PYTHONPATH": _python_path()}
        outcome = subprocess.run(
            [python.path, "-m", "torchmatrix", "lock"],
            cwd=at.project,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        must(outcome)
        assert comparable(at) == reference, str(python)
