"""``python -m torchmatrix.upkeep catalog``: brings the catalog up to what the package index has today."""

from __future__ import annotations

import argparse
import datetime as dt
import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from torchmatrix.backends.uv import default_index, find_uv
from torchmatrix.catalog import PACKAGED, USER_FILE_NAME, read_facts
from torchmatrix.catalog.write import format_catalog
from torchmatrix.console import Console
from torchmatrix.errors import UsageError
from torchmatrix.target import Platform
from torchmatrix.upkeep.catalog_conda import seed_conda
from torchmatrix.upkeep.catalog_index import (
    Index,
    WheelFacts,
    WheelFile,
    default_cuda,
    sort_labels,
    wheel_facts,
)
from torchmatrix.upkeep.catalog_seed import seed_releases

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.requirements import Requirement

COMPANIONS = ("torchvision", "torchaudio")
"""Packages that are released together with torch."""
TOGETHER = dt.timedelta(days=14)
"""How long after torch a companion without an exact requirement may be uploaded and still belong to it."""
DIFF_LINES = 40
"""How much of a difference ``--check`` shows."""


def main(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Refresh, seed or check the catalog; 1 when ``--check`` finds that it would change.

    ``environ`` is the caller's environment: UV_DEFAULT_INDEX and PIP_INDEX_URL name the index, in this order.
    """
    arguments = _parser().parse_args(list(argv))
    console = Console()
    output = _output(arguments)
    raw = _read(output if output.exists() else PACKAGED)
    if arguments.seed is not None:
        updated = _seeded(raw, arguments.seed, environ or {})
    else:
        index = Index(_address(arguments.index, environ or {}))
        updated, messages = refresh(raw, index, today=dt.datetime.now(tz=dt.UTC).date())
        for message in messages:
            console.say(message)
    read_facts(updated)  # what is written must be readable
    before = output.read_text(encoding="utf-8") if output.exists() else ""
    after = format_catalog(updated)
    if arguments.check:
        return _check(console, output, before, after)
    if after == before:
        console.say(f"{output} is up to date")
        return 0
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(output.name + ".tmp")
    temporary.write_text(after, encoding="utf-8")
    temporary.replace(output)
    console.say(f"wrote {output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m torchmatrix.upkeep catalog", description="Refresh the catalog of torch releases."
    )
    parser.add_argument("--index", metavar="URL", help="package index to read (default: the configured one)")
    parser.add_argument("--seed", metavar="FILE", type=Path, help="take the releases from a compatibility table")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", metavar="FILE", type=Path, help="file to refresh (default: the packaged one)")
    where.add_argument("--user", action="store_true", help="refresh the copy in the user's data folder")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something would change")
    return parser


def _output(arguments: argparse.Namespace) -> Path:
    if arguments.user:
        from platformdirs import user_data_path

        return user_data_path("torchmatrix") / USER_FILE_NAME
    return arguments.output or PACKAGED


def _address(named: str | None, environ: Mapping[str, str]) -> str:
    address = named or environ.get("UV_DEFAULT_INDEX") or environ.get("PIP_INDEX_URL")
    address = address or default_index(find_uv(), environ)
    if not address:
        raise UsageError("no package index is known", hint="name one with --index URL")
    # uv lets an index carry a name: NAME=URL.
    name, equals, rest = address.partition("=")
    return rest if equals and "://" not in name else address


def _read(path: Path) -> dict[str, Any]:
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}: not a catalog ({error})", hint="delete the file and run the command again"
        ) from error
    return raw


def _seeded(raw: Mapping[str, Any], table: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        releases = seed_releases(table)
        conda = seed_conda(table, raw["conda"], environ)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{table}: not a compatibility table ({type(error).__name__}: {error})") from error
    return {**raw, "conda": conda, "releases": sorted(releases, key=lambda row: Version(row["version"]))}


def _check(console: Console, output: Path, before: str, after: str) -> int:
    if before == after:
        console.say(f"{output} is up to date")
        return 0
    lines = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), str(output), "refreshed", lineterm="", n=0)
    )
    console.data("\n".join(lines[:DIFF_LINES]))
    if len(lines) > DIFF_LINES:
        console.say(f"… and {len(lines) - DIFF_LINES} more lines")
    console.error(f"{output} is out of date", "run: python -m torchmatrix.upkeep catalog")
    return 1


def refresh(raw: Mapping[str, Any], index: Index, *, today: dt.date) -> tuple[dict[str, Any], list[str]]:
    """The catalog with what the index knows, and messages about releases that could not be taken up.

    Facts that an index cannot know are kept; the date moves only when something else changes.
    """
    rows = {row["version"]: dict(row) for row in raw["releases"]}
    wheels = _by_version(index.wheels("torch"))
    messages: list[str] = []
    new = []
    for version, files in sorted(wheels.items()):
        row = rows.get(str(version))
        if row is not None:
            rows[str(version)] = _updated(row, files)
        elif all(file.yanked for file in files):
            continue
        elif not any(file.uploaded for file in files):
            messages.append(f"torch {version} is left out: the index gives no upload time, so its date is not known")
        else:
            rows[str(version)] = _new_row(version, files, index, messages)
            new.append(version)
    if new:
        _pair(rows, new, index)
    releases = sorted(rows.values(), key=lambda row: Version(row["version"]))
    changed = releases != raw["releases"]
    return {**raw, "date": str(today) if changed else raw["date"], "releases": releases}, messages


def _by_version(wheels: Iterable[WheelFile]) -> dict[Version, list[WheelFile]]:
    """Files of releases from 1.0.0 on, by version; prereleases are nobody's stable torch."""
    found: dict[Version, list[WheelFile]] = {}
    for wheel in wheels:
        if not wheel.version.is_prerelease and wheel.version >= Version("1.0.0"):
            found.setdefault(wheel.version, []).append(wheel)
    return found


def _updated(row: Mapping[str, Any], files: Sequence[WheelFile]) -> dict[str, Any]:
    """A known release with the Pythons, macOS versions and date that the index tells."""
    facts = wheel_facts(file.name for file in files)
    row = dict(row)
    row["pythons"] = _in_order({**row["pythons"], **_pythons(facts)})
    row["macos"] = _in_order({**row["macos"], **_macos(facts)})
    dates = [file.uploaded for file in files if file.uploaded]
    if dates:
        row["released"] = min(str(min(dates)), row["released"])
    row["accelerators"] = _in_order({**{name: {"cpu": "P"} for name in row["pythons"]}, **row["accelerators"]})
    return row


def _new_row(version: Version, files: Sequence[WheelFile], index: Index, messages: list[str]) -> dict[str, Any]:
    facts = wheel_facts(file.name for file in files)
    carried = {Platform.WIN_64: "cpu", Platform.OSX_ARM64: "cpu", Platform.OSX_64: "cpu"}
    linux = [file for file in files if "manylinux" in file.name and not file.yanked]
    requirements = index.requirements(min(linux, key=lambda file: file.name)) if linux else None
    if requirements is not None:
        for platform in (Platform.LINUX_64, Platform.LINUX_AARCH64):
            carried[platform] = default_cuda(_there(requirements, platform)) or "cpu"
    elif linux:
        messages.append(
            f"torch {version}: the index gives no METADATA of its wheels; which CUDA they have is not known"
        )
    accelerators: dict[str, dict[str, str]] = {}
    for platform in facts:
        labels = {carried[platform]: "M" if platform.is_linux else "P"} if platform in carried else {}
        if platform is Platform.OSX_ARM64:
            labels["mps"] = "AP"
        accelerators[platform] = {label: labels[label] for label in sort_labels(labels)}
    return {
        "version": str(version),
        "released": str(min(file.uploaded for file in files if file.uploaded)),
        "torchvision": None,
        "torchaudio": None,
        "complete": False,
        "pypi": _in_order({platform: label for platform, label in carried.items() if platform in facts}),
        "macos": _in_order(_macos(facts)),
        "pythons": _in_order(_pythons(facts)),
        "accelerators": _in_order(accelerators),
    }


def _there(requirements: Iterable[Requirement], platform: Platform) -> list[Requirement]:
    """Requirements whose markers hold on Linux there."""
    environment = {
        "platform_system": "Linux",
        "sys_platform": "linux",
        "platform_machine": platform.machine,
        "extra": "",
    }
    return [each for each in requirements if each.marker is None or each.marker.evaluate(environment)]


def _pair(rows: Mapping[str, dict[str, Any]], new: Sequence[Version], index: Index) -> None:
    """Fill in the companions of new releases: by exact requirement, else by the day of upload."""
    oldest = min(dt.date.fromisoformat(rows[str(version)]["released"]) for version in new)
    for name in COMPANIONS:
        taken = {row[name] for row in rows.values()}
        for version, files in sorted(_companion_wheels(index, name).items()):
            days = [file.uploaded for file in files if file.uploaded]
            if str(version) in taken or (days and max(days) < oldest):
                continue
            pinned, bound = _torch_requirement(index, files)
            for torch in new:
                row = rows[str(torch)]
                released = dt.date.fromisoformat(row["released"])
                soon = bool(days) and released <= min(days) <= released + TOGETHER
                if torch == pinned or (pinned is None and bound is not None and torch in bound.specifier and soon):
                    row[name] = str(version)


def _companion_wheels(index: Index, name: str) -> dict[Version, list[WheelFile]]:
    found: dict[Version, list[WheelFile]] = {}
    for wheel in index.wheels(name):
        if not wheel.version.is_prerelease and not wheel.yanked:
            found.setdefault(wheel.version, []).append(wheel)
    return found


def _torch_requirement(index: Index, files: Sequence[WheelFile]) -> tuple[Version | None, Requirement | None]:
    """The torch that a companion pins, and its requirement whatever it says."""
    wheel = min(files, key=lambda file: file.name)
    for requirement in index.requirements(wheel) or ():
        if canonicalize_name(requirement.name) == "torch":
            exact = [each.version for each in requirement.specifier if each.operator == "=="]
            return (Version(exact[0]) if exact else None), requirement
    return None, None


def _pythons(facts: Mapping[Platform, WheelFacts]) -> dict[str, str]:
    return {platform: " ".join(map(str, sorted(each.pythons))) for platform, each in facts.items()}


def _macos(facts: Mapping[Platform, WheelFacts]) -> dict[str, dict[str, str]]:
    return {platform: each.floors() for platform, each in facts.items() if each.macos}


def _in_order(by_platform: Mapping[str, Any]) -> dict[str, Any]:
    return {platform: by_platform[platform] for platform in Platform if platform in by_platform}
