"""Either backend's scene on servers that are as far away as real ones: for processes that meet, and for kills."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.conda import Channel
from tests.support.conda_scene import serve_conda_channels
from tests.support.stage import HERE, SlowIndex, indexes, native_matrix, slow_scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.index import FakeIndex

BACKENDS = ("pip", "conda")


@dataclass(frozen=True, kw_only=True)
class Far:
    """A backend and what it takes to use its scene. ``server`` has the files, ``torch`` is the glob of torch's."""

    backend: str
    env: dict[str, str]
    server: FakeIndex
    torch: str

    def cell(self, target: str) -> str:
        """The id of a cell of `matrix`."""
        return f"py{HERE.replace('.', '')}-stable-{target}" + ("-conda" if self.backend == "conda" else "")

    def matrix(self, targets: Mapping[str, str], *, project: bool = False) -> str:
        """Native cells, and if wanted the project that `write_project` writes."""
        return native_matrix(targets, project=project) + (f"backend: {self.backend}\n")

    @property
    def cu118(self) -> str:
        """Settings of a target for CUDA 11.8."""
        return f'accelerator: cu118, torch: "{"2.5.1" if self.backend == "conda" else "2.7.1"}"'

    @property
    def files(self) -> int:
        """How many files are published for a cell."""
        return 4 if self.backend == "conda" else 3


@contextmanager
def far_away(backend: str, packages: Path, scratch: Path, seconds: float) -> Iterator[Far]:
    """A scene whose servers take ``seconds`` for every answer.

    ``packages``: where the pip scene's wheels are to be built, or what `build_conda_channels` built.
    """
    if backend == "pip":
        with slow_scene(packages, seconds) as scene:
            yield Far(backend=backend, env=indexes(scene), server=scene.files, torch="*/torch-*.whl")
        return
    channels = scratch / "channels"
    if not channels.exists():
        shutil.copytree(packages, channels)
        forge = Channel(folder=channels / "conda-forge")  # what the project requires
        forge.add("requests", "2.32.5", build="pyhd8ed1ab_0", noarch="python", depends=["python >=3.8"])
        forge.index()
    with SlowIndex(seconds=seconds) as server:
        env = serve_conda_channels(server, channels).env
        yield Far(backend=backend, env=env, server=server, torch="*/pytorch-2.*.conda")
