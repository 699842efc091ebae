"""What is in a bundle: ``bundle.json``, the record, requirements for pip and uv, a note for people, and the wheels."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchmatrix.errors import IntegrityError, UsageError
from torchmatrix.target import Accelerator, AcceleratorKind, Platform, PythonVersion
from torchmatrix.verify.checks import MIN_DRIVERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torchmatrix.lock.model import Lockfile

SCHEMA = 1
"""Version of bundle.json that this release writes; a newer one is refused with exit 2."""
DESCRIPTION, RECORD, REQUIREMENTS, README, WHEELS = (
    "bundle.json",
    "cell.json",
    "requirements.txt",
    "README.txt",
    "wheels",
)
TEXTS = (RECORD, REQUIREMENTS, README)
"""The small files after the description, in their order in the archive."""
TEXT_LIMIT = 16 * 2**20
"""Bytes that a small file may have: it is read as a whole. The record of 500 artifacts has 0.2 MB."""
SIZE_LIMIT = 2**50
"""Bytes that no file has: a number with thousands of digits cannot even be printed."""
CELL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]{0,250}\.(?:whl|tar\.gz|zip)")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_SOURCE = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FLOOR = re.compile(r"(?:glibc|macos) \d{1,3}\.\d{1,3}", re.ASCII)
_SYSTEMS = {
    "linux-64": "Linux x86_64",
    "linux-aarch64": "Linux aarch64",
    "osx-arm64": "macOS on Apple silicon",
    "osx-64": "macOS on Intel",
    "win-64": "Windows x86_64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of a bundle. ``path`` is below the bundle's folder, ``size`` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """``bundle.json``: what is needed to rebuild, and every other file in the order of the archive."""

    cell: str
    lockfile_digest: str
    torch: str
    python: str
    platform: str
    floor: str | None
    accelerator: str
    minimum_driver: str | None
    """Oldest NVIDIA driver for the cell's CUDA, ``None`` for other accelerators."""
    needs: str
    """What is needed to rebuild, in words."""
    files: tuple[Member, ...]

    @property
    def wheels(self) -> tuple[Member, ...]:
        """The artifacts among the files."""
        return self.files[len(TEXTS) :]


def describe(lockfile: Lockfile, files: Iterable[Member]) -> Description:
    """The description of a lockfile's bundle: a function of the record, whatever a newer catalog knows."""
    return Description(
        cell=lockfile.cell,
        lockfile_digest=lockfile.digest,
        torch=str(lockfile.torch),
        python=lockfile.python,
        platform=lockfile.platform,
        floor=lockfile.floor,
        accelerator=lockfile.accelerator,
        minimum_driver=minimum_driver(lockfile),
        needs=needs(lockfile),
        files=tuple(files),
    )


def render_description(description: Description) -> bytes:
    """The bytes of bundle.json, one file a line."""
    head = {
        "schema": SCHEMA,
        "cell": description.cell,
        "lockfile_digest": description.lockfile_digest,
        "torch": description.torch,
        "python": description.python,
        "implementation": "cpython",
        "platform": description.platform,
        "floor": description.floor,
        "accelerator": description.accelerator,
        "minimum_driver": description.minimum_driver,
        "needs": description.needs,
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    files = [json.dumps({"path": one.path, "size": one.size, "sha256": one.sha256}) for one in description.files]
    listed = ",\n".join(f"    {one}" for one in files)
    return ("{\n" + "\n".join(lines) + '\n  "files": [\n' + listed + "\n  ]\n}\n").encode("ascii")


def parse_description(data: bytes, archive: object) -> Description:
    """Read bundle.json of an archive that nobody vouches for.

    Raises `UsageError` for a schema newer than ours, `IntegrityError` for anything else that is not one.
    """
    try:
        value = json.loads(data)
        schema = value["schema"]
        if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
            raise UsageError(
                f"{archive}: a bundle of a newer torchmatrix (schema {schema}, this one reads {SCHEMA})",
                hint="upgrade torchmatrix",
            )
        return _parse(value)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise IntegrityError(f"{archive}: {DESCRIPTION} is not valid: {reason}", hint=FETCH_AGAIN) from error


FETCH_AGAIN = "get the bundle again, and compare its sha256 with the one that `torchmatrix bundle` printed"
"""The hint of every error about a bundle that is damaged or was tampered with."""


def _parse(value: Mapping[str, Any]) -> Description:
    if value["schema"] != SCHEMA or isinstance(value["schema"], bool):
        raise ValueError(f"its schema {value['schema']!r} is unknown")
    plain: dict[str, Any] = {
        name: value[name] for name in Description.__dataclass_fields__ if name not in ("files", "needs")
    }
    for name, text in plain.items():
        if not isinstance(text, str) and not (name in ("floor", "minimum_driver") and text is None):
            raise TypeError(f"{name} is not text")
    if not CELL_ID.fullmatch(plain["cell"]):
        raise ValueError(f"{plain['cell']!r} is no cell id")
    if value["implementation"] != "cpython" or not isinstance(value["needs"], str):
        raise ValueError("it names no CPython, or says in no words what is needed")
    files = tuple(_member(one) for one in value["files"])
    if tuple(one.path for one in files[: len(TEXTS)]) != TEXTS:
        raise ValueError(f"its files do not begin with {', '.join(TEXTS)}")
    description = Description(**plain, needs=value["needs"], files=files)
    for one in description.wheels:
        folder, _, name = one.path.partition("/")
        if folder != WHEELS or not _FILE.fullmatch(name):
            raise ValueError(f"{one.path!r} is not the path of a wheel")
    if twice := _twice(one.path for one in files):
        raise ValueError(f"{twice} is listed twice")
    if big := next((one.path for one in files[: len(TEXTS)] if one.size > TEXT_LIMIT), None):
        raise ValueError(f"{big} claims to be larger than {TEXT_LIMIT} bytes")
    return description


def _member(value: Mapping[str, Any]) -> Member:
    path, size, sha256 = value["path"], value["size"], value["sha256"]
    if not isinstance(path, str):
        raise TypeError("a path is not text")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"{path!r}: its size is not a number of bytes")
    if size >= SIZE_LIMIT:
        raise ValueError(f"{path!r} claims to be larger than any file")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"{path!r}: its sha256 is not 64 hexadecimal digits")
    return Member(path=path, size=size, sha256=sha256)


