"""What a cell's backend makes of ``source`` and ``conda-channels``: its conda channels, or what is wrong with them.

The loader asks while it knows the places in the file, `expand` asks again for a matrix that was built without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchmatrix.catalog.model import CONDA_FORGE, PYPI, PYTORCH, PYTORCH_CONDA
from torchmatrix.matrix.model import Backend
from torchmatrix.target import Accelerator, AcceleratorKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

NVIDIA = "nvidia"
CONDA_SOURCES = (CONDA_FORGE, PYTORCH_CONDA)
"""Declared nowhere, and allowed as the source of the PyTorch family in conda cells."""
KNOWN_CHANNELS = (CONDA_FORGE, PYTORCH_CONDA, NVIDIA)
"""What ``conda-channels`` may name without a declaration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateNames:
    """The names under ``sources:`` by what they are, in the order of the file."""

    indexes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    def __contains__(self, name: object) -> bool:
        return name in self.indexes or name in self.channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Settings that do not go together: the key that is to blame, why, and what to do."""

    key: str
    message: str
    hint: str


def channel_source(name: str) -> str:
    """The source of a conda channel: its name without a label."""
    return name.partition("/label/")[0]


def family_source(named: str | None) -> str:
    """Where a conda cell takes the PyTorch family from; sources that only pip has are meant for other cells."""
    return CONDA_FORGE if named in (None, PYPI, PYTORCH) else str(named)


def overlooked(named: str | None) -> tuple[str, ...]:
    """What to say of a ``source`` that means nothing to a conda cell."""
    if named == PYTORCH:
        words = f"source: {PYTORCH} is the index of wheels, so torch comes from {CONDA_FORGE}"
        return (f"{words}; the conda channel pytorch is source: {PYTORCH_CONDA}",)
    return ()


def trouble(
    place: str, backend: Backend, named: str | None, channels: Sequence[str] | None, private: PrivateNames
) -> Trouble | None:
    """What is wrong with ``source`` and ``conda-channels`` in cells of ``place`` ("channel stable with target mps")."""
    if backend is Backend.PIP:
        if named in CONDA_SOURCES:
            return Trouble(
                key="source",
                message=f"{named} is a conda channel, and the backend of {place} is pip",
                hint="write it in the target or include with backend: conda; in pip cells source is pypi or pytorch",
            )
        if named in private and named not in private.indexes:
            return Trouble(
                key="source",
                message=f"source {named} has no index, and the backend of {place} is pip",
                hint=f"give sources.{named} an index, or write another source there",
            )
        return None
    if named in private and named not in private.channels:
        return Trouble(
            key="source",
            message=f"source {named} has no conda-channel, and the backend of {place} is conda",
            hint=f"give sources.{named} a conda-channel, or write source: {CONDA_FORGE} there",
        )
    family = family_source(named)
    if channels is None or family in map(channel_source, channels) or family in private.channels:
        return None
    other = next((name for name in map(channel_source, channels) if name in CONDA_SOURCES), None)
    return Trouble(
        key="conda-channels",
        message=f"{family} is missing, from which {place} takes the PyTorch family",
        hint=f"add {family}" + (f", or write source: {other} there" if other else ""),
    )


def decide_channels(
    source: str, named: Sequence[str] | None, accelerator: Accelerator, private: Iterable[str]
) -> tuple[str, ...]:
    """The conda channels of a cell, best first: those named, else what the family's source needs.

    Private ones that are not named stand in front: nobody else can then serve a name of theirs.
    """
    if named is None:
        nvidia = (NVIDIA,) if source == PYTORCH_CONDA and accelerator.kind is AcceleratorKind.CUDA else ()
        named = tuple(dict.fromkeys((source, *nvidia, CONDA_FORGE)))
    known: Collection[str] = {channel_source(name) for name in named}
    return (*(name for name in private if name not in known), *named)


def passed_over(source: str, named: Sequence[str] | None) -> tuple[str, ...]:
    """A remark where a list begins with another place that has the PyTorch family than the family's source."""
    first = next((name for name in map(channel_source, named or ()) if name in (*CONDA_SOURCES, source)), source)
    if first == source:
        return ()
    return (
        f"torch comes from {source}, although conda-channels has {first} first; source: {first} takes it from there",
    )
