"""The one printer: data to stdout, everything else to stderr; colour and progress on a terminal only."""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from torchmatrix.command import redact, redact_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
SYMBOLS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("–", "yellow")}
"""Symbol and colour of a finding; the word stands beside it, so nothing is said by colour alone."""


@dataclass(slots=True)
class Console:
    """Where output goes and how. ``verbosity``: -1 quiet, 0 normal, 1 and more verbose."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    verbosity: int = 0
    color: bool = False
    """Whether text is styled at all."""
    plain: tuple[TextIO, ...] = ()
    """Streams among the two that get the text without its colours: the other one is a terminal, they are not."""
    json_mode: bool = False
    _transient: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def _line(self, text: str, stream: TextIO) -> None:
        """One whole line, also when several cells speak at once."""
        with self._lock:
            self.clear()
            shown = redact(text) if stream is self.err else text  # messages carry addresses, addresses carry secrets
            print(_ANSI.sub("", shown) if stream in self.plain else shown, file=stream, flush=True)

    def data(self, text: str) -> None:
        """Data: a table, a digest, a path. Goes to stdout."""
        self._line(text, self.out)

    def json(self, value: object) -> None:
        """Machine-readable data to stdout, keys in the order given."""
        value = redact_values(value)
        plain = not (self.out.encoding or "utf-8").lower().startswith("utf")
        self._line(json.dumps(value, indent=2, ensure_ascii=plain, default=str), self.out)

    def say(self, text: str) -> None:
        """What happened, to stderr; not with ``-q``."""
        if self.verbosity >= 0:
            self._line(text, self.err)

    def detail(self, text: str) -> None:
        """Only with ``-v``."""
        if self.verbosity > 0:
            self._line(self.style(text, "dim"), self.err)

    def warn(self, text: str) -> None:
        """A warning; shown also with ``-q``."""
        self._line(f"{self.style('warning:', 'yellow', 'bold')} {text}", self.err)

    def error(self, text: str, hint: str | None = None) -> None:
        """An error with its hint."""
        lines = [f"{self.style('error:', 'red', 'bold')} {text}"]
        if hint:
            lines.append(f"{self.style('hint:', 'cyan', 'bold')} {hint}")
        self._line("\n".join(lines), self.err)

    def trace(self, text: str) -> None:
        """A traceback, as it is."""
        self._line(text.rstrip("\n"), self.err)

    def status(self, text: str) -> None:
        """One line that the next output replaces; on a terminal only."""
        if self.verbosity >= 0 and self.err.isatty():
            width = shutil.get_terminal_size().columns - 1
            with self._lock:
                print(f"\r\x1b[K{text[:width]}", end="", file=self.err, flush=True)
                self._transient = True

    def clear(self) -> None:
        """Remove the status line."""
        with self._lock:
            if self._transient:
                print("\r\x1b[K", end="", file=self.err, flush=True)
                self._transient = False

    def style(self, text: str, *names: str) -> str:
        """``text`` in the named styles, or plain without colour."""
        if not self.color:
            return text
        return f"\x1b[{';'.join(_STYLES[name] for name in names)}m{text}\x1b[0m"

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        """Aligned columns, two spaces apart, without trailing blanks."""
        body = [list(row) for row in rows]
        widths = [max(len(_ANSI.sub("", cell)) for cell in column) for column in zip(headers, *body, strict=True)]
        lines = [[self.style(header, "bold") for header in headers], *body]
        return "\n".join(
            "  ".join(
                cell + " " * (width - len(_ANSI.sub("", cell))) for cell, width in zip(line, widths, strict=True)
            ).rstrip()
            for line in lines
        )

    def findings(self, findings: Iterable[Mapping[str, object]]) -> str:
        """The table of a verification: symbol, check, status, what was seen or why not, seconds."""
        rows = []
        for finding in findings:
            status = str(finding["status"])
            symbol, colour = SYMBOLS[status]
            note = str(finding.get("reason") or finding.get("actual") or "")
            seconds = finding.get("seconds")
            rows.append(
                [
                    self.style(symbol, colour),
                    str(finding["check"]),
                    self.style(status, colour),
                    note.splitlines()[0] if note else "",
                    f"{seconds:.2f} s" if isinstance(seconds, float) else "",
                ]
            )
        return self.table(["", "check", "status", "result", "time"], rows)


def wants_color(environ: Mapping[str, str], stream: TextIO) -> bool:
    """NO_COLOR and TERM=dumb switch colour off, FORCE_COLOR on; otherwise a terminal has it."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environ.get("TERM") != "dumb"


def counted(count: int, noun: str) -> str:
    """``1 lockfile``, ``2 lockfiles``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def human_bytes(count: int) -> str:
    """``191.8 MB``: decimal units, as indexes and disks count."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError(unit)


def human_seconds(seconds: float) -> str:
    """``0.35 s``, ``12.4 s``, ``3 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