def check_record(lockfile: Lockfile) -> None:
    """``ValueError`` when a record has values that no lockfile of ours has.

    They end up in file names, in what uv reads and in what people type: none may be a path, an option or an address.
    """
    if not CELL_ID.fullmatch(lockfile.cell):
        raise ValueError(f"{lockfile.cell!r} is no cell id")
    if lockfile.backend != "pip":
        raise ValueError(f"it is of the {lockfile.backend!r} backend; bundles are for pip")
    PythonVersion.parse(lockfile.python)
    Platform(lockfile.platform)
    Accelerator.parse(lockfile.accelerator)
    if lockfile.floor is not None and not _FLOOR.fullmatch(lockfile.floor):
        raise ValueError(f"{lockfile.floor!r} is neither glibc X.Y nor macos X.Y")
    for artifact in lockfile.artifacts:
        if not _NAME.fullmatch(artifact.name):
            raise ValueError(f"{artifact.name!r} is no normalized package name")
        if not _FILE.fullmatch(artifact.file):
            raise ValueError(f"{artifact.name}: {artifact.file!r} is not the file name of a wheel")
        if not _SOURCE.fullmatch(artifact.source):
            raise ValueError(f"{artifact.name}: {artifact.source!r} is no name of a source")
        if artifact.size is not None and artifact.size >= SIZE_LIMIT:
            raise ValueError(f"{artifact.name} claims to be larger than any file")
    if twice := _twice(artifact.file for artifact in lockfile.artifacts):
        raise ValueError(f"two artifacts have the file {twice}")


def _twice(paths: Iterable[str]) -> str | None:
    """The first path that is there a second time, for file systems that do not tell case apart."""
    seen: set[str] = set()
    for path in paths:
        if path.lower() in seen:
            return path
        seen.add(path.lower())
    return None


def check_against(description: Description, lockfile: Lockfile) -> None:
    """``ValueError`` when a description is not that of the record beside it."""
    expected = describe(lockfile, description.files)
    for name in ("cell", "lockfile_digest", "torch", "python", "platform", "floor", "accelerator"):
        if getattr(description, name) != getattr(expected, name):
            raise ValueError(f"{name} is {getattr(description, name)!r} in {DESCRIPTION} and another one in {RECORD}")
    named = [(one.path, one.sha256) for one in description.wheels]
    locked = [(f"{WHEELS}/{artifact.file}", artifact.sha256) for artifact in lockfile.artifacts]
    if named != locked:
        odd = next((path for path, _ in {*named} ^ {*locked}), "their order")
        raise ValueError(f"the wheels that {DESCRIPTION} lists are not those of {RECORD}: {odd}")


def requirements_text(lockfile: Lockfile) -> str:
    """Every artifact as ``name==version`` with its hash and without an address: the wheels lie beside it."""
    lines = [
        f"# {lockfile.cell}: Python {lockfile.python}, {lockfile.platform}, {lockfile.accelerator}",
        f"# lockfile {lockfile.digest}",
        f"# pip install {_OFFLINE}",
    ]
    for artifact in lockfile.artifacts:
        lines += [f"{artifact.name}=={artifact.version} \\", f"    --hash=sha256:{artifact.sha256}"]
    return "\n".join(lines) + "\n"


def same_requirements(text: bytes, lockfile: Lockfile) -> bool:
    """Whether requirements install what the record says and nothing else; remarks may be of another release."""
    return _effective(text.decode("utf-8", "replace")) == _effective(requirements_text(lockfile))


def _effective(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


_OFFLINE = f"--no-index --find-links {WHEELS} --require-hashes --no-deps -r {REQUIREMENTS}"


def readme_text(lockfile: Lockfile) -> str:
    """The note for people, with the exact commands."""
    windows = lockfile.platform == Platform.WIN_64
    python = "env\\Scripts\\python.exe" if windows else "env/bin/python"
    # The free-threaded build is called python3.13t; on Windows its launcher chooses.
    start = f"py -{lockfile.python}" if windows else f"python{lockfile.python}"
    sdists = [artifact.file for artifact in lockfile.artifacts if not artifact.is_wheel]
    lines = [
        f"{lockfile.cell}: torch {lockfile.torch} for {lockfile.platform}, {lockfile.accelerator}",
        "",
        f"Needed: {needs(lockfile)}.",
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
        "",
        "With torchmatrix, which also verifies what it built:",
        f"    torchmatrix unbundle {lockfile.cell}.tar",
    ]
    if sdists:
        lines += ["", f"To be built, with build requirements of their own that are not here: {', '.join(sdists)}"]
    return "\n".join(lines) + "\n"


def needs(lockfile: Lockfile) -> str:
    """What a machine must have to rebuild a lockfile offline, in words."""
    python = PythonVersion.parse(lockfile.python)
    kind = "free-threaded CPython" if python.free_threaded else "CPython"
    text = f"{kind} {python.release} (any patch release) on {_SYSTEMS[lockfile.platform]}"
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
