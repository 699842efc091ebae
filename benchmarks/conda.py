"""Solving and installing a conda cell beside py-rattler called by hand, and what a second cell takes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.measure import Row, alternate, ratio_note, run
from benchmarks.sharing import disk_use
from tests.support.conda import Absent
from tests.support.conda_python import torch_channel
from tests.support.index import FakeIndex
from tests.support.stage import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.ground import Ground

ALLOWED = 1.10
MATRIX = f"""\
version: 1
axes: {{python: ["{HERE}"], channel: [stable], target: [plain, numeric]}}
channels: {{stable: {{torch: "2.13.0"}}}}
backend: conda
targets:
  plain: {{platform: linux-64, accelerator: cpu}}
  numeric: {{platform: linux-64, accelerator: cpu, packages: [numpy]}}
"""
CELLS = [f"py{HERE.replace('.', '')}-stable-{target}-conda" for target in ("plain", "numeric")]
BY_HAND = f"""\
import asyncio, os, sys
from pathlib import Path
from rattler import Channel, Gateway, GenericVirtualPackage, PackageName, Version, install, solve
from rattler.package import BuildString

VIRTUAL = [("__unix", "0", "0"), ("__linux", "4.18", "0"), ("__glibc", "2.28", "0"), ("__archspec", "1", "x86_64")]

async def main(url, cache, prefix):
    virtual = [GenericVirtualPackage(PackageName(n), Version(v), BuildString(b)) for n, v, b in VIRTUAL]
    records = await solve(
        [Channel(url)],
        ["python {HERE}.*", "pytorch ==2.13.0 cpu*"],
        gateway=Gateway(cache_dir=cache / "repodata"),
        platforms=["linux-64", "noarch"],
        virtual_packages=virtual,
    )
    await install(records, prefix, cache_dir=cache / "packages", show_progress=False)

asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
os._exit(0)  # py-rattler 0.28 now and then crashes an interpreter that ends by itself
"""


def conda(ground: Ground) -> Iterator[Row]:
    """Real torch from a conda channel on loopback: with nothing here, and with everything unpacked."""
    names = [
        "conda: solve and install, nothing here yet",
        "conda: solve and install, packages unpacked",
        "conda: disk of 2 cells / distinct contents",
    ]
    try:
        channel = torch_channel(ground.fresh("conda-channel"), ground.environ)
    except Absent as absent:
        for name in names:
            yield Row(name=name, measured=None, allowed=ALLOWED, unit="x", note=str(absent))
        return
    project, script = ground.fresh("conda"), ground.folder / "conda-by-hand.py"
    project.mkdir()
    (project / "matrix.yaml").write_text(MATRIX, encoding="utf-8")
    script.write_text(BY_HAND, encoding="utf-8")
    with FakeIndex() as server:
        url = channel.serve(server, "/conda-forge")
        env = ground.closed_env() | {
            "TORCHMATRIX_MIRRORS": f"conda-forge={url}",
            "TORCHMATRIX_CACHE": str(ground.folder / "conda-store"),
        }
        sides = _Sides(ground, project, script, url, env)
        for name, cold in ((names[0], True), (names[1], False)):
            ours, theirs = alternate(3, partial(sides.ours, cold=cold), partial(sides.hand, cold=cold))
            note = ratio_note(ours, theirs, "py-rattler by hand")
            yield Row(name=name, measured=ours / theirs, allowed=ALLOWED, unit="x", note=note)
        run([ground.torchmatrix, "build", "--no-verify", *CELLS], env=env, cwd=project)
    taken, distinct = disk_use(ground.folder / "conda-store" / "envs")
    note = f"{taken / 1e6:.1f} MB on disk, {distinct / 1e6:.1f} MB of distinct contents"
    yield Row(name=names[2], measured=taken / distinct, allowed=1.2, unit="x", note=note)


class _Sides:
    """The two ways to the same environment, each a process of its own."""

    def __init__(self, ground: Ground, project: Path, script: Path, url: str, env: dict[str, str]) -> None:
        self._ground, self._project, self._script, self._url, self._env = ground, project, script, url, env

    def ours(self, *, cold: bool) -> float:
        """``build --no-verify`` without a lockfile; the environment itself is never there."""
        self._ground.fresh("conda/envs")
        self._ground.fresh("conda-store" if cold else "conda-store/envs")
        argv: list[str | Path] = [self._ground.torchmatrix, "build", "--no-verify", CELLS[0]]
        return run(argv, env=self._env, cwd=self._project).seconds

    def hand(self, *, cold: bool) -> float:
        """Solve and install in a script."""
        cache, prefix = self._ground.folder / "conda-hand", self._ground.fresh("conda-hand-env")
        if cold:
            self._ground.fresh("conda-hand")
        cache.mkdir(exist_ok=True)
        argv: list[str | Path] = [self._ground.python, self._script, self._url, cache, prefix]
        return run(argv, env=self._env).seconds
