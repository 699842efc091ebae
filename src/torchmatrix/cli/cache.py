"""``cache dir|size|gc``: where built environments are, how much they take, and their removal."""

from __future__ import annotations

import argparse
import re
import time
from typing import TYPE_CHECKING

from torchmatrix.cli.context import described
from torchmatrix.console import counted, human_bytes

if TYPE_CHECKING:
    from torchmatrix.cli.context import Context

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("cache", help="the store: dir, size, gc", description=described(__doc__))
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    actions.add_parser("dir", help="print the store's folder").set_defaults(handler=handle_dir)
    actions.add_parser("size", help="what each environment takes").set_defaults(handler=handle_size)
    gc = actions.add_parser("gc", help="remove environments that are unfinished or long unused, and old downloads")
    gc.add_argument(
        "--days", type=_days, default=30.0, metavar="N", help="unused for N days (default 30; 0 removes all)"
    )
    gc.add_argument(
        "--keep", type=_bytes, metavar="SIZE", help="remove the longest unused until at most SIZE is left, e.g. 20GB"
    )
    gc.add_argument("--downloads", action="store_true", help="also let uv prune its download cache")
    gc.set_defaults(handler=handle_gc)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write for example 20GB")
    return int(float(match[1]) * _UNITS[match[2]])


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 36500:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days; write for example 30")
    return days


def handle_dir(context: Context) -> int:
    """Print the folder."""
    if context.json_mode:
        context.console.json({"dir": str(context.store.root)})
    else:
        context.console.data(str(context.store.root))
    return 0


def handle_size(context: Context) -> int:
    """A line for each environment."""
    usage = context.store.usage()
    total, exclusive = sum(one.bytes for one in usage), sum(one.exclusive for one in usage)
    downloads = context.store.downloads()
    downloaded = sum(size for _, size, _ in downloads)
    if context.json_mode:
        context.console.json(
            {
                "environments": [
                    {
                        "key": u.key,
                        "cell": u.cell,
                        "bytes": u.bytes,
                        "exclusive_bytes": u.exclusive,
                        "finished": u.finished,
                    }
                    for u in usage
                ],
                "bytes": total,
                "exclusive_bytes": exclusive,
                "downloads": {"files": len(downloads), "bytes": downloaded},
            }
        )
        return 0
    rows = [
        [u.cell, human_bytes(u.bytes), human_bytes(u.exclusive), f"{(time.time() - u.used) / 86400:.1f} days ago"]
        for u in reversed(usage)
    ]
    context.console.data(context.console.table(["cell", "size", "not shared", "last used"], rows))
    context.console.data(
        f"{counted(len(usage), 'environment')}, {human_bytes(total)}; removing them frees {human_bytes(exclusive)}, "
        "the rest is shared with uv's download cache by hard links"
    )
    if downloads:
        context.console.data(f"{counted(len(downloads), 'downloaded file')}, {human_bytes(downloaded)}")
    return 0


def handle_gc(context: Context) -> int:
    """Remove, and say what was removed."""
    removed = context.store.collect(older_than_days=context.options.days, keep_bytes=context.options.keep)
    files, bytes_of_files = context.store.collect_downloads(older_than_days=context.options.days)
    freed = sum(one.exclusive for one in removed) + bytes_of_files
    if context.options.downloads:
        from torchmatrix.backends.uv import find_uv
        from torchmatrix.command import Command, run

        outcome = run(Command(argv=(str(find_uv()), "cache", "prune"), env=context.source_config.child_env))
        context.console.say(outcome.stderr.strip())
    if context.json_mode:
        listed = [{"key": u.key, "cell": u.cell} for u in removed]
        context.console.json({"removed": listed, "removed_downloads": files, "freed_bytes": freed})
    else:
        what = counted(len(removed), "environment") + (f" and {counted(files, 'downloaded file')}" if files else "")
        context.console.data(f"{what} removed, {human_bytes(freed)} freed")
    return 0
