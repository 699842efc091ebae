"""Walks nodes: entries of a mapping with merge keys applied, texts with the traps of YAML named, places noted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torchmatrix.matrix.problems import Problems, shown
from torchmatrix.matrix.yaml_nodes import Listing, Node, Scalar, Table, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torchmatrix.matrix.kinds import KeyTable
    from torchmatrix.matrix.model import Location

MAX_TEXT = 10_000
"""Characters of one value; nothing in a matrix is near it, and parsers of texts stay fast."""
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLAIN = re.compile(r"[ -?A-~]{1,40}")
_PLAIN_STEP = re.compile(r"(?:[\w-]{1,60}|<<)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping: where its name stands, and its value."""

    where: Location
    value: Node


@dataclass(slots=True)
class Reader:
    """The state of one reading: what was wrong, and where everything stands."""

    table: KeyTable
    problems: Problems = field(default_factory=Problems)
    locations: dict[str, Location] = field(default_factory=dict)
    _entries: dict[int, dict[str, Entry]] = field(default_factory=dict)

    def reject(self, node: Node, path: str, message: str, hint: str | None = None) -> None:
        """Note that the value at ``path`` is wrong."""
        self.problems.add(self.locations.get(path, node.where), path, message, hint)

    def note(self, path: str, key: Location, value: Node) -> None:
        """Remember where ``path`` stands: a single value at itself, a list, a mapping or nothing at its key."""
        self.locations[path] = value.where if isinstance(value, Scalar) and value.value else key

    def entries(self, table: Table, path: str) -> dict[str, Entry]:
        """The keys of a mapping, own ones before merged ones; duplicates and odd keys are reported, the first kept."""
        known = self._entries.get(id(table))
        if known is not None:
            return known
        found: dict[str, Entry] = {}
        merged: list[Table] = []
        merge_key: Location | None = None
        for key, value in table.pairs:
            if isinstance(key, Scalar) and key.tag == "merge":
                if merge_key:
                    self._duplicate("<<", key.where, merge_key, path, "list what to merge: <<: [*a, *b]")
                merge_key = merge_key or key.where
                merged += self._merged(value, path)
                continue
            name = self._name(key, path)
            if name is None:
                continue
            if name in found:
                self._duplicate(name, key.where, found[name].where, path, "keep one of the two")
                continue
            found[name] = Entry(key.where, value)
        for other in merged:
            for name, entry in self.entries(other, path).items():
                found.setdefault(name, entry)
        self._entries[id(table)] = found
        return found

    def unexpected(self, node: Node, path: str, what: str, hint: str | None = None) -> None:
        """Note that ``what`` was expected at ``path``, and what stands there."""
        if isinstance(node, Scalar) and node.tag == "null":
            self.reject(node, path, f"has no value; expected {what}", "give it a value or remove it")
        else:
            self.reject(node, path, f"expected {what}, found {kind_of(node)}", hint)

    def text(self, node: Node, path: str, what: str, instead: Callable[[str], str | None]) -> str | None:
        """The text of a scalar that YAML also takes for text; ``None`` after reporting why it is none.

        ``instead`` says what to write in place of a text that quotes alone would not put right.
        """
        if not isinstance(node, Scalar) or node.tag == "null":
            self.unexpected(node, path, what)
            return None
        if node.tag != "str":
            hint = instead(node.value) or f'quote it: "{_raw(node)}"'
            if node.tag == "timestamp" and path.endswith("torch") and (day := _DAY.match(node.value)):
                hint = f'write "nightly {day[0]}" for the nightly of that day'
            self.reject(node, path, f"{misread(node)}; expected {what}", hint)
            return None
        if not node.value.strip():
            self.reject(node, path, f"is empty; expected {what}", "give it a value or remove it")
            return None
        if len(node.value) > MAX_TEXT:
            self.reject(node, path, f"is longer than {MAX_TEXT:,} characters")
            return None
        return node.value

    def _merged(self, node: Node, path: str) -> list[Table]:
        if isinstance(node, Table):
            return [node]
        if isinstance(node, Listing) and all(isinstance(item, Table) for item in node.items):
            return [item for item in node.items if isinstance(item, Table)]
        self.problems.add(node.where, path, "<< merges mappings only", "write <<: *anchor or <<: [*one, *two]")
        return []

    def _name(self, key: Node, path: str) -> str | None:
        if isinstance(key, Scalar) and key.tag == "str":
            return key.value
        if not isinstance(key, Scalar):
            self.problems.add(key.where, path, f"a key must be text, found {kind_of(key)}")
        elif key.tag == "null":
            self.problems.add(key.where, path, "a key must be text, found nothing", "write a name before the colon")
        else:
            hint = f'quote it: "{_raw(key)}"'
            self.problems.add(key.where, path, f"a key must be text: {misread(key)}", hint)
        return None

    def _duplicate(self, name: str, where: Location, first: Location, path: str, hint: str) -> None:
        message = f"is a duplicate of {first[0]}:{first[1]}; YAML would drop one of them without a word"
        self.problems.add(where, join(path, name), message, hint)


def join(path: str, step: str) -> str:
    """``path.step``; a step that is no plain word is quoted."""
    step = step if _PLAIN_STEP.fullmatch(step) else shown(step)
    return f"{path}.{step}" if path else step


def misread(node: Scalar) -> str:
    """What YAML makes of an unquoted text: ``unquoted 3.10 is the number 3.1 to YAML``."""
    raw = _raw(node)
    if node.tag == "bool":
        return f"unquoted {raw} is {str(raw.lower() in ('yes', 'true', 'on')).lower()} to YAML"
    if node.tag == "float":
        try:
            number = repr(float(raw.replace("_", "")))
        except ValueError:
            number = raw
        if number != raw:
            return f"unquoted {raw} is the number {number} to YAML"
    return f"unquoted {raw} is {kind_of(node)} to YAML"


def _raw(node: Scalar) -> str:
    return node.value if _PLAIN.fullmatch(node.value) else shown(node.value)
