"""What is in a bundle: ``bundle.json`` with all that is listed in it, and what no record of ours would hold."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torchmatrix.bundle.texts import (
    PACKAGES,
    README,
    RECORD,
    SUBDIRS,
    TEXTS,
    WHEELS,
    minimum_driver,
    needs,
    own_texts,
    place,
)
from torchmatrix.errors import IntegrityError, UsageError
from torchmatrix.lock.formats import CONDA, PIP
from torchmatrix.sources.repodata import NOARCH
from torchmatrix.target import Accelerator, Platform, PythonVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torchmatrix.lock.model import Artifact, CondaBuild, Lockfile

SCHEMA = 1
"""Version of bundle.json that this release writes; a newer one is refused with exit 2."""
DESCRIPTION = "bundle.json"
TEXT_LIMIT = 16 * 2**20
"""Bytes that a small file may have: it is read as a whole. The record of 500 artifacts has 0.2 MB."""
_PACKAGE_FOLDERS = frozenset(f"{PACKAGES}/{subdir}" for subdir in SUBDIRS)
SIZE_LIMIT = 2**50
"""Bytes that no file has: a number with thousands of digits cannot even be printed."""
CELL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]{0,250}\.(?:whl|tar\.gz|zip)")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_SOURCE = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_CONDA_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]{0,250}\.(?:conda|tar\.bz2)")
_CONDA_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_CONDA_WORD = re.compile(r"[\w.+!~-]{1,250}", re.ASCII)
"""A version or a build."""
_CHANNEL = re.compile(r"[A-Za-z0-9][\w.-]*(?:/label/\w[\w.-]*)?", re.ASCII)
_PATH = re.compile(r"\w[\w.+!~%=@,:-]*(?:/[\w~+%=@][\w.+!~%=@,:-]*)*", re.ASCII)
"""Below a source's address; no part of it begins with a dot."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FLOOR = re.compile(r"(?:glibc|macos) \d{1,3}\.\d{1,3}", re.ASCII)


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
    def texts(self) -> tuple[Member, ...]:
        """The small files: the record, and what follows from it."""
        return tuple(one for one in self.files if one.path in TEXTS)

    @property
    def artifacts(self) -> tuple[Member, ...]:
        """The wheels and conda packages."""
        return tuple(one for one in self.files if one.path not in TEXTS)


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


def text_member(path: str, data: bytes) -> Member:
    """The member of a small file."""
    return Member(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def in_own_words(description: Description, lockfile: Lockfile) -> Description:
    """The description as this release writes it: all but record and artifacts follows from the record."""
    record, own = description.files[0], own_texts(lockfile)
    return describe(
        lockfile, [record, *(text_member(path, data) for path, data in own.items()), *description.artifacts]
    )


def same_but_for_words(one: Description, other: Description) -> bool:
    """Whether two descriptions are of one bundle, by whichever releases they were written."""
    first, second = (
        replace(side, needs="", minimum_driver=None, files=(side.files[0], *side.artifacts)) for side in (one, other)
    )
    return first == second


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
        value = _json(data)
        schema = _field(value, "schema")
        if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
            raise UsageError(
                f"{archive}: a bundle of a newer torchmatrix (schema {schema}, this one reads {SCHEMA})",
                hint="upgrade torchmatrix",
            )
        return _parse(value)
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"{archive}: {DESCRIPTION} is not valid: {error}", hint=FETCH_AGAIN) from error


