"""Locking for every platform from this host: the exact file from the right source, whatever else the indexes hold."""

from __future__ import annotations

import subprocess
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import uv

from tests.cli.project import answer, artifacts, must, record, stage
from tests.support.pytorch import (
    CUBLAS,
    HOSTILE,
    HOSTILE_VERSION,
    NIGHTLY_TRITON,
    STALE,
    TRITON,
    TRITON_TAG,
    Scene,
    nightlies,
    nightly_tritons,
    pytorch_scene,
)
from tests.support.wheels import build_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stage import Stage

pytestmark = pytest.mark.xdist_group("pip-lock")

MATRIX = """\
version: 1
axes:
  python: ["3.11"]
  channel: [stable, nightly]
  target: [cpuonly, arm, cu118, cu130, mac, intel, windows]
channels: {stable: {torch: "2.13.0"}, nightly: {torch: nightly}}
targets:
  cpuonly: {platform: linux-64, accelerator: cpu}
  arm: {platform: linux-aarch64, accelerator: cpu}
  cu118: {platform: linux-64, accelerator: cu118, torch: "2.7.1"}
  cu130: {platform: linux-64, accelerator: cu130, source: pypi}
  mac: {platform: osx-arm64, accelerator: mps, macos: "14.0"}
  intel: {platform: osx-64, accelerator: cpu, torch: "2.2.2"}
  windows: {platform: win-64, accelerator: cpu}
packages: [numpy]
"""
NO_NIGHTLY = ["py311-nightly-arm", "py311-nightly-windows"]
"""Cells whose nightly wheels the scene lacks."""
LINUX, DAY = "manylinux_2_28_x86_64", "2.16.0.dev20261118"


class Torch(NamedTuple):
    """What is expected of torch in a cell."""

    cell: str
    source: str
    file: str
    path: str


EXPECTED = [
    Torch("stable-cpuonly", "pytorch", f"torch-2.13.0+cpu-cp311-cp311-{LINUX}.whl", "cpu/torch-2.13.0%2Bcpu-"),
    Torch(
        "stable-arm", "pytorch", "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_aarch64.whl", "cpu/torch-2.13.0%2Bcpu-"
    ),
    Torch("stable-windows", "pytorch", "torch-2.13.0+cpu-cp311-cp311-win_amd64.whl", "cpu/torch-2.13.0%2Bcpu-"),
    Torch("stable-cu118", "pytorch", f"torch-2.7.1+cu118-cp311-cp311-{LINUX}.whl", "cu118/torch-2.7.1%2Bcu118-"),
    Torch("stable-cu130", "pypi", f"torch-2.13.0-cp311-cp311-{LINUX}.whl", "packages/torch-2.13.0-"),
    Torch("stable-mac", "pypi", "torch-2.13.0-cp311-none-macosx_14_0_arm64.whl", "packages/torch-2.13.0-"),
    Torch("stable-intel", "pypi", "torch-2.2.2-cp311-none-macosx_10_9_x86_64.whl", "packages/torch-2.2.2-"),
    Torch("nightly-cpuonly", "pytorch", f"torch-{DAY}+cpu-cp311-cp311-{LINUX}.whl", f"nightly/cpu/torch-{DAY}%2Bcpu-"),
    Torch("nightly-mac", "pytorch", f"torch-{DAY}-cp311-none-macosx_14_0_arm64.whl", f"nightly/cpu/torch-{DAY}-"),
    Torch(
        "nightly-cu130", "pytorch", f"torch-{DAY}+cu130-cp311-cp311-{LINUX}.whl", f"nightly/cu130/torch-{DAY}%2Bcu130-"
    ),
]


@pytest.fixture(scope="module")
def scene(scene_wheels: Path) -> Iterator[Scene]:
    """The standard scene with nightlies for CUDA 13.0, torch for Intel Macs, a hostile triton of the same version."""
    with pytorch_scene(scene_wheels) as scene:
        for wheel in nightlies(scene_wheels, "cu130"):
            scene.pytorch.add("/whl/nightly/cu130", wheel, hashes=False)
        for wheel in nightly_tritons(scene_wheels):
            scene.pytorch.add("/whl/nightly/cu130", wheel, hashes=False, folder="/whl/nightly")
        intel = build_wheel(scene_wheels / "intel", "torch", "2.2.2", tag="cp311-none-macosx_10_9_x86_64")
        files, tag = {"triton.py": "hostile = True\n"}, f"cp311-cp311-{TRITON_TAG}"
        hostile = build_wheel(scene_wheels / "hostile-triton", "triton", TRITON, tag=tag, files=files)
        for wheel in (intel, hostile):
            scene.default.add("/simple", wheel, host=scene.files, folder="/packages")
        yield scene


