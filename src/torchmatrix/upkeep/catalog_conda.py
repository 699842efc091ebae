"""Builds the catalog's facts about torch in conda channels from a compatibility table and repodata beside it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from torchmatrix.catalog.model import CONDA_FORGE, PYTORCH_CONDA
from torchmatrix.command import Command, run
from torchmatrix.target import Platform, PythonVersion
from torchmatrix.upkeep.catalog_index import sort_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Found = dict[tuple[Platform, Version], dict[str, set[PythonVersion]]]
"""Pythons by accelerator, for each release on each platform."""

_BUILD = re.compile(r"(?P<variant>cpu|cuda(?P<cuda>\d+?))(?:_(?:mkl|generic))?_?py3(?P<minor>\d{1,2})_?h")
"""``cpu_generic_py311h7a8ff39_1``, ``cuda112py310h21def76_301``, ``cuda129_mkl_py311_h49b8cc7_300``."""


def seed_conda(table: Path, known: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The catalog's group ``conda`` with its builds made anew.

    Those of the conda channel pytorch come from ``table``, those of conda-forge from ``channels`` beside it; where one
    of them is missing what is ``known`` stays.
    """
    rows = {PYTORCH_CONDA: _rows(PYTORCH_CONDA, _from_table(table))}
    rows[CONDA_FORGE] = _rows(CONDA_FORGE, _from_repodata(table.parent / "channels" / CONDA_FORGE, environ))
    for source, found in rows.items():
        rows[source] = found or [row for row in known.get("builds", ()) if row["source"] == source]
    return {**known, "builds": [*rows[PYTORCH_CONDA], *rows[CONDA_FORGE]]}


def _from_table(table: Path) -> Found:
    found: Found = {}
    for row in json.loads(table.read_text(encoding="utf-8")):
        for name, seen in row.get("conda", {}).items():
            pythons = {PythonVersion.parse(text) for text in seen["pythons"]}
            labels = [re.sub(r"cuda(\d+)\.(\d)", r"cu\1\2", target) for target in seen["targets"]]
            found[Platform(name), Version(row["torch"])] = {
                label: pythons for each in labels for label in _also(name, each)
            }
    return found


def _also(platform: str, label: str) -> tuple[str, ...]:
    """On Apple's machines one build is for both."""
    return ("cpu", "mps") if platform == Platform.OSX_ARM64 and label in ("cpu", "mps") else (label,)


def _from_repodata(folder: Path, environ: Mapping[str, str]) -> Found:
    """What the build strings of ``pytorch`` say; with records that are known by name only (``repodata-lossy``)."""
    found: Found = defaultdict(lambda: defaultdict(set))
    for platform in Platform:
        for path in sorted((folder / platform).glob("repodata*.json.zst")):
            outcome = run(Command(argv=("zstd", "-dc", str(path)), env=environ))
            repodata = json.loads(outcome.stdout)
            for record in (*repodata.get("packages", {}).values(), *repodata.get("packages.conda", {}).values()):
                match = _BUILD.match(record["build"]) if record["name"] == "pytorch" else None
                if match is None:
                    continue
                label = f"cu{match['cuda']}" if match["cuda"] else "cpu"
                for each in _also(platform, label):
                    found[platform, Version(record["version"])][each].add(PythonVersion(3, int(match["minor"])))
    return found


def _rows(source: str, found: Found) -> list[dict[str, Any]]:
    """A row for each run of releases with equal builds, platform by platform."""
    rows: list[dict[str, Any]] = []
    for platform, version in sorted(found, key=lambda each: (list(Platform).index(each[0]), each[1])):
        builds = _builds(found[platform, version])
        last = rows[-1] if rows else None
        if last is not None and last["platform"] == platform and last["builds"] == builds:
            last["versions"] += f" {version}"
        else:
            rows.append({"source": source, "platform": str(platform), "versions": str(version), "builds": builds})
    return rows


def _builds(found: Mapping[str, Iterable[PythonVersion]]) -> dict[str, str]:
    """Accelerators with equal Pythons together: ``{"cpu cu118": "3.10 3.11"}``."""
    by_pythons: dict[str, list[str]] = {}
    for label in sort_labels(found):
        by_pythons.setdefault(" ".join(map(str, sorted(found[label]))), []).append(label)
    return {" ".join(labels): pythons for pythons, labels in by_pythons.items()}
