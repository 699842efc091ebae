"""For each backend: its sources, what is locked from them directly, and every kind of place that serves the same."""

from __future__ import annotations

import bz2
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from tests.cli.project import PY, at_source, must, stage
from tests.support.backends import other_torch, routed
from tests.support.conda import EMPTY_NOARCH, Channel, write_repodata
from tests.support.conda_scene import CondaScene, modules
from tests.support.faulty import ScriptedServer
from tests.support.index import FakeIndex
from tests.support.mirrors import SOURCES, Sources, mirrors, serve, sources, write_flat, write_tree
from tests.support.pytorch import LINUX, torch_wheel
from tests.support.stage import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.faulty import Asked, Wire
    from tests.support.stage import Stage

USER, PASSWORD = "robot", "s3cr3t:@/x"
PIP_MATRIX = f"""\
version: 1
axes: {{python: ["{HERE}"], channel: [stable, nightly], target: [cpuonly, cu118, cu126, mac]}}
channels: {{stable: {{torch: "2.13.0"}}, nightly: {{torch: nightly}}}}
targets:
  cpuonly: {{platform: linux-64, accelerator: cpu}}
  cu118: {{platform: linux-64, accelerator: cu118, torch: "2.7.1"}}
  cu126: {{platform: linux-64, accelerator: cu126}}
  mac: {{platform: osx-arm64, accelerator: mps, macos: "14.0"}}
exclude:
  - {{channel: stable, target: cu126, reason: the scene has none}}
  - {{channel: nightly, target: mac, reason: the scene has no torchvision for it}}
packages: [torchvision, corp-lib]
sources: {{corp: {{index: "INDEX", packages: ["corp-*"]}}}}
"""
PIP_CELLS = ("stable-cpuonly", "stable-cu118", "stable-mac", "nightly-cpuonly", "nightly-cu126")
CONDA_MATRIX = f"""\
version: 1
axes: {{python: ["{HERE}"], channel: [stable], target: [cpuonly, cu126, mac]}}
channels: {{stable: {{torch: "2.13.0"}}}}
targets:
  cpuonly: {{platform: linux-64, accelerator: cpu}}
  cu126: {{platform: linux-64, accelerator: cu126}}
  mac: {{platform: osx-arm64, accelerator: mps, macos: "14.0"}}
  old: {{platform: linux-64, accelerator: cu118, source: pytorch-conda, torch: "2.1.0",
        conda-channels: [corp, pytorch-conda, nvidia/label/cuda-11.8.0, conda-forge]}}
include: [{{python: "3.11", channel: stable, target: old}}]
backend: conda
packages: [torchvision, corp-lib]
sources: {{corp: {{conda-channel: "INDEX", packages: ["corp-*"]}}}}
"""
CONDA_CELLS = (f"py{PY}-stable-cpuonly", f"py{PY}-stable-cu126", f"py{PY}-stable-mac", "py311-stable-old")
CONDA_SOURCES = {"conda-forge": "/conda-forge", "pytorch-conda": "/pytorch", "nvidia": "/nvidia", "corp": "/corp"}
"""Where the conda channels are below a server, and below a folder."""


class Ground(Protocol):
    """What tests of mirrors need of a backend."""

    @property
    def cell(self) -> str:
        """One that can be built here."""

    @property
    def torch(self) -> str:
        """The name of its torch among its artifacts."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its sources."""

    @property
    def locked(self) -> dict[str, bytes]:
        """Every lockfile, as it was locked from the sources themselves."""

    @property
    def places(self) -> dict[str, str]:
        """TORCHMATRIX_MIRRORS by the kind of place."""

    @property
    def servers(self) -> dict[str, FakeIndex]:
        """Those behind them, that which wants credentials under ``auth``."""

    def project(self, folder: Path, places: str, **environ: str) -> Stage:
        """A project that gets everything from ``places``; the sources would be found, but must not be asked."""

    def direct(self, folder: Path) -> Stage:
        """The same without any mirror."""

    def published(self, at: Stage) -> dict[str, bytes]:
        """The lockfiles of a project, as far as mirrors may not change them."""

    def mirrors(self, base: str) -> str:
        """TORCHMATRIX_MIRRORS for everything below an address or a folder."""

    def forget(self) -> None:
        """Empty the request logs of the sources."""

    def asked(self) -> list[str]:
        """What the sources themselves were asked for."""

    def spoil(self, kind: str, folder: Path, server: FakeIndex) -> str:
        """Places of a kind whose torch has other bytes; TORCHMATRIX_MIRRORS."""


