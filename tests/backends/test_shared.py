"""Cells with equal inputs are resolved once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.project import answer, must, stage
from tests.lock.samples import cell, lockfile
from torchmatrix.backends import Resolution, ResolveRequest
from torchmatrix.backends.shared import SharedResolutions
from torchmatrix.lock.demands import Demands
from torchmatrix.lock.model import HashFrom

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pytorch import Scene
    from torchmatrix.lock.model import Lockfile

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
    for one in cells:
        assert one["exit_code"] == 1
        assert one["id"] in one["error"]["message"]


def request(previous: Lockfile | None) -> ResolveRequest:
    return ResolveRequest(cell=cell(), demands=Demands(requirements=()), previous=previous)


def resolutions(*previous: Lockfile | None) -> int:
    """How often is resolved for cells that differ in their earlier lockfiles alone."""
    shared, made = SharedResolutions(), []

    def resolve(one: ResolveRequest) -> Resolution:
        made.append(one)
        return Resolution(lockfile=one.previous or lockfile())

    for one in previous:
        assert shared.resolve(request(one), resolve).lockfile.artifacts == (one or lockfile()).artifacts
    return len(made)


@pytest.mark.parametrize(
    "change",
    [{"hash_from": HashFrom.COMPUTED}, {"size": None}, {"size": 1}, {"path": None}, {"path": "x"}, {"stand_in": True}],
)
def test_what_the_digest_of_a_lockfile_leaves_out_counts_too(change: dict[str, Any]) -> None:
    """It is taken over from the earlier lockfile: two cells must not get each other's."""
    one = lockfile()
    other = replace(one, artifacts=(*one.artifacts[:-1], replace(one.artifacts[-1], **change)))
    assert one.digest == other.digest
    assert resolutions(one, other) == 2


def test_equal_earlier_lockfiles_are_equal() -> None:
    assert resolutions(lockfile(), lockfile(cell="another", channel="other")) == 1
    assert resolutions(None, None) == 1
    assert resolutions(None, lockfile()) == 2
