"""Reading and writing ``cell.json``, the record that everything else is made from.

One artifact a line, so that a version-control diff is a list of changed artifacts. Nothing of the host is in it.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from torchmatrix.errors import UsageError
from torchmatrix.lock.conda_version import CondaVersion
from torchmatrix.lock.model import SCHEMA_VERSION, Artifact, CondaBuild, HashFrom, Lockfile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
CONDA = "conda"
"""The backend whose records have two lists of artifacts."""
_PLAIN = ("cell", "python", "channel", "target", "platform", "accelerator", "backend", "floor")


class DamagedRecordError(UsageError):
    """A record that cannot be used as it is; ``lock`` writes it anew, everything else stops."""


def render_record(lockfile: Lockfile) -> str:
    """The text of cell.json."""
    head: dict[str, object] = {"schema": SCHEMA_VERSION}
    head.update({name: getattr(lockfile, name) for name in _PLAIN})
    head["torch"] = str(lockfile.torch)
    if lockfile.as_of:
        head["as_of"] = lockfile.as_of
    if lockfile.expires:
        head["expires"] = lockfile.expires.isoformat()
    head["input_digest"] = lockfile.input_digest
    head["digest"] = lockfile.digest
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
    lines.append('  "inputs": {')
    inputs = [
        f"    {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, sort_keys=True)}"
        for key, value in sorted(lockfile.inputs.items())
    ]
    lines.append(",\n".join(inputs))
    lines.append("  },")
    if lockfile.backend != CONDA:
        lines += _listed("artifacts", lockfile.artifacts)
    else:  # apart: who reads the file sees what came on top of the conda packages
        lines.append(f'  "conda_channels": {json.dumps(lockfile.conda_channels)},')
        lines += _listed("artifacts", lockfile.conda_artifacts)
        lines[-1] += ","
        lines += _listed("pip", lockfile.pip_artifacts)
    return "{\n" + "\n".join(lines) + "\n}\n"


def _listed(key: str, artifacts: tuple[Artifact, ...]) -> list[str]:
    rows = ",\n".join("    " + json.dumps(_artifact_json(one), ensure_ascii=False) for one in artifacts)
    return [f'  "{key}": [', rows, "  ]"]


def read_record(path: Path) -> Lockfile | None:
    """The record at ``path``; ``None`` when there is none.

    Raises `UsageError` for a schema newer than ours and `DamagedRecordError` for a merge conflict or anything else
    that is not a record.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, NotADirectoryError, IsADirectoryError) as error:
        raise DamagedRecordError(f"{path}: not a record: {error}", hint=_relock(path)) from error
    return parse_record(text, path)


