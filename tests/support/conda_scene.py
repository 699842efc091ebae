"""A standard scene for conda: conda-forge, pytorch and nvidia with tiny packages that resemble the real ones.

What is where: `place_conda_forge`, `place_pytorch`, `place_nvidia`. Names, builds, requirements and what conda calls
constrains follow the real conda channels; hashes in build strings are ``h0``. On the platform of this machine the
python package of the running version works: it is a virtual environment of the interpreter that runs the tests.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.conda import Channel
from tests.support.wheels import metadata_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.support.index import FakeIndex

SUBDIRS = ("linux-64", "linux-aarch64", "osx-arm64", "osx-64", "win-64")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHON_VERSIONS = {
    "3.8": "3.8.20",
    "3.9": "3.9.23",
    "3.10": "3.10.18",
    "3.11": "3.11.13",
    "3.12": "3.12.11",
    "3.13": "3.13.5",
    "3.14": "3.14.0",
} | {HERE: platform.python_version()}
"""The one python package of each version; that of the running one has its patch release."""
NATIVE_SUBDIR = {
    ("linux", "x86_64"): "linux-64",
    ("linux", "aarch64"): "linux-aarch64",
    ("darwin", "arm64"): "osx-arm64",
    ("darwin", "x86_64"): "osx-64",
}.get((sys.platform, platform.machine()))
"""Where the python package works."""

TORCH_PYTHONS = {"2.5.1": ("3.10", "3.11", "3.12", "3.13"), "2.13.0": ("3.10", "3.11", "3.12", "3.13", "3.14")}
VISION = {"2.5.1": "0.20.1", "2.13.0": "0.28.0", "2.1.0": "0.16.0"}
AUDIO = {"2.5.1": "2.5.1", "2.1.0": "2.1.0"}
"""Later versions of torch have no torchaudio of their own."""
VARIANTS = {
    ("linux-64", "2.5.1"): ("cpu_mkl", "cuda118", "cuda126_mkl"),
    ("linux-64", "2.13.0"): ("cpu_mkl", "cuda126_mkl"),
    ("win-64", "2.5.1"): ("cpu_mkl", "cuda126_mkl"),
    ("win-64", "2.13.0"): ("cpu_mkl", "cuda126_mkl"),
    ("osx-64", "2.5.1"): ("cpu_mkl",),
}
"""Builds on conda-forge; elsewhere ``cpu_generic`` alone, and nothing new for osx-64."""
CUDA = {"cuda118": "11.8", "cuda126_mkl": "12.6"}
NOARCH_PACKAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "filelock": ("3.20.0", ()),
    "fsspec": ("2026.9.0", ()),
    "jinja2": ("3.1.6", ("markupsafe >=2.0",)),
    "markupsafe": ("3.0.3", ()),
    "mpmath": ("1.3.0", ()),
    "networkx": ("3.5", ()),
    "pillow": ("12.0.0", ()),
    "pip": ("25.3", ("setuptools",)),
    "pyyaml": ("6.0.3", ()),
    "setuptools": ("80.9.0", ()),
    "sympy": ("1.14.0", ("mpmath >=0.19",)),
    "typing_extensions": ("4.15.0", ()),
}
"""Some of the real ones are not noarch; here that is of no use."""
PYTORCH_TORCH = "2.1.0"
PYTORCH_PYTHONS = ("3.10", "3.11")
CUDA_11_8_PARTS = ("cuda-cudart", "cuda-cupti", "cuda-libraries", "cuda-nvrtc", "cuda-nvtx", "cuda-runtime")
OLD_CUBLAS = "11.11.3.6"


@dataclass(frozen=True, kw_only=True)
class CondaScene:
    """One server with the three conda channels below it; ``folder`` has the same tree for ``file://``."""

    server: FakeIndex
    folder: Path

    @property
    def conda_forge_url(self) -> str:
        """``http://…/conda-forge``."""
        return f"{self.server.url}/conda-forge"

    @property
    def pytorch_url(self) -> str:
        """``http://…/pytorch``, the source ``pytorch-conda``."""
        return f"{self.server.url}/pytorch"

    @property
    def nvidia_url(self) -> str:
        """``http://…/nvidia``; the label is below it."""
        return f"{self.server.url}/nvidia"

    @property
    def env(self) -> dict[str, str]:
        """Variables that let torchmatrix take every conda package from here."""
        named = {"conda-forge": self.conda_forge_url, "pytorch-conda": self.pytorch_url, "nvidia": self.nvidia_url}
        return {"TORCHMATRIX_MIRRORS": " ".join(f"{name}={url}" for name, url in named.items())}

    def channel(self, name: str) -> Channel:
        """A conda channel of the tree, ``nvidia/label/cuda-11.8.0`` for one. The tree belongs to all tests."""
        return Channel(folder=self.folder / name)


