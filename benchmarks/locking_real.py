"""The same as `locking`, against the package index that this machine is configured for."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

from benchmarks.measure import Row, alternate, ratio_note, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.ground import Ground

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
RELEASES = ("2.12.0", "2.13.0")
# target: keys of the matrix, uv's name of the platform; wheels of all of them are on the default index
TARGETS = {
    "mac": ("platform: osx-arm64, accelerator: mps", "aarch64-apple-darwin"),
    "cuda": ("platform: linux-64, accelerator: cu130, source: pypi", "x86_64-manylinux_2_28"),
    "windows": ("platform: win-64, accelerator: cpu, source: pypi", "x86_64-pc-windows-msvc"),
}
PACKAGES = ("numpy", "requests")
NAME = "lock of 24 cells, real index"


def real_matrix(ground: Ground) -> Iterator[Row]:
    """24 distinct cells; torchmatrix's store is always new, uv's cache first too."""
    env = {**ground.network_env(), "UV_PYTHON_DOWNLOADS": "never"}
    if reason := _unreachable(ground, env):
        yield Row(name=NAME, measured=None, allowed=0.2, unit="x", note=reason)
        return
    ours, loop = _Ours(ground, env), _Loop(ground, env)
    for state in ("cold", "warm"):
        seconds = alternate(3, lambda: ours.seconds(state), lambda: loop.seconds(state))  # noqa: B023
        assert ours.versions() == loop.versions(), "both sides must find the same versions"
        note = ratio_note(seconds[0], seconds[1], "a loop of uv pip compile")
        yield Row(name=f"{NAME}, {state} uv cache", measured=seconds[0] / seconds[1], allowed=0.2, unit="x", note=note)


def _unreachable(ground: Ground, env: dict[str, str]) -> str:
    """Why there is nothing to measure; empty when uv's and our default index answers."""
    probe = ground.fresh("real-probe")
    probe.mkdir()
    (probe / "requirements.in").write_text("iniconfig\n", encoding="utf-8")
    argv: list[str | Path] = [ground.uv, "pip", "compile", "--quiet", "--no-cache", "requirements.in"]
    try:
        run(argv, env=_uv_env(env), cwd=probe)
    except SystemExit as error:
        return f"the default index cannot be used: {str(error).splitlines()[-1]}"
    return ""


def _uv_env(env: dict[str, str]) -> dict[str, str]:
    """uv does not read pip's configuration: it is told where pip's index is, as torchmatrix finds it by itself."""
    index = env.get("UV_DEFAULT_INDEX") or env.get("PIP_INDEX_URL")
    return {**env, "UV_DEFAULT_INDEX": index} if index else env


class _Ours:
    def __init__(self, ground: Ground, env: dict[str, str]) -> None:
        self._ground, self._project = ground, ground.fresh("real-ours")
        self._env = {
            **env,
            "UV_CACHE_DIR": str(ground.folder / "real-ours-cache"),
            "TORCHMATRIX_CACHE": str(ground.folder / "real-store"),
        }
        self._project.mkdir()
        channels = ", ".join(f'r{one.replace(".", "")}: {{torch: "{one}"}}' for one in RELEASES)
        names = ", ".join(f"r{one.replace('.', '')}" for one in RELEASES)
        lines = ["version: 1", "axes:", f"  python: [{', '.join(json.dumps(one) for one in PYTHONS)}]"]
        lines += [f"  channel: [{names}]", f"  target: [{', '.join(TARGETS)}]", f"channels: {{{channels}}}", "targets:"]
        lines += [f"  {name}: {{{keys}}}" for name, (keys, _) in TARGETS.items()]
        lines.append(f"packages: [{', '.join(PACKAGES)}]")
        (self._project / "matrix.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def seconds(self, state: str) -> float:
        for name in ("real-store", *(["real-ours-cache"] if state == "cold" else [])):
            self._ground.fresh(name)
        shutil.rmtree(self._project / "envs", ignore_errors=True)
        return run([self._ground.torchmatrix, "lock"], env=self._env, cwd=self._project).seconds

    def versions(self) -> dict[tuple[str, str, str], dict[str, str]]:
        found = {}
        for python in PYTHONS:
            for release in RELEASES:
                for target in TARGETS:
                    cell = f"py{python.replace('.', '')}-r{release.replace('.', '')}-{target}"
                    record = json.loads((self._project / "envs" / cell / "cell.json").read_text(encoding="utf-8"))
                    found[python, release, target] = {one["name"]: one["version"] for one in record["artifacts"]}
        assert len(found) == 24, len(found)
        return found


class _Loop:
    def __init__(self, ground: Ground, env: dict[str, str]) -> None:
        self._ground, self._folder = ground, ground.fresh("real-loop")
        self._cache = ground.folder / "real-loop-cache"
        self._env = {**_uv_env(env), "UV_CACHE_DIR": str(self._cache), "MACOSX_DEPLOYMENT_TARGET": "14.0"}
        for python in PYTHONS:
            for release in RELEASES:
                for target in TARGETS:
                    place = self._place(python, release, target)
                    place.mkdir(parents=True)
                    wanted = "\n".join((f"torch=={release}", *PACKAGES))
                    (place / "requirements.in").write_text(wanted + "\n", encoding="utf-8")

    def _place(self, python: str, release: str, target: str) -> Path:
        return self._folder / f"{python}-{release}-{target}"

    def seconds(self, state: str) -> float:
        if state == "cold":
            self._ground.fresh(self._cache.name)
        return sum(self._one(*cell) for cell in self._cells())

    def _cells(self) -> Iterator[tuple[str, str, str]]:
        yield from ((python, release, target) for python in PYTHONS for release in RELEASES for target in TARGETS)

    def _one(self, python: str, release: str, target: str) -> float:
        place = self._place(python, release, target)
        (place / "requirements.txt").unlink(missing_ok=True)
        argv: list[str | Path] = [self._ground.uv, "pip", "compile", "--quiet", "requirements.in"]
        argv += ["-o", "requirements.txt", "--generate-hashes", "--only-binary", ":all:"]
        argv += ["--python-version", python, "--python-platform", TARGETS[target][1]]
        return run(argv, env=self._env, cwd=place).seconds

    def versions(self) -> dict[tuple[str, str, str], dict[str, str]]:
        found = {}
        for cell in self._cells():
            text = (self._place(*cell) / "requirements.txt").read_text(encoding="utf-8")
            found[cell] = dict(re.findall(r"^([a-z0-9-]+)==([^\s\\]+)", text, re.MULTILINE))
        return found
