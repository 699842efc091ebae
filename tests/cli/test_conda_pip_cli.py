"""A conda cell with pip-packages through the command line: locked apart, built beside the conda packages, checked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.project import PY, answer, must, record, stage
from tests.support.conda_scene import HERE, NATIVE_SUBDIR, TORCH_PYTHONS
from tests.support.wheels import build_wheel, sha256

if TYPE_CHECKING:
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


def project(folder: Path, conda: CondaScene, scene: Scene, packages: str) -> Stage:
    """The project of the one cell, with these ``pip-packages``."""
    matrix = MATRIX.replace("PACKAGES", packages)
    return stage(folder, None, matrix, TORCHMATRIX_DEFAULT_INDEX=scene.default_url, **conda.env)


def pip_of(at: Stage) -> dict[str, dict[str, Any]]:
    """What the record has of pip, by name."""
    return {entry["name"]: entry for entry in record(at, CELL)["pip"]}


def python(at: Stage, code: str) -> Any:
    """What ``code`` prints inside the cell, read as JSON."""
    return json.loads(must(at.run("run", CELL, "--", "python", "-c", f"import json, sys; {code}")).stdout)


def test_what_pip_adds_is_locked_apart(tmp_path: Path, shared_conda_scene: CondaScene, index: Scene) -> None:
    at = project(tmp_path, shared_conda_scene, index, "lit")
    changes = answer(at.run("--json", "lock"))["cells"][0]["changes"]
    assert {"helper", "lit", "pytorch", "jinja2"} <= {change["name"] for change in changes}
    said, pip = record(at, CELL), pip_of(at)
    assert sorted(pip) == ["helper", "lit"]
    assert {name: (one["version"], one["source"]) for name, one in pip.items()} == {
        "helper": ("1.1", "pypi"),
        "lit": ("1.0", "pypi"),
    }
    conda = {one["name"]: one["source"] for one in said["artifacts"]}
    assert (conda["pytorch"], conda["jinja2"], conda["typing_extensions"]) == ("conda-forge",) * 3
    assert not {"helper", "lit"} & set(conda)
    assert said["inputs"]["pip-packages"] == ["lit"]
    assert "127.0.0.1" not in json.dumps(said)


def test_a_second_lock_changes_nothing(tmp_path: Path, shared_conda_scene: CondaScene, index: Scene) -> None:
    at = project(tmp_path, shared_conda_scene, index, "lit")
    must(at.run("lock"))
    first = at.published()
    must(at.run("lock", "--check"))
    must(at.run("lock"))
    assert at.published() == first
    must(at.run("lock", "--upgrade"))
    assert at.published() == first, "the indexes have nothing newer"
    index.forget()
    must(at.run("lock", "--check", "--online"))
    assert index.default.paths("/simple/lit/")


def test_what_is_newer_is_taken_on_demand(tmp_path: Path, shared_conda_scene: CondaScene, index: Scene) -> None:
    at = project(tmp_path, shared_conda_scene, index, "lit")
    must(at.run("lock"))
    _add(index, build_wheel(tmp_path / "wheels", "helper", "1.2"))
    (at.project / "matrix.yaml").write_text(MATRIX.replace("PACKAGES", "lit, zealous"), encoding="utf-8")
    fresh = replace(at, env={**at.env, "UV_CACHE_DIR": str(tmp_path / "fresh")})
    must(fresh.run("lock"))
    assert {name: one["version"] for name, one in pip_of(at).items()} == {
        "helper": "1.1",
        "lit": "1.0",
        "zealous": "1.0",
    }
    must(fresh.run("lock", "--upgrade", "helper"))
    assert pip_of(at)["helper"]["version"] == "1.2"


@builds
def test_the_environment_has_both(tmp_path: Path, shared_conda_scene: CondaScene, index: Scene) -> None:
    at = project(tmp_path, shared_conda_scene, index, "lit")
    built = answer(at.run("--json", "build", "--no-verify"))["cells"][0]
    prefix = Path(built["environment"])
    site = prefix / "lib" / f"python{HERE}" / "site-packages"
    assert (site / "lit" / "__init__.py").is_file()
    assert (site / "lit-1.0.dist-info" / "INSTALLER").read_text().strip() == "uv"
    assert (site / "jinja2-3.1.6.dist-info" / "INSTALLER").read_text().strip() == "conda"
    names = ["jinja2", "typing_extensions", "torch", "lit", "helper"]
    paths = f"[__import__(name).__file__ for name in {names}]"
    assert python(at, f"print(json.dumps({paths}))") == [str(site / name / "__init__.py") for name in names]
    assert must(at.run("run", CELL, "--", "lit")).stdout == "lit 1.0\n"
    findings = {
        one["check"]: one for one in answer(at.run("--json", "verify"), 1)["cells"][0]["verification"]["findings"]
    }
    assert findings["distributions"]["status"] == "passed"
    assert (
        findings["distributions"]["actual"]
        == f"{len(record(at, CELL)['artifacts']) + 2} installed, each at its version"
    )


@builds
def test_it_is_the_same_environment_elsewhere(tmp_path: Path, shared_conda_scene: CondaScene, index: Scene) -> None:
    digests = set()
    for name in ("one", "a-much-longer-name"):
        (tmp_path / name).mkdir()
        at = project(tmp_path / name, shared_conda_scene, index, "lit")
        must(at.run("build", "--no-verify"))
        digests.add(answer(at.run("--json", "verify"), 1)["cells"][0]["verification"]["environment_digest"])
    assert len(digests) == 1


@builds
def test_it_is_built_again_without_a_network(tmp_path: Path, conda_scene: CondaScene, index: Scene) -> None:
    at = project(tmp_path, conda_scene, index, "lit")
    must(at.run("build", "--no-verify"))
    for path in (tmp_path / "store" / "envs").iterdir():
        shutil.rmtree(path)
    for server in (conda_scene.server, index.default, index.files):
        server.stop()
    again = answer(at.run("--json", "--offline", "build", "--no-verify"))["cells"][0]
    assert again["created"]
    assert python(at, "import lit; print(json.dumps(lit.__version__))") == "1.0"


@builds
def test_other_bytes_are_not_installed(tmp_path: Path, shared_conda_scene: CondaScene, index: Scene) -> None:
    at = project(tmp_path, shared_conda_scene, index, "lit")
    must(at.run("lock"))
    before = pip_of(at)["lit"]["sha256"]
    wheel = build_wheel(tmp_path / "rebuilt", "lit", "1.0", files={"lit.py": "hostile = True\n"})
    _add(index, wheel)
    fresh = replace(at, env={**at.env, "UV_CACHE_DIR": str(tmp_path / "fresh")})
    cell = answer(fresh.run("--json", "build", "--no-verify"), 5)["cells"][0]
    assert cell["class"] == "integrity"
    assert cell["error"]["message"].startswith(f"installing {CELL}: the bytes are not those of the lockfile\n")
    assert before in cell["error"]["message"]
    assert sha256(wheel) in cell["error"]["message"]
    assert pip_of(at)["lit"]["sha256"] == before


@builds
def test_a_wheel_may_not_write_over_a_conda_package(
    tmp_path: Path, shared_conda_scene: CondaScene, index: Scene
) -> None:
    files = {"zealous.py": "", "sympy/__init__.py": "hostile = True\n"}
    _add(index, build_wheel(tmp_path / "other", "zealous", "2.0", files=files))
    at = project(tmp_path, shared_conda_scene, index, "zealous")
    error = answer(at.run("--json", "build", "--no-verify"), 1)["cells"][0]["error"]
    place = f"lib/python{HERE}/site-packages/sympy/__init__.py"
    assert error["message"] == f"{CELL}: zealous of pip-packages writes over {place} of the conda package sympy"
    # What the packages are linked from is as it was.
    (at.project / "matrix.yaml").write_text(MATRIX.replace("PACKAGES", "lit"), encoding="utf-8")
    must(at.run("build", "--no-verify"))
    assert python(at, "import sympy; print(json.dumps(sympy.__version__))") == "1.14.0"


@pytest.mark.parametrize(
    ("packages", "code", "message"),
    [
        ("oldtorch", 1, "oldtorch needs torch<2, and the conda packages have torch 2.13.0"),
        (
            "wantstriton",
            1,
            "wantstriton needs triton>=3, and the PyTorch family of a conda cell comes from its conda channel",
        ),
        ("torchvision", 2, "torchvision: the PyTorch family of a conda cell comes from its conda channel"),
    ],
)
def test_what_does_not_go_with_the_conda_packages(
    tmp_path: Path, shared_conda_scene: CondaScene, index: Scene, packages: str, code: int, message: str
) -> None:
    at = project(tmp_path, shared_conda_scene, index, packages)
    error = answer(at.run("--json", "lock"), code)["cells"][0]["error"]
    assert error["message"].splitlines()[0] == f"{CELL}: pip-packages: {message}"
    assert error["hint"]
    assert at.published() == {}


def test_the_default_index_has_to_answer_only_for_what_pip_adds(
    tmp_path: Path, shared_conda_scene: CondaScene, index: Scene
) -> None:
    index.forget()
    must(project(tmp_path, shared_conda_scene, index, "lit").run("lock"))
    asked = {path.rstrip("/").rpartition("/")[2] for path in index.default.paths("/simple/*/")}
    assert asked == {"helper", "lit"}
    index.default.stop()
    at = project(tmp_path / "other", shared_conda_scene, index, "lit")
    cell = answer(at.run("--json", "lock"), 4)["cells"][0]
    assert cell["error"]["message"].startswith("source pypi cannot be reached: 127.0.0.1")
    assert at.published() == {}
