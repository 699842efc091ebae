"""Fixtures around the fake indexes: ``from tests.support.fixtures import *`` in a conftest, or as a plugin."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support import conda_python, conda_recorded
from tests.support.conda import Absent
from tests.support.conda_scene import CondaScene, build_conda_channels, serve_conda_channels
from tests.support.index import FakeIndex
from tests.support.pytorch import Scene, pytorch_scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.conda import Channel


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


@pytest.fixture(scope="session")
def conda_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The conda channels of the conda scene, built once a session; nobody may change them."""
    return build_conda_channels(tmp_path_factory.mktemp("conda"))


@pytest.fixture
def conda_scene(conda_folder: Path) -> Iterator[CondaScene]:
    """conda-forge, pytorch and nvidia on a server of its own for the test, which may change and break it."""
    with FakeIndex() as server:
        yield serve_conda_channels(server, conda_folder)


@pytest.fixture(scope="session")
def shared_conda_scene(conda_folder: Path) -> Iterator[CondaScene]:
    """The same for tests that only read; its request log belongs to nobody."""
    with FakeIndex() as server:
        yield serve_conda_channels(server, conda_folder)


@pytest.fixture(scope="session")
def python_channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    """A conda channel with a real interpreter of the running version and its python_abi; skips where none is usable."""
    try:
        channel = conda_python.python_channel(tmp_path_factory.mktemp("conda-python"), os.environ)
    except Absent as absent:
        pytest.skip(str(absent))
    channel.index()
    return channel


@pytest.fixture(scope="session")
def torch_channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channel]:
    """conda-forge with real torch, python and all they need; for tests marked torch, index and slow."""
    folder = tmp_path_factory.mktemp("conda-torch")
    try:
        yield conda_python.torch_channel(folder, os.environ)
    except Absent as absent:
        pytest.skip(str(absent))
    finally:  # half a gigabyte, which pytest would keep for three runs
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def recorded_channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded conda channels, unpacked; skips where the recordings are absent."""
    try:
        return conda_recorded.recorded_channels(tmp_path_factory.mktemp("conda-recorded"))
    except Absent as absent:
        pytest.skip(str(absent))
