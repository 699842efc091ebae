"""Obtaining, checking and publishing lockfiles: the first and the last step of the story."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from torchmatrix.backends import ResolveRequest
from torchmatrix.errors import IntegrityError, StaleLockfileError
from torchmatrix.files import sweep_temporary, write_atomic
from torchmatrix.lock.demands import Demands, changed_inputs, gather, input_digest, input_form
from torchmatrix.lock.diff import Change, diff
from torchmatrix.lock.formats import Format, file_names, formats_for
from torchmatrix.lock.formats.addresses import Addresses
from torchmatrix.lock.record import DamagedRecordError, parse_record, read_record, render_record
from torchmatrix.sources.channels import CONDA_BASES, plain_base
from torchmatrix.sources.config import PYTORCH_BASE

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from torchmatrix.lock.model import Lockfile
    from torchmatrix.matrix.model import Cell
    from torchmatrix.workspace import Workspace

RECORD, VERIFIED = "cell.json", "verified.json"


class LockPolicy(StrEnum):
    """When a lockfile may be resolved anew."""

    REUSE = "reuse"
    """When its inputs changed or there is none."""
    UPGRADE = "upgrade"
    """Always, with the newest versions."""
    FROZEN = "frozen"
    """Never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOptions:
    """Policy of a run."""

    policy: LockPolicy = LockPolicy.REUSE
    upgrade_packages: tuple[str, ...] = ()
    as_of: dt.date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """A lockfile and how it came about. ``fresh``: resolved in this run."""

    lockfile: Lockfile
    fresh: bool
    changes: tuple[Change, ...] = ()
    remarks: tuple[str, ...] = ()


def obtain_lockfile(cell: Cell, workspace: Workspace, options: LockOptions) -> Obtained:
    """The lockfile of a cell: the published one when its inputs are the same, else a new resolution.

    A new one is written and read back in scratch space, so that what is created from is what is published.
    """
    demands = gather(cell, workspace.matrix)
    previous, damage = _previous(cell, workspace, frozen=options.policy is LockPolicy.FROZEN)
    reasons = stale_reasons(cell, workspace, demands, previous)
    if options.policy is LockPolicy.FROZEN:
        reasons = check_lockfile(cell, workspace)
        if reasons or previous is None:
            raise StaleLockfileError(
                f"{cell}: the lockfile is out of date: {'; '.join(reasons)}", hint=f"run: torchmatrix lock {cell}"
            )
        return Obtained(lockfile=previous, fresh=False)
    upgrade = options.policy is LockPolicy.UPGRADE
    if previous is not None and not reasons and not upgrade and not options.upgrade_packages and not options.as_of:
        return Obtained(lockfile=previous, fresh=False)
    workspace.tell(cell.id, "resolving")
    request = ResolveRequest(
        cell=cell,
        demands=demands,
        sources=workspace.matrix.sources,
        stand_in_in_ci=workspace.matrix.stand_in_in_ci,
        previous=previous,
        upgrade=upgrade or options.as_of is not None,
        upgrade_packages=options.upgrade_packages,
        as_of=options.as_of,
        tell=lambda text: workspace.tell(cell.id, text),
    )
    resolution = workspace.backend(cell).resolve(request)
    workspace.store.memorize("addresses", {f"{cell.backend}:{name}": base for name, base in resolution.bases.items()})
    lockfile = _read_back(resolution.lockfile, workspace)
    return Obtained(
        lockfile=lockfile, fresh=True, changes=diff(previous, lockfile), remarks=(*damage, *resolution.remarks)
    )


def _previous(cell: Cell, workspace: Workspace, *, frozen: bool) -> tuple[Lockfile | None, tuple[str, ...]]:
    """The published lockfile, and a remark when there is one that cannot be used."""
    try:
        return read_record(workspace.envs / cell.id / RECORD), ()
    except DamagedRecordError as error:
        if frozen:
            raise StaleLockfileError(error.message, hint=error.hint) from error
        words = f"{cell}: {error.message}; it was resolved anew, and what it had locked is not kept"
        return None, (words,)


def _read_back(lockfile: Lockfile, workspace: Workspace) -> Lockfile:
    path = workspace.store.scratch / f"{lockfile.cell}-{secrets.token_hex(4)}.json"  # projects share the store
    text = render_record(lockfile)
    write_atomic(path, text)
    again = parse_record(path.read_text(encoding="utf-8"), path)
    path.unlink(missing_ok=True)
    if again != lockfile or render_record(again) != text:
        raise IntegrityError(f"{lockfile.cell}: the record changed between writing and reading it back")
    return again


