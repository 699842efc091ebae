"""The backend that is made when it is needed: cheap until then, made once, and stopped whenever."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from torchmatrix.backends.lazy import LazyPipBackend
from torchmatrix.catalog import load_catalog
from torchmatrix.sources.config import SourceConfig
from torchmatrix.sources.pip_config import Setting
from torchmatrix.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def lazy(folder: Path) -> LazyPipBackend:
    config = SourceConfig(default_index=Setting(value="https://index.example/simple", origin="a test"))
    return LazyPipBackend(config, load_catalog(), Store(folder), home=folder)


def test_it_is_made_once_whoever_asks(tmp_path: Path) -> None:
    one = lazy(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: one.inner, range(8)))
    assert len({id(each) for each in made}) == 1


def test_it_can_be_stopped_before_and_after_it_is_made(tmp_path: Path) -> None:
    before, after = lazy(tmp_path), lazy(tmp_path)
    before.stop()
    assert before.inner.web.stopping.is_set()
    web = after.inner.web
    assert not web.stopping.is_set()
    after.stop()
    assert web.stopping.is_set()


def test_importing_it_imports_no_source_and_no_resolver() -> None:
    """`list` and `lock --check` make one without using it."""
    program = "import sys, torchmatrix.backends.lazy; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    heavy = ("torchmatrix.sources.", "torchmatrix.backends.pip", "torchmatrix.backends.uv")
    assert [name for name in loaded if name.startswith(heavy)] == []
    assert "torchmatrix.backends.lazy" in loaded
