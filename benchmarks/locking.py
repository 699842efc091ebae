"""Locking a whole matrix beside a shell loop of ``uv pip compile``, and checking its lockfiles."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

from benchmarks.measure import Row, alternate, middle, ratio_note, run
from tests.support.pytorch import TORCH, TORCH_CU118, TORCHVISION, TORCHVISION_CU118, TRITON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.ground import Ground
    from tests.support.pytorch import Scene

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
CPU, CU118 = f"{TORCH}+cpu", f"{TORCH_CU118}+cu118"
# target: platform, accelerator, torch and torchvision as the PyTorch index names them, uv's name of the platform
TARGETS = {
    "linux": ("linux-64", "cpu", CPU, f"{TORCHVISION}+cpu", "x86_64-manylinux_2_28"),
    "arm": ("linux-aarch64", "cpu", CPU, f"{TORCHVISION}+cpu", "aarch64-manylinux_2_28"),
    "windows": ("win-64", "cpu", CPU, f"{TORCHVISION}+cpu", "x86_64-pc-windows-msvc"),
    "mac": ("osx-arm64", "mps", TORCH, TORCHVISION, "aarch64-apple-darwin"),
    "cuda": ("linux-64", "cu118", CU118, f"{TORCHVISION_CU118}+cu118", "x86_64-manylinux_2_28"),
    "cuda-windows": ("win-64", "cu118", CU118, f"{TORCHVISION_CU118}+cu118", "x86_64-pc-windows-msvc"),
}


def whole_matrix(ground: Ground) -> Iterator[Row]:
    """24 distinct cells, no two resolutions identical; torchmatrix's store is always new, uv's cache first too."""
    with ground.scene() as (scene, env):
        ours, loop = Ours(ground, env), Loop(ground, scene)
        for state in ("cold", "warm"):
            seconds = alternate(3, lambda: ours.seconds(state), lambda: loop.seconds(state))  # noqa: B023
            ours.compare(loop)
            yield Row(
                name=f"lock of 24 cells, {state} uv cache",
                measured=seconds[0] / seconds[1],
                allowed=0.2,
                unit="x",
                note=ratio_note(seconds[0], seconds[1], "a loop of uv pip compile"),
            )


class Ours:
    """``torchmatrix lock``."""

    def __init__(self, ground: Ground, env: Mapping[str, str]) -> None:
        self._ground, self._project = ground, ground.fresh("lock-ours")
        cache = ground.folder / "lock-ours-cache"
        self._env = {**env, "UV_CACHE_DIR": str(cache), "TORCHMATRIX_CACHE": str(ground.folder / "lock-store")}
        self._project.mkdir()
        lines = ["version: 1", "axes:", f"  python: [{', '.join(json.dumps(one) for one in PYTHONS)}]"]
        lines += ["  channel: [stable]", f"  target: [{', '.join(TARGETS)}]", "channels: {stable: {torch: stable}}"]
        lines += ["packages: [numpy, torchvision, requests]", "targets:"]
        for name, (platform, accelerator, torch, _, _) in TARGETS.items():
            rest = f'torch: "{torch.partition("+")[0]}"' + (", source: pytorch" if accelerator == "mps" else "")
            lines.append(f"  {name}: {{platform: {platform}, accelerator: {accelerator}, {rest}}}")
        (self._project / "matrix.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def seconds(self, state: str) -> float:
        """One run without any lockfile and with an empty store."""
        for name in ("lock-store", *(["lock-ours-cache"] if state == "cold" else [])):
            self._ground.fresh(name)
        shutil.rmtree(self._project / "envs", ignore_errors=True)
        return run([self._ground.torchmatrix, "lock"], env=self._env, cwd=self._project).seconds

    def compare(self, loop: Loop) -> None:
        """Both sides found the same versions, or the comparison means nothing."""
        for python in PYTHONS:
            for target in TARGETS:
                record = self._project / "envs" / f"py{python.replace('.', '')}-stable-{target}" / "cell.json"
                artifacts = json.loads(record.read_text(encoding="utf-8"))["artifacts"]
                found = {artifact["name"]: artifact["version"] for artifact in artifacts}
                assert found == loop.versions(python, target), (python, target)


class Loop:
    """``for cell in …; do uv pip compile …; done``, with the PyTorch index for the family alone.

    As it is typed: without ``--python``, so uv looks for the cell's interpreter each time, which torchmatrix spares it.
    """

    def __init__(self, ground: Ground, scene: Scene) -> None:
        self._ground, self._folder = ground, ground.fresh("lock-loop")
        self._cache = ground.folder / "lock-loop-cache"
        closed = ground.closed_env()
        del closed["UV_NO_CONFIG"]
        self._env = {**closed, "UV_CACHE_DIR": str(self._cache), "UV_DEFAULT_INDEX": scene.default_url}
        for python in PYTHONS:
            for target, (platform, accelerator, torch, vision, _) in TARGETS.items():
                folder = "cpu" if accelerator == "mps" else accelerator
                names = {"torch": torch, "torchvision": vision}
                if (platform, accelerator) == ("linux-64", "cu118"):
                    names["triton"] = TRITON
                wanted = [*(f"{name}=={version}" for name, version in names.items()), "numpy", "requests"]
                lines = ["[project]", 'name = "cell"', 'version = "0"', f'requires-python = ">={python}"']
                lines += [f"dependencies = {json.dumps(wanted)}", "[[tool.uv.index]]", 'name = "pytorch"']
                lines += [f'url = "{scene.pytorch_url}/{folder}"', "explicit = true", "[tool.uv.sources]"]
                lines += [f'{name} = {{ index = "pytorch" }}' for name in names]
                place = self._folder / f"{python}-{target}"
                place.mkdir(parents=True)
                (place / "pyproject.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def seconds(self, state: str) -> float:
        """The sum over all cells, one after the other."""
        if state == "cold":
            self._ground.fresh(self._cache.name)
        return sum(self._one(python, target) for python in PYTHONS for target in TARGETS)

    def _one(self, python: str, target: str) -> float:
        place = self._folder / f"{python}-{target}"
        (place / "requirements.txt").unlink(missing_ok=True)
        argv: list[str | Path] = [self._ground.uv, "pip", "compile", "--quiet", "pyproject.toml"]
        argv += ["-o", "requirements.txt", "--generate-hashes", "--only-binary", ":all:"]
        argv += ["--python-version", python, "--python-platform", TARGETS[target][4]]
        return run(argv, env={**self._env, "MACOSX_DEPLOYMENT_TARGET": "14.0"}, cwd=place).seconds

    def versions(self, python: str, target: str) -> dict[str, str]:
        """What uv wrote for a cell."""
        text = (self._folder / f"{python}-{target}" / "requirements.txt").read_text(encoding="utf-8")
        return dict(re.findall(r"^([a-z0-9-]+)==([^\s\\]+)", text, re.MULTILINE))


def check(ground: Ground) -> Iterator[Row]:
    """``lock --check`` of 30 cells, offline."""
    project, store = ground.fresh("check"), ground.fresh("check-store")
    with ground.scene() as (_, env):
        env |= {"UV_CACHE_DIR": str(ground.folder / "check-cache"), "TORCHMATRIX_CACHE": str(store)}
        write_thirty(project)
        run([ground.torchmatrix, "lock"], env=env, cwd=project)
    argv: list[str | Path] = [ground.torchmatrix, "--offline", "lock", "--check"]
    seconds, busy = middle([run(argv, env=env, cwd=project) for _ in range(7)])
    yield Row(name="lock --check of 30 cells, offline", measured=seconds, allowed=1, unit="s", note=busy)


def write_thirty(project: Path, python: str = "3.11") -> None:
    """A matrix of 30 cells that one machine can build, each with other packages."""
    extra = ("numpy", "pillow", "requests", "certifi", "iniconfig")
    names = [f"t{number:02}" for number in range(30)]
    lines = ["version: 1", f'axes: {{python: ["{python}"], channel: [stable], target: [{", ".join(names)}]}}']
    lines += [f'channels: {{stable: {{torch: "{TORCH}"}}}}', "targets:"]
    for number, name in enumerate(names):
        packages = ", ".join(package for bit, package in enumerate(extra) if (number + 1) >> bit & 1)
        lines.append(f"  {name}: {{platform: linux-64, accelerator: cpu, packages: [{packages}]}}")
    project.mkdir(parents=True)
    (project / "matrix.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
