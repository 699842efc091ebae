"""Locking for other platforms against the real default index, and what pip and uv say of the result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import uv
from packaging.pylock import Pylock
from packaging.version import Version

from torchmatrix.lock.record import read_record

pytestmark = [pytest.mark.index, pytest.mark.xdist_group("real-index")]

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"  # uv checks a pylock.toml against the interpreter at hand
CP = f"cp{PYTHON.replace('.', '')}"
MATRIX = f"""
version: 1
axes: {{python: ["{PYTHON}"], channel: [stable], target: [mac, cuda, windows, arm]}}
channels: {{stable: {{torch: "2.13.0"}}}}
targets:
  mac: {{platform: osx-arm64, accelerator: mps, macos: "14.0"}}
  cuda: {{platform: linux-64, accelerator: cu130, source: pypi}}
  windows: {{platform: win-64, accelerator: cpu, source: pypi}}
  arm: {{platform: linux-aarch64, accelerator: cu130, source: pypi}}
packages: [numpy, torchvision]
"""
MANYLINUX = [f"manylinux_2_{level}_x86_64" for level in range(28, 4, -1)]
MANYLINUX += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]


def cell_id(target: str) -> str:
    """The id of the stable cell of a target."""
    return f"py{PYTHON.replace('.', '')}-stable-{target}"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four cells, locked from this machine; skipped with the reason where the default index is out of reach."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "matrix.yaml").write_text(MATRIX)
    outcome = _torchmatrix(folder, "--json", "lock")
    if outcome.returncode == 4:
        pytest.skip(f"the default index cannot be reached: {outcome.stderr.splitlines()[-1]}")
    assert outcome.returncode == 0, outcome.stderr
    return folder


def _torchmatrix(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TORCHMATRIX_CACHE": str(folder / "cache"), **environ}
    return subprocess.run(
        [sys.executable, "-m", "torchmatrix", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def _envs(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted((folder / "envs").rglob("*.*"))}


@pytest.mark.parametrize(
    ("cell", "file", "beside"),
    [
        (cell_id("mac"), f"torch-2.13.0-{CP}-{CP}-macosx_14_0_arm64.whl", ()),
        (cell_id("cuda"), f"torch-2.13.0-{CP}-{CP}-manylinux_2_28_x86_64.whl", ("triton", "nvidia-cudnn-cu13")),
        (cell_id("windows"), f"torch-2.13.0-{CP}-{CP}-win_amd64.whl", ()),
        (cell_id("arm"), f"torch-2.13.0-{CP}-{CP}-manylinux_2_28_aarch64.whl", ("nvidia-cudnn-cu13",)),
    ],
)
def test_each_platform_gets_its_own_wheels(locked: Path, cell: str, file: str, beside: tuple[str, ...]) -> None:
    lockfile = read_record(locked / "envs" / cell / "cell.json")
    assert lockfile is not None
    torch = lockfile.artifact("torch")
    assert torch is not None
    assert torch.file == file
    assert lockfile.artifact("torchvision") is not None
    assert {name for name in beside if lockfile.artifact(name) is None} == set()
    assert bool(beside) == any(name.startswith("nvidia-") for name in lockfile.distributions)
    assert all(artifact.size and artifact.path and artifact.source == "pypi" for artifact in lockfile.artifacts)


def test_the_hashes_are_those_of_the_recorded_index(locked: Path) -> None:
    recorded = Path(__file__).resolve().parents[2] / "shared" / "data" / "pypi-wheels.json"
    if not recorded.exists():
        pytest.skip("the recorded index entries (../shared/data/pypi-wheels.json) are not here")
    files = json.loads(recorded.read_text())["torch"]["2.13.0"]["files"]
    expected = {file["filename"]: file["sha256"] for file in files}
    for cell in ("mac", "cuda", "windows", "arm"):
        lockfile = read_record(locked / "envs" / cell_id(cell) / "cell.json")
        torch = lockfile.artifact("torch") if lockfile else None
        assert torch is not None
        assert torch.sha256 == expected[torch.file]


def test_locking_again_with_an_empty_cache_changes_no_byte(locked: Path, tmp_path: Path) -> None:
    before = _envs(locked)
    outcome = _torchmatrix(
        locked, "lock", "--upgrade", TORCHMATRIX_CACHE=str(tmp_path / "store"), UV_CACHE_DIR=str(tmp_path / "uv")
    )
    assert outcome.returncode == 0, outcome.stderr
    assert _envs(locked) == before


@pytest.mark.parametrize(("cell", "platforms"), [(cell_id("mac"), ["macosx_14_0_arm64"]), (cell_id("cuda"), MANYLINUX)])
def test_pip_accepts_requirements_for_the_foreign_platform(
    locked: Path, tmp_path: Path, cell: str, platforms: list[str]
) -> None:
    """Without the nvidia libraries: pip downloads what it checks, and those are gigabytes."""
    text = (locked / "envs" / cell / "requirements.txt").read_text()
    entries = [entry for entry in text.split("\n") if not entry.startswith("#")]
    pairs = [(entries[i], entries[i + 1]) for i in range(0, len(entries) - 1, 2)]
    light = [pair for pair in pairs if not pair[0].startswith(("nvidia-", "torch==", "triton==", "cuda-"))]
    assert len(light) >= 10
    (tmp_path / "requirements.txt").write_text("".join(f"{head}\n{tail}\n" for head, tail in light))
    argv = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-deps",
        "--require-hashes",
        "--python-version",
        PYTHON,
    ]
    argv += [option for platform in platforms for option in ("--platform", platform)]
    argv += ["--only-binary", ":all:", "--target", str(tmp_path / "target"), "-r", str(tmp_path / "requirements.txt")]
    outcome = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert "Would install" in outcome.stdout


@pytest.mark.parametrize("cell", [cell_id("mac"), cell_id("cuda")])
def test_uv_and_packaging_accept_pylock(locked: Path, tmp_path: Path, cell: str) -> None:
    path = locked / "envs" / cell / "pylock.toml"
    lock = Pylock.from_dict(tomllib.loads(path.read_text()))
    lock.validate()
    assert [package.version for package in lock.packages if package.name == "torch"] == [Version("2.13.0")]
    binary = uv.find_uv_bin()
    env = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0", "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([binary, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv")], check=True, env=env)
    python = str(tmp_path / "venv" / "bin" / "python")
    argv = [binary, "pip", "sync", "--dry-run", "--python", python, "--python-version", PYTHON]
    argv += [
        "--python-platform",
        "aarch64-apple-darwin" if cell.endswith("mac") else "x86_64-manylinux_2_28",
        str(path),
    ]
    outcome = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert outcome.returncode == 0, outcome.stderr
    assert "+ torch==2.13.0" in outcome.stderr
