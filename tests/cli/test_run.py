"""``run CELL -- CMD…``: the command gets its arguments, streams and signals as if it had been started by hand."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import CELL, SMALL, answer, must, stage
from tests.support.stage import HERE, SCENE_HAS_IT, Stage

if TYPE_CHECKING:
    from tests.support.pytorch import Scene

pytestmark = [
    pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the native cell of these tests is for Linux"),
    pytest.mark.xdist_group("cli-run"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_scene: Scene) -> Stage:
    at = stage(tmp_path_factory.mktemp("run"), shared_scene)
    must(at.run("run", CELL, "--", "python", "-c", "pass"))
    return at


def run(at: Stage, *command: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [*at.program, "run", CELL, "--", *command]
    outcome = subprocess.run(
        argv, cwd=at.project, env=at.environ(), input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
    return must(outcome, code)


ARGUMENTS = ["a b", "*", "$HOME", "--json", "-v", "--", "ünï", "", "'quoted\"", "--help"]


def test_arguments_arrive_exactly(built: Stage) -> None:
    outcome = run(built, "python", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *ARGUMENTS)
    assert json.loads(outcome.stdout) == ARGUMENTS
    assert outcome.stderr == ""


def test_it_is_the_environment_of_the_cell(built: Stage) -> None:
    code = "import json, os, sys, torch; print(json.dumps([torch.__version__, sys.prefix, os.environ['VIRTUAL_ENV']]))"
    version, prefix, variable = json.loads(run(built, "python", "-c", code).stdout)
    assert version == "2.13.0+cpu"
    assert prefix == variable
    assert Path(prefix).is_relative_to(built.env["TORCHMATRIX_CACHE"])


def test_it_runs_where_the_user_stands(built: Stage) -> None:
    assert run(built, "pwd").stdout == f"{built.project.resolve()}\n"


@pytest.mark.parametrize("code", [0, 1, 7, 130, 255])
def test_exit_codes(built: Stage, code: int) -> None:
    run(built, "python", "-c", f"raise SystemExit({code})", code=code)


def test_standard_input(built: Stage) -> None:
    assert run(built, "python", "-c", "print(input()[::-1])", stdin="drawer\n").stdout == "reward\n"


def test_a_signal_that_ends_the_command_ends_the_run(built: Stage) -> None:
    run(built, "python", "-c", f"import os; os.kill(os.getpid(), {int(signal.SIGTERM)})", code=-signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_reach_the_command(built: Stage, number: signal.Signals) -> None:
    code = (
        "import os, signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: os._exit(42))\n"
        "print('ready', flush=True)\n"
        "time.sleep(30)\n"
    )
    process = built.start("run", CELL, "--", "python", "-c", code, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 42


def test_the_double_dash_may_be_left_out(built: Stage) -> None:
    outcome = must(built.run("run", CELL, "python", "-c", "print(1)"))
    assert outcome.stdout == "1\n"


def test_mistakes(built: Stage) -> None:
    nothing = answer(built.run("--json", "run", CELL), 2)["error"]
    assert (nothing["message"], nothing["hint"]) == (
        "nothing to run",
        "write: torchmatrix run CELL -- python script.py",
    )
    unknown = answer(built.run("--json", "run", "py399-none", "--", "true"), 2)["error"]
    assert unknown["message"] == "no cell matches 'py399-none'"
    missing = answer(built.run("--json", "run", CELL, "--", "no-such-command"), 2)["error"]
    assert missing["message"] == f"no-such-command: no such command in {CELL} or on PATH"


def test_a_glob_of_several_cells_is_refused(tmp_path: Path, shared_scene: Scene) -> None:
    matrix = SMALL.replace("target: [cpuonly]", "target: [cpuonly, other]").replace(
        "targets: {", "targets: {other: {platform: win-64, accelerator: cpu}, "
    )
    error = answer(stage(tmp_path, shared_scene, matrix).run("--json", "run", "py*", "--", "true"), 2)["error"]
    assert (error["message"], error["hint"]) == ("py* names 2 cells", "name one: torchmatrix list")


def test_frozen_never_resolves(tmp_path: Path, shared_scene: Scene) -> None:
    at = stage(tmp_path, shared_scene)
    error = answer(at.run("--json", "run", "--frozen", CELL, "--", "true"), 3)["error"]
    assert error["message"] == f"{CELL}: the lockfile is out of date: there is none"
    assert not at.envs.exists()


def test_a_cell_for_another_machine_cannot_run_here(tmp_path: Path, shared_scene: Scene) -> None:
    matrix = SMALL.replace("platform: linux-64", "platform: win-64")
    at = stage(tmp_path, shared_scene, matrix)
    error = answer(at.run("--json", "run", CELL, "--", "true"), 6)["error"]
    assert error["message"] == f"{CELL}: this host is linux-64, the cell is for win-64"
    assert error["hint"] == f"build it where it fits; its lockfile: torchmatrix lock {CELL}"
    built = answer(at.run("--json", "build", CELL), 6)["cells"][0]
    assert (built["class"], built["resolved"], built["error"]["message"]) == ("host", False, error["message"])
    assert not at.envs.exists()
