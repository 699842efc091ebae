"""A standard scene: the PyTorch index and a default index, with their habits and a few traps.

What is where: `place_pytorch` and `place_default`. The wheels are tiny; versions, tags, folders and requirements
follow those of the real indexes, dates of upload are made up.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.index import FakeIndex
from tests.support.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PYTHONS = ("310", "311", "312", "313")
TORCH, TORCHVISION = "2.13.0", "0.28.0"
TORCH_CU118, TORCHVISION_CU118, TRITON, CUBLAS = "2.7.1", "0.22.1", "3.3.1", "11.11.3.6"
NIGHTLY_TORCH, NIGHTLY_TORCHVISION = "2.16.0", "0.31.0"
NIGHTLY_DAYS = ("20261117", "20261118")
NIGHTLY_TRITON = "3.8.0+git5a8b1b3a"
HOSTILE = ("torch", "torchvision", "torchaudio", "triton", "torchtriton", "pytorch-triton")
HOSTILE_VERSION = "99.0.0"

LINUX, LINUX_ARM, MACOS, WINDOWS = "manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "macosx_14_0_arm64", "win_amd64"
TRITON_TAG = "manylinux_2_27_x86_64.manylinux_2_28_x86_64"
CU118_ARCHS = "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90"
ON_LINUX = 'platform_system == "Linux"'

OLD, NEW = "2024-05-01T12:00:00.000000Z", "2026-09-01T12:00:00.000000Z"
"""Upload times on the default index of the lower and the higher version of each package."""

DEFAULT_PACKAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "filelock": (("3.14.0", OLD), ("3.20.0", NEW)),
    "typing_extensions": (("4.11.0", OLD), ("4.15.0", NEW)),
    "sympy": (("1.13.3", OLD), ("1.14.0", NEW)),
    "mpmath": (("1.3.0", OLD),),
    "networkx": (("3.3", OLD), ("3.5", NEW)),
    "jinja2": (("3.1.4", OLD), ("3.1.6", NEW)),
    "MarkupSafe": (("2.1.5", OLD), ("3.0.3", NEW)),
    "fsspec": (("2024.3.1", OLD), ("2026.9.0", NEW)),
    "setuptools": (("77.0.3", OLD), ("80.9.0", NEW)),
    "numpy": (("1.26.4", OLD), ("2.3.4", NEW)),
    "pillow": (("10.3.0", OLD), ("12.0.0", NEW)),
    "certifi": (("2024.2.2", OLD), ("2026.8.1", NEW)),
    "requests": (("2.31.0", OLD), ("2.32.5", NEW)),
    "iniconfig": (("2.0.0", OLD), ("2.3.0", NEW)),
}
_REQUIRES = {
    "sympy": ("mpmath<1.4,>=1.1.0",),
    "jinja2": ("MarkupSafe>=2.0",),
    "requests": ("certifi>=2017.4.17",),
}
STALE = {"MarkupSafe": "2.1.5", "numpy": "1.26.3", "certifi": "2022.12.7", "requests": "2.28.1"}
"""Copies of default packages that the PyTorch index lists, older than the default index's newest."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The three servers and what to call them. Pages of stable cpu and the default index name ``files``."""

    pytorch: FakeIndex
    default: FakeIndex
    files: FakeIndex
    wheels: Path

    @property
    def pytorch_url(self) -> str:
        """The base below which the accelerator folders are: ``http://…/whl``."""
        return f"{self.pytorch.url}/whl"

    @property
    def default_url(self) -> str:
        """The default index: ``http://…/simple``."""
        return f"{self.default.url}/simple"

    def forget(self) -> None:
        """Empty the three request logs."""
        for index in (self.pytorch, self.default, self.files):
            index.forget()


@contextmanager
def pytorch_scene(wheels: Path) -> Iterator[Scene]:
    """Start the three servers and fill them; wheels already built in the folder are used again."""
    with FakeIndex() as files, FakeIndex() as pytorch, FakeIndex(json=True, links="absolute") as default:
        scene = Scene(pytorch=pytorch, default=default, files=files, wheels=wheels)
        place_pytorch(scene)
        place_default(scene)
        yield scene


