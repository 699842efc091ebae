"""Second indexes are refused wherever somebody may write one, with the place, the reason and what to write instead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import SMALL, must, stage

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://alice:s3cr3t@corp.example/simple"
REASON = "whoever publishes a name on either index wins (dependency confusion)"
INSTEAD = 'sources: {corp: {index: URL, packages: ["corp-*"]}}'


def refusal(folder: Path, *arguments: str, matrix: str = SMALL, **files: str) -> str:
    """What torchmatrix says when it refuses, before it asks anybody anything; never with a password."""
    at = stage(folder, None, matrix, TORCHMATRIX_DEFAULT_INDEX="http://index.example/simple")
    for name, text in files.items():
        (at.project / f"{name}.txt").write_text(text, encoding="utf-8")
    outcome = must(at.run(*(arguments or ("lock",))), 2)
    assert outcome.stdout == ""
    assert "s3cr3t" not in outcome.stderr
    return outcome.stderr


# Requirement and constraint files

LINES = [
    (f"--extra-index-url {URL}", "--extra-index-url"),
    (f"--extra-index-url={URL}", "--extra-index-url"),
    (f"--extra-index {URL}", "--extra-index"),
    (f"--index-url={URL}", "--index-url"),
    (f"-i {URL}", "-i"),
    (f"-i{URL}", "-i"),
    (f"--default-index {URL}", "--default-index"),
    ("--find-links=wheels", "--find-links"),
    ("-f wheels", "-f"),
    (f"-f{URL}", "-f"),
    ("--trusted-host corp.example", "--trusted-host"),
    ("--no-index", "--no-index"),
    (f"numpy --extra-index-url {URL}", "--extra-index-url"),
    (f"--pre --extra-index-url {URL}", "--extra-index-url"),
    (f"--extra-index-url \\\n    {URL}", "--extra-index-url"),
    (f"numpy \\\n    --extra-index-url={URL}", "--extra-index-url"),
]


@pytest.mark.parametrize(("line", "option"), LINES, ids=[line for line, _ in LINES])
@pytest.mark.parametrize("key", ["requirements", "constraints"])
def test_in_a_file(line: str, option: str, key: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, matrix=f"{SMALL}{key}: [wanted.txt]\n", wanted=f"# ours\nfilelock\n{line}\n")
    assert f"wanted.txt:3: {option} is refused: " in said
    assert REASON in said
    assert INSTEAD in said


@pytest.mark.parametrize(
    "include", ["-r more.txt", "-rmore.txt", "--requirement=more.txt", "-c more.txt", "-cmore.txt"]
)
def test_in_a_file_below_a_file(include: str, tmp_path: Path) -> None:
    said = refusal(
        tmp_path, matrix=f"{SMALL}requirements: [wanted.txt]\n", wanted=include, more=f"\n--extra-index-url={URL}"
    )
    assert "more.txt:2: --extra-index-url is refused: " in said


@pytest.mark.parametrize("line", ["--pre", "--prefer-binary", "--only-binary=:all:", "-e ."])
def test_other_options_are_not_taken_for_indexes(line: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, matrix=f"{SMALL}requirements: [wanted.txt]\n", wanted=line)
    assert f"wanted.txt:1: the option {line.partition('=')[0].split()[0]} is not supported" in said
    assert "confusion" not in said


def test_a_file_of_somebody_elses(tmp_path: Path) -> None:
    said = refusal(tmp_path, matrix=f"{SMALL}requirements: [wanted.txt]\n", wanted=f"-r {URL}/more.txt")
    assert "wanted.txt:1: -r of an address is refused" in said


# Command lines


@pytest.mark.parametrize("command", ["lock", "build", "export"])
@pytest.mark.parametrize(
    ("option", "name"),
    [
        (("--extra-index-url", URL), "--extra-index-url"),
        ((f"--extra-index-url={URL}",), "--extra-index-url"),
        (("--index-url", URL), "--index-url"),
        (("-i", URL), "-i"),
        (("--find-links=wheels",), "--find-links"),
        (("-f", "wheels"), "-f"),
        (("--trusted-host=corp.example",), "--trusted-host"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_on_a_command_line(command: str, option: tuple[str, ...], name: str, tmp_path: Path) -> None:
    arguments = ("export", "some-cell", "--format", "pylock") if command == "export" else (command,)
    said = refusal(tmp_path, *arguments, *option)
    assert f"torchmatrix: {name} is refused: " in said.replace(f"torchmatrix {command}:", "torchmatrix:")
    assert REASON in said
    assert INSTEAD in said


def test_as_json(tmp_path: Path) -> None:
    at = stage(tmp_path, None)
    error = json.loads(must(at.run("--json", "lock", "--extra-index-url", URL), 2).stdout)["error"]
    assert (error["class"], error["exit_code"]) == ("usage", 2)
    assert REASON in error["message"]
    assert INSTEAD in error["hint"]


def test_other_unknown_options_are_what_they_were(tmp_path: Path) -> None:
    assert "unrecognized arguments: --indexx" in refusal(tmp_path, "lock", "--indexx")


# matrix.yaml


@pytest.mark.parametrize("key", ["extra-index-url", "extra_index_url", "index-url", "find-links"])
@pytest.mark.parametrize(
    ("place", "before", "position"),
    [
        ("top", "packages: [numpy]", "5:1: "),
        ("target", "accelerator: cpu", "4:59: targets.cpuonly."),
        ("channel", '"2.13.0"', "3:38: channels.stable."),
        ("sources", "packages: [corp-a]", "6:76: sources.corp."),
    ],
)
def test_in_the_matrix(key: str, place: str, before: str, position: str, tmp_path: Path) -> None:
    matrix = SMALL + 'sources: {corp: {index: "https://corp.example/simple", packages: [corp-a]}}\n'
    written = f"{before}, {key}: x" if place != "top" else f"{key}: x\n{before}"
    said = refusal(tmp_path, matrix=matrix.replace(before, written, 1))
    assert f"matrix.yaml:{position}{key}: is refused: " in said
    assert "(dependency confusion)" in said
    assert "name the index under sources, with the packages that it alone serves" in said


@pytest.mark.parametrize("key", ["trusted-host", "no-index", "pre", "default-index", "index-strategy"])
def test_no_other_option_of_pip_is_a_key(key: str, tmp_path: Path) -> None:
    assert f"matrix.yaml:6:1: {key}: unknown key" in refusal(tmp_path, matrix=f"{SMALL}{key}: x\n")
