"""Python interpreters on this machine, found by names alone: no process is started.

The order of places is the order of preference; what one interpreter really is, `torchmatrix.host.facts` asks it.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from torchmatrix.errors import HostError
from torchmatrix.host.machine import ROOT
from torchmatrix.target import PythonVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_EXECUTABLE = re.compile(r"python(?:3(?:\.(?P<minor>\d+)(?P<threads>t)?)?)?(?:\.exe)?")
_PYENV = re.compile(r"(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)(t?)(?:-debug)?|(\d+\.\d+)(t?)-dev")
_UV = re.compile(r"cpython-(?P<version>\d+\.\d+[^-+]*)(?P<variant>\+[^-]+)?-[^-]+-(?P<machine>[^-]+)-(?P<libc>[^-]+)")
_CONDA_META = re.compile(r"python-(?P<version>\d+\.\d+\.[^-]+)-(?P<build>.+)\.json")
_FOREIGN = re.compile(r"(?:pypy|graalpy|micropython|rustpython|jython)")
_CONDA_HOMES = ("miniconda3", "anaconda3", "miniforge3", "mambaforge")


class Origin(StrEnum):
    """Where an interpreter comes from, best first."""

    RUNNING = "running"
    PATH = "PATH"
    UV = "uv"
    PYENV = "pyenv"
    CONDA = "conda"
    FRAMEWORK = "framework"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """An interpreter outside of every virtual environment, as far as its names tell."""

    path: Path
    version: PythonVersion
    origin: Origin
    full: Version | None = None
    """With the patch release, where a name tells it."""
    implementation: str = "cpython"
    """``cpython``, or the name of another one, which torch has no wheels for."""
    machine: str | None = None
    """What it was built for (``x86_64``, ``aarch64``), where a folder name tells it."""

    def __str__(self) -> str:
        exact = f"{self.full}{'t' if self.version.free_threaded else ''}" if self.full else str(self.version)
        return f"{exact} ({self.origin}, {self.path})"


def running_interpreter() -> Interpreter:
    """The interpreter of this process, or the one that its virtual environment was made from."""
    info = sys.version_info
    threads = "free-threading" in sys.version
    text = f"{info.major}.{info.minor}.{info.micro}"
    if info.releaselevel != "final":
        text += {"alpha": "a", "beta": "b", "candidate": "rc"}[info.releaselevel] + str(info.serial)
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Interpreter(
        path=_outside(Path(base)) or Path(base),
        version=PythonVersion(info.major, info.minor, threads),
        origin=Origin.RUNNING,
        full=Version(text),
        implementation=sys.implementation.name,
    )


def find_interpreters(
    env: Mapping[str, str],
    *,
    home: Path,
    root: Path = ROOT,
    system: str = sys.platform,
    running: Interpreter | None = None,
) -> tuple[Interpreter, ...]:
    """Every interpreter by order of preference, each once; no process, a few milliseconds.

    Places: the running one, PATH, uv's own, pyenv's versions, conda's prefixes, macOS frameworks. Shims are left
    out, a virtual environment stands for the interpreter it was made from. Python 2 is left out.
    """
    found: dict[Path, Interpreter] = {}
    candidates: list[Iterable[Interpreter]] = [
        [running or running_interpreter()],
        _on_path(env, home, system),
        _of_uv(env, home, system),
        _of_pyenv(env, home, system),
        _of_conda(env, home, system),
        _of_frameworks(root),
    ]
    for place in candidates:
        for interpreter in place:
            found.setdefault(_real(interpreter.path), interpreter)
    return tuple(found.values())


def pick_interpreter(
    python: PythonVersion, interpreters: Iterable[Interpreter], *, machine: str | None = None
) -> Interpreter:
    """The best CPython ``python`` of those: the preferred place, there the newest patch release.

    ``machine`` leaves out interpreters known to be built for another one. Raises `HostError` when there is none.
    """
    everything = tuple(interpreters)
    fitting = [one for one in everything if one.version == python and one.implementation == "cpython"]
    usable = [one for one in fitting if machine is None or one.machine is None or _same(one.machine, machine)]
    if not usable:
        raise _none_found(python, everything, machine if fitting else None)
    ranks = {origin: rank for rank, origin in enumerate(Origin)}
    best = min(ranks[one.origin] for one in usable)
    there = [one for one in usable if ranks[one.origin] == best]
    if there[0].origin is Origin.PATH:  # the user's own order
        return there[0]
    return max(there, key=lambda one: one.full or Version("0"))


def _none_found(python: PythonVersion, found: tuple[Interpreter, ...], machine: str | None) -> HostError:
    listed = "; found: " + ", ".join(str(one) for one in found) if found else "; there is no other one either"
    for_machine = f" for {machine}" if machine else ""
    others = [f"pyenv install {python}"]
    if not python.free_threaded:
        others.append(f"apt install python{python} (Debian, Ubuntu)")
    return HostError(
        f"no CPython {python}{for_machine} was found on this host{listed}",
        hint=f"uv python install {python} (or: {', or '.join(others)})",
    )


def _on_path(env: Mapping[str, str], home: Path, system: str) -> Iterator[Interpreter]:
    separator = ";" if system == "win32" else ":"
    shims = _pyenv_root(env, home) / "shims"
    for text in dict.fromkeys(env.get("PATH", "").split(separator)):
        folder = Path(text)
        # A relative entry would mean another program in every folder; the Store's aliases open a shop window.
        if not text or not folder.is_absolute() or folder.name == "WindowsApps":
            continue
        if folder == shims or folder.name == "shims":
            continue
        for path in _named_python(folder, system):
            if interpreter := _from_file(path, Origin.PATH, system):
                yield interpreter


def _of_uv(env: Mapping[str, str], home: Path, system: str) -> Iterator[Interpreter]:
    if given := env.get("UV_PYTHON_INSTALL_DIR"):
        stores = [Path(given)]
    elif system == "win32":
        data = Path(env.get("APPDATA") or home / "AppData/Roaming") / "uv"
        stores = [data / "python", data / "data/python"]
    else:
        stores = [Path(env.get("XDG_DATA_HOME") or home / ".local/share") / "uv/python"]
    for folder in (entry for store in stores for entry in _folders(store)):
        # cpython-3.12-… is a link to the newest patch release: the name of what it points to says more.
        match = _UV.fullmatch(_real(folder).name) or _UV.fullmatch(folder.name)
        if match is None or match["libc"] == "musl" or "debug" in (match["variant"] or ""):
            continue
        version = _version(match["version"])
        threads = "freethreaded" in (match["variant"] or "")
        path = _program(folder, system)
        if version and path:
            yield Interpreter(
                path=path,
                version=PythonVersion(version.major, version.minor, threads),
                origin=Origin.UV,
                full=version if len(version.release) > 2 else None,
                machine=match["machine"],
            )


def _of_pyenv(env: Mapping[str, str], home: Path, system: str) -> Iterator[Interpreter]:
    for folder in _folders(_pyenv_root(env, home) / "versions"):
        path = _program(folder, system)
        if path is None:
            continue
        match = _PYENV.fullmatch(_real(folder).name) if not (folder / "pyvenv.cfg").exists() else None
        version = _version(match[1] or match[3]) if match else None
        if match and version and version.major == 3:
            yield Interpreter(
                path=path,
                version=PythonVersion(version.major, version.minor, bool(match[2] or match[4])),
                origin=Origin.PYENV,
                full=version if match[1] else None,
            )
        elif match is None and (interpreter := _from_conda(folder, system) or _from_file(path, Origin.PYENV, system)):
            yield interpreter


def _of_conda(env: Mapping[str, str], home: Path, system: str) -> Iterator[Interpreter]:
    prefixes = [Path(prefix) for prefix in [env.get("CONDA_PREFIX")] if prefix]
    try:
        listed = (home / ".conda/environments.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        listed = []
    prefixes += [Path(line.strip()) for line in listed if line.strip()]
    for name in _CONDA_HOMES:
        prefixes += [home / name, *_folders(home / name / "envs")]
    for prefix in dict.fromkeys(prefixes):
        if interpreter := _from_conda(prefix, system):
            yield interpreter


def _of_frameworks(root: Path) -> Iterator[Interpreter]:
    for framework, threads in (("Python", ""), ("PythonT", "t")):
        for folder in _folders(root / f"Library/Frameworks/{framework}.framework/Versions"):
            version = _version(folder.name)
            path = folder / f"bin/python{folder.name}{threads}"
            if version and _executable(path) and not folder.is_symlink():
                yield Interpreter(
                    path=path,
                    version=PythonVersion(version.major, version.minor, bool(threads)),
                    origin=Origin.FRAMEWORK,
                )


def _from_conda(prefix: Path, system: str) -> Interpreter | None:
    """The interpreter of a conda prefix, its version from the package's own record."""
    path = _program(prefix, system)
    if path is None:
        return None
    for record in sorted((prefix / "conda-meta").glob("python-3.*.json")):
        match = _CONDA_META.fullmatch(record.name)
        version = _version(match["version"]) if match else None
        if match and version:
            return Interpreter(
                path=path,
                version=PythonVersion(version.major, version.minor, match["build"].endswith("t")),
                origin=Origin.CONDA,
                full=version,
                implementation="pypy" if "pypy" in match["build"] else "cpython",
            )
    return None


