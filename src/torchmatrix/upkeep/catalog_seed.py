"""Builds the catalog's releases from a compatibility table collected from documents, captures and wheel names."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from torchmatrix.target import Platform, PythonVersion
from torchmatrix.upkeep.catalog_index import WheelFacts, sort_labels, wheel_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PLATFORMS = {
    "linux-x86_64": Platform.LINUX_64,
    "linux-aarch64": Platform.LINUX_AARCH64,
    "macos-arm64": Platform.OSX_ARM64,
    "macos-x86_64": Platform.OSX_64,
    "windows-x86_64": Platform.WIN_64,
}
"""The table's platforms in conda's words; the others are not targets of ours."""

ORIGINS = {
    "PyPI": "P",
    "PyPI METADATA": "M",
    "CAPTURE": "C",
    "LOCK": "L",
    "SEEN": "S",
    "DOC": "D",
    "DOC RELEASE.md": "R",
    "CI": "I",
    "PyPI+rule mps-first-release": "A",
}
"""The table's tags and the letters that stand for them in the catalog."""


def seed_releases(table: Path) -> list[dict[str, Any]]:
    """One catalog row for each row of the table; wheel lists beside it, where they exist, tell the macOS versions.

    ``KeyError`` or ``ValueError`` when the file is no such table.
    """
    rows: list[dict[str, Any]] = json.loads(table.read_text(encoding="utf-8"))
    wheels = _wheel_names(table.parent)
    return [_row(row, _seen(wheels.get(row["torch"], ([], [])))) for row in rows]


def _seen(names: tuple[list[str], list[str]]) -> dict[Platform, WheelFacts]:
    """What PyPI's wheels tell, and those of the PyTorch index where PyPI has none for the platform."""
    on_pypi, on_index = names
    return wheel_facts(on_index) | wheel_facts(on_pypi)


def _wheel_names(folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    """File names of torch by version, those on PyPI and those on the PyTorch index, from the lists beside the table."""
    names: dict[str, tuple[list[str], list[str]]] = {}
    pypi, index = folder / "pypi-wheels.json", folder / "pytorch-index.json"
    if pypi.is_file():
        for version, entry in json.loads(pypi.read_text(encoding="utf-8"))["torch"].items():
            names.setdefault(version, ([], []))[0].extend(file["filename"] for file in entry["files"])
    if index.is_file():
        for page, files in json.loads(index.read_text(encoding="utf-8")).items():
            if not page.endswith("/torch") or page.startswith("nightly/"):
                continue
            for file in files:
                version = str(file["filename"]).split("-")[1].split("+")[0]
                names.setdefault(version, ([], []))[1].append(file["filename"])
    return names


def _row(row: Mapping[str, Any], seen: Mapping[Platform, WheelFacts]) -> dict[str, Any]:
    targets, sources = row["targets"], row["target_sources"]
    on_pypi: Mapping[str, list[str]] = row["pypi"]["pythons_by_platform"]
    pythons: dict[str, str] = {}
    accelerators: dict[str, dict[str, str]] = {}
    pypi: dict[str, str] = {}
    macos: dict[str, dict[str, str]] = {}
    for name, platform in PLATFORMS.items():
        if name not in targets:
            continue
        known = seen.get(platform)
        fallback = sorted(known.pythons) if known else row["pythons"]
        pythons[platform] = " ".join(map(str, _sorted(on_pypi.get(name, fallback))))
        accelerators[platform] = {
            label: "".join(sorted(ORIGINS[tag] for tag in sources[name][label])) for label in sort_labels(targets[name])
        }
        if carried := _carried(row, name):
            pypi[platform] = carried
        if platform.is_macos:
            macos[platform] = known.floors() if known else _floor(row["pypi"]["platform_tags"], platform)
    facts = {
        "version": row["torch"],
        "released": row["released"],
        "torchvision": row["torchvision"],
        "torchaudio": row["torchaudio"],
        "complete": row["targets_complete"],
        "pypi": pypi,
        "macos": {platform: floors for platform, floors in macos.items() if floors},
        "pythons": pythons,
        "accelerators": accelerators,
    }
    if plan := _planned(row):
        facts["planned"] = plan
    return facts


def _sorted(pythons: Iterable[str | PythonVersion]) -> list[PythonVersion]:
    return sorted(PythonVersion.parse(str(python)) for python in pythons)


def _carried(row: Mapping[str, Any], name: str) -> str | None:
    """Which build PyPI's wheel is: CUDA where its METADATA says so, else the CPU build that its name stands for."""
    if name not in row["pypi"]["pythons_by_platform"]:
        return None
    if name == "linux-x86_64":
        return row["pypi"]["default_cuda"] or None
    by_metadata = [label for label, tags in row["target_sources"][name].items() if "PyPI METADATA" in tags]
    return by_metadata[0] if by_metadata else "cpu"


def _floor(tags: Iterable[str], platform: Platform) -> dict[str, str]:
    """The newest macOS of the tags: without the wheel names it is not known which Python has which."""
    found = [re.fullmatch(rf"macosx_(\d+)_(\d+)_{platform.machine}", tag) for tag in tags]
    versions = [Version(f"{match[1]}.{match[2]}") for match in found if match]
    return {"*": str(max(versions))} if versions else {}


def _planned(row: Mapping[str, Any]) -> str | None:
    plan = row["ci_plan"]
    if row["targets_complete"] or not plan:
        return None
    cuda = ["cu" + version.replace(".", "") for version in plan["cuda"]]
    return " ".join([*cuda, *(f"rocm{version}" for version in plan["rocm"])])
