"""Where benchmarks run: torchmatrix installed as a user has it, folders of their own, indexes at a distance."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

from benchmarks.measure import run
from tests.support.stage import indexes, slow_scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.pytorch import Scene

ROOT = Path(__file__).parents[1]
LATENCY = 0.03
"""Seconds that every answer of the indexes takes: a well connected machine and a content delivery network."""

IMMUTABLE = "max-age=365000000, immutable, public"
"""What file hosts say about wheels and their metadata."""
_DROPPED = ("PYTHON", "TORCHMATRIX_", "VIRTUAL_ENV", "UV_CACHE_DIR", "CI")
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "HOME")


@dataclass(kw_only=True)
class Ground:
    """A temporary folder with an installation of the checkout."""

    folder: Path
    environ: Mapping[str, str]
    """The caller's environment."""

    @property
    def uv(self) -> Path:
        """The uv of both sides."""
        return Path(find_uv_bin())

    @cached_property
    def python(self) -> Path:
        """The interpreter of the installation; everything in it is compiled, as pip leaves it."""
        prefix = self.folder / "installed"
        env = self.network_env()
        run([self.uv, "venv", "--quiet", "--no-project", prefix], env=env)
        python = prefix / "bin" / "python"
        run([self.uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, ROOT], env=env)
        run([prefix / "bin" / "torchmatrix", "--version"], env=env)
        return python

    @property
    def torchmatrix(self) -> Path:
        """The console script of the installation."""
        return self.python.parent / "torchmatrix"

    def network_env(self) -> dict[str, str]:
        """The caller's environment, so that its indexes, proxies and certificates count; bytecode is written."""
        return {name: value for name, value in self.environ.items() if not name.startswith(_DROPPED)}

    def closed_env(self) -> dict[str, str]:
        """An environment without any configuration of the caller."""
        home = self.fresh("home")
        home.mkdir()
        kept = {name: self.environ[name] for name in _KEPT if name in self.environ}
        return kept | {
            "HOME": str(home),
            "UV_NO_CONFIG": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "PIP_CONFIG_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def fresh(self, name: str) -> Path:
        """A path that does not exist, in the temporary folder."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    @contextmanager
    def scene(self) -> Iterator[tuple[Scene, dict[str, str]]]:
        """Indexes at `LATENCY`, and an environment for torchmatrix in which everything comes from them."""
        with slow_scene(self.folder / "wheels", LATENCY) as scene:
            scene.default.cache_control, scene.files.cache_control = "max-age=600, public", IMMUTABLE
            yield scene, self.closed_env() | indexes(scene)