@dataclass(frozen=True, kw_only=True)
class PipGround:
    """The PyTorch index, a default index and a private one."""

    given: Sources
    wheels: Path
    locked: dict[str, bytes]
    places: dict[str, str]
    servers: dict[str, FakeIndex]
    cell: str = f"py{PY}-stable-cpuonly"
    torch: str = "torch"
    names: tuple[str, ...] = tuple(SOURCES)

    def project(self, folder: Path, places: str, **environ: str) -> Stage:
        """As `Ground.project`."""
        folder.mkdir(parents=True, exist_ok=True)
        matrix = PIP_MATRIX.replace("INDEX", self.given.corp_url)
        return stage(folder, self.given.scene, matrix, **{"TORCHMATRIX_MIRRORS": places, **environ})

    def direct(self, folder: Path) -> Stage:
        """As `Ground.direct`."""
        return at_source(self.project(folder, ""), self.given.scene.pytorch_url)

    def published(self, at: Stage) -> dict[str, bytes]:
        """pylock.toml is written where every address is known: at the sources, not behind mirrors."""
        return {path: text for path, text in at.published().items() if not path.endswith("pylock.toml")}

    def mirrors(self, base: str) -> str:
        """As `Ground.mirrors`."""
        if "://" in base:
            return mirrors(base)
        return " ".join(f"{source}={base}" for source in SOURCES)

    def forget(self) -> None:
        """As `Ground.forget`."""
        self.given.forget()

    def asked(self) -> list[str]:
        """As `Ground.asked`."""
        return self.given.asked

    def spoil(self, kind: str, folder: Path, server: FakeIndex) -> str:
        """As `Ground.spoil`."""
        other = torch_wheel(folder / "other", "2.13.0+cpu", f"cp{PY}-cp{PY}-{LINUX}", note="of somebody else")
        if kind == "http":
            places = serve(self.given, self.wheels, server)
            server.add("/whl/cpu", other, folder="/other")
            return places
        root = folder / "places"
        places = write_tree(self.given, root) if kind == "tree" else write_flat(self.given, root, uri=False)
        _replace(root, other)
        return places


@dataclass(frozen=True, kw_only=True)
class CondaGround:
    """conda-forge, pytorch, nvidia with a label, and a private conda channel.

    ``proxy`` is the only way to the real ones: it leads nowhere, and says who tried.
    """

    scene: CondaScene
    corp: FakeIndex
    proxy: ScriptedServer
    locked: dict[str, bytes]
    places: dict[str, str]
    servers: dict[str, FakeIndex]
    cell: str = f"py{PY}-stable-cpuonly-conda"
    torch: str = "pytorch"
    names: tuple[str, ...] = tuple(CONDA_SOURCES)

    def project(self, folder: Path, places: str, **environ: str) -> Stage:
        """As `Ground.project`."""
        folder.mkdir(parents=True, exist_ok=True)
        matrix = CONDA_MATRIX.replace("INDEX", f"{self.corp.url}/corp")
        own = {"TORCHMATRIX_MIRRORS": places, "HTTPS_PROXY": self.proxy.url, "https_proxy": self.proxy.url}
        return stage(folder, None, matrix, **own | environ)

    def direct(self, folder: Path) -> Stage:
        """As `Ground.direct`."""
        return routed(self.project(folder, ""), self.scene)

    def published(self, at: Stage) -> dict[str, bytes]:
        """As `Ground.published`: everything."""
        return at.published()

    def mirrors(self, base: str) -> str:
        """As `Ground.mirrors`."""
        return conda_mirrors(base)

    def forget(self) -> None:
        """As `Ground.forget`."""
        self.scene.server.forget()
        self.corp.forget()
        self.proxy.asked.clear()

    def asked(self) -> list[str]:
        """As `Ground.asked`."""
        return [*self.scene.server.paths(), *self.corp.paths(), *(one.target for one in self.proxy.asked)]

    def spoil(self, kind: str, folder: Path, server: FakeIndex) -> str:
        """As `Ground.spoil`."""
        other = other_torch(folder / "other")
        if kind == "http":
            places = serve_conda(self.scene.folder, server)
            server.put(f"/conda-forge/linux-64/{other.name}", other.read_bytes())
            return places
        root = folder / "places"
        shutil.copytree(self.scene.folder, root)
        _replace(root, other)
        return conda_mirrors(root.as_uri() if kind == "tree" else str(root))


def conda_mirrors(base: str) -> str:
    """TORCHMATRIX_MIRRORS for all conda channels below ``base``."""
    return " ".join(f"{name}={base}{below}" for name, below in CONDA_SOURCES.items())


def serve_conda(folder: Path, server: FakeIndex, prefix: str = "") -> str:
    """Let a server have all conda channels below a prefix; the value of TORCHMATRIX_MIRRORS."""
    for below in CONDA_SOURCES.values():
        Channel(folder=folder / below[1:]).serve(server, prefix + below)
    return conda_mirrors(server.url + prefix)