def build_conda_channels(folder: Path) -> Path:
    """Build every package of the scene and index the conda channels; takes seconds, is done once a session."""
    for name, place in CHANNELS.items():
        channel = Channel(folder=folder / name)
        place(channel)
        # NVIDIA's old packages are known by their md5 alone.
        channel.index(without_sha256=CUDA_11_8_PARTS if "label" in name else ())
    return folder


def serve_conda_channels(server: FakeIndex, folder: Path) -> CondaScene:
    """Let a server have what `build_conda_channels` built."""
    for name in ("conda-forge", "pytorch", "nvidia"):
        Channel(folder=folder / name).serve(server, f"/{name}")
    return CondaScene(server=server, folder=folder)


def site_folder(subdir: str, python: str) -> str:
    """Where a package has its modules."""
    return "Lib/site-packages" if subdir == "win-64" else f"lib/python{python}/site-packages"


def abi(python: str) -> str:
    """The build of python_abi: ``cp311``."""
    return f"cp{python.replace('.', '')}"


def needs_python(python: str) -> list[str]:
    """What a package of one Python version depends on."""
    minor = int(python.partition(".")[2])
    return [f"python >={python},<3.{minor + 1}.0a0", f"python_abi {python}.* *_{abi(python)}"]


def needs_system(subdir: str) -> list[str]:
    """The virtual package of a platform."""
    if subdir.startswith("linux"):
        return ["__glibc >=2.17,<3.0.a0"]
    return ["__osx >=11.0"] if subdir.startswith("osx") else []


def modules(site: str, name: str, version: str, files: dict[str, str] | None = None) -> dict[str, str]:
    """An importable package and its dist-info, as conda packages have them."""
    stem = name.replace("-", "_")
    code = files or {f"{stem}/__init__.py": f"__version__ = {version!r}\n"}
    info = f"{stem}-{version}.dist-info"
    listed = [*code, f"{info}/METADATA", f"{info}/INSTALLER", f"{info}/RECORD"]
    said = {
        f"{info}/METADATA": metadata_text(name, version),
        f"{info}/INSTALLER": "conda\n",
        f"{info}/RECORD": "".join(f"{path},,\n" for path in listed),
    }
    return {f"{site}/{path}": text for path, text in (code | said).items()}


def torch_modules(version: str, cuda: str | None, *, mps: bool) -> dict[str, str]:
    """A torch that says what it was built for; it computes nothing."""
    archs = "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90"
    return {
        "torch/__init__.py": "from torch import _C, backends, cuda, version\nfrom torch.version import __version__\n",
        "torch/version.py": f"__version__ = {version!r}\ncuda = {cuda!r}\nhip = None\ndebug = False\n",
        "torch/_C.py": f"def _cuda_getArchFlags():\n    return {archs!r}\n" if cuda else "",
        "torch/cuda/__init__.py": "def is_available():\n    return False\n\n\ndef device_count():\n    return 0\n",
        "torch/backends/__init__.py": "from torch.backends import mps\n",
        "torch/backends/mps.py": f"def is_built():\n    return {mps}\n\n\ndef is_available():\n    return False\n",
    }


# conda-forge


