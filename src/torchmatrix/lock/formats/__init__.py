"""The formats that other tools install without torchmatrix, each made from the record alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchmatrix.errors import UsageError
from torchmatrix.lock.formats import pylock, requirements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torchmatrix.lock.formats.addresses import Addresses
    from torchmatrix.lock.model import Lockfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One lockfile format: its file name and its writer. A writer that lacks an address says which."""

    name: str
    backend: str
    render: Callable[[Lockfile, Addresses], str]
    needs_all_addresses: bool = False


FORMATS: Mapping[str, Format] = {
    "requirements.txt": Format(name="requirements.txt", backend="pip", render=requirements.render),
    "pylock.toml": Format(name="pylock.toml", backend="pip", render=pylock.render, needs_all_addresses=True),
}
"""Formats by the name used in ``lockfiles:`` and ``export --format``, which is their file name."""

_SHORT = {"requirements": "requirements.txt", "pylock": "pylock.toml"}


def format_named(name: str) -> Format:
    """The format with that name; `UsageError` lists the known ones."""
    found = FORMATS.get(_SHORT.get(name, name))
    if found is None:
        raise UsageError(f"unknown lockfile format {name!r}", hint=f"one of: {', '.join(sorted(FORMATS))}")
    return found


def formats_for(backend: str, names: tuple[str, ...] | None) -> tuple[Format, ...]:
    """The formats of a backend that ``lockfiles:`` names; ``None`` means all of them."""
    wanted = FORMATS if names is None else {name: FORMATS[name] for name in names if name in FORMATS}
    return tuple(found for found in wanted.values() if found.backend == backend)
