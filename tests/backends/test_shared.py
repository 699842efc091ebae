"""Cells with equal inputs are resolved once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.project import answer, must, stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pytorch import Scene

TWINS = """\
version: 1
axes: {python: ["3.11"], channel: [stable, again], target: [one, two, other]}
channels: {stable: {torch: "2.13.0"}, again: {torch: "2.13.0"}}
targets:
  one: {platform: linux-64, accelerator: cpu}
  two: {platform: linux-64, accelerator: cpu, sandbox: docker}
  other: {platform: linux-64, accelerator: cpu, packages: [requests]}
packages: [numpy]
"""


def test_cells_with_equal_inputs_are_resolved_once(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene, TWINS)
    outcome = must(at.run("-v", "lock"))
    compiled = [line for line in outcome.stderr.splitlines() if " pip compile " in line]
    assert len(compiled) == 2, compiled
    records = {path.parent.name: path.read_text() for path in at.project.glob("envs/*/cell.json")}
    assert len(records) == 6
    for name, text in records.items():
        assert f'"cell": "{name}"' in text
        assert f'"channel": "{name.split("-")[1]}"' in text
        assert f'"target": "{name.split("-")[2]}"' in text
    plain = {name: text.partition('"input_digest"')[2] for name, text in records.items() if "other" not in name}
    assert len(set(plain.values())) == 1


@pytest.mark.parametrize("packages", ["[nothing-of-that-name]"])
def test_a_failure_names_each_cell(tmp_path: Path, scene: Scene, packages: str) -> None:
    at = stage(tmp_path, scene, TWINS.replace("packages: [numpy]", f"packages: {packages}"))
    cells = answer(at.run("--json", "lock"), 1)["cells"]
    for cell in cells:
        assert cell["exit_code"] == 1
        assert cell["id"] in cell["error"]["message"]
