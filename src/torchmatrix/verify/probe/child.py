"""The child process: one torch, checks in order, a line for each finding."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from typing import Any, Dict, NoReturn

from .context import FAILED, PASSED, SKIPPED, Context, Failed, Skipped, first_lines, make_finding
from .registry import CHECKS


def child() -> NoReturn:
    """Read the request on stdin, answer with a line for each finished check on the stdout that it was given."""
    stream = os.fdopen(take_stdout(), "wb", buffering=0)
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    faulthandler.enable()

    def tell(message: Dict[str, Any]) -> None:
        stream.write(json.dumps(message).encode() + b"\n")

    context = Context(request["spec"], request["folder"], tell)
    for check in request["checks"]:
        context.check, context.extra = check, {}
        started = time.monotonic()
        finding = perform(context)
        finding["seconds"] = round(time.monotonic() - started, 3)
        tell({"event": "finding", "finding": finding, "extra": context.extra})
    os._exit(0)  # no atexit hook of torch may hang or crash what is already told


def perform(context: Context) -> Dict[str, Any]:
    """One check as a finding; whatever it raises is a result."""
    name = context.check["id"]
    if name not in CHECKS:
        return make_finding(name, FAILED, reason=f"this probe has no check {name!r}")
    try:
        expected, actual = CHECKS[name](context)
    except Skipped as error:
        return make_finding(name, SKIPPED, reason=str(error))
    except Failed as error:
        return make_finding(name, FAILED, error.expected, error.actual, error.reason)
    except BaseException as error:  # SystemExit of a broken package must not end the other checks
        reason = f"{type(error).__name__}: {first_lines(str(error), 12)}"
        return make_finding(name, FAILED, context.check.get("expected"), None, reason)
    return make_finding(name, PASSED, expected, actual)


def take_stdout() -> int:
    """The descriptor of the real stdout; what anybody else prints from now on goes to stderr."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return own


def _end_with_parent() -> None:
    # The parent holds the other end of stdin and never writes again: end of file means that it is gone. Read without
    # Python's buffer: its lock would be held in every forked worker, which then hangs when it closes its stdin.
    os.read(0, 1)
    if hasattr(os, "killpg"):
        os.killpg(os.getpgid(0), signal.SIGKILL)
    os._exit(1)
