"""What changed between two lockfiles, package by package. Whole trees of lockfiles: `lock.trees`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchmatrix.lock.conda_version import CondaVersion
from torchmatrix.lock.demands import changed_inputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.version import Version

    from torchmatrix.lock.model import Artifact, Lockfile

KINDS = ("added", "removed", "upgraded", "downgraded", "moved", "replaced", "rebuilt")
"""Every `Change.kind`."""
_HEAD = ("python", "channel", "target", "platform", "accelerator", "backend", "floor", "as_of", "conda_channels")
"""Fields of a record that say what it is for; a difference is a remark, not a change of a package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One project that differs. ``before`` or ``after`` is ``None`` when it was added or removed."""

    name: str
    before: Artifact | None
    after: Artifact | None

    @property
    def kind(self) -> str:
        """added, removed, upgraded, downgraded, moved (source), replaced (file) or rebuilt (bytes)."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        if self.before.version != self.after.version:
            return "upgraded" if _newer(self.after.version, self.before.version) else "downgraded"
        if self.before.source != self.after.source:
            return "moved"
        return "rebuilt" if self.before.file == self.after.file else "replaced"

    @property
    def detail(self) -> str:
        """What is to be said beside kind and name: ``2.3.0 -> 2.4.0``, ``1.3.0 from pypi to corp``."""
        before, after = self.before, self.after
        if before is None or after is None:
            side = after or before
            return str(side.version) if side else ""
        if before.version != after.version:
            return f"{before.version} -> {after.version}"
        if before.source != after.source:
            return f"{after.version} from {before.source} to {after.source}"
        if before.file != after.file:
            return f"{after.version}: {before.file} by {after.file}"
        return f"{after.version}: {before.file} has other bytes"

    @property
    def size_change(self) -> int | None:
        """Bytes that the file grew by, negative when it shrank; ``None`` where a size that it takes is unknown."""
        if self.before is None:
            return self.after.size if self.after else None
        if self.after is None:
            return None if self.before.size is None else -self.before.size
        if self.before.sha256 == self.after.sha256:
            return 0
        if self.before.size is None or self.after.size is None:
            return None
        return self.after.size - self.before.size

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.detail}"


def _newer(one: Version | CondaVersion, other: Version | CondaVersion) -> bool:
    """Versions of a conda package and of a wheel are compared in conda's order, which knows both."""
    if isinstance(one, CondaVersion) or isinstance(other, CondaVersion):
        return CondaVersion(str(one)) > CondaVersion(str(other))
    return one > other


def diff(before: Lockfile | None, after: Lockfile | None) -> tuple[Change, ...]:
    """Changes by name; an artifact is the same when source, file and sha256 are. ``None``: there is no lockfile."""
    old = {artifact.name: artifact for artifact in before.artifacts} if before else {}
    new = {artifact.name: artifact for artifact in after.artifacts} if after else {}
    return tuple(
        Change(name=name, before=old.get(name), after=new.get(name))
        for name in sorted({*old, *new})
        if _identity(old.get(name)) != _identity(new.get(name))
    )


def remarks(before: Lockfile | None, after: Lockfile | None) -> tuple[str, ...]:
    """What differs beside the packages: the cell itself, as-of date, inputs. Empty where one side is missing."""
    if before is None or after is None:
        return ()
    head = [
        f"{name}: {_word(getattr(before, name))} -> {_word(getattr(after, name))}"
        for name in _HEAD
        if getattr(before, name) != getattr(after, name)
    ]
    if before.torch != after.torch and not any(side.artifact("torch") for side in (before, after)):
        head.append(f"torch: {before.torch} -> {after.torch}")
    asked = [words for words in changed_inputs(before.inputs, after.inputs) if words not in head]
    return (*head, *(f"inputs: {words}" for words in asked))


def total(sizes: Iterable[int | None]) -> int | None:
    """The sum in bytes; ``None`` as soon as one part is unknown."""
    known = 0
    for size in sizes:
        if size is None:
            return None
        known += size
    return known


def to_json(changes: tuple[Change, ...]) -> list[dict[str, object]]:
    """JSON-ready; ``size_change`` in bytes, ``None`` where unknown."""
    return [
        {
            "name": c.name,
            "change": c.kind,
            "before": _side(c.before),
            "after": _side(c.after),
            "size_change": c.size_change,
        }
        for c in changes
    ]


def pair_json(before: Lockfile | None, after: Lockfile | None) -> Mapping[str, object]:
    """JSON-ready: what ``diff`` of two lockfiles says."""
    changes = diff(before, after)
    return {
        "before": before.digest if before else None,
        "after": after.digest if after else None,
        "changes": to_json(changes),
        "size_change": total(change.size_change for change in changes),
        "remarks": list(remarks(before, after)),
    }


def _side(artifact: Artifact | None) -> dict[str, object] | None:
    if artifact is None:
        return None
    return {
        "version": str(artifact.version),
        "source": artifact.source,
        "file": artifact.file,
        "sha256": artifact.sha256,
        "size": artifact.size,
    }


def _identity(artifact: Artifact | None) -> tuple[str, str, str] | None:
    return None if artifact is None else (artifact.source, artifact.file, artifact.sha256)


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value) or "nothing"
    return "nothing" if value is None else str(value)
