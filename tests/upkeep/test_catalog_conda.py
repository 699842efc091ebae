"""Facts about conda channels: from a compatibility table and from build strings in repodata."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from torchmatrix.catalog import PACKAGED
from torchmatrix.upkeep.catalog_conda import seed_conda

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="the command zstd is not on PATH")
SHARED = Path(__file__).parents[3] / "shared" / "data"


def packaged() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(PACKAGED.read_text(encoding="utf-8"))["conda"]
    return facts


def test_table_gives_the_channel_pytorch_and_keeps_what_it_does_not_have(tmp_path: Path) -> None:
    table = tmp_path / "compat.json"
    linux = {"pythons": ["3.10", "3.9"], "targets": ["cuda11.8", "cpu", "cuda12.1"]}
    rows = [
        {"torch": "2.2.0", "conda": {"linux-64": linux, "osx-arm64": {"pythons": ["3.11"], "targets": ["mps"]}}},
        {"torch": "2.2.1", "conda": {"linux-64": linux}},
        {"torch": "2.6.0", "conda": {}},
    ]
    table.write_text(json.dumps(rows), encoding="utf-8")
    kept = {"source": "conda-forge", "platform": "win-64", "versions": "2.5.1", "builds": {"cpu": "3.10"}}
    lost = {"source": "pytorch-conda", "platform": "win-64", "versions": "2.5.1", "builds": {"cpu": "3.10"}}
    assert seed_conda(table, {"from": "here", "builds": [lost, kept]}, {}) == {
        "from": "here",
        "builds": [
            {
                "source": "pytorch-conda",
                "platform": "linux-64",
                "versions": "2.2.0 2.2.1",
                "builds": {"cpu cu118 cu121": "3.9 3.10"},
            },
            {"source": "pytorch-conda", "platform": "osx-arm64", "versions": "2.2.0", "builds": {"cpu mps": "3.11"}},
            kept,
        ],
    }


@needs_zstd
def test_repodata_gives_conda_forge(tmp_path: Path) -> None:
    (tmp_path / "compat.json").write_text("[]", encoding="utf-8")
    builds = [
        ("2.0.0", "cuda112py310h21def76_301"),
        ("1.11.0", "cpu_py39h714fb45_1"),
        ("2.5.1", "cuda126_mkl_py312_hdbe889e_310"),
        ("2.5.1", "cpu_generic_py311hd3aefb3_3"),
        ("2.5.1", "py3.11_cpu_0"),
    ]
    records = {
        f"pytorch-{version}-{build}.conda": {"name": "pytorch", "version": version, "build": build}
        for version, build in builds
    }
    records["x-1-0.conda"] = {"name": "x", "version": "9.9", "build": "cpu_py39h714fb45_1"}
    folder = tmp_path / "channels" / "conda-forge" / "linux-64"
    folder.mkdir(parents=True)
    (folder / "repodata.json").write_text(json.dumps({"packages.conda": records}), encoding="utf-8")
    subprocess.run(["zstd", "-q", "--rm", str(folder / "repodata.json")], check=True)
    row = {"source": "conda-forge", "platform": "linux-64"}
    assert seed_conda(tmp_path / "compat.json", {}, dict(os.environ))["builds"] == [
        {**row, "versions": "1.11.0", "builds": {"cpu": "3.9"}},
        {**row, "versions": "2.0.0", "builds": {"cu112": "3.10"}},
        {**row, "versions": "2.5.1", "builds": {"cpu": "3.11", "cu126": "3.12"}},
    ]


@needs_zstd
def test_packaged_facts_are_what_the_shared_data_gives() -> None:
    if not (SHARED / "compat.json").is_file():
        pytest.skip("the shared data is not beside the checkout")
    assert seed_conda(SHARED / "compat.json", packaged(), dict(os.environ)) == packaged()
