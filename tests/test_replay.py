"""Locking CUDA and CPU builds for Linux with their real hashes: the recorded PyTorch index, replayed on loopback.

The replay has pages and requirements, but no wheel: whatever is locked here was locked without a byte of one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uv
from packaging.pylock import Pylock

from tests.support.replay import CANONICAL, Replay
from torchmatrix.host import find_interpreters
from torchmatrix.lock.record import read_record
from torchmatrix.target import PythonVersion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torchmatrix.lock.model import Artifact, Lockfile

ROOT = Path(__file__).resolve().parents[1]
MATRIX = """
version: 1
axes: {python: ["3.10", "3.11", "3.12", "3.13"], channel: [stable], target: [cpu, cu118, cu121, cu124, cu126, cu128]}
channels: {stable: {torch: "2.7.1"}}
targets:
  cpu: {platform: linux-64, accelerator: cpu, torch: "2.12.1"}
  cu118: {platform: linux-64, accelerator: cu118}
  cu121: {platform: linux-64, accelerator: cu121, torch: "2.1.0"}
  cu124: {platform: linux-64, accelerator: cu124, torch: "2.6.0"}
  cu126: {platform: linux-64, accelerator: cu126}
  cu128: {platform: linux-64, accelerator: cu128}
packages: [numpy, torchvision]
"""
CU118 = ("py311-stable-cu118", "py312-stable-cu118", "py313-stable-cu118")
CELLS = {
    **dict.fromkeys(CU118, ("torch 2.7.1+cu118", "torchvision 0.22.1+cu118", "triton 3.3.1")),
    "py311-stable-cpu": ("torch 2.12.1+cpu", "torchvision 0.27.1+cpu"),
    "py313-stable-cpu": ("torch 2.12.1+cpu", "torchvision 0.27.1+cpu"),
    "py311-stable-cu121": ("torch 2.1.0+cu121", "torchvision 0.16.0+cu121", "triton 2.1.0"),
    "py312-stable-cu124": ("torch 2.6.0+cu124", "torchvision 0.21.0+cu124", "triton 3.2.0"),
    "py310-stable-cu126": ("torch 2.7.1+cu126", "torchvision 0.22.1+cu126", "triton 3.3.1"),
    "py313-stable-cu128": ("torch 2.7.1+cu128", "torchvision 0.22.1+cu128", "triton 3.3.1"),
}
"""Cells for which the record has a hash of every wheel of the family."""

index = pytest.mark.index
pytestmark = [pytest.mark.xdist_group("replay")]


@dataclass(frozen=True, kw_only=True)
class Locked:
    """A project whose cells were locked, and the index that they came from."""

    folder: Path
    replay: Replay

    def torchmatrix(
        self, *arguments: str, cwd: Path | None = None, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it with the replay as the mirror of ``pytorch`` and this machine's own default index."""
        bypass = ",".join(filter(None, [os.environ.get("NO_PROXY", os.environ.get("no_proxy")), "127.0.0.1"]))
        env = {**os.environ, "NO_PROXY": bypass, "no_proxy": bypass, "TORCHMATRIX_CACHE": str(self.folder / "cache")}
        env |= {"TORCHMATRIX_MIRRORS": f"pytorch={self.replay.whl}", "PYTHONPATH": str(ROOT / "src")}
        argv = [sys.executable, "-m", "torchmatrix", *arguments]
        env |= environ or {}
        return subprocess.run(argv, cwd=cwd or self.folder, env=env, capture_output=True, text=True, check=False)

    def lockfile(self, cell: str) -> Lockfile:
        """What was published."""
        lockfile = read_record(self.folder / "envs" / cell / "cell.json")
        assert lockfile is not None, f"{cell} was not locked"
        return lockfile

    def family(self, cell: str) -> list[Artifact]:
        """Its artifacts of the PyTorch index."""
        return [artifact for artifact in self.lockfile(cell).artifacts if artifact.source == "pytorch"]

    def published(self) -> dict[str, bytes]:
        """Every file below envs/."""
        files = sorted((self.folder / "envs").rglob("*.*"))
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files if path.is_file()}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """The cells, locked from this machine; skipped with the reason where the default index is out of reach."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "matrix.yaml").write_text(MATRIX)
    with Replay() as replay:
        made = Locked(folder=folder, replay=replay)
        outcome = made.torchmatrix("lock", *CELLS)
        if outcome.returncode == 4 and "source pypi" in outcome.stderr:
            pytest.skip(f"the default index cannot be reached: {outcome.stderr.splitlines()[-1]}")
        assert outcome.returncode == 0, outcome.stderr
        yield made


def interpreter(python: str) -> str:
    """A CPython of this machine: uv checks a pylock.toml against the interpreter itself."""
    wanted = PythonVersion.parse(python)
    for one in find_interpreters(os.environ, home=Path.home()):
        if one.version == wanted and one.implementation == "cpython":
            return str(one.path)
    pytest.skip(f"no Python {python} on this machine")


def uv_sync(folder: Path, python: str, file: Path, platform: str, *options: str) -> subprocess.CompletedProcess[str]:
    """``uv pip sync`` for another platform into an empty environment."""
    env = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "UV_PYTHON_DOWNLOADS": "never"}
    env |= {"MACOSX_DEPLOYMENT_TARGET": "14.0", "UV_CACHE_DIR": str(folder / "uv-cache")}
    binary, venv = uv.find_uv_bin(), folder / "venv"
    subprocess.run(
        [binary, "venv", "--quiet", "--python", interpreter(python), str(venv), "--clear"], check=True, env=env
    )
    argv = [binary, "pip", "sync", "--no-config", "--python", str(venv / "bin" / "python")]
    argv += ["--python-version", python, "--python-platform", platform, *options, str(file)]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


@index
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_has_the_hashes_and_addresses_of_the_record(locked: Locked, cell: str) -> None:
    lockfile, family = locked.lockfile(cell), locked.family(cell)
    assert sorted(f"{artifact.name} {artifact.version}" for artifact in family) == sorted(CELLS[cell])
    for artifact in family:
        assert artifact.path is not None
        entry = locked.replay.at(f"{CANONICAL}/{artifact.path}")
        assert entry.filename == artifact.file
        assert artifact.sha256 == entry.sha256
        assert entry.complete, "a lockfile would lack what the record does not say"
        assert artifact.size is None, "nothing says how large the wheel is"
        assert artifact.path.startswith(f"{lockfile.accelerator}/") == (artifact.name != "triton")


@index
def test_metadata_and_pages_were_enough(locked: Locked) -> None:
    """Wheels are asked for their size only; the replay has no byte of any."""
    assert locked.replay.paths("/whl/cu118/torch/")
    assert locked.replay.paths("/whl/cu118/triton/"), "what lies beside the accelerators is listed on each of them"
    assert locked.replay.paths("/whl/triton-3.3.1-*.whl.metadata")


@index
def test_nothing_of_the_mirror_is_published(locked: Locked) -> None:
    published = locked.published()
    assert len(published) == 3 * len(CELLS)
    assert [name for name, text in published.items() if b"127.0.0.1" in text] == []


@index
def test_another_mirror_that_also_lists_unhashed_wheels_gives_the_same_bytes(locked: Locked, tmp_path: Path) -> None:
    before = locked.published()
    caches = {"TORCHMATRIX_CACHE": str(tmp_path / "store"), "UV_CACHE_DIR": str(tmp_path / "uv")}
    with Replay(unhashed=True) as other:
        again = Locked(folder=locked.folder, replay=other)
        outcome = again.torchmatrix("lock", "--upgrade", *CU118, environ=caches)
        assert outcome.returncode == 0, outcome.stderr
        assert other.paths("/whl/cu118/torch/")
    assert locked.published() == before


@index
def test_a_wheel_without_a_hash_is_no_wheel(locked: Locked) -> None:
    cell = "py310-stable-cu118"
    outcome = locked.torchmatrix("lock", cell)
    assert outcome.returncode == 1, outcome.stderr
    assert f"resolving {cell} failed" in outcome.stderr
    assert "torch==2.7.1" in outcome.stderr
    assert "the newest torch with a wheel for Python 3.10 on linux-64 is 2.6.0+cu118" in outcome.stderr
    assert not (locked.folder / "envs" / cell / "cell.json").exists()


@index
def test_a_wheel_that_cannot_be_hashed_is_not_locked(locked: Locked) -> None:
    cell = "py310-stable-cu118"
    with Replay(unhashed=True) as listing:
        outcome = Locked(folder=locked.folder, replay=listing).torchmatrix("lock", cell)
    assert outcome.returncode == 4, outcome.stderr
    assert "torch-2.7.1" in outcome.stderr
    assert "404" in outcome.stderr
    assert not (locked.folder / "envs" / cell / "cell.json").exists()


@index
@pytest.mark.parametrize("cell", CELLS)
def test_uv_accepts_the_pylock_for_linux(locked: Locked, tmp_path: Path, cell: str) -> None:
    """The file as it is, with the canonical addresses: a dry run of one asks nothing of any server."""
    lockfile, path = locked.lockfile(cell), locked.folder / "envs" / cell / "pylock.toml"
    Pylock.from_dict(tomllib.loads(path.read_text())).validate()
    assert f"{CANONICAL}/{lockfile.accelerator}/torch-" in path.read_text()
    outcome = uv_sync(tmp_path, lockfile.python, path, "x86_64-manylinux_2_28", "--dry-run", "--offline")
    assert outcome.returncode == 0, outcome.stderr
    assert f"+ torch=={lockfile.torch}" in outcome.stderr
    assert f"Would install {len(lockfile.artifacts)} packages" in outcome.stderr


def wanted_file(locked: Locked, folder: Path, cell: str, requirement: str, sha256: str) -> list[str]:
    """The wheels that uv begins to download from the replay, which has none, when it is to sync one requirement."""
    lockfile = locked.lockfile(cell)
    (folder / "one.txt").write_text(f"{requirement} --hash=sha256:{sha256}\n")
    page = ["--no-cache", "--require-hashes", "--default-index", f"{locked.replay.whl}/{lockfile.accelerator}"]
    locked.replay.forget()
    outcome = uv_sync(folder, lockfile.python, folder / "one.txt", "x86_64-manylinux_2_28", *page)
    assert outcome.returncode != 0
    assert "404" in outcome.stderr
    return [path.rpartition("/")[2] for path in locked.replay.paths("*.whl", method="GET")]


@index
@pytest.mark.parametrize("cell", [*CU118, "py313-stable-cpu", "py312-stable-cu124"])
def test_uv_takes_the_locked_files_from_the_replay(locked: Locked, tmp_path: Path, cell: str) -> None:
    """A dry run neither downloads nor compares a hash, so this is no dry run: the replay sees what uv settles on."""
    for artifact in locked.family(cell):
        requirement = f"{artifact.name}=={artifact.version}"
        files = wanted_file(locked, tmp_path, cell, requirement, artifact.sha256)
        assert set(files) == {artifact.file}


@index
def test_of_two_wheels_of_one_version_uv_takes_the_one_with_the_hash(locked: Locked, tmp_path: Path) -> None:
    cell, other = "py312-stable-cu124", "triton-3.2.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    assert other not in {artifact.file for artifact in locked.family(cell)}
    sha256 = locked.replay.at(f"{CANONICAL}/{other}").sha256
    assert sha256
    assert set(wanted_file(locked, tmp_path, cell, "triton==3.2.0", sha256)) == {other}


@index
@pytest.mark.parametrize(
    "cell",
    sorted(path.parent.name for path in ROOT.glob("envs/*-stable-*/cell.json") if "-conda" not in path.parent.name),
)
def test_uv_accepts_the_pylock_of_each_committed_lockfile(locked: Locked, tmp_path: Path, cell: str) -> None:
    record, path = read_record(ROOT / "envs" / cell / "cell.json"), tmp_path / "pylock.toml"
    assert record is not None
    outcome = locked.torchmatrix("export", cell, "--format", "pylock.toml", "-o", str(path), cwd=ROOT)
    assert outcome.returncode == 0, outcome.stderr
    platform = {"linux-64": "x86_64-manylinux_2_28", "osx-arm64": "aarch64-apple-darwin"}[record.platform]
    outcome = uv_sync(tmp_path, record.python, path, platform, "--dry-run", "--offline")
    assert outcome.returncode == 0, outcome.stderr
    assert f"Would install {len(record.artifacts)} packages" in outcome.stderr


def test_committed_lockfiles_have_the_hashes_of_the_record() -> None:
    compared = []
    with Replay() as replay:
        for path in sorted(ROOT.glob("envs/*-stable-*/cell.json")):
            if "-conda" in path.parent.name:  # those are compared in tests/backends/test_conda_recorded.py
                continue
            assert "127.0.0.1" not in path.read_text() + (path.parent / "requirements.txt").read_text()
            lockfile = read_record(path)
            assert lockfile is not None
            for artifact in lockfile.artifacts:
                entry = replay.find(f"{CANONICAL}/{artifact.path}") if artifact.source == "pytorch" else None
                if entry is not None and entry.sha256 is not None:
                    assert artifact.sha256 == entry.sha256, f"{lockfile.cell}: {artifact.file}"
                    compared.append((lockfile.cell, artifact.name))
    for cell in CU118:
        assert {(cell, "torch"), (cell, "triton")} <= set(compared)
