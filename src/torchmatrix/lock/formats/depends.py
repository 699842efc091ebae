"""What conda packages need of each other, read from their ``depends``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torchmatrix.lock.model import Artifact, Lockfile

_DEPENDENCY = re.compile(r"(?:.*::)?([\w.-]+)(.*)", re.DOTALL)


def dependencies(depends: Iterable[str]) -> dict[str, str]:
    """Name and constraint of what a conda package needs, by name, without virtual packages such as ``__glibc``."""
    found: dict[str, list[str]] = {}
    for text in depends:
        if match := _DEPENDENCY.fullmatch(text.strip()):
            name, constraint = match[1], match[2].strip()
            seen = found.setdefault(name, [])
            if constraint and constraint not in seen:
                seen.append(constraint)
    return {name: ",".join(seen) for name, seen in sorted(found.items()) if not name.startswith("__")}


def by_dependency(lockfile: Lockfile) -> list[Artifact]:
    """The conda packages, each after what it needs, otherwise by name; a circle is cut where it is entered."""
    known = {one.name: one for one in sorted(lockfile.conda_artifacts, key=lambda one: one.name)}
    entered: set[str] = set()
    done: dict[str, Artifact] = {}
    for name in known:
        stack = [name]
        while stack:
            at = stack[-1]
            if at in entered:
                done.setdefault(stack.pop(), known[at])
                continue
            entered.add(at)
            conda = known[at].conda
            needed = dependencies(conda.depends) if conda else {}
            stack += [one for one in reversed(needed) if one in known and one not in entered]
    return list(done.values())
