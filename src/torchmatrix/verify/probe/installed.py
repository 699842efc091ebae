"""What is installed: names and versions of an environment's distributions, against those that were locked."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from typing import Any, Dict, Iterator, List, Tuple

from .context import Context, Failed, Result


def normalized(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


_PEP440 = re.compile(
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>alpha|beta|preview|a|b|c|rc|pre)[-_.]?(?P<pre_n>\d*))?"
    r"(?P<post>-(?P<post_i>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_n>\d*))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_n>\d*))?(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?",
    re.IGNORECASE,
)
_PRE = {"alpha": "a", "beta": "b", "preview": "rc", "c": "rc", "pre": "rc"}


def canonical(version: str) -> str:
    """A version in the normal form of PEP 440; unchanged when it is none (conda has others)."""
    match = _PEP440.fullmatch(version.strip())
    if match is None:
        return version
    text = f"{int(match['epoch'])}!" if match["epoch"] and int(match["epoch"]) else ""
    text += ".".join(str(int(part)) for part in match["release"].split("."))
    if match["pre"]:
        pre = match["pre"].lower()
        text += _PRE.get(pre, pre) + str(int(match["pre_n"] or 0))
    if match["post"]:
        text += f".post{int(match['post_i'] or match['post_n'] or 0)}"
    if match["dev"]:
        text += f".dev{int(match['dev_n'] or 0)}"
    if match["local"]:
        parts = re.split(r"[-_.]", match["local"].lower())
        text += "+" + ".".join(str(int(part)) if part.isdigit() else part for part in parts)
    return text


def site_folders(prefix: str) -> List[str]:
    """The environment's own site-packages, those of the base interpreter never."""
    found = [os.path.join(prefix, "Lib", "site-packages")] if os.name == "nt" else []
    for lib in ("lib", "lib64"):
        base = os.path.join(prefix, lib)
        if os.name != "nt" and os.path.isdir(base) and not os.path.islink(base):
            found += [os.path.join(base, name, "site-packages") for name in sorted(os.listdir(base))]
    return [folder for folder in found if os.path.isdir(folder)]


def distributions(prefix: str) -> Iterator[Tuple[str, importlib.metadata.Distribution]]:
    """Normalized name and distribution of everything in the environment's site-packages."""
    for distribution in importlib.metadata.distributions(path=site_folders(prefix)):
        try:
            name = distribution.metadata["Name"]
        except Exception:
            name = None
        yield normalized(name) if name else f"(no metadata in {getattr(distribution, '_path', '?')})", distribution


def conda_records(prefix: str) -> List[Dict[str, Any]]:
    """The records of conda packages, empty outside a conda environment."""
    folder = os.path.join(prefix, "conda-meta")
    if not os.path.isdir(folder):
        return []
    records = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as stream:
                records.append(json.load(stream))
    return records


def installed(prefix: str) -> Dict[str, List[str]]:
    """Name and versions (more than one when metadata was left behind) of everything in the environment.

    In a conda environment these are conda's packages, and besides them what something else put into site-packages.
    """
    found: Dict[str, List[str]] = {}
    records = conda_records(prefix)
    owned: set[str] = set()
    for record in records:
        found.setdefault(record["name"], []).append(str(record["version"]))
        owned.update(path for path in record.get("files", ()) if path.endswith(("METADATA", "PKG-INFO", ".egg-info")))
    folders = {os.path.dirname(path) for path in owned} | owned
    for name, distribution in distributions(prefix):
        path = os.path.relpath(str(getattr(distribution, "_path", "")), prefix).replace(os.sep, "/")
        if path not in folders:
            version = distribution.version or "no version"
            found.setdefault(name, []).append(version)
    return found


def check_distributions(context: Context) -> Result:
    """Every locked distribution at its version, and nothing else."""
    locked: Dict[str, str] = context.spec["distributions"]
    project = {normalized(name) for name in context.spec.get("project", ())}
    present = {name: versions for name, versions in installed(context.prefix).items() if name not in project}
    problems = []
    for name, version in sorted(locked.items()):
        versions = present.get(name)
        if versions is None:
            problems.append(f"{name} {version} is locked and not installed")
        elif [canonical(text) for text in versions] != [canonical(version)]:
            problems.append(f"{name} is {' and '.join(versions)}, locked is {version}")
    extra = sorted(set(present) - set(locked))
    problems += [f"{name} {' and '.join(present[name])} is installed and not locked" for name in extra]
    if problems:
        raise Failed(f"{len(locked)} locked distributions", f"{len(present)} installed", "; ".join(problems))
    return f"{len(locked)} locked distributions", f"{len(present)} installed, each at its version"