def place_conda_forge(channel: Channel) -> None:
    """python, pytorch and its family for five platforms, and what they depend on."""
    for python in PYTHON_VERSIONS:
        add_abi(channel, python)
        for subdir in SUBDIRS:
            add_python(channel, subdir, python)
    for name, (version, depends) in NOARCH_PACKAGES.items():
        files = modules("site-packages", name, version)
        needs = ["python >=3.8", *depends]
        channel.add(name, version, build="pyhd8ed1ab_0", noarch="python", depends=needs, files=files)
    for cuda in ("11.8", "12.6"):
        major = cuda.partition(".")[0]
        held = [f"cudatoolkit {cuda}|{cuda}.*", f"__cuda >={major}"]
        channel.add("cuda-version", cuda, build="h0_3", number=3, noarch="generic", constrains=held)
        for subdir in ("linux-64", "win-64"):
            needs = [f"cuda-version >={cuda},<{int(major) + 1}"]
            channel.add("cuda-cudart", f"{cuda}.77", build="h0_0", subdir=subdir, depends=needs)
    for subdir in SUBDIRS:
        add_libraries(channel, subdir)
        for python in TORCH_PYTHONS["2.13.0"]:
            add_numpy(channel, subdir, python)
        for torch, pythons in TORCH_PYTHONS.items():
            if (subdir, torch) != ("osx-64", "2.13.0"):
                add_torch(channel, subdir, torch, pythons)


def add_abi(channel: Channel, python: str) -> None:
    """The python_abi of one Python version."""
    said = "_cpython" if int(python[2:]) < 13 else f"_{abi(python)}"
    held = [f"python {python}.* *{said}"]
    channel.add("python_abi", python, build=f"8_{abi(python)}", number=8, noarch="generic", constrains=held)


def add_python(channel: Channel, subdir: str, python: str) -> None:
    """One python package. That of the running version and platform works, the others are a text file."""
    new = int(python[2:]) >= 13
    files, links, settings = {"bin/python-stub": f"python {python}\n"}, {}, {}
    if subdir == "win-64":
        files = {"python.exe": f"python {python}\n"}
    elif python == HERE and subdir == NATIVE_SUBDIR:
        base = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
        files = {
            "pyvenv.cfg": f"home = {base.parent}\ninclude-system-site-packages = false\n",
            f"{site_folder(subdir, python)}/README.txt": "Modules of conda packages lie here.\n",
        }
        links = {"bin/python": f"python{python}", "bin/python3": f"python{python}", f"bin/python{python}": str(base)}
    if new:
        settings = {"site_packages": site_folder(subdir, python)}
    build, number = (f"h0_100_{abi(python)}", 100) if new else ("h0_0_cpython", 0)
    held = f"python_abi {python}.* *_{abi(python)}"
    channel.add(
        "python",
        PYTHON_VERSIONS[python],
        build=build,
        number=number,
        subdir=subdir,
        depends=[*needs_system(subdir), *([held] if new else [])],
        constrains=[] if new else [held],
        files=files,
        links=links,
        **settings,
    )


def add_libraries(channel: Channel, subdir: str) -> None:
    """What the two kinds of builds ask for: blas, mkl, OpenMP."""
    for version in ("15.0.7", "21.1.8"):
        channel.add("llvm-openmp", version, build="h0_0", subdir=subdir)
    if subdir in ("linux-64", "osx-64", "win-64"):
        channel.add("mkl", "2024.2.2", build="h0_16", number=16, subdir=subdir)
        channel.add("blas", "2.116", build="mkl", number=16, subdir=subdir, depends=["mkl >=2018"])
    if subdir == "win-64":
        channel.add("intel-openmp", "2024.2.1", build="h0_1083", number=1083, subdir=subdir)
        channel.add("libuv", "1.51.0", build="h0_1", number=1, subdir=subdir)


def add_numpy(channel: Channel, subdir: str, python: str) -> None:
    """The two numpy that matter, one of each major version."""
    for version in ("1.26.4", "2.3.4"):
        channel.add(
            "numpy",
            version,
            build=f"py{abi(python)[2:]}_h0_0",
            subdir=subdir,
            depends=[*needs_system(subdir), *needs_python(python)],
            files=modules(site_folder(subdir, python), "numpy", version),
        )