def place_pytorch(scene: Scene) -> None:
    """Stable cpu and cu118, triton beside the accelerators, nightlies without hashes, stale copies."""
    index, folder = scene.pytorch, scene.wheels
    for wheel in stable_cpu(folder):  # an index whose files lie on another host
        index.add("/whl/cpu", wheel, host=scene.files, folder="/whl/cpu")
    for wheel in stable_cu118(folder):  # stable pages miss some hashes too
        index.add("/whl/cu118", wheel, hashes=not wheel.name.startswith("torchvision"))
    for wheel in tritons(folder):
        index.add("/whl/cu118", wheel, folder="/whl")
        index.add("/whl", wheel, folder="/whl")
    index.add("/whl/cu118", cublas(folder))
    for accelerator in ("cpu", "cu126"):
        prefix = f"/whl/nightly/{accelerator}"
        for wheel in nightlies(folder, accelerator):
            index.add(prefix, wheel, hashes=False, upload_time="2026-11-18T09:00:00Z")
    for wheel in nightly_tritons(folder):
        index.add("/whl/nightly/cu126", wheel, hashes=False, folder="/whl/nightly")
        index.add("/whl/nightly", wheel, hashes=False, folder="/whl/nightly")
    for name, version in STALE.items():
        for accelerator in ("", "/cpu", "/cu118", "/nightly", "/nightly/cpu", "/nightly/cu126"):
            index.add(f"/whl{accelerator}", _wheel(folder / "stale", name, version), folder="/whl")


def place_default(scene: Scene) -> None:
    """What everything else comes from, torch for macOS with other bytes, and hostile newer family members."""
    index, folder = scene.default, scene.wheels
    for name, versions in DEFAULT_PACKAGES.items():
        for version, uploaded in versions:
            wheel = _wheel(folder / "default", name, version, requires=_REQUIRES.get(name, ()))
            _add_default(scene, wheel, uploaded)
    _add_default(scene, cublas(folder), OLD)
    for wheel in default_torch(folder):
        _add_default(scene, wheel, NEW)
    for name in HOSTILE:
        _add_default(scene, _wheel(folder / "hostile", name, HOSTILE_VERSION), NEW)
    assert index.json


def _add_default(scene: Scene, wheel: Path, uploaded: str) -> None:
    scene.default.add("/simple", wheel, host=scene.files, folder="/packages", upload_time=uploaded)


def stable_cpu(folder: Path) -> list[Path]:
    """torch and torchvision for four platforms; the macOS wheels carry no local version."""
    found = []
    for python in PYTHONS:
        for platform in (LINUX, LINUX_ARM, WINDOWS):
            tag = f"cp{python}-cp{python}-{platform}"
            found.append(torch_wheel(folder / "cpu", f"{TORCH}+cpu", tag))
            found.append(torchvision_wheel(folder / "cpu", f"{TORCHVISION}+cpu", tag, TORCH))
        found.append(torch_wheel(folder / "cpu", TORCH, f"cp{python}-none-{MACOS}"))
        found.append(torchvision_wheel(folder / "cpu", TORCHVISION, f"cp{python}-cp{python}-{MACOS}", TORCH))
    return found


def stable_cu118(folder: Path) -> list[Path]:
    """torch 2.7.1 and its torchvision for Linux and Windows."""
    found = []
    requires = [
        f'nvidia-cublas-cu11=={CUBLAS}; {ON_LINUX} and platform_machine == "x86_64"',
        f"triton=={TRITON}; {ON_LINUX}",
    ]
    for python in PYTHONS:
        for platform in (LINUX, WINDOWS):
            tag = f"cp{python}-cp{python}-{platform}"
            torch = torch_wheel(folder / "cu118", f"{TORCH_CU118}+cu118", tag, requires=requires)
            found += [torch, torchvision_wheel(folder / "cu118", f"{TORCHVISION_CU118}+cu118", tag, TORCH_CU118)]
    return found


def tritons(folder: Path) -> list[Path]:
    """triton for Linux x86_64, as the PyTorch index has it."""
    return [_wheel(folder / "triton", "triton", TRITON, tag=f"cp{one}-cp{one}-{TRITON_TAG}") for one in PYTHONS]


def nightly_tritons(folder: Path) -> list[Path]:
    """pytorch-triton for Linux x86_64; on no other index under this version."""
    tags = [f"cp{one}-cp{one}-{TRITON_TAG}" for one in PYTHONS]
    return [_wheel(folder / "nightly", "pytorch-triton", NIGHTLY_TRITON, tag=tag) for tag in tags]


