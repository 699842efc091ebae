"""Cells with equal inputs are resolved once: they differ in name, in channel, or in where they are built."""

from __future__ import annotations

from dataclasses import fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from torchmatrix.errors import TorchmatrixError
from torchmatrix.lock.demands import floor_of, input_digest, input_form
from torchmatrix.lock.model import Lockfile, digest_of
from torchmatrix.sources.once import Once

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from packaging.version import Version

    from torchmatrix.backends import Resolution, ResolveRequest
    from torchmatrix.lock.model import Artifact


def lockfile_of(
    request: ResolveRequest, torch: Version, artifacts: tuple[Artifact, ...], *, expires: dt.date | None = None
) -> Lockfile:
    """The record of a cell: what was asked, and the artifacts that a backend found for it."""
    cell = request.cell
    form = input_form(cell, request.demands, request.sources)
    return Lockfile(
        cell=cell.id,
        python=str(cell.python),
        channel=cell.channel,
        target=cell.target.name,
        platform=str(cell.target.platform),
        accelerator=str(cell.target.accelerator),
        backend=str(cell.backend),
        floor=floor_of(cell),
        torch=torch,
        input_digest=input_digest(form),
        inputs=MappingProxyType(form),
        as_of=request.as_of.isoformat() if request.as_of else None,
        expires=expires,
        artifacts=artifacts,
        conda_channels=cell.conda_channels,
    )


class SharedResolutions:
    """Resolutions of one run by their inputs; several threads ask at the same time."""

    def __init__(self) -> None:
        self._found: Once[str, tuple[ResolveRequest, Resolution]] = Once()

    def resolve(self, request: ResolveRequest, resolve: Callable[[ResolveRequest], Resolution]) -> Resolution:
        """``resolve(request)``, or what it gave for another cell with the same inputs, under this cell's name.

        A failure is not shared: its message names the cell.
        """
        mine = False

        def ask(_key: str) -> tuple[ResolveRequest, Resolution]:
            nonlocal mine
            mine = True
            return request, resolve(request)

        try:
            original, resolution = self._found.get(_key(request), ask)
        except TorchmatrixError:
            if mine:
                raise
            return resolve(request)
        return resolution if mine else _renamed(original, resolution, request)


def _key(request: ResolveRequest) -> str:
    """Digest of everything that a resolution depends on."""
    previous = request.previous
    locked = [_content(one) for one in previous.artifacts] if previous else []
    return digest_of(
        [
            input_form(request.cell, request.demands, request.sources),
            [previous.digest, dict(previous.inputs), locked] if previous else None,
            request.stand_in_in_ci,
            request.upgrade,
            list(request.upgrade_packages),
            request.as_of.isoformat() if request.as_of else None,
            str(request.cell.torch_version),
        ]
    )


def _content(artifact: Artifact) -> dict[str, str | None]:
    """Everything that is locked of an artifact: what its digest leaves out is taken over into the new lockfile too."""
    values = {one.name: getattr(artifact, one.name) for one in fields(artifact)}
    return {name: None if value is None else str(value) for name, value in values.items()}


def _renamed(original: ResolveRequest, resolution: Resolution, request: ResolveRequest) -> Resolution:
    cell = request.cell
    lockfile = replace(resolution.lockfile, cell=cell.id, channel=cell.channel, target=cell.target.name)
    others = [remark for remark in resolution.remarks if remark not in original.cell.notes]
    return replace(resolution, lockfile=lockfile, remarks=tuple(dict.fromkeys([*cell.notes, *others])))
