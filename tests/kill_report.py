"""A hundred kills and a report: ``python -m tests.kill_report [--real] [--kills N]``; exit 1 when one did harm.

Without ``--real``: lock, lock over an older lockfile, and build, with the tiny packages of the fake indexes and conda
channels, half of the kills for each backend. With it
also builds with the real torch wheel that lies in a folder named by PIP_FIND_LINKS, the last ones with verification
(for those the default package index is needed).
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.far import BACKENDS, Far, far_away
from tests.kills import DOWNLOADING, INSTALLING, Action, Ground, Kill, publishing, spread, when_said
from tests.support.conda_scene import build_conda_channels
from tests.support.fixtures import clean_environment
from tests.support.stage import HERE, native_matrix, torch_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

CPU = "accelerator: cpu, packages: [numpy]"
ONE = native_matrix({"cpuonly": CPU}, project=True)


def disturb(ground: Ground, count: int) -> list[Kill]:
    """A quarter of the kills strike while files are published; of a build, another while it installs or verifies."""
    action, started = ground.action, time.monotonic()
    reference = ground.reference()
    aimed = count // 4
    moments = spread(count - aimed * (2 if action.builds else 1), reference.seconds) + publishing(aimed, 0.04)
    if action.builds:
        install = DOWNLOADING if "backend: conda" in action.matrix else INSTALLING["pip"]
        moments += when_said("verifying" if action.verifies else install, aimed, reference.seconds / 4)
    kills = [ground.kill(reference, moment, group=bool(turn % 2)) for turn, moment in enumerate(moments)]
    print(
        f"{action.name}: undisturbed in {reference.seconds:.2f} s; {summary(kills)}; {time.monotonic() - started:.0f} s"
    )
    for kill in kills:
        for problem in kill.problems:
            print(f"  {'group' if kill.group else 'process'}, {kill.moment}, in {kill.phase}: {problem}")
    return kills


def summary(kills: list[Kill]) -> str:
    """Counts in one line."""
    hit = [kill for kill in kills if kill.hit]
    phases = ", ".join(f"{phase} {count}" for phase, count in sorted(Counter(kill.phase for kill in hit).items()))
    groups = sum(kill.group for kill in hit)
    harm = sum(bool(kill.problems) for kill in kills)
    return (
        f"{len(kills)} kills, {len(hit)} hit a running process ({len(hit) - groups} it alone, {groups} its whole group;"
        f" {phases}), {harm} did harm"
    )


def fake(folder: Path, kills: int) -> list[Kill]:
    """Tiny packages on servers that are 30 ms away."""
    conda = build_conda_channels(folder / "conda-packages")
    found = []
    for backend, packages in zip(BACKENDS, (folder / "wheels", conda), strict=True):
        with far_away(backend, packages, folder, 0.03) as far:
            env = clean_environment(folder) | far.env
            found += [
                kill
                for action, share in zip(_actions(far, env), (0.35, 0.25, 0.4), strict=True)
                for kill in disturb(Ground(folder=folder, action=action), round(kills * share / len(BACKENDS)))
            ]
    return found


def _actions(far: Far, env: Mapping[str, str]) -> list[Action]:
    one = far.matrix({"cpuonly": CPU}, project=True)
    two = far.matrix({"cpuonly": CPU, "cu118": far.cu118}, project=True)
    older = far.matrix({"cpuonly": "accelerator: cpu", "cu118": f"{far.cu118}, packages: [pillow]"})
    return [
        Action(name=f"{far.backend} lock", arguments=("lock",), matrix=two, env=env),
        Action(name=f"{far.backend} lock over an older one", arguments=("lock",), matrix=two, env=env, old=older),
        Action(name=f"{far.backend} build", arguments=("build", "--no-verify"), matrix=one, env=env),
    ]


def real(folder: Path, wheels: Path) -> list[Kill]:
    """The real torch: unpacked and installed from cold caches, then with warm ones and verified."""
    mirrors = {"TORCHMATRIX_MIRRORS": f"pytorch={wheels}"}
    build = ("build",)
    with far_away("pip", folder / "wheels", folder, 0.03) as far:
        env = clean_environment(folder) | far.env | mirrors
        cold = Action(name="build of real torch", arguments=(*build, "--no-verify"), matrix=ONE, env=env)
        kills = disturb(Ground(folder=folder, action=cold), 14)
    dropped = ("TORCHMATRIX_", "PYTHON", "UV_CACHE_DIR")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)} | mirrors
    warm = Action(name="build of real torch with verification", arguments=build, matrix=ONE, env=env, cold=False)
    ground = Ground(folder=folder, action=warm)
    ground.reference()  # fills the download cache
    return kills + disturb(ground, 6)


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="with tiny packages (default 100)")
    parser.add_argument("--real", action="store_true", help="also 20 kills with the real torch wheel")
    options = parser.parse_args()
    wheels = torch_folder(os.environ)
    if options.real and wheels is None:
        print(f"PIP_FIND_LINKS names no folder with a torch wheel for Python {HERE}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="torchmatrix-kills-") as folder:
        kills = fake(Path(folder), options.kills)
        if options.real and wheels is not None:
            kills += real(Path(folder), wheels)
    print(f"all: {summary(kills)}")
    return int(any(kill.problems for kill in kills))


if __name__ == "__main__":
    sys.exit(main())
