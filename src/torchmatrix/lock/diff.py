"""What changed between two lockfiles, in words, Markdown and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchmatrix.lock.model import Artifact, Lockfile


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
            return "upgraded" if self.after.version > self.before.version else "downgraded"
        if self.before.source != self.after.source:
            return "moved"
        return "rebuilt" if self.before.file == self.after.file else "replaced"

    def __str__(self) -> str:
        before, after = self.before, self.after
        if before is None and after is not None:
            return f"added {self.name} {after.version}"
        if after is None and before is not None:
            return f"removed {self.name} {before.version}"
        assert before is not None and after is not None  # noqa: S101, PT018 - both None is no change
        if before.version != after.version:
            return f"{self.kind} {self.name} {before.version} -> {after.version}"
        if before.source != after.source:
            return f"moved {self.name} {after.version} from {before.source} to {after.source}"
        if before.file != after.file:
            return f"replaced {self.name} {after.version}: {before.file} by {after.file}"
        return f"rebuilt {self.name} {after.version}: {before.file} has other bytes"


def diff(before: Lockfile | None, after: Lockfile) -> tuple[Change, ...]:
    """Changes by name; an artifact is the same when source, file and sha256 are."""
    old = {artifact.name: artifact for artifact in before.artifacts} if before else {}
    new = {artifact.name: artifact for artifact in after.artifacts}
    return tuple(
        Change(name=name, before=old.get(name), after=new.get(name))
        for name in sorted({*old, *new})
        if _identity(old.get(name)) != _identity(new.get(name))
    )


def render_text(changes: tuple[Change, ...]) -> str:
    """One line a change."""
    return "\n".join(str(change) for change in changes) or "no change"


def render_markdown(changes: tuple[Change, ...], title: str) -> str:
    """A table for a pull request."""
    if not changes:
        return f"### {title}\n\nno change\n"
    rows = [
        f"| {c.name} | {c.kind} | {c.before.version if c.before else ''} | {c.after.version if c.after else ''} |"
        for c in changes
    ]
    return f"### {title}\n\n| package | change | before | after |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"


def to_json(changes: tuple[Change, ...]) -> list[dict[str, object]]:
    """JSON-ready."""
    return [
        {
            "name": c.name,
            "change": c.kind,
            "before": _side(c.before),
            "after": _side(c.after),
        }
        for c in changes
    ]


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
