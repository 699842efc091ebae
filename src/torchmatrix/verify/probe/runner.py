"""The command line: a spec in, one JSON object out."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from typing import Any, Dict, NoReturn, Sequence

from .beyond import compile_alone
from .child import child, take_stdout
from .context import SCHEMA
from .supervisor import Supervisor, peak_memory


class Ended(Exception):  # noqa: N818 - no error
    """A signal asked the probe to end."""


def probe(spec: Dict[str, Any]) -> Dict[str, Any]:
    """Run the spec; the whole answer."""
    if spec.get("schema") != SCHEMA:
        raise SystemExit(f"this probe reads specs of schema {SCHEMA}, not {spec.get('schema')!r}")
    folder = tempfile.mkdtemp(prefix="torchmatrix-probe-")
    supervisor = Supervisor(spec, folder)
    try:
        supervisor.run()
    finally:
        supervisor.end()
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "schema": SCHEMA,
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "full": sys.version,
        },
        "machine": {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count()},
        "findings": [supervisor.findings[check["id"]] for check in spec["checks"]],
        "peak_memory": peak_memory(),
        **supervisor.answer,
    }


def _on_signal(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
    raise Ended(128 + number)


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    if len(arguments) != 1:
        sys.stderr.write("usage: PY -I PROBE SPEC.json, or - for the spec on stdin\n")
        return 2
    if arguments[0] == "--child":
        child()
    if arguments[0].startswith("--compile="):
        compile_alone(arguments[0].partition("=")[2])
        return 0
    own = take_stdout()
    for number in (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, _on_signal)
    try:
        if arguments[0] == "-":
            spec = json.load(sys.stdin)
        else:
            with open(arguments[0], encoding="utf-8") as stream:
                spec = json.load(stream)
        answer = json.dumps(probe(spec)) + "\n"
    except Ended as ended:
        return int(ended.args[0])
    with os.fdopen(own, "wb") as stream_out:
        stream_out.write(answer.encode())
    return 0