def cublas(folder: Path) -> Path:
    """One CUDA library, on both indexes with the same bytes."""
    return _wheel(folder / "cuda", "nvidia-cublas-cu11", CUBLAS, tag="py3-none-manylinux2014_x86_64")


def nightlies(folder: Path, accelerator: str) -> list[Path]:
    """torch and torchvision of two days for Linux x86_64; with cpu also torch for macOS."""
    found, below = [], folder / "nightly"
    for day in NIGHTLY_DAYS:
        version, vision = f"{NIGHTLY_TORCH}.dev{day}", f"{NIGHTLY_TORCHVISION}.dev{day}"
        requires = [f"pytorch-triton=={NIGHTLY_TRITON}; {ON_LINUX}"] if accelerator != "cpu" else []
        for python in PYTHONS:
            tag = f"cp{python}-cp{python}-{LINUX}"
            found.append(torch_wheel(below, f"{version}+{accelerator}", tag, requires=requires))
            found.append(torchvision_wheel(below, f"{vision}+{accelerator}", tag, version))
            if accelerator == "cpu":
                found.append(torch_wheel(below, version, f"cp{python}-none-{MACOS}"))
    return found


def default_torch(folder: Path) -> list[Path]:
    """torch on the default index: macOS under the name of the PyTorch index but other bytes, Linux a CUDA build."""
    below, found = folder / "default-torch", []
    for python in PYTHONS:
        found.append(torch_wheel(below, TORCH, f"cp{python}-none-{MACOS}", note="from the default index"))
        found.append(torch_wheel(below, TORCH, f"cp{python}-cp{python}-{LINUX}", cuda="13.0"))
        tag = f"cp{python}-cp{python}-{MACOS}"
        found.append(torchvision_wheel(below, TORCHVISION, tag, TORCH, note="from the default index"))
    return found


def torch_wheel(
    folder: Path, version: str, tag: str, *, requires: Iterable[str] = (), cuda: str | None = None, note: str = ""
) -> Path:
    """A torch that can be imported and says what it was built for; it computes nothing."""
    local = version.partition("+")[2]
    if local.startswith("cu"):
        cuda = f"{local[2:-1]}.{local[-1]}"
    mps = "macosx" in tag
    files = {
        "torch/__init__.py": "from torch import _C, backends, cuda, version\nfrom torch.version import __version__\n",
        "torch/version.py": f"# {note}\n__version__ = {version!r}\ncuda = {cuda!r}\nhip = None\ndebug = False\n",
        "torch/_C.py": f"def _cuda_getArchFlags():\n    return {CU118_ARCHS!r}\n" if cuda else "",
        "torch/cuda/__init__.py": "def is_available():\n    return False\n\n\ndef device_count():\n    return 0\n",
        "torch/backends/__init__.py": "from torch.backends import mps\n",
        "torch/backends/mps.py": f"def is_built():\n    return {mps}\n\n\ndef is_available():\n    return False\n",
    }
    common = ["filelock", "typing-extensions>=4.10.0", "sympy>=1.13.3", "networkx>=2.5.1", "jinja2", "fsspec>=0.8.5"]
    if not version.startswith("2.7"):
        common.append("setuptools>=77.0.3")
    return _wheel(
        folder, "torch", version, tag=tag, requires=[*common, *requires], files=files, requires_python=">=3.10"
    )


def torchvision_wheel(folder: Path, version: str, tag: str, torch: str, *, note: str = "") -> Path:
    """A torchvision that pins torch exactly, without the local version, as the real one does."""
    files = {"torchvision/__init__.py": f"# {note}\nimport torch\n\n__version__ = {version!r}\n"}
    requires = ["numpy", f"torch=={torch}", "pillow!=8.3.*,>=5.3.0"]
    return _wheel(folder, "torchvision", version, tag=tag, requires=requires, files=files, requires_python=">=3.10")


def _wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    tag: str = "py3-none-any",
    requires: Iterable[str] = (),
    files: dict[str, str] | None = None,
    requires_python: str | None = None,
) -> Path:
    path = folder / f"{name.replace('-', '_')}-{version}-{tag}.whl"
    if path.exists():
        return path
    return build_wheel(folder, name, version, tag=tag, requires=requires, files=files, requires_python=requires_python)
