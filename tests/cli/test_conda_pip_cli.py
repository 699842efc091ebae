"""A conda cell with pip-packages through the command line: locked apart, built beside the conda packages, checked."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.project import PY, answer, must, record, stage
from tests.support.conda_scene import HERE, NATIVE_SUBDIR, TORCH_PYTHONS, modules
from tests.support.wheels import build_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.conda_scene import CondaScene
    from tests.support.pytorch import Scene
    from tests.support.stage import Stage

pytestmark = [
    pytest.mark.skipif(HERE not in TORCH_PYTHONS["2.13.0"], reason=f"the conda scene has no torch for Python {HERE}"),
    pytest.mark.xdist_group("conda-pip"),
]
builds = pytest.mark.skipif(NATIVE_SUBDIR != "linux-64", reason="the conda scene's linux-64 runs on linux-64 alone")

CELL = f"py{PY}-stable-cpuonly-conda"
MATRIX = f"""\
version: 1
axes: {{python: ["{HERE}"], channel: [stable], target: [cpuonly]}}
channels: {{stable: {{torch: "2.13.0"}}}}
backend: conda
targets: {{cpuonly: {{platform: linux-64, accelerator: cpu}}}}
pip-packages: [PACKAGES]
"""
WHEELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "lit": ("1.0", ("torch>=2", "helper>=1", "Jinja2")),
    "helper": ("1.1", ("jinja2>=3", "typing-extensions")),
    "oldtorch": ("1.0", ("torch<2",)),
    "wantstriton": ("1.0", ("triton>=3",)),
    "zealous": ("1.0", ()),
}
"""On the default index, beside its own jinja2, typing_extensions and a hostile torch."""


@pytest.fixture
def index(scene: Scene, tmp_path: Path) -> Scene:
    """The default index with what the tests add by pip."""
    for name, (version, requires) in WHEELS.items():
        _add(scene, build_wheel(tmp_path / "wheels", name, version, requires=requires, scripts={name: f"{name}:main"}))
    return scene


def _add(scene: Scene, wheel: Path) -> None:
    when = "2024-05-01T12:00:00.000000Z"
    scene.default.add("/simple", wheel, host=scene.files, folder="/packages", upload_time=when)


def project(folder: Path, conda: CondaScene, scene: Scene, packages: str, more: str = "") -> Stage:
    matrix = MATRIX.replace("PACKAGES", packages) + more
    return stage(folder, None, matrix, TORCHMATRIX_DEFAULT_INDEX=scene.default_url, **conda.env)


def pip_of(at: Stage) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in record(at, CELL)["pip"]}


def prefix_of(at: Stage) -> Path:
    code = "import sys; print(sys.prefix)"
    return pathlib_of(must(at.run("run", CELL, "--", "python", "-c", code)).stdout.strip())


def pathlib_of(text: str) -> Path:
    from pathlib import Path

    return Path(text)


def test_try(tmp_path: Path, shared_conda_scene: CondaScene, index: Scene) -> None:
    at = project(tmp_path, shared_conda_scene, index, "lit")
    print(must(at.run("-v", "lock")).stderr)
    print(json.dumps(record(at, CELL), indent=1)[:6000])
    print(at.run("-v", "--json", "build", "--no-verify"))
    print(prefix_of(at))
    print(at.run("--json", "verify").stdout)
    assert 0