def add_torch(channel: Channel, subdir: str, torch: str, pythons: Iterable[str]) -> None:
    """libtorch, pytorch, torchvision and torchaudio of one version in all its variants."""
    for variant in VARIANTS.get((subdir, torch), ("cpu_generic",)):
        cuda = CUDA.get(variant)
        number = 300 if cuda else 100 if variant == "cpu_mkl" else 0
        system = needs_system(subdir)
        needs = [f"cuda-version >={cuda},<{int(cuda[:2]) + 1}", "cuda-cudart"] if cuda else []
        needs += ["mkl >=2024.2.2,<2025.0a0"] if variant.endswith("mkl") else []
        off, on = ("cpu", "gpu") if cuda else ("gpu", "cpu")
        held = [f"pytorch-{off} <0.0a0", f"pytorch-{on} {torch}"]
        common = {"number": number, "subdir": subdir}
        built = f"{variant}_h0_{number}"
        own = [f"pytorch {torch} {variant}_*_{number}", *held]
        channel.add("libtorch", torch, build=built, depends=[*system, *needs], constrains=own, **common)
        for python in pythons:
            depends = [*(["__cuda"] if cuda else []), *system, *needs, f"libtorch {torch} {built}"]
            depends += ["filelock", "fsspec", "jinja2", "networkx", "numpy >=1.23,<3", *needs_python(python)]
            depends += ["setuptools", "sympy >=1.13.3", "typing_extensions >=4.10.0"]
            site = site_folder(subdir, python)
            code = torch_modules(torch, cuda, mps=subdir == "osx-arm64")
            files = modules(site, "torch", torch, code)
            build = f"{variant}_py{abi(python)[2:]}_h0_{number}"
            channel.add("pytorch", torch, build=build, depends=depends, constrains=held, files=files, **common)
            add_relatives(channel, subdir, torch, python, "cuda" + cuda.replace(".", "") if cuda else "cpu")


def add_relatives(channel: Channel, subdir: str, torch: str, python: str, variant: str) -> None:
    """torchvision and torchaudio, whose builds pin the kind of pytorch's."""
    following = ".".join([*torch.split(".")[:1], str(int(torch.split(".")[1]) + 1), "0a0"])
    for name, versions in (("torchvision", VISION), ("torchaudio", AUDIO)):
        if torch not in versions:
            continue
        depends = [*needs_system(subdir), *needs_python(python), f"pytorch >={torch},<{following}"]
        depends += [f"pytorch * {variant}*", "numpy >=1.23,<3", "pillow >=5.3.0,!=8.3.0,!=8.3.1"]
        if variant != "cpu":
            depends += [f"cuda-version >={variant[4:6]}.{variant[6:]},<{int(variant[4:6]) + 1}"]
        code = {f"{name}/__init__.py": f"import torch\n\n__version__ = {versions[torch]!r}\n"}
        channel.add(
            name,
            versions[torch],
            build=f"{variant}_py{abi(python)[2:]}_h0_{1 if variant != 'cpu' else 0}",
            number=1 if variant != "cpu" else 0,
            subdir=subdir,
            depends=depends,
            files=modules(site_folder(subdir, python), name, versions[torch], code),
        )


# pytorch and nvidia


def place_pytorch(channel: Channel) -> None:
    """pytorch 2.1.0 as it was there: builds of the mutex tell cpu from cuda, old archives, no numpy needed."""
    odd: dict[str, Any] = {"noarch": "generic", "track_features": ["pytorch-mutex"], "archive": ".tar.bz2"}
    channel.add("pytorch-mutex", "1.0", build="cpu", **odd)
    channel.add("pytorch-mutex", "1.0", build="cuda", number=100, **odd)
    channel.add("cpuonly", "2.0", depends=["pytorch-mutex 1.0 cpu"], **odd | {"track_features": ["cpuonly"]})
    parts = [*(f"{part} >=11.8,<12.0" for part in CUDA_11_8_PARTS), f"libcublas >={OLD_CUBLAS},<12.0.1.189"]
    for subdir in ("linux-64", "win-64"):
        channel.add("pytorch-cuda", "11.8", build="h0_5", number=5, subdir=subdir, depends=parts, archive=".tar.bz2")
    for python in PYTORCH_PYTHONS:
        add_old_torch(channel, "linux-64", python, f"py{python}_cpu_0", None)
        add_old_torch(channel, "linux-64", python, f"py{python}_cuda11.8_cudnn8.7.0_0", "11.8")
        add_old_torch(channel, "win-64", python, f"py{python}_cpu_0", None)
        add_old_torch(channel, "win-64", python, f"py{python}_cuda11.8_cudnn8_0", "11.8")
        add_old_torch(channel, "osx-arm64", python, f"py{python}_0", None)


