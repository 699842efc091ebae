"""Files of a lockfile: offline, from a store, learned hosts; see tests/cli/test_drift.py for what deviates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.project import CELL, must, stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pytorch import Scene


def test_offline_a_bundle_asks_nobody_and_says_what_is_missing(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    scene.forget()
    said = must(at.run("--offline", "bundle", CELL), 4).stderr
    assert (scene.pytorch.requests, scene.default.requests, scene.files.requests) == ([], [], [])
    assert f"error: {CELL}: offline, and " in said
    assert "torch-2.13.0+cpu" in said
    assert "hint: run it once with the network" in said


def test_offline_a_bundle_is_made_of_what_was_downloaded(tmp_path: Path, scene: Scene) -> None:
    at = stage(tmp_path, scene)
    must(at.run("lock"))
    first = must(at.run("bundle", CELL)).stdout.split()[0]
    scene.forget()
    assert must(at.run("--offline", "bundle", CELL, "-o", str(tmp_path / "again.tar"))).stdout.split()[0] == first
    assert (scene.pytorch.requests, scene.default.requests, scene.files.requests) == ([], [], [])


def test_a_bundle_of_a_source_that_the_matrix_lost(tmp_path: Path, scene: Scene) -> None:
    matrix = (
        'version: 1\naxes: {python: ["3.11"], channel: [stable], target: [cpuonly]}\n'
        'channels: {stable: {torch: "2.13.0"}}\ntargets: {cpuonly: {platform: linux-64, accelerator: cpu}}\n'
    )
    private = (
        matrix + f'packages: [iniconfig]\nsources: {{corp: {{index: "{scene.default_url}", packages: [iniconfig]}}}}\n'
    )
    at = stage(tmp_path, scene, private)
    must(at.run("lock"))
    (at.project / "matrix.yaml").write_text(matrix, encoding="utf-8")
    said = must(at.run("bundle", "py311-stable-cpuonly"), 2).stderr
    assert "source corp is not in matrix.yaml any more" in said
