"""The small files of a bundle that follow from its record: what pip, uv, conda and micromamba read, and words.

conda and micromamba take paths in an ``@EXPLICIT`` file as relative to the folder they run in (CEP 23,
https://conda.org/learn/ceps/cep-0023). The hashes stand in a file of their own: conda copies local files as they are
(``CacheUrlAction._execute_local`` in conda/core/path_actions.py), and reads no hash behind a path below a folder whose
name is not ASCII (``path_to_url`` in conda/common/url.py encodes the ``#`` there).
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError
from torchmatrix.lock.formats import CONDA, FORMATS
from torchmatrix.lock.formats.addresses import Addresses
from torchmatrix.lock.formats.depends import by_dependency
from torchmatrix.sources.config import PYTORCH_BASE
from torchmatrix.sources.repodata import NOARCH
from torchmatrix.target import Accelerator, AcceleratorKind, Platform, PythonVersion
from torchmatrix.verify.checks import MIN_DRIVERS

if TYPE_CHECKING:
    from torchmatrix.lock.model import Artifact, Lockfile

RECORD, REQUIREMENTS, README = "cell.json", "requirements.txt", "README.txt"
EXPLICIT, SUMS, REPODATA = "explicit.txt", "SHA256SUMS", "repodata.json"
WHEELS, PACKAGES = "wheels", "packages"
SUBDIRS = (*(platform.value for platform in Platform), NOARCH)
"""Folders that conda packages may lie in."""

_FORMATS = tuple(one for one in FORMATS.values() if CONDA in one.backends and one.default and not one.of_pip)
"""What stands in ``envs/<cell>/`` of a conda cell, as far as the record alone gives it."""
_ADDRESSES = Addresses(bases=MappingProxyType({"pytorch": PYTORCH_BASE}))
"""The same on every machine: what one has learned, or the matrix says of private sources, is no part of a bundle."""
TEXTS = frozenset(
    [RECORD, REQUIREMENTS, README, EXPLICIT, SUMS]
    + [one.file_name(platform) for one in _FORMATS for platform in Platform]
    + [f"{PACKAGES}/{subdir}/{REPODATA}" for subdir in SUBDIRS]
)
"""Every small file that a bundle of this schema may have beside its description."""
_READ_BY_COMMANDS = (REQUIREMENTS, EXPLICIT, SUMS)
_OFFLINE = f"--no-index --find-links {WHEELS} --require-hashes --no-deps -r {REQUIREMENTS}"
_SYSTEMS = {
    "linux-64": "Linux x86_64",
    "linux-aarch64": "Linux aarch64",
    "osx-arm64": "macOS on Apple silicon",
    "osx-64": "macOS on Intel",
    "win-64": "Windows x86_64",
}


def place(artifact: Artifact) -> str:
    """Where an artifact lies: conda packages as a conda channel has them, wheels in one folder."""
    return f"{PACKAGES}/{artifact.conda.subdir}/{artifact.file}" if artifact.conda else f"{WHEELS}/{artifact.file}"


def own_texts(lockfile: Lockfile) -> dict[str, bytes]:
    """The small files that follow from a record, in their order; which they are belongs to the schema."""
    texts: dict[str, str] = {}
    if lockfile.backend != CONDA or lockfile.pip_artifacts:
        texts[REQUIREMENTS] = requirements_text(lockfile)
    if lockfile.backend == CONDA:
        texts |= {EXPLICIT: explicit_text(lockfile), SUMS: sums_text(lockfile)}
        for one in _FORMATS:
            if one.obstacle(lockfile, _ADDRESSES) is None:
                try:
                    texts[one.file_name(lockfile.platform)] = one.render(lockfile, _ADDRESSES)
                except UsageError:  # of a private conda channel, whose address the record does not say
                    continue
    texts[README] = readme_text(lockfile)
    if lockfile.backend == CONDA:
        texts |= {f"{PACKAGES}/{one}/{REPODATA}": repodata_text(lockfile, one) for one in (lockfile.platform, NOARCH)}
    return {path: text.encode("ascii") for path, text in texts.items()}


def same_text(path: str, found: bytes, own: bytes) -> bool:
    """Whether a file that the commands of the note read says what ours does; remarks may be of another release.

    True for every other file: those are written anew when a bundle is unpacked.
    """
    return path not in _READ_BY_COMMANDS or _effective(found) == _effective(own)


def _effective(text: bytes) -> list[str]:
    return [line for line in text.decode("utf-8", "replace").splitlines() if not line.startswith("#")]


def requirements_text(lockfile: Lockfile) -> str:
    """Every wheel and sdist as ``name==version`` with its hash and without an address: they lie beside it."""
    lines = [*_head(lockfile), f"# pip install {_OFFLINE}"]
    for artifact in lockfile.pip_artifacts:
        lines += [f"{artifact.name}=={artifact.version} \\", f"    --hash=sha256:{artifact.sha256}"]
    return "\n".join(lines) + "\n"


def explicit_text(lockfile: Lockfile) -> str:
    """Every conda package by its path, after what it depends on, as CEP 23 asks for."""
    lines = [
        *_head(lockfile),
        f"# conda create --offline --prefix ./env --file {EXPLICIT}",
        "# Paths are taken from the folder that the command runs in: that of the bundle.",
        f"# platform: {lockfile.platform}",
        "@EXPLICIT",
        *(f"./{place(artifact)}" for artifact in by_dependency(lockfile)),
    ]
    return "\n".join(lines) + "\n"


def sums_text(lockfile: Lockfile) -> str:
    """The artifacts as ``sha256sum --check`` reads them."""
    return "".join(f"{artifact.sha256}  {place(artifact)}\n" for artifact in lockfile.artifacts)


def repodata_text(lockfile: Lockfile, subdir: str) -> str:
    """The listing of one folder, which makes a conda channel of ``packages`` for whoever solves with them."""
    kinds: dict[str, dict[str, object]] = {"packages": {}, "packages.conda": {}}
    for artifact in lockfile.conda_artifacts:
        if artifact.conda is None or artifact.conda.subdir != subdir:
            continue
        said = {
            "build": artifact.conda.build,
            "build_number": artifact.conda.number,
            "constrains": list(artifact.conda.constrains),
            "depends": list(artifact.conda.depends),
            "md5": artifact.conda.md5,
            "name": artifact.name,
            "noarch": artifact.conda.noarch,
            "python_site_packages_path": artifact.conda.site_packages,
            "sha256": artifact.sha256,
            "size": artifact.size,
            "subdir": subdir,
            "version": str(artifact.version),
        }
        kind = "packages.conda" if artifact.file.endswith(".conda") else "packages"
        kinds[kind][artifact.file] = {key: value for key, value in said.items() if value is not None}
    return json.dumps({"info": {"subdir": subdir}, **kinds, "repodata_version": 1}, indent=1) + "\n"


def readme_text(lockfile: Lockfile) -> str:
    """The note for people, with the exact commands."""
    lines = [
        f"{lockfile.cell}: torch {lockfile.torch} for {lockfile.platform}, {lockfile.accelerator}",
        "",
        f"Needed: {needs(lockfile)}.",
        *(_with_conda(lockfile) if lockfile.backend == CONDA else _with_pip(lockfile)),
        "",
        "With torchmatrix, which also verifies what it built:",
        f"    torchmatrix unbundle {lockfile.cell}.tar",
    ]
    if sdists := [artifact.file for artifact in lockfile.pip_artifacts if not artifact.is_wheel]:
        lines += ["", f"To be built, with build requirements of their own that are not here: {', '.join(sdists)}"]
    return "\n".join(lines) + "\n"


def _with_pip(lockfile: Lockfile) -> list[str]:
    windows = lockfile.platform == Platform.WIN_64
    python = "env\\Scripts\\python.exe" if windows else "env/bin/python"
    # The free-threaded build is called python3.13t; on Windows its launcher chooses.
    start = f"py -{lockfile.python}" if windows else f"python{lockfile.python}"
    return [
        f"Everything else is here: {len(lockfile.artifacts)} files in {WHEELS}/, checked against {REQUIREMENTS}.",
        "No network is used. Run the commands in this folder.",
        "",
        "With pip:",
        f"    {start} -m venv env",
        f"    {python} -m pip install {_OFFLINE}",
        "",
        "With uv:",
        f"    uv venv --no-config --python {lockfile.python} env",
        f"    uv pip install --no-config --offline --python env {_OFFLINE}",
    ]


def _with_conda(lockfile: Lockfile) -> list[str]:
    """conda and micromamba bring Python themselves; what pip adds comes after them."""
    check = [f"    sha256sum --check --quiet {SUMS}"]
    if lockfile.platform == Platform.WIN_64:
        check = [f"    certutil -hashfile FILE SHA256        of each file: compare it with {SUMS}"]
    elif Platform(lockfile.platform).is_macos:
        check = [f"    shasum --algorithm 256 --check {SUMS}"]
    lines = [
        f"Everything else is here, Python too: {len(lockfile.artifacts)} files in {PACKAGES}/"
        + (f" and {WHEELS}/." if lockfile.pip_artifacts else "."),
        "No network is used. Run the commands in this folder.",
        "",
        "First compare the files; conda and micromamba take them as they are:",
        *check,
        "",
        "With conda:",
        f"    conda create --yes --offline --prefix ./env --file {EXPLICIT}",
        "",
        "With micromamba:",
        f"    micromamba create --yes --offline --prefix ./env --file {EXPLICIT}",
    ]
    if not lockfile.pip_artifacts:
        return lines
    python = "env\\python.exe" if lockfile.platform == Platform.WIN_64 else "env/bin/python"
    lines += ["", "Then what pip adds:"]
    if any(artifact.name == "pip" for artifact in lockfile.conda_artifacts):
        return [*lines, f"    {python} -m pip install {_OFFLINE}"]
    return [
        *lines,
        f"    pip --python {python} install {_OFFLINE}",
        "or, as the environment has no pip of its own, with uv:",
        f"    uv pip install --no-config --offline --python {python} {_OFFLINE}",
    ]


def needs(lockfile: Lockfile) -> str:
    """What a machine must have to rebuild a lockfile offline, in words. A conda cell brings its Python."""
    text = _SYSTEMS[lockfile.platform]
    if lockfile.backend != CONDA:
        python = PythonVersion.parse(lockfile.python)
        kind = "free-threaded CPython" if python.free_threaded else "CPython"
        text = f"{kind} {python.release} (any patch release) on {text}"
    if lockfile.floor:
        library, _, version = lockfile.floor.partition(" ")
        text += f" with glibc {version} or newer" if library == "glibc" else f", macOS {version} or newer"
    accelerator = Accelerator.parse(lockfile.accelerator)
    if driver := minimum_driver(lockfile):
        text += f"; to compute on a GPU an NVIDIA driver {driver} or newer"
    elif accelerator.kind is AcceleratorKind.ROCM:
        text += f"; to compute on a GPU an AMD driver for ROCm {accelerator.version}"
    elif accelerator.kind is AcceleratorKind.XPU:
        text += "; to compute on a GPU Intel's driver"
    return text


def minimum_driver(lockfile: Lockfile) -> str | None:
    """Oldest NVIDIA driver for the lockfile's CUDA by NVIDIA's minor version compatibility."""
    accelerator = Accelerator.parse(lockfile.accelerator)
    if accelerator.kind is not AcceleratorKind.CUDA or accelerator.version is None:
        return None
    return MIN_DRIVERS.get(accelerator.version.partition(".")[0])


def _head(lockfile: Lockfile) -> list[str]:
    return [
        f"# {lockfile.cell}: Python {lockfile.python}, {lockfile.platform}, {lockfile.accelerator}",
        f"# lockfile {lockfile.digest}",
    ]
