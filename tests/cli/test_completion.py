"""Shell completion: scripts that their shells accept, and cell ids from the matrix at hand."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import must, stage
from tests.cli.test_list import MATRIX

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stage import Stage

SEPARATOR = "\013"


@pytest.fixture
def at(tmp_path: Path) -> Stage:
    return stage(tmp_path, None, MATRIX)


def complete(at: Stage, line: str) -> list[str]:
    """What the shell would offer: argcomplete's protocol, with the answer on file descriptor 8."""
    env = {
        **at.environ(),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": SEPARATOR,
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    script = 'exec "$0" "$@" 8>&1 9>/dev/null 1>/dev/null'
    outcome = subprocess.run(
        ["sh", "-c", script, *at.program], cwd=at.project, env=env, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    return [one.strip() for one in outcome.stdout.split(SEPARATOR) if one.strip()]


pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="argcomplete's protocol needs a POSIX shell")


def test_commands(at: Stage) -> None:
    assert complete(at, "torchmatrix l") == ["list", "lock"]
    assert {"build", "run", "export", "cache"} <= set(complete(at, "torchmatrix "))


def test_options(at: Stage) -> None:
    assert complete(at, "torchmatrix build --fro") == ["--frozen"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("torchmatrix build py312-s", ["py312-stable-cpuonly", "py312-stable-cu118", "py312-stable-mps"]),
        ("torchmatrix run py312-nightly", ["py312-nightly-mps"]),
        ("torchmatrix list py311-stable-cpuonly py312-nightly", ["py312-nightly-mps"]),
        ("torchmatrix export py311-stable-m", ["py311-stable-mps"]),
        ("torchmatrix diff py311-stable-mps py312-stable-m", ["py312-stable-mps"]),
    ],
)
def test_cell_ids(at: Stage, line: str, expected: list[str]) -> None:
    assert complete(at, line) == expected


def test_cell_ids_of_a_named_matrix(at: Stage, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(MATRIX.replace("mps", "apple").replace("accelerator: apple", "accelerator: mps"))
    assert complete(at, f"torchmatrix --matrix {other} build py312-nightly") == ["py312-nightly-apple"]


def test_a_broken_matrix_completes_to_nothing(at: Stage) -> None:
    (at.project / "matrix.yaml").write_text("nonsense: [")
    assert complete(at, "torchmatrix build py") == []
    assert complete(at, "torchmatrix bui") == ["build"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_scripts(at: Stage, tmp_path: Path, shell: str) -> None:
    outcome = must(at.run("completion", shell))
    assert "torchmatrix" in outcome.stdout
    assert outcome.stderr == ""
    program = shutil.which(shell)
    if program and shell != "powershell":
        path = tmp_path / "script"
        path.write_text(outcome.stdout)
        subprocess.run([program, "-n", path], check=True, env=at.environ(), timeout=60)


def test_an_unknown_shell(at: Stage) -> None:
    assert "invalid choice: 'tcl'" in must(at.run("completion", "tcl"), 2).stderr


def test_bash_completes_for_real(at: Stage, tmp_path: Path) -> None:
    """The script sourced by bash, with a program of that name on PATH."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    program = tmp_path / "bin" / "torchmatrix"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n# PYTHON_ARGCOMPLETE_OK\nexec {at.program[0]} -m torchmatrix "$@"\n')
    program.chmod(0o755)
    script = must(at.run("completion", "bash")).stdout
    code = f"""{script}
COMP_LINE="torchmatrix build py312-stable-m"; COMP_POINT=${{#COMP_LINE}}
COMP_WORDS=(torchmatrix build py312-stable-m); COMP_CWORD=2; COMP_TYPE=9
_python_argcomplete torchmatrix 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    env = {**at.environ(), "PATH": f"{program.parent}:{at.env['PATH']}"}
    outcome = subprocess.run([bash, "-c", code], cwd=at.project, env=env, capture_output=True, text=True, check=False)
    assert outcome.stdout.strip() == "py312-stable-mps", outcome.stderr