def parse_record(text: str, path: Path) -> Lockfile:
    """The record in ``text``; ``path`` is for messages. Errors as in `read_record`."""
    if _CONFLICT.search(text):
        raise DamagedRecordError(
            f"{path}: holds a merge conflict (<<<<<<< … >>>>>>>)",
            hint=f"{_relock(path)}; it resolves again and keeps what both sides agree on in matrix.yaml",
        )
    try:
        data = json.loads(text)
        schema = data["schema"]
        if isinstance(schema, int) and schema > SCHEMA_VERSION:
            raise UsageError(
                f"{path}: written by a newer torchmatrix (schema {schema}, this one reads {SCHEMA_VERSION})",
                hint="upgrade torchmatrix",
            )
        return _parse(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else str(error)
        if "object" in reason or "indices" in reason:
            reason = "it is JSON of another shape"
        raise DamagedRecordError(f"{path}: not a valid record: {reason}", hint=_relock(path)) from error


def _relock(path: Path) -> str:
    return f"run: torchmatrix lock {path.parent.name}"


def _parse(data: Mapping[str, Any]) -> Lockfile:
    if data["schema"] != SCHEMA_VERSION:
        raise ValueError(f"schema {data['schema']!r} is unknown")
    plain = {name: data[name] for name in _PLAIN}
    for name, value in plain.items():
        if not isinstance(value, str) and not (name == "floor" and value is None):
            raise TypeError(f"{name} must be a string")
        if not str(value).isprintable():
            raise ValueError(f"{name} is not one line of text")
    conda = data["backend"] == CONDA
    artifacts = tuple(_parse_artifact(item, conda=conda) for item in data["artifacts"])
    artifacts += tuple(_parse_artifact(item, conda=False) for item in data.get("pip", ()))
    names = sorted(artifact.name for artifact in artifacts)
    if twice := [name for name, other in itertools.pairwise(names) if name == other]:
        raise ValueError(f"{twice[0]} is listed twice")
    lockfile = Lockfile(
        **plain,
        torch=Version(data["torch"]),
        input_digest=str(data["input_digest"]),
        inputs=MappingProxyType(dict(data["inputs"])),
        as_of=data.get("as_of"),
        expires=dt.date.fromisoformat(data["expires"]) if data.get("expires") else None,
        artifacts=artifacts,
        conda_channels=tuple(str(name) for name in data.get("conda_channels", ())),
    )
    if data["digest"] != lockfile.digest:
        raise ValueError("its artifacts are not those of its digest: it was edited by hand, or merged line by line")
    return lockfile


def _artifact_json(artifact: Artifact) -> dict[str, object]:
    value: dict[str, object] = {
        "name": artifact.name,
        "version": str(artifact.version),
        "source": artifact.source,
        "file": artifact.file,
        "sha256": artifact.sha256,
        "hash_from": str(artifact.hash_from),
        "size": artifact.size,
        "path": artifact.path,
    }
    if artifact.stand_in:
        value["stand_in"] = True
    if (conda := artifact.conda) is not None:
        value |= {"build": conda.build, "number": conda.number, "subdir": conda.subdir, "md5": conda.md5}
        if conda.noarch:
            value["noarch"] = conda.noarch
        if conda.site_packages:
            value["site_packages"] = conda.site_packages
        value["depends"] = list(conda.depends)
        if conda.constrains:
            value["constrains"] = list(conda.constrains)
    return value


def _parse_conda(item: Mapping[str, Any]) -> CondaBuild:
    md5, noarch, number = item["md5"], item.get("noarch"), item["number"]
    if md5 is not None and not re.fullmatch(r"[0-9a-f]{32}", md5):
        raise ValueError(f"{item['name']}: md5 is not 32 hexadecimal digits")
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{item['name']}: number is no build number")
    return CondaBuild(
        build=str(item["build"]),
        number=number,
        subdir=str(item["subdir"]),
        md5=md5,
        noarch=noarch,
        depends=tuple(str(text) for text in item["depends"]),
        constrains=tuple(str(text) for text in item.get("constrains", ())),
        site_packages=item.get("site_packages"),
    )


def _parse_artifact(item: Mapping[str, Any], *, conda: bool) -> Artifact:
    sha256 = item["sha256"]
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"{item['name']}: sha256 is not 64 hexadecimal digits")
    if "/" in item["file"] or "\\" in item["file"]:
        raise ValueError(f"{item['name']}: file is a path")
    for key in ("name", "version", "file", "source", "path"):
        if not str(item[key] or "").isprintable():  # it stands in lines of lockfiles that others read
            raise ValueError(f"{item['name']!r}: {key} is not one line of text")
    size = item["size"]
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise TypeError(f"{item['name']}: size is not a number of bytes")
    if not isinstance(item["path"], str | None):
        raise TypeError(f"{item['name']}: path is not text")
    return Artifact(
        name=str(item["name"]),
        version=CondaVersion(str(item["version"])) if conda else Version(item["version"]),
        file=str(item["file"]),
        sha256=sha256,
        source=str(item["source"]),
        hash_from=HashFrom(item["hash_from"]),
        size=size,
        path=item["path"],
        stand_in=bool(item.get("stand_in", False)),
        conda=_parse_conda(item) if conda else None,
    )