def add_old_torch(channel: Channel, subdir: str, python: str, build: str, cuda: str | None) -> None:
    """One build of the family on the conda channel pytorch."""
    kind = f"_cu{cuda.replace('.', '')}" if cuda else "" if subdir == "osx-arm64" else "_cpu"
    short = f"py{abi(python)[2:]}{kind}"
    needs = ["filelock", "jinja2", "networkx", needs_python(python)[0], "pyyaml", "sympy", "typing_extensions"]
    held = []
    if subdir != "osx-arm64":
        openmp = ["intel-openmp", "libuv >=1.44.2,<2.0a0"] if subdir == "win-64" else ["llvm-openmp <16"]
        needs += ["blas * mkl", "mkl >=2018", *openmp, f"pytorch-mutex 1.0 {'cuda' if cuda else 'cpu'}"]
        held = ["cpuonly <0"] if cuda else ["cpuonly"]
    if cuda:
        needs += ["pytorch-cuda >=11.8,<11.9"]
        if subdir == "linux-64":
            needs += [f"torchtriton {PYTORCH_TORCH}"]
            depends = ["filelock", needs_python(python)[0], "pytorch"]
            channel.add(
                "torchtriton",
                PYTORCH_TORCH,
                build=f"py{abi(python)[2:]}",
                depends=depends,
                archive=".tar.bz2",
                files=modules(site_folder(subdir, python), "triton", PYTORCH_TORCH),
            )
    site = site_folder(subdir, python)
    code = torch_modules(PYTORCH_TORCH, cuda, mps=subdir == "osx-arm64")
    files = modules(site, "torch", PYTORCH_TORCH, code)
    settings = {"subdir": subdir, "archive": ".tar.bz2"}
    channel.add("pytorch", PYTORCH_TORCH, build=build, depends=needs, constrains=held, files=files, **settings)
    for name, version in (("torchvision", VISION[PYTORCH_TORCH]), ("torchaudio", AUDIO[PYTORCH_TORCH])):
        depends = ["numpy >=1.11", "pillow >=5.3.0,!=8.3.*", needs_python(python)[0], f"pytorch {PYTORCH_TORCH}"]
        depends += ["pytorch-cuda 11.8.*"] if cuda else []
        depends += [f"pytorch-mutex 1.0 {'cuda' if cuda else 'cpu'}"] if held else []
        code = {f"{name}/__init__.py": f"import torch\n\n__version__ = {version!r}\n"}
        files = modules(site, name, version, code)
        channel.add(name, version, build=short, depends=depends, constrains=held, files=files, **settings)


def place_nvidia(channel: Channel) -> None:
    """CUDA 11.8 and 12.6 libraries under the names of both ages."""
    for subdir in ("linux-64", "win-64"):
        for version in ("11.8.89", "12.6.77"):
            for part in CUDA_11_8_PARTS:
                channel.add(part, version, subdir=subdir, archive=".tar.bz2")
        for version in (OLD_CUBLAS, "12.6.4.1"):
            channel.add("libcublas", version, subdir=subdir, archive=".tar.bz2")


def place_nvidia_label(channel: Channel) -> None:
    """CUDA 11.8 alone; the channel has no noarch of its own."""
    for part in CUDA_11_8_PARTS:
        channel.add(part, "11.8.89", archive=".tar.bz2")
    channel.add("libcublas", OLD_CUBLAS, archive=".tar.bz2")


CHANNELS: dict[str, Callable[[Channel], None]] = {
    "conda-forge": place_conda_forge,
    "pytorch": place_pytorch,
    "nvidia": place_nvidia,
    "nvidia/label/cuda-11.8.0": place_nvidia_label,
}
"""Every conda channel of the scene by its path below the server, and who fills it."""
