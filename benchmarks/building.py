"""Building a cell beside the same by hand, and building again when nothing changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.locking import write_thirty
from benchmarks.measure import Row, alternate, middle, ratio_note, run
from tests.support.stage import HERE, SCENE_HAS_IT, native_matrix, torch_folder, write_project
from torchmatrix.catalog import load_catalog
from torchmatrix.environments import specification
from torchmatrix.lock.record import read_record
from torchmatrix.matrix.expand import expand
from torchmatrix.matrix.load import load_matrix
from torchmatrix.store import Store
from torchmatrix.verify import PROBE
from torchmatrix.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.ground import Ground

CELL = f"py{HERE.replace('.', '')}-stable-cpuonly"


def by_hand(ground: Ground) -> Iterator[Row]:
    """The real torch, installed from a warm download cache and verified."""
    name, allowed = "build of a cell, warm download cache", 1.10
    wheels = torch_folder(ground.environ)
    if wheels is None:
        note = f"PIP_FIND_LINKS names no folder with the torch wheel for Python {HERE}"
        yield Row(name=name, measured=None, allowed=allowed, unit="x", note=note)
        return
    project = ground.fresh("build")
    write_project(project, native_matrix({"cpuonly": "accelerator: cpu, packages: [numpy]"}))
    env = ground.network_env() | {
        "UV_CACHE_DIR": str(ground.folder / "build-cache"),
        "TORCHMATRIX_CACHE": str(ground.folder / "build-store"),
        "TORCHMATRIX_MIRRORS": f"pytorch={wheels}",
    }
    run([ground.torchmatrix, "build"], env=env, cwd=project)  # fills the download cache
    hand = Hand(ground, project, wheels, env)
    hand.seconds()

    def ours() -> float:
        ground.fresh("build-store")
        return run([ground.torchmatrix, "build"], env=env, cwd=project).seconds

    built, made = alternate(3, ours, hand.seconds)
    note = ratio_note(built, made, "uv venv + uv pip sync + the same probe")
    yield Row(name=name, measured=built / made, allowed=allowed, unit="x", note=note)


class Hand:
    """``uv venv``, ``uv pip sync`` of the same requirements, and the probe."""

    def __init__(self, ground: Ground, project: Path, wheels: Path, env: Mapping[str, str]) -> None:
        self._uv, self._folder, self._wheels, self._env = ground.uv, ground.folder / "build-hand", wheels, env
        workspace = workspace_of(project, ground.folder / "build-store")
        lockfile = read_record(project / "envs" / CELL / "cell.json")
        assert lockfile is not None
        self._spec = json.dumps(specification(workspace.expansion.cells[0], lockfile, workspace, None))
        self._requirements = ground.folder / "build-hand.txt"
        lines = [f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in lockfile.artifacts]
        self._requirements.write_text("".join(lines), encoding="utf-8")

    def seconds(self) -> float:
        """One run, from nothing to the findings."""
        shutil.rmtree(self._folder, ignore_errors=True)
        python = self._folder / "bin" / "python"
        started = time.perf_counter()
        run([self._uv, "venv", "--quiet", "--no-project", "--python", HERE, self._folder], env=self._env)
        argv: list[str | Path] = [self._uv, "pip", "sync", "--quiet", "--require-hashes", "--find-links", self._wheels]
        run([*argv, "--python", python, self._requirements], env=self._env)
        answer = subprocess.run(
            [python, "-I", PROBE, "-"], env=self._env, input=self._spec, capture_output=True, text=True, check=True
        )
        seconds = time.perf_counter() - started
        failed = [one for one in json.loads(answer.stdout)["findings"] if one["status"] == "failed"]
        assert not failed, failed
        return seconds


def rebuild(ground: Ground) -> Iterator[Row]:
    """One cell and 30 cells that are built and verified already, offline."""
    if not SCENE_HAS_IT:
        note = f"the fake index has no torch for Python {HERE}"
        yield Row(name="rebuild, nothing changed", measured=None, allowed=0.3, unit="s", note=note)
        return
    project, store = ground.fresh("rebuild"), ground.fresh("rebuild-store")
    write_thirty(project, HERE)
    with ground.scene() as (_, env):
        env |= {"UV_CACHE_DIR": str(ground.folder / "rebuild-cache"), "TORCHMATRIX_CACHE": str(store)}
        run([ground.torchmatrix, "lock"], env=env, cwd=project)
        cells = [cell.id for cell in workspace_of(project, store).expansion.cells]
        run([ground.torchmatrix, "build", *cells], env=env, cwd=project, codes=(1,))
    let_pass(store)
    for count, allowed in ((1, 0.3), (30, 1.0)):
        argv: list[str | Path] = [ground.torchmatrix, "--offline", "--json", "build", *cells[:count]]
        runs = [run(argv, env=env, cwd=project) for _ in range(9)]
        answer = json.loads(runs[-1].stdout)["cells"]
        assert len(answer) == count
        assert not any(cell["created"] or cell["resolved"] for cell in answer)
        assert all(cell["verification"]["passed"] for cell in answer)
        seconds, busy = middle(runs[2:])
        name = f"rebuild of {count} {'cell' if count == 1 else 'cells'}, nothing changed, offline"
        yield Row(name=name, measured=seconds, allowed=allowed, unit="s", note=busy)


def let_pass(store: Path) -> None:
    """Turn the remembered findings of every environment into passed ones: the indexes' tiny torch cannot compute."""
    for marker in (store / "envs").glob("*/entry.json"):
        data = json.loads(marker.read_text(encoding="utf-8"))
        for finding in data["verification"]["result"]["findings"]:
            finding.update(status="passed", reason=None)
        marker.write_text(json.dumps(data), encoding="utf-8")


def workspace_of(project: Path, store: Path) -> Workspace:
    """The matrix of a project and what follows from it."""
    matrix, catalog = load_matrix(project / "matrix.yaml"), load_catalog()
    expansion = expand(matrix, catalog)
    return Workspace(matrix=matrix, expansion=expansion, catalog=catalog, store=Store(store), backends={}, sandboxes={})
