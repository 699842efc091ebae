"""The same project with a pip cell or a conda cell: what holds for both backends is tested once, on either."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.cli.project import CELL, artifacts, record, stage
from tests.support.backends import CONDA, CONDA_CELL
from tests.support.conda import Channel
from tests.support.conda_scene import CondaScene
from tests.support.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pytest

    from tests.support.index import FakeIndex
    from tests.support.pytorch import Scene
    from tests.support.stage import Stage

BACKENDS = ("pip", "conda")
NEWER = "2027-02-01T00:00:00.000000Z"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A project with one native cell, and what serves its packages."""

    at: Stage
    scene: Scene | CondaScene
    folder: Path
    """Of the test."""

    @property
    def backend(self) -> str:
        """``pip`` or ``conda``."""
        return "conda" if isinstance(self.scene, CondaScene) else "pip"

    @property
    def cell(self) -> str:
        """The id of the cell."""
        return CONDA_CELL if self.backend == "conda" else CELL

    @property
    def torch(self) -> str:
        """torch's name in lockfiles."""
        return "pytorch" if self.backend == "conda" else "torch"

    @property
    def server(self) -> FakeIndex:
        """What serves torch."""
        return self.scene.server if isinstance(self.scene, CondaScene) else self.scene.pytorch

    @property
    def list_file(self) -> str:
        """The published list of files with hashes that another tool installs."""
        return "conda-linux-64.lock" if self.backend == "conda" else "requirements.txt"

    @property
    def formats(self) -> set[str]:
        """Every published file beside the record."""
        if self.backend == "conda":
            return {"conda-linux-64.lock", "conda-lock.yml", "environment.yml"}
        return {"pylock.toml", "requirements.txt"}

    @property
    def later(self) -> Ground:
        """The same with empty download caches: uv keeps index pages for two minutes."""
        return replace(self, at=replace(self.at, env={**self.at.env, "UV_CACHE_DIR": str(self.folder / "uv-later")}))

    def versions(self) -> dict[str, str]:
        """What is locked, without torch's local version."""
        return {name: one["version"].partition("+")[0] for name, one in artifacts(self.at, self.cell).items()}

    def record(self) -> dict[str, Any]:
        """The published cell.json."""
        return record(self.at, self.cell)

    def rewrite(self, before: str, after: str) -> None:
        """Change the matrix."""
        path = self.at.project / "matrix.yaml"
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after), encoding="utf-8")

    def publish(self, packages: Mapping[str, tuple[str, Sequence[str]]]) -> None:
        """Let pure Python packages appear: name -> version and what it requires, as a wheel says it."""
        if isinstance(self.scene, CondaScene):
            with changed(self.scene, self.folder) as channel:
                for name, (version, requires) in packages.items():
                    depends = ["python >=3.8", *(one.replace("<", " <", 1) for one in requires)]
                    channel.add(name, version, build="pyhd8ed1ab_0", noarch="python", depends=depends)
            return
        for name, (version, requires) in packages.items():
            wheel = build_wheel(self.scene.wheels / "newer", name, version, requires=list(requires))
            self.scene.default.add("/simple", wheel, host=self.scene.files, folder="/packages", upload_time=NEWER)


@contextmanager
def changed(scene: CondaScene, folder: Path, name: str = "conda-forge") -> Iterator[Channel]:
    """A copy of a conda channel of the scene below ``folder``, for the test to add to; served in its place then.

    The same copy the next time: the scene's own packages belong to all tests.
    """
    channel = Channel(folder=folder / "changed" / name)
    if not channel.folder.exists():
        shutil.copytree(scene.folder / name, channel.folder)
    yield channel
    channel.index()
    channel.serve(scene.server, f"/{name}")


def ground_for(backend: str, folder: Path, request: pytest.FixtureRequest, *, shared: bool = False) -> Ground:
    """`SMALL` for a backend, with that backend's scene; no fixture of the other is made."""
    fixture = {"pip": "scene", "conda": "conda_scene"}[backend]
    scene = request.getfixturevalue(f"shared_{fixture}" if shared else fixture)
    if isinstance(scene, CondaScene):
        return Ground(at=stage(folder, None, CONDA, **scene.env), scene=scene, folder=folder)
    return Ground(at=stage(folder, scene), scene=scene, folder=folder)
