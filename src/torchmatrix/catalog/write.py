"""Writes the catalog's file: the same facts give the same bytes, one fact a line, so that diffs read well."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def format_catalog(raw: Mapping[str, Any]) -> str:
    """The text of the file for its JSON form; keys of the top level keep their order."""
    groups = ",\n".join(f"{_dump(key)}: {_group(value)}" for key, value in raw.items())
    return "{\n" + groups + "\n}\n"


def _group(value: object, depth: int = 1) -> str:
    """One item a line; groups of groups are taken apart once more."""
    pad = " " * depth
    if isinstance(value, dict) and value:
        lines = [f"{pad}{_dump(key)}: {_item(each, depth)}" for key, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{' ' * (depth - 1)}}}"
    if isinstance(value, list) and value:
        lines = [f"{pad}{_dump(each)}" for each in value]
        return "[\n" + ",\n".join(lines) + f"\n{' ' * (depth - 1)}]"
    return _dump(value)


def _item(value: object, depth: int) -> str:
    nested = isinstance(value, list) and any(isinstance(each, dict) for each in value)
    return _group(value, depth + 1) if nested else _dump(value)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