def stale_reasons(cell: Cell, workspace: Workspace, demands: Demands, lockfile: Lockfile | None) -> tuple[str, ...]:
    """Why the lockfile of a cell does not match the matrix, in words; empty when it does. Needs no network."""
    if lockfile is None:
        return ("there is none",)
    form = input_form(cell, demands, workspace.matrix.sources)
    if lockfile.input_digest == input_digest(form):
        if input_digest(lockfile.inputs) != lockfile.input_digest:
            return ("cell.json was edited by hand: its inputs do not give its input digest",)
        return ()
    normal = json.loads(json.dumps(form))
    return tuple(changed_inputs(lockfile.inputs, normal)) or ("the form of its inputs is another one",)


def check_lockfile(cell: Cell, workspace: Workspace) -> tuple[str, ...]:
    """What ``lock --check`` has to say about a cell: changed inputs, damage, formats that are not of this record."""
    folder = workspace.envs / cell.id
    try:
        lockfile = read_record(folder / RECORD)
    except DamagedRecordError as error:
        return (error.message,)
    reasons = list(stale_reasons(cell, workspace, gather(cell, workspace.matrix), lockfile))
    if lockfile is None or reasons:
        return tuple(reasons)
    known = addresses(workspace, cell)
    for found in _formats(lockfile, cell):
        if found.obstacle(lockfile, known):
            continue
        name = found.file_name(lockfile.platform)
        text = _text_of(folder / name)
        if text is None and not found.may_be_absent(lockfile):
            reasons.append(f"{name} is missing")
        elif text is not None and text != found.render(lockfile, known):
            reasons.append(f"{name} is not the one that cell.json gives")
    return tuple(reasons)


def publish_lockfile(lockfile: Lockfile, cell: Cell, workspace: Workspace) -> tuple[str, ...]:
    """Write the lockfile's files to ``envs/<cell>/``, each whole or not at all, the record last.

    Returns remarks. A kill in between leaves the old record; the next run writes what is missing.
    """
    folder = workspace.envs / cell.id
    sweep_temporary(folder)
    record = render_record(lockfile)
    verified = read_verified(folder)
    if verified is not None and verified.get("lockfile_digest") != lockfile.digest:
        (folder / VERIFIED).unlink(missing_ok=True)
    known = addresses(workspace, cell)
    obstacles = {found: found.obstacle(lockfile, known) for found in _formats(lockfile, cell)}
    names = {found: found.file_name(lockfile.platform) for found in obstacles}
    rendered = {names[found]: found.render(lockfile, known) for found, why in obstacles.items() if why is None}
    changed = _text_of(folder / RECORD) != record
    for other in file_names(cell.backend) - set(rendered if changed else names.values()):
        (folder / other).unlink(missing_ok=True)
    for name, text in rendered.items():
        write_atomic(folder / name, text)
    write_atomic(folder / RECORD, record)
    missing: dict[str, list[str]] = {}
    for found, why in obstacles.items():
        if why is not None:
            missing.setdefault(why, []).append(names[found])
    return tuple(f"{cell}: no {', '.join(sorted(files))}: {why}" for why, files in missing.items())


def _formats(lockfile: Lockfile, cell: Cell) -> tuple[Format, ...]:
    """The formats that are to be written of a lockfile."""
    return tuple(found for found in formats_for(cell.backend, cell.lockfiles) if found.concerns(lockfile))


def addresses(workspace: Workspace, cell: Cell) -> Addresses:
    """Base addresses of sources, of indexes as far as earlier resolutions on this machine saw them."""
    prefix = f"{cell.backend}:"
    seen = workspace.store.remember("addresses")
    bases = {name.removeprefix(prefix): base for name, base in seen.items() if name.startswith(prefix)}
    sources = workspace.matrix.sources.items()
    private = {name: plain_base(source.conda_channel) for name, source in sources if source.conda_channel}
    return Addresses(bases={**bases, "pytorch": PYTORCH_BASE}, conda={**CONDA_BASES, **private})


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def read_verified(folder: Path) -> dict[str, object] | None:
    """``verified.json`` of a cell, ``None`` when there is none or it is damaged."""
    try:
        data = json.loads((folder / VERIFIED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
