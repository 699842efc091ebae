"""``bundle`` and ``unbundle``: everything to rebuild a cell offline in one archive, and back."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from torchmatrix.console import counted, human_bytes
from torchmatrix.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from torchmatrix.backends import Backend
    from torchmatrix.bundle.read import Unpacked
    from torchmatrix.bundle.rebuild import Offline, Rebuilt, Tools
    from torchmatrix.cli.context import Context
    from torchmatrix.lock.model import Lockfile

_STREAMS = re.compile(r"/dev/(?:std(?:in|out|err)|fd/\d+)|/proc/[^/]+/fd/\d+")
"""Names of what is open already: a file behind one would be replaced beside the stream, not written to."""
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_REDRAW = 0.1
"""Seconds between two progress lines."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    bundle = commands.add_parser(
        "bundle",
        help="everything to rebuild a cell offline, in one archive",
        description="Pack a cell's lockfile and its artifacts into one archive, the same to the byte every time.",
    )
    bundle.add_argument("cell", metavar="CELL")
    bundle.add_argument("--output", "-o", type=Path, metavar="FILE", help="where to write it (default: CELL.tar)")
    bundle.set_defaults(handler=handle_bundle)
    unbundle = commands.add_parser(
        "unbundle",
        help="unpack a bundle, rebuild its environment offline and verify it",
        description="Unpack a bundle, rebuild its environment offline and verify it. Needs neither matrix nor network.",
    )
    unbundle.add_argument("file", type=Path, metavar="FILE")
    unbundle.add_argument("--into", type=Path, metavar="DIR", help="the folder to make (default: named as the cell)")
    unbundle.add_argument("--no-build", action="store_true", help="check and unpack only, on a machine of any kind")
    unbundle.set_defaults(handler=handle_unbundle)


def handle_bundle(context: Context) -> int:
    """Fetch what the lockfile names, write the archive, print its sha256 as ``sha256sum`` does."""
    from torchmatrix import fetching
    from torchmatrix.bundle.write import write_bundle
    from torchmatrix.files import sweep_temporary

    lockfile, record = _locked(context)
    target = (context.options.output or Path(f"{lockfile.cell}.tar")).absolute()
    _check_target(context, target)
    files = fetching.fetch_artifacts(lockfile, context.workspace)
    with context.store.lock(_lock_name(target), on_wait=_waiting(context, lockfile.cell)):
        sweep_temporary(target.parent, target.name)
        written = write_bundle(lockfile, record, files, target, progress=_progress(context, lockfile.cell, "packing"))
    if context.json_mode:
        context.console.json(
            {
                "cell": lockfile.cell,
                "file": str(target),
                "sha256": written.sha256,
                "size": written.size,
                "artifacts": len(lockfile.artifacts),
            }
        )
        return 0
    context.console.data(_checksum_line(written.sha256, str(context.options.output or target.name)))
    artifacts = counted(len(lockfile.artifacts), "artifact")
    context.console.say(f"{lockfile.cell}: {artifacts}, {human_bytes(written.size)} ({written.size} bytes)")
    return 0


def handle_unbundle(context: Context) -> int:
    """Check and unpack; then, unless it is not wanted, build and verify."""
    from torchmatrix.bundle.read import peek, unpack
    from torchmatrix.bundle.rebuild import rebuild
    from torchmatrix.pipeline import CellResult

    archive = context.options.file
    if (address := _ADDRESS.match(str(archive))) and not archive.exists():
        # Without the address itself: it may hold a password.
        raise UsageError(
            f"{address[1]}: is the beginning of an address; a bundle is read from a file",
            hint="download it first, compare its sha256, and name the file",
        )
    cell = peek(archive).cell
    folder = (context.options.into or Path(cell)).absolute()
    with context.store.lock(_lock_name(folder), on_wait=_waiting(context, cell)):
        unpacked = unpack(archive, folder, progress=_progress(context, cell, "unpacking"))
        _say_unpacked(context, unpacked)
        if context.options.no_build:
            _print(context, unpacked, None)
            return 0
        rebuilt = rebuild(unpacked, _tools(context))
    for remark in rebuilt.remarks:
        context.console.warn(f"{cell}: {remark}")
    _print(context, unpacked, rebuilt)
    return CellResult(cell=cell, verification=rebuilt.verification).exit_code


def _check_target(context: Context, target: Path) -> None:
    """`UsageError` for what an archive would never be wanted in the place of, and for what it cannot be put into."""
    hint, what = "name a file in a folder that exists with -o FILE", None
    if context.options.output is not None and str(context.options.output) == "-":
        raise UsageError("-: a bundle is not written to stdout, which gets its sha256", hint="name a file with -o FILE")
    try:
        if _STREAMS.fullmatch(str(target)) or (target.exists() and not target.is_file() and not target.is_dir()):
            what = "is a device, a pipe or an open stream; a bundle is written to a file beside and renamed when whole"
        elif target.is_dir():
            what = "is a folder"
        elif not target.parent.is_dir():
            what = "its folder does not exist"
        elif target.exists() and target.samefile(context.workspace.matrix.path):
            what = "is the matrix"
        elif target.resolve().is_relative_to(context.workspace.envs.resolve()):
            what, hint = "is among the lockfiles in envs/, which are committed", "name a file elsewhere with -o FILE"
    except (OSError, ValueError) as error:
        what = f"cannot be looked at: {getattr(error, 'strerror', None) or error}"
    if what:
        raise UsageError(f"{printable(str(target))}: {what}", hint=hint)


