"""What is printed, where, and with which colours."""

from __future__ import annotations

import io
import json
import re
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchmatrix.console import Console, human_bytes, human_seconds, wants_color

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def piped(**options: object) -> tuple[Console, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Console(out=out, err=err, **options), out, err  # type: ignore[arg-type]


# Streams


def test_data_goes_to_stdout_and_everything_else_to_stderr() -> None:
    console, out, err = piped(verbosity=1)
    console.data("data")
    console.json({"b": 1, "a": [Path("x"), "ü"]})
    console.say("said")
    console.detail("detail")
    console.warn("careful")
    console.error("broken", "mend it")
    assert out.getvalue().startswith("data\n{")
    assert json.loads(out.getvalue().removeprefix("data\n")) == {"b": 1, "a": ["x", "ü"]}
    assert out.getvalue().index('"b"') < out.getvalue().index('"a"'), "keys stay in the order given"
    assert "ü" in out.getvalue()
    assert err.getvalue() == "said\ndetail\nwarning: careful\nerror: broken\nhint: mend it\n"


@pytest.mark.parametrize(
    ("verbosity", "expected"),
    [
        (-1, "warning: careful\nerror: broken\n"),
        (0, "said\nwarning: careful\nerror: broken\n"),
        (2, "said\ndetail\nwarning: careful\nerror: broken\n"),
    ],
)
def test_loudness(verbosity: int, expected: str) -> None:
    console, out, err = piped(verbosity=verbosity)
    console.say("said")
    console.detail("detail")
    console.warn("careful")
    console.error("broken")
    console.data("data")
    assert (out.getvalue(), err.getvalue()) == ("data\n", expected)


def test_nothing_in_a_pipe_is_drawn() -> None:
    console, out, err = piped()
    console.status("resolving")
    console.clear()
    console.say("done")
    console.data(console.findings([{"check": "import", "status": "passed", "seconds": 0.5}]))
    assert not ANSI.search(out.getvalue() + err.getvalue())
    assert err.getvalue() == "done\n"


def test_a_status_line_is_replaced_by_the_next_output() -> None:
    err = Terminal()
    console = Console(out=io.StringIO(), err=err)
    console.status("resolving")
    console.status("building")
    console.say("done")
    console.clear()
    assert err.getvalue() == "\r\x1b[Kresolving\r\x1b[Kbuilding\r\x1b[Kdone\n"


def test_a_status_line_is_cleared_for_data_too() -> None:
    out, err = io.StringIO(), Terminal()
    console = Console(out=out, err=err)
    console.status("resolving")
    console.data("data")
    assert (out.getvalue(), err.getvalue()) == ("data\n", "\r\x1b[Kresolving\r\x1b[K")


def test_a_status_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    err = Terminal()
    Console(out=io.StringIO(), err=err).status("x" * 100)
    assert len(ANSI.sub("", err.getvalue()).strip("\r")) == 19


def test_quiet_has_no_status_line() -> None:
    err = Terminal()
    Console(out=io.StringIO(), err=err, verbosity=-1).status("resolving")
    assert err.getvalue() == ""


def test_lines_of_several_threads_stay_whole() -> None:
    console, out, _ = piped()

    def speak(line: str) -> None:
        for _ in range(50):
            console.data(line)

    threads = [threading.Thread(target=speak, args=(letter * 50,)) for letter in "123"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 150
    assert set(lines) == {"1" * 50, "2" * 50, "3" * 50}


# Colour


@pytest.mark.parametrize(
    ("environ", "terminal", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "xterm"}, False, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": ""}, False, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_who_wants_colour(environ: dict[str, str], terminal: bool, expected: bool) -> None:
    assert wants_color(environ, Terminal() if terminal else io.StringIO()) is expected


def test_styles() -> None:
    plain, _, _ = piped()
    assert plain.style("x", "red", "bold") == "x"
    coloured, _, err = piped(color=True)
    assert coloured.style("x", "red", "bold") == "\x1b[31;1mx\x1b[0m"
    coloured.error("broken", "mend it")
    assert ANSI.sub("", err.getvalue()) == "error: broken\nhint: mend it\n"
    assert ANSI.search(err.getvalue())


# Tables


def test_a_table() -> None:
    console, _, _ = piped()
    rows = [["py311-stable-cpuonly", "2.13.0", ""], ["py312", "nightly", "no driver"]]
    assert console.table(["cell", "torch", "why not"], rows) == (
        "cell                  torch    why not\npy311-stable-cpuonly  2.13.0\npy312                 nightly  no driver"
    )


def test_a_table_without_rows() -> None:
    console, _, _ = piped()
    assert console.table(["cell", "torch"], []) == "cell  torch"


def test_a_row_of_another_length_is_an_error() -> None:
    console, _, _ = piped()
    with pytest.raises(ValueError, match="argument"):
        console.table(["a", "b"], [["only one"]])


words = st.text("abcxyz ü0-", min_size=0, max_size=8).map(str.strip)


@given(st.lists(st.tuples(words, words, words), max_size=5), st.booleans())
def test_columns_are_aligned_with_and_without_colour(rows: list[tuple[str, str, str]], color: bool) -> None:
    console, _, _ = piped(color=color)
    painted = [[console.style(cell, "green") if cell else cell for cell in row] for row in rows]
    text = ANSI.sub("", console.table(["one", "two", "three"], painted))
    widths = [max(len(cell) for cell in column) for column in zip(("one", "two", "three"), *rows, strict=True)]
    for line, row in zip(text.split("\n"), [("one", "two", "three"), *rows], strict=True):
        assert line == line.rstrip() or color
        padded = line.ljust(sum(widths) + 4)
        starts = [0, widths[0] + 2, widths[0] + widths[1] + 4]
        found = [padded[start : start + width].rstrip() for start, width in zip(starts, widths, strict=True)]
        assert found == list(row)


def test_findings() -> None:
    console, _, _ = piped()
    findings: list[dict[str, object]] = [
        {"check": "import", "status": "passed", "actual": "2.13.0+cpu", "seconds": 1.234},
        {"check": "device", "status": "skipped", "reason": "no GPU\nsecond line", "actual": "x", "seconds": None},
        {"check": "extras", "status": "failed", "reason": "numpy is missing", "seconds": 0.001},
    ]
    assert console.findings(findings) == (
        "   check   status   result            time\n"
        "✓  import  passed   2.13.0+cpu        1.23 s\n"
        "–  device  skipped  no GPU\n"
        "✗  extras  failed   numpy is missing  0.00 s"
    )


def test_findings_say_the_same_without_colour() -> None:
    findings = [{"check": "import", "status": status, "seconds": 0.1} for status in ("passed", "failed", "skipped")]
    plain, coloured = piped()[0].findings(findings), piped(color=True)[0].findings(findings)
    assert ANSI.sub("", coloured).splitlines() == plain.splitlines()
    assert coloured != plain


# Numbers


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (191_800_000, "191.8 MB"),
        (5_000_000_000, "5.0 GB"),
        (5_000_000_000_000, "5000.0 GB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.354, "0.35 s"),
        (9.994, "9.99 s"),
        (12.44, "12.4 s"),
        (99.94, "99.9 s"),
        (100, "1 min 40 s"),
        (185.9, "3 min 05 s"),
        (3600, "60 min 00 s"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text
