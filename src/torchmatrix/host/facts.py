"""What one interpreter says of itself: one short process, remembered until the file changes."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torchmatrix.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torchmatrix.host.machine import Runner

TIMEOUT = 20.0
"""Seconds an interpreter gets to start; a cold disk in CI takes a few."""

_LEAKS = ("__PYVENV_LAUNCHER__", "PYTHONEXECUTABLE")
"""Set by macOS launchers; they would make the interpreter look for another one's home even with ``-I``."""

# Runs under whatever Python is found, so it keeps to what Python 3.6 knows.
_QUESTION = """
import importlib.util, json, os, platform, sys, sysconfig
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except (AttributeError, ValueError, OSError):
    libc = None
print(json.dumps({
    "version": platform.python_version(),
    "implementation": sys.implementation.name,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "machine": platform.machine(),
    "platform_tag": sysconfig.get_platform(),
    "bits": 64 if sys.maxsize > 2 ** 32 else 32,
    "glibc": libc[6:] if libc and libc.startswith("glibc ") else None,
    "base_prefix": sys.base_prefix,
    "executable": sys.executable,
    "in_venv": sys.prefix != sys.base_prefix,
    "has_venv": all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpreterFacts:
    """An interpreter's own words."""

    version: str
    """``3.12.1``."""
    implementation: str
    """``cpython``, ``pypy``, …"""
    free_threaded: bool
    machine: str
    """``platform.machine()`` as it sees it: x86_64 under Rosetta."""
    platform_tag: str
    """``sysconfig.get_platform()``: linux-x86_64, macosx-11.0-arm64, win-amd64."""
    bits: int
    """64 or 32."""
    glibc: str | None
    """The glibc it runs with; ``None`` on musl, macOS and Windows."""
    base_prefix: str
    executable: str
    in_venv: bool
    has_venv: bool
    """Whether ``python -m venv`` works with it (Debian splits ensurepip off); uv needs neither."""


def inspect_interpreter(
    path: Path, env: Mapping[str, str], *, run: Runner | None = None, memo: Path | None = None
) -> InterpreterFacts:
    """Ask the interpreter at ``path``; `HostError` when it does not run or does not answer.

    ``memo`` is a JSON file of earlier answers; one counts while real path, size and time of change are the same.
    """
    key, stamp = str(path.absolute()), _stamp(path)
    answers = _read_memo(memo)
    remembered = answers.get(key)
    if isinstance(remembered, dict) and remembered.get("stamp") == stamp:
        try:
            return InterpreterFacts(**remembered["facts"])
        except (TypeError, KeyError):
            pass  # written by another release; asked again
    facts = _ask(path, env, run)
    if memo is not None:
        # Another process may have added to it meanwhile: only this one answer is ours.
        _write_memo(memo, {**_read_memo(memo), key: {"stamp": stamp, "facts": asdict(facts)}})
    return facts


def _ask(path: Path, env: Mapping[str, str], run: Runner | None) -> InterpreterFacts:
    from torchmatrix import command

    cleaned = {name: value for name, value in env.items() if name not in _LEAKS}
    outcome = (run or command.run)(
        command.Command(argv=(str(path), "-I", "-c", _QUESTION), env=cleaned, timeout=TIMEOUT)
    )
    hint = f"run `{path} --version`; leave this interpreter out of PATH when it is broken"
    if outcome.timed_out:
        raise HostError(f"the interpreter {path} did not answer within {TIMEOUT:.0f} s", hint=hint)
    said = (outcome.stderr or outcome.stdout).strip().splitlines()
    if not outcome.ok:
        raise HostError(
            f"the interpreter {path} does not run: {said[-1] if said else f'exit code {outcome.returncode}'}", hint=hint
        )
    try:
        return InterpreterFacts(**json.loads(outcome.stdout.strip().splitlines()[-1]))
    except (ValueError, TypeError, IndexError) as error:
        raise HostError(f"the interpreter {path} did not answer as a Python 3 does: {error}", hint=hint) from error


def _stamp(path: Path) -> list[str | int]:
    real = os.path.realpath(path)
    try:
        status = os.stat(real)  # noqa: PTH116 - of the real path, once
    except OSError as error:
        raise HostError(
            f"there is no interpreter at {path}: {error.strerror}", hint="check the path, or install that Python"
        ) from error
    return [real, status.st_size, status.st_mtime_ns]


def _read_memo(memo: Path | None) -> dict[str, Any]:
    if memo is None:
        return {}
    try:
        answers = json.loads(memo.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}


def _write_memo(memo: Path, answers: dict[str, Any]) -> None:
    temporary = memo.with_name(f".{memo.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(answers, indent=0), encoding="utf-8")
        temporary.replace(memo)
    except OSError:
        temporary.unlink(missing_ok=True)  # a memo that cannot be written costs a process, nothing else