def _checksum_line(sha256: str, name: str) -> str:
    """As ``sha256sum`` writes it: a line that begins with a backslash has escapes in its name."""
    shown = printable(name if os.sep == "\\" else name.replace("\\", r"\\"))
    return f"{'' if shown == name else chr(92)}{sha256}  {shown}"


def printable(name: str) -> str:
    """A path in one line that no terminal obeys: what cannot be printed, or is no UTF-8, is escaped as in Python."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in name)


def _locked(context: Context) -> tuple[Lockfile, bytes]:
    """The record of the cell and its bytes as they are committed."""
    from torchmatrix.lock.record import parse_record

    name, cells = context.options.cell, {cell.id: cell for cell in context.expansion.cells}
    path = context.workspace.envs / name / "cell.json"
    if name not in cells and not (path.is_file() and path.parent.parent == context.workspace.envs):
        raise UsageError(f"{name} is not in the matrix and has no lockfile", hint="torchmatrix list shows the cells")
    try:
        data = path.read_bytes().replace(b"\r\n", b"\n")  # git on Windows may have changed the line ends
    except OSError as error:
        raise UsageError(
            f"{name}: no lockfile: {path}: {error.strerror}", hint=f"run: torchmatrix lock {name}"
        ) from error
    lockfile = parse_record(data.decode("utf-8", "replace"), path)
    if lockfile.cell != name:
        raise UsageError(f"{path}: is the lockfile of {lockfile.cell}", hint=f"run: torchmatrix lock {name}")
    _warn(context, lockfile)
    return lockfile, data


def _warn(context: Context, lockfile: Lockfile) -> None:
    """Say what makes a bundle less than it seems to be."""
    from torchmatrix.lock.demands import gather
    from torchmatrix.locking import stale_reasons

    cell = next((cell for cell in context.expansion.cells if cell.id == lockfile.cell), None)
    if cell is None:
        context.console.warn(f"{lockfile.cell} is not in the matrix any more; its lockfile is bundled as it is")
    elif reasons := stale_reasons(cell, context.workspace, gather(cell, context.matrix), lockfile):
        context.console.warn(
            f"{cell}: the lockfile is out of date ({'; '.join(reasons)}); it is bundled as it is. To renew it: "
            f"torchmatrix lock {cell}"
        )
    for artifact in lockfile.pip_artifacts:
        if not artifact.is_wheel:
            context.console.warn(
                f"{artifact.file} has to be built, and what it needs for that is not locked: offline that may fail"
            )


def _tools(context: Context) -> Tools:
    from torchmatrix.bundle.rebuild import Tools

    console = context.console
    return Tools(
        backend=lambda offline: _backend(context, offline),
        catalog=context.catalog,
        store=context.store,
        sandbox=context.native,
        child_env=context.source_config.child_env,
        env=context.environ,
        live=console.err.isatty() and console.verbosity >= 0 and not context.json_mode,
        tell=context.tell,
    )


def _backend(context: Context, offline: Offline) -> Backend:
    from torchmatrix.backends.lazy import LazyPipBackend

    pip = LazyPipBackend(offline.pip, context.catalog, context.store, home=context.home)
    if offline.backend == pip.name:
        return pip
    from torchmatrix.backends.conda import CondaBackend

    return CondaBackend(
        offline.conda, context.catalog, context.store, home=context.home, private=offline.channels, pip=pip
    )


def _say_unpacked(context: Context, unpacked: Unpacked) -> None:
    how = "unpacked in" if unpacked.fresh else "already there, unchanged:"
    artifacts = counted(len(unpacked.lockfile.artifacts), "artifact")
    folder = printable(str(unpacked.folder))
    context.console.say(f"{unpacked.description.cell}: {artifacts}, {human_bytes(unpacked.size)}, {how} {folder}")


def _print(context: Context, unpacked: Unpacked, rebuilt: Rebuilt | None) -> None:
    console = context.console
    if context.json_mode:
        console.json(
            {
                "cell": unpacked.description.cell,
                "folder": str(unpacked.folder),
                "sha256": unpacked.sha256,
                "size": unpacked.size,
                "artifacts": len(unpacked.lockfile.artifacts),
                "unpacked": unpacked.fresh,
                "environment": str(rebuilt.prefix) if rebuilt else None,
                "created": rebuilt.created if rebuilt else False,
                "verification": rebuilt.verification.to_json() if rebuilt else None,
            }
        )
        return
    if rebuilt is None:
        console.data(str(unpacked.folder))
        return
    verification = rebuilt.verification
    console.say(console.findings([finding.to_json() for finding in verification.findings]))
    for finding in verification.failures:
        console.error(f"{finding.check}: {finding.reason or 'no reason given'}")
    how = "built" if rebuilt.created else "already built"
    verdict = console.style("verified", "green") if verification.passed else console.style("failed", "red")
    console.say(f"{unpacked.description.cell}: torch {unpacked.lockfile.torch}, {how} offline, {verdict}")
    console.data(str(rebuilt.prefix))


def _lock_name(path: Path) -> str:
    from torchmatrix.lock.model import digest_of

    return "bundle-" + digest_of(str(path.resolve())).removeprefix("sha256:")[:24]


def _waiting(context: Context, cell: str) -> Callable[[], None]:
    return lambda: context.tell(cell, "waiting for another process that writes there")


def _progress(context: Context, cell: str, doing: str) -> Callable[[int, int], None]:
    """Bytes done of all, as the status line of a terminal."""
    shown = 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown
        if (now := time.monotonic()) - shown >= _REDRAW:
            shown = now
            context.console.status(f"{cell}: {doing} {human_bytes(done)} of {human_bytes(total)} …")

    return show
