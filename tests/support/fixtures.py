"""Fixtures around the fake indexes: ``from tests.support.fixtures import *`` in a conftest, or as a plugin."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.index import FakeIndex
from tests.support.pytorch import Scene, pytorch_scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fake_index() -> Iterator[FakeIndex]:
    """An empty index of its own for the test."""
    with FakeIndex() as index:
        yield index


@pytest.fixture(scope="session")
def scene_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheels of the scene are built, once a session."""
    return tmp_path_factory.mktemp("scene-wheels")


@pytest.fixture
def scene(scene_wheels: Path) -> Iterator[Scene]:
    """The PyTorch index and a default index, fresh for the test: it may change and break them."""
    with pytorch_scene(scene_wheels) as filled:
        yield filled


@pytest.fixture(scope="session")
def shared_scene(scene_wheels: Path) -> Iterator[Scene]:
    """The same for tests that only read; its request log belongs to nobody."""
    with pytorch_scene(scene_wheels) as filled:
        yield filled


@pytest.fixture
def clean_env(tmp_path: Path) -> dict[str, str]:
    """An environment for child processes: no configuration of the user, caches below ``tmp_path``, no proxy."""
    return clean_environment(tmp_path)


def clean_environment(folder: Path) -> dict[str, str]:
    """The same for fixtures of another scope."""
    kept = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "TEMP", "TMP", "TMPDIR")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return env | {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "UV_CACHE_DIR": str(folder / "uv-cache"),
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