@contextmanager
def pip_ground(wheels: Path, folder: Path) -> Iterator[PipGround]:
    """Everything served in every way, and locked once from the sources themselves."""
    with (
        sources(wheels) as given,
        FakeIndex() as http,
        FakeIndex() as deep,
        FakeIndex(json=True) as modern,
        FakeIndex(links="absolute") as absolute,
        FakeIndex(auth=(USER, PASSWORD)) as guarded,
    ):
        servers = {"http": http, "below a prefix": deep, "json": modern, "absolute links": absolute, "auth": guarded}
        places = {
            name: serve(given, wheels, server, "/artifacts/py-mirror" * (server is deep))
            for name, server in servers.items()
        }
        places["tree"] = write_tree(given, folder / "tree")
        places["flat"] = write_flat(given, folder / "flat", uri=False)
        places["flat uri"] = write_flat(given, folder / "flat uri", uri=True)
        made = PipGround(given=given, wheels=wheels, locked={}, places=places, servers=servers)
        files = _lock(made, folder)
        assert sorted(files) == sorted(
            f"py{PY}-{cell}/{file}" for cell in PIP_CELLS for file in ("cell.json", "requirements.txt")
        )
        yield replace(made, locked=files)


@contextmanager
def conda_ground(conda: Path, folder: Path) -> Iterator[CondaGround]:
    """The same for the conda channels that were built in ``conda``."""
    tree = folder / "conda-tree"
    shutil.copytree(conda, tree)
    _add_corp(tree)
    _complete(tree)
    flat = folder / "flat"
    flat.mkdir()
    for package in [*tree.rglob("*.conda"), *tree.rglob("*.tar.bz2")]:
        if package.parent.name in ("linux-64", "noarch"):  # other platforms have files of the same name
            shutil.copy(package, flat)
    with (
        FakeIndex() as own,
        FakeIndex() as corp,
        ScriptedServer(_nowhere) as proxy,
        FakeIndex() as http,
        FakeIndex() as deep,
        FakeIndex() as plain,
        FakeIndex() as old,
        FakeIndex(auth=(USER, PASSWORD)) as guarded,
    ):
        servers = {"http": http, "below a prefix": deep, "plain": plain, "bz2": old, "auth": guarded}
        places = {
            name: serve_conda(tree, server, "/artifacts/py-mirror" * (server is deep))
            for name, server in servers.items()
        }
        for server in (plain, old):
            server.drop("*/repodata.json.zst")
        for path in [path for path in old._bodies if path.endswith("/repodata.json")]:
            old.put(f"{path}.bz2", bz2.compress(old._bodies[path].content))
            old.drop(path)
        places["tree"] = conda_mirrors(tree.as_uri())
        places["folder"] = conda_mirrors(str(tree))
        places["flat"] = " ".join(f"{name}={flat}" for name in CONDA_SOURCES)
        serve_conda(tree, own)
        Channel(folder=tree / "corp").serve(corp, "/corp")
        scene = CondaScene(server=own, folder=tree)
        made = CondaGround(scene=scene, corp=corp, proxy=proxy, locked={}, places=places, servers=servers)
        files = _lock(made, folder)
        expected = ("cell.json", "conda-PLATFORM.lock", "conda-lock.yml", "environment.yml")
        assert sorted(files) == sorted(
            f"{cell}-conda/{file.replace('PLATFORM', 'osx-arm64' if 'mac' in cell else 'linux-64')}"
            for cell in CONDA_CELLS
            for file in expected
        )
        yield replace(made, locked=files)


def _add_corp(tree: Path) -> None:
    """A private conda channel, and on conda-forge somebody who has taken one of its names."""
    corp, forge = Channel(folder=tree / "corp"), Channel(folder=tree / "conda-forge")
    for version in ("1.0", "1.1"):
        corp.add("corp-lib", version, noarch="python", files=modules("site-packages", "corp-lib", version))
    corp.index()
    hostile: dict[str, Any] = {"noarch": "python", "files": modules("site-packages", "corp-lib", "9.0")}
    forge.add("corp-lib", "9.0", **hostile)
    forge.index()


def _complete(tree: Path) -> None:
    """Every conda channel has all folders, empty ones too, as the real ones have."""
    for below in (*CONDA_SOURCES.values(), "/nvidia/label/cuda-11.8.0"):
        for subdir in ("linux-64", "osx-arm64", "noarch"):
            folder = tree / below[1:] / subdir
            if not (folder / "repodata.json").exists():
                write_repodata(folder, EMPTY_NOARCH | {"info": {"subdir": subdir}})


def _lock(made: PipGround | CondaGround, folder: Path) -> dict[str, bytes]:
    at = made.direct(folder / "direct")
    must(at.run("lock"))
    return made.published(at)


def _nowhere(asked: Asked, wire: Wire) -> None:
    wire.answer(502, b"no way")


def given(at: Stage, files: Mapping[str, bytes]) -> Stage:
    """The project with lockfiles that somebody else made."""
    for name, content in files.items():
        (at.envs / name).parent.mkdir(parents=True, exist_ok=True)
        (at.envs / name).write_bytes(content)
    return at


def _replace(root: Path, other: Path) -> None:
    for file in root.rglob(other.name):
        shutil.copy(other, file)