@pytest.fixture(scope="module")
def ground(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The project of the matrix, nothing done yet."""
    return stage(tmp_path_factory.mktemp("lock"), scene, MATRIX)


@pytest.fixture(scope="module")
def locked(ground: Stage) -> Stage:
    """Every cell locked in one run; the two that the scene has no wheels for fail."""
    cells = {cell["id"]: cell for cell in answer(ground.run("--json", "lock"), 1)["cells"]}
    assert sorted(name for name, cell in cells.items() if cell["status"] == "failed") == sorted(NO_NIGHTLY)
    return ground


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.cell)
def test_torch_is_the_exact_file_of_its_source(locked: Stage, expected: Torch) -> None:
    torch = artifacts(locked, f"py311-{expected.cell}")["torch"]
    assert (torch["source"], torch["file"]) == (expected.source, expected.file)
    assert torch["path"].startswith(expected.path)
    assert torch["path"].endswith(".whl")
    assert "+" not in torch["path"]


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.cell)
def test_nothing_of_the_family_is_hostile_and_nothing_else_is_stale(locked: Stage, expected: Torch) -> None:
    found = artifacts(locked, f"py311-{expected.cell}")
    assert [name for name, one in found.items() if one["version"] == HOSTILE_VERSION] == []
    assert {name: one["source"] for name, one in found.items() if name not in HOSTILE} == {
        name: "pypi" for name in found if name not in HOSTILE
    }
    for name, stale in STALE.items():
        assert found.get(name.lower(), {}).get("version") != stale


def test_the_hash_is_that_of_the_bytes_of_the_source(locked: Stage, scene: Scene) -> None:
    """One file name, two sources, other bytes: the macOS wheel and triton 3.3.1."""
    mac = artifacts(locked, "py311-stable-mac")["torch"]
    assert mac["sha256"] == sha256(scene.wheels / "default-torch" / mac["file"])
    assert mac["sha256"] != sha256(scene.wheels / "cpu" / mac["file"])
    triton = artifacts(locked, "py311-stable-cu118")["triton"]
    assert triton["sha256"] == sha256(scene.wheels / "triton" / triton["file"])
    assert triton["sha256"] != sha256(scene.wheels / "hostile-triton" / triton["file"])


def test_triton_lies_beside_the_accelerator_folders(locked: Stage) -> None:
    stable = artifacts(locked, "py311-stable-cu118")
    assert stable["triton"]["source"] == "pytorch"
    assert stable["triton"]["path"] == f"triton-{TRITON}-cp311-cp311-{TRITON_TAG}.whl"
    assert (stable["nvidia-cublas-cu11"]["source"], stable["nvidia-cublas-cu11"]["version"]) == ("pypi", CUBLAS)
    nightly = artifacts(locked, "py311-nightly-cu130")["pytorch-triton"]
    assert (nightly["source"], nightly["version"]) == ("pytorch", NIGHTLY_TRITON)
    assert (
        nightly["path"] == f"nightly/pytorch_triton-{NIGHTLY_TRITON.replace('+', '%2B')}-cp311-cp311-{TRITON_TAG}.whl"
    )


def test_a_hash_that_no_page_gives_is_computed_and_marked(locked: Stage) -> None:
    found = artifacts(locked, "py311-nightly-cu130")
    assert {name: one["hash_from"] for name, one in found.items() if one["source"] == "pytorch"} == {
        "torch": "computed",
        "pytorch-triton": "computed",
    }
    assert {one["hash_from"] for one in found.values() if one["source"] == "pypi"} == {"index"}


def test_sizes_are_those_of_the_files(locked: Stage, scene: Scene) -> None:
    torch = artifacts(locked, "py311-stable-cpuonly")["torch"]
    assert torch["size"] == (scene.wheels / "cpu" / torch["file"]).stat().st_size
    assert all(
        one["size"] for cell in ("stable-mac", "nightly-mac") for one in artifacts(locked, f"py311-{cell}").values()
    )


def test_the_record_holds_nothing_of_this_host(locked: Stage, scene: Scene) -> None:
    text = (locked.envs / "py311-stable-cpuonly" / "cell.json").read_text()
    for word in ("127.0.0.1", str(scene.pytorch.port), str(locked.project), "http"):
        assert word not in text
    head = record(locked, "py311-stable-cpuonly")
    assert (head["python"], head["platform"], head["floor"]) == ("3.11", "linux-64", "glibc 2.28")
    assert record(locked, "py311-stable-mac")["floor"] == "macos 14.0"
    assert record(locked, "py311-stable-windows")["floor"] is None


def test_requirements_name_the_pytorch_index_and_never_the_mirror(locked: Stage, scene: Scene) -> None:
    torch = artifacts(locked, "py311-stable-cpuonly")["torch"]
    lines = (locked.envs / "py311-stable-cpuonly" / "requirements.txt").read_text().splitlines()
    at = lines.index(f"torch @ https://download.pytorch.org/whl/{torch['path']} \\")
    assert lines[at + 1] == f"    --hash=sha256:{torch['sha256']}"
    assert "numpy==2.3.4 \\" in lines
    assert not [line for line in lines if "127.0.0.1" in line]


def test_pylock_is_valid_and_complete(locked: Stage, scene: Scene) -> None:
    from packaging.pylock import Pylock

    data = tomllib.loads((locked.envs / "py311-stable-mac" / "pylock.toml").read_text())
    Pylock.from_dict(data).validate()
    wheels = {package["name"]: package["wheels"][0] for package in data["packages"]}
    found = artifacts(locked, "py311-stable-mac")
    assert {name: wheel["hashes"]["sha256"] for name, wheel in wheels.items()} == {
        name: one["sha256"] for name, one in found.items()
    }
    assert wheels["torch"]["url"] == f"{scene.files.url}/{found['torch']['path']}"


def test_a_cell_without_wheels_says_which(locked: Stage) -> None:
    cells = answer(locked.run("--json", "lock", *NO_NIGHTLY), 1)["cells"]
    assert [cell["class"] for cell in cells] == ["failed", "failed"]
    assert "torch" in cells[0]["error"]["message"]
    assert "for Python 3.11 on linux-aarch64 cpu: torch is missing on all 2" in cells[0]["error"]["message"]


def test_locking_again_resolves_nothing_and_asks_nobody(locked: Stage, scene: Scene) -> None:
    before = locked.published()
    scene.forget()
    cells = answer(locked.run("--json", "lock", "--channel", "stable"))["cells"]
    assert [cell["resolved"] for cell in cells] == [False] * 7
    assert (scene.pytorch.requests, scene.default.requests, scene.files.requests) == ([], [], [])
    assert locked.published() == before


# The traps of the scene must bite whoever does not name sources; otherwise the tests above prove nothing.


def _by_hand(ground: Stage, folder: Path, requirements: list[str], options: list[str]) -> dict[str, Any]:
    output = folder / "pylock.toml"
    (folder / "in.txt").write_text("\n".join(requirements))
    argv = [uv.find_uv_bin(), "pip", "compile", str(folder / "in.txt"), "--no-config", "--quiet"]
    argv += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28", "--format", "pylock.toml"]
    argv += ["-o", str(output), "--only-binary", ":all:", *options]
    must(subprocess.run(argv, env=ground.environ(), capture_output=True, text=True, check=False))
    return {package["name"]: package for package in tomllib.loads(output.read_text())["packages"]}


def test_extra_index_url_takes_the_hostile_versions(ground: Stage, scene: Scene, tmp_path: Path) -> None:
    both = ["--default-index", scene.default_url, "--index", f"{scene.pytorch_url}/cu118"]
    best = [*both, "--index-strategy", "unsafe-best-match"]
    found = _by_hand(ground, tmp_path, list(HOSTILE), best)
    assert {name: package["version"] for name, package in found.items()} == dict.fromkeys(HOSTILE, HOSTILE_VERSION)


def test_first_match_takes_the_stale_copies(ground: Stage, scene: Scene, tmp_path: Path) -> None:
    both = ["--default-index", scene.default_url, "--index", f"{scene.pytorch_url}/cu118"]
    found = _by_hand(ground, tmp_path, ["markupsafe", "numpy"], both)
    assert {name: package["version"] for name, package in found.items()} == {
        "markupsafe": STALE["MarkupSafe"],
        "numpy": STALE["numpy"],
    }


def test_the_default_index_alone_takes_its_own_triton(ground: Stage, scene: Scene, tmp_path: Path) -> None:
    found = _by_hand(ground, tmp_path, [f"triton=={TRITON}"], ["--default-index", scene.default_url])
    hashes = {wheel["hashes"]["sha256"] for wheel in found["triton"]["wheels"]}
    assert hashes == {sha256(next((scene.wheels / "hostile-triton").glob("*.whl")))}


def test_a_specifier_takes_the_newest_of_the_source(scene: Scene, tmp_path: Path) -> None:
    matrix = MATRIX.replace('stable: {torch: "2.13.0"}', 'stable: {torch: ">=2.11,<2.14"}')
    at = stage(tmp_path, scene, matrix)
    must(at.run("lock", "py311-stable-cpuonly"))
    assert artifacts(at, "py311-stable-cpuonly")["torch"]["version"] == "2.13.0+cpu"