def _from_file(path: Path, origin: Origin, system: str) -> Interpreter | None:
    """What the name of an executable, its target's or its library's tell; ``None`` when that is too little."""
    base = _outside(path)
    if base is None:
        return None
    real = _real(base)
    version = _named_version(base) or _named_version(real)
    foreign = _FOREIGN.match(real.name)
    if foreign is None:
        version = version or _library_version(real, system)
    if version is None:
        return None
    return Interpreter(path=base, version=version, origin=origin, implementation=foreign[0] if foreign else "cpython")


def _named_python(folder: Path, system: str) -> list[Path]:
    """Executables of a folder whose names are those of Python 3; the ones that say their version first."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith("python")]  # noqa: PTH208 - names suffice
    except OSError:
        return []
    matches = {name: match for name in names if (match := _EXECUTABLE.fullmatch(name))}
    if system != "win32":
        matches = {name: match for name, match in matches.items() if not name.endswith(".exe")}

    def order(name: str) -> tuple[int, int, str]:
        minor = matches[name]["minor"]
        return (0 if minor else 1, -int(minor or 0), "" if name.startswith("python3") else name)

    return [folder / name for name in sorted(matches, key=order) if _executable(folder / name)]


def _named_version(path: Path) -> PythonVersion | None:
    match = _EXECUTABLE.fullmatch(path.name)
    return PythonVersion(3, int(match["minor"]), bool(match["threads"])) if match and match["minor"] else None


def _library_version(path: Path, system: str) -> PythonVersion | None:
    """Version of an executable plainly named ``python``, from what is installed beside it when that is one only."""
    if system == "win32":
        names = [library.stem for library in path.parent.glob("python3?*.dll")]
        found = {match[1] for name in names if (match := re.fullmatch(r"python3(\d+t?)", name))}
    else:
        names = [library.parent.name for library in path.parent.parent.glob("lib/python3.*/os.py")]
        found = {match[1] for name in names if (match := re.fullmatch(r"python3\.(\d+t?)", name))}
    return PythonVersion.parse(f"3.{found.pop()}") if len(found) == 1 else None


def _outside(path: Path) -> Path | None:
    """``path``, or the interpreter that its virtual environment was made from; ``None`` when that one is gone."""
    for _ in range(4):  # an environment made from an environment
        settings = _venv_settings(path)
        if settings is None:
            return path if _executable(path) else None
        version = settings.get("version_info") or settings.get("version") or ""
        release = ".".join(version.split(".")[:2])
        given = settings.get("executable") or settings.get("base-executable")
        folder = Path(settings.get("home", ""))
        names = [folder / f"python{release}", folder / "python3", folder / "python", folder / "python.exe"]
        base = next((one for one in ([Path(given)] if given else []) + names if _executable(one)), None)
        if base is None or base == path:
            return None
        path = base
    return None


def _venv_settings(path: Path) -> dict[str, str] | None:
    for folder in (path.parent, path.parent.parent):
        try:
            lines = (folder / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        pairs = (line.partition("=") for line in lines if "=" in line)
        return {key.strip().lower(): value.strip() for key, _, value in pairs}
    return None


def _program(prefix: Path, system: str) -> Path | None:
    """The interpreter below an installation's folder, by its most telling name."""
    if system == "win32":
        names = [prefix / "python.exe"]
    else:
        names = [path for path in _named_python(prefix / "bin", system) if _EXECUTABLE.fullmatch(path.name)]
    return next((path for path in names if _executable(path)), None)


def _pyenv_root(env: Mapping[str, str], home: Path) -> Path:
    return Path(env.get("PYENV_ROOT") or home / ".pyenv")


def _folders(parent: Path) -> list[Path]:
    """Folders in it by name, links last: 3.12 -> 3.12.10 moves with the next release, 3.12.10 stays."""
    try:
        return sorted((one for one in parent.iterdir() if one.is_dir()), key=lambda one: (one.is_symlink(), one.name))
    except OSError:
        return []


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _same(one: str, other: str) -> bool:
    names = {"amd64": "x86_64", "arm64": "aarch64"}
    return names.get(one.lower(), one.lower()) == names.get(other.lower(), other.lower())