def _json(data: bytes) -> Mapping[str, Any]:
    """``ValueError`` or ``TypeError`` in words of ours: those of Python's speak of its types and limits."""
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON (line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise ValueError("it has a number that is larger than any file") from error
    return _object(value, "it")


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{what} is {_kind(value)} instead of an object with names and values")
    return value


def _field(value: Mapping[str, Any], name: str) -> Any:
    if name not in value:
        raise ValueError(f"{name!r} is missing")
    return value[name]


def _kind(value: object) -> str:
    """What JSON calls a value."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "a number"


def _known(value: Mapping[str, Any], names: Iterable[str], what: str) -> None:
    """Names that no bundle of this schema has could say anything to whoever reads the file."""
    if odd := next((name for name in value if name not in names), None):
        raise ValueError(f"{what} has {odd[:100]!r}, which no bundle of schema {SCHEMA} has")


FETCH_AGAIN = "get the bundle again, and compare its sha256 with the one that `torchmatrix bundle` printed"
"""The hint of every error about a bundle that is damaged or was tampered with."""


def _parse(value: Mapping[str, Any]) -> Description:
    if value["schema"] != SCHEMA or isinstance(value["schema"], bool):
        raise ValueError(f"its schema {value['schema']!r} is unknown")
    names = tuple(Description.__dataclass_fields__)
    _known(value, ("schema", "implementation", *names), "it")
    plain: dict[str, Any] = {name: _field(value, name) for name in names if name not in ("files", "needs")}
    for name, text in plain.items():
        if not isinstance(text, str) and not (name in ("floor", "minimum_driver") and text is None):
            raise TypeError(f"{name} is {_kind(text)} instead of text")
    if not CELL_ID.fullmatch(plain["cell"]):
        raise ValueError(f"{plain['cell']!r} is no cell id")
    if _field(value, "implementation") != "cpython" or not isinstance(_field(value, "needs"), str):
        raise ValueError("it names no CPython, or says in no words what is needed")
    listed = _field(value, "files")
    if not isinstance(listed, list):
        raise TypeError(f"files is {_kind(listed)} instead of a list")
    files = tuple(_member(_object(one, f"files[{number}]")) for number, one in enumerate(listed))
    description = Description(**plain, needs=value["needs"], files=files)
    texts = [one.path for one in description.texts]
    if texts[:1] != [RECORD] or README not in texts or files[: len(texts)] != description.texts:
        raise ValueError(f"its files do not begin with {RECORD} and what follows from it")
    for one in description.artifacts:
        if not _is_place(one.path):
            raise ValueError(f"{one.path!r} is not the path of a wheel or a conda package")
    if twice := _twice(one.path for one in files):
        raise ValueError(f"{twice} is listed twice")
    if big := next((one.path for one in description.texts if one.size > TEXT_LIMIT), None):
        raise ValueError(f"{big} claims to be larger than {TEXT_LIMIT} bytes")
    return description


def _is_place(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    if folder == WHEELS:
        return _FILE.fullmatch(name) is not None
    return folder in _PACKAGE_FOLDERS and _CONDA_FILE.fullmatch(name) is not None


def _member(value: Mapping[str, Any]) -> Member:
    path, size, sha256 = (_field(value, name) for name in ("path", "size", "sha256"))
    if not isinstance(path, str):
        raise TypeError(f"a path is {_kind(path)} instead of text")
    _known(value, ("path", "size", "sha256"), repr(path))
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
    if lockfile.backend not in (PIP, CONDA):
        raise ValueError(f"it is of the {lockfile.backend!r} backend; bundles are for {PIP} and {CONDA}")
    PythonVersion.parse(lockfile.python)
    Platform(lockfile.platform)
    Accelerator.parse(lockfile.accelerator)
    if lockfile.floor is not None and not _FLOOR.fullmatch(lockfile.floor):
        raise ValueError(f"{lockfile.floor!r} is neither glibc X.Y nor macos X.Y")
    for channel in lockfile.conda_channels:
        if not _CHANNEL.fullmatch(channel):
            raise ValueError(f"{channel!r} is no name of a conda channel")
    for artifact in lockfile.artifacts:
        if artifact.conda is not None:
            _check_package(artifact, artifact.conda, lockfile.platform)
        elif not _NAME.fullmatch(artifact.name):
            raise ValueError(f"{artifact.name!r} is no normalized package name")
        elif not _FILE.fullmatch(artifact.file):
            raise ValueError(f"{artifact.name}: {artifact.file!r} is not the file name of a wheel")
        if not _SOURCE.fullmatch(artifact.source):
            raise ValueError(f"{artifact.name}: {artifact.source!r} is no name of a source")
        if lockfile.backend == CONDA and artifact.path is not None and not _PATH.fullmatch(artifact.path):
            raise ValueError(f"{artifact.name}: {artifact.path!r} is not the path of a file")
        if artifact.size is not None and artifact.size >= SIZE_LIMIT:
            raise ValueError(f"{artifact.name} claims to be larger than any file")
    if twice := _twice(artifact.file for artifact in lockfile.artifacts):
        raise ValueError(f"two artifacts have the file {twice}")


def _check_package(artifact: Artifact, conda: CondaBuild, platform: str) -> None:
    """The part of `check_record` for one conda package."""
    if not _CONDA_NAME.fullmatch(artifact.name):
        raise ValueError(f"{artifact.name!r} is no name of a conda package")
    if not _CONDA_FILE.fullmatch(artifact.file):
        raise ValueError(f"{artifact.name}: {artifact.file!r} is not the file name of a conda package")
    for word in (str(artifact.version), conda.build):
        if not _CONDA_WORD.fullmatch(word):
            raise ValueError(f"{artifact.name}: {word!r} is neither a version nor a build")
    if conda.subdir not in (platform, NOARCH):
        raise ValueError(f"{artifact.name}: {conda.subdir!r} is neither {platform} nor {NOARCH}")


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
    texts = [one.path for one in description.texts]
    expected_texts = [RECORD, *own_texts(lockfile)]
    if texts != expected_texts:
        odd = next((path for path in sorted({*texts} ^ {*expected_texts})), "their order")
        raise ValueError(f"the small files that {DESCRIPTION} lists are not those that {RECORD} gives: {odd}")
    named = [(one.path, one.sha256) for one in description.artifacts]
    locked = [(place(artifact), artifact.sha256) for artifact in lockfile.artifacts]
    if named != locked:
        odd = next((path for path, _ in sorted({*named} ^ {*locked})), "their order")
        raise ValueError(f"the artifacts that {DESCRIPTION} lists are not those of {RECORD}: {odd}")
