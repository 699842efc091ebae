"""Solves against recorded repodata of the real conda channels: the exact build on every recorded platform."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchmatrix.backends import ResolveRequest
from torchmatrix.backends.conda_repodata import Opened
from torchmatrix.backends.conda_solve import Solver
from torchmatrix.catalog import load_catalog
from torchmatrix.errors import CellError
from torchmatrix.lock.demands import gather
from torchmatrix.lock.record import read_record
from torchmatrix.matrix.expand import expand
from torchmatrix.matrix.load import load_matrix
from torchmatrix.sources.channels import Channels
from torchmatrix.sources.config import SourceConfig
from torchmatrix.sources.pip_config import Setting
from torchmatrix.sources.repodata import Repodata
from torchmatrix.sources.web import Web
from torchmatrix.store import Store

if TYPE_CHECKING:
    from torchmatrix.lock.model import Artifact

MATRIX = """\
version: 1
axes: {{python: ["{python}"], channel: [stable], target: [here]}}
channels: {{stable: {{torch: "{torch}"}}}}
backend: conda
source: {source}
{packages}
targets: {{here: {{platform: {platform}, accelerator: {accelerator}{more}}}}}
"""
LABELLED = ", conda-channels: [pytorch-conda, nvidia/label/cuda-11.8.0, nvidia, conda-forge]"


@pytest.fixture(scope="module")
def solver(recorded_channels: Path, tmp_path_factory: pytest.TempPathFactory) -> Solver:
    """One solver over the recorded channels, as mirrors of the real ones."""
    folder = tmp_path_factory.mktemp("recorded-solves")
    mirrors = {"conda-forge": "conda-forge", "pytorch-conda": "pytorch", "nvidia": "nvidia"}
    config = SourceConfig(
        default_index=None,
        mirrors={
            name: (Setting(value=str(recorded_channels / below), origin="test"),) for name, below in mirrors.items()
        },
    )
    channels = Channels(config, {})
    repodata = Repodata(Store(folder), Web(config), channels, offline=True)
    return Solver(repodata, channels, load_catalog(), Opened())


def solve(solver: Solver, folder: Path, as_of: dt.date | None, **settings: str) -> dict[str, Artifact]:
    """The packages of the one cell of a matrix, by name."""
    values = {"packages": "", "more": "", "source": "conda-forge", "platform": "linux-64", **settings}
    values["packages"] = f"packages: [{values['packages']}]" if values["packages"] else ""
    path = folder / "matrix.yaml"
    path.write_text(MATRIX.format(**values), encoding="utf-8")
    matrix = load_matrix(path)
    expansion = expand(matrix, load_catalog())
    assert expansion.dropped == ()
    cell = expansion.cells[0]
    request = ResolveRequest(cell=cell, demands=gather(cell, matrix), sources=matrix.sources, as_of=as_of)
    return {artifact.name: artifact for artifact in solver.solve(request)[0]}


def build(artifact: Artifact) -> str:
    assert artifact.conda is not None
    return f"{artifact.version} {artifact.conda.build}"


CLASSIC = [
    # conda install pytorch torchvision torchaudio cpuonly -c pytorch
    (
        {"torch": "2.1.0", "python": "3.10", "accelerator": "cpu", "packages": "torchvision, torchaudio"},
        {
            "pytorch": "2.1.0 py3.10_cpu_0",
            "torchvision": "0.16.0 py310_cpu",
            "torchaudio": "2.1.0 py310_cpu",
            "cpuonly": "2.0 0",
            "pytorch-mutex": "1.0 cpu",
        },
    ),
    # conda install pytorch torchvision torchaudio pytorch-cuda=11.8 -c pytorch -c nvidia
    (
        {"torch": "2.1.0", "python": "3.10", "accelerator": "cu118", "packages": "torchvision, torchaudio"},
        {
            "pytorch": "2.1.0 py3.10_cuda11.8_cudnn8.7.0_0",
            "torchvision": "0.16.0 py310_cu118",
            "torchaudio": "2.1.0 py310_cu118",
            "pytorch-cuda": "11.8 h7e8668a_5",
            "pytorch-mutex": "1.0 cuda",
        },
    ),
    (
        {"torch": "2.0.1", "python": "3.10", "accelerator": "cu118", "packages": "torchvision, torchaudio"},
        {
            "pytorch": "2.0.1 py3.10_cuda11.8_cudnn8.7.0_0",
            "torchvision": "0.15.2 py310_cu118",
            "torchaudio": "2.0.2 py310_cu118",
            "pytorch-cuda": "11.8 h7e8668a_5",
        },
    ),
    ({"torch": "2.0.1", "python": "3.11", "accelerator": "cpu"}, {"pytorch": "2.0.1 py3.11_cpu_0"}),
    ({"torch": "1.12.1", "python": "3.9", "accelerator": "cpu"}, {"pytorch": "1.12.1 py3.9_cpu_0"}),
    # the same without cpuonly on Apple's machines: MPS
    (
        {"torch": "2.3.1", "python": "3.11", "accelerator": "mps", "platform": "osx-arm64"},
        {"pytorch": "2.3.1 py3.11_0", "python": "3.11.15 h0c9c016_1_cpython"},
    ),
    (
        {
            "torch": "2.3.1",
            "python": "3.11",
            "accelerator": "mps",
            "platform": "osx-arm64",
            "packages": "torchvision",
        },
        {"pytorch": "2.3.1 py3.11_0", "torchvision": "0.18.1 py311_cpu"},
    ),
]


@pytest.mark.parametrize(("settings", "expected"), CLASSIC, ids=[each["pytorch"] for _, each in CLASSIC])
def test_the_classic_commands(
    solver: Solver, tmp_path: Path, settings: dict[str, str], expected: dict[str, str]
) -> None:
    more = LABELLED if settings["accelerator"] == "cu118" else ""
    found = solve(solver, tmp_path, None, source="pytorch-conda", more=more, **settings)
    assert {name: build(found[name]) for name in expected} == expected
    assert found["pytorch"].source == "pytorch-conda"
    assert ("cpuonly" in found) == (settings["accelerator"] == "cpu")


FORGE = [
    ("linux-64", "3.10", "2.7.1", "cpu", "2.7.1 cpu_mkl_py310_hefd4a7a_102", "2.7.1 cpu_mkl_h783a78b_102"),
    ("linux-64", "3.11", "stable", "cpu", "2.12.0 cpu_mkl_py311_h338015a_100", "2.12.0 cpu_mkl_h55d9b97_100"),
    ("linux-64", "3.12", "stable", "cpu", "2.5.1 cpu_mkl_py312_heeca0f5_111", "2.5.1 cpu_mkl_h89e7157_111"),
    ("linux-64", "3.13", "stable", "cpu", "2.10.0 cpu_mkl_py313_hf5c6997_100", "2.10.0 cpu_mkl_hfee2a32_100"),
    ("linux-64", "3.14", "stable", "cpu", "2.12.0 cpu_mkl_py314_h94e416f_100", "2.12.0 cpu_mkl_h55d9b97_100"),
    ("linux-64", "3.11", "2.4.0", "cu118", "2.4.0 cuda118_py311h4ee7bbc_301", "2.4.0 cuda118_h8db9d67_301"),
    ("linux-64", "3.11", "2.6.0", "cu126", "2.6.0 cuda126_mkl_py311_h9ee4cac_300", "2.6.0 cuda126_mkl_h8247c52_300"),
    ("linux-64", "3.11", "stable", "cu129", "2.12.0 cuda129_mkl_py311_h49b8cc7_300", "2.12.0 cuda129_mkl_hbb687bd_300"),
    ("linux-64", "3.13", "stable", "cu129", "2.10.0 cuda129_mkl_py313_h9830416_300", "2.10.0 cuda129_mkl_hf5f578d_300"),
    ("linux-aarch64", "3.11", "stable", "cpu", "2.12.0 cpu_generic_py311_h8ebb990_0", "2.12.0 cpu_generic_h4236a28_0"),
    ("osx-arm64", "3.11", "stable", "mps", "2.12.0 cpu_generic_py311_hbaf2b46_0", "2.12.0 cpu_generic_h5d695db_0"),
    ("osx-arm64", "3.13", "2.10.0", "mps", "2.10.0 cpu_generic_py313_h459cd70_4", "2.10.0 cpu_generic_h721bd14_4"),
    ("osx-64", "3.12", "stable", "cpu", "2.8.0 cpu_mkl_py312_hcc10920_102", "2.8.0 cpu_mkl_hd8de2b1_102"),
    ("win-64", "3.13", "stable", "cpu", "2.10.0 cpu_mkl_py313_hc5b1e2d_100", "2.10.0 cpu_mkl_hf431e7d_100"),
]


@pytest.mark.parametrize(("platform", "python", "torch", "accelerator", "pytorch", "libtorch"), FORGE)
def test_conda_forge(
    solver: Solver,
    tmp_path: Path,
    platform: str,
    python: str,
    torch: str,
    accelerator: str,
    pytorch: str,
    libtorch: str,
) -> None:
    more = ', macos: "13.0"' if platform == "osx-64" else ""
    found = solve(
        solver, tmp_path, None, platform=platform, python=python, torch=torch, accelerator=accelerator, more=more
    )
    assert (build(found["pytorch"]), build(found["libtorch"])) == (pytorch, libtorch)
    if accelerator.startswith("cu"):
        digits = accelerator.removeprefix("cu")
        assert str(found["cuda-version"].version) == f"{digits[:-1]}.{digits[-1]}"


def test_all_of_it_is_locked_by_sha256_with_its_path(solver: Solver, tmp_path: Path) -> None:
    found = solve(solver, tmp_path, None, torch="2.12.0", python="3.11", accelerator="cpu")
    assert len(found) == 64
    for artifact in found.values():
        assert len(artifact.sha256) == 64
        assert artifact.path is not None
        assert artifact.path.split("/")[0] in ("linux-64", "noarch")
        assert artifact.size


def test_a_label_is_in_the_path(solver: Solver, tmp_path: Path) -> None:
    settings = {"torch": "2.1.0", "python": "3.10", "accelerator": "cu118"}
    found = solve(solver, tmp_path, None, source="pytorch-conda", more=LABELLED, **settings)
    libraries = found["cuda-libraries"]
    assert (libraries.source, libraries.path) == (
        "nvidia",
        "label/cuda-11.8.0/linux-64/cuda-libraries-11.8.0-0.tar.bz2",
    )
    assert libraries.sha256 == ""  # the label's repodata has md5 alone: the bytes have to say it


def test_as_of_a_day(solver: Solver, tmp_path: Path) -> None:
    settings = {"torch": "stable", "python": "3.11", "accelerator": "cpu"}
    found = solve(solver, tmp_path, dt.date(2025, 1, 30), **settings)
    assert build(found["pytorch"]) == "2.4.0 cpu_generic_py311h7a8ff39_1"


NONE = [
    (
        {"torch": "2.2.0", "python": "3.12", "accelerator": "cpu", "source": "pytorch-conda"},
        (
            "py312-stable-here-conda: no solution with pytorch-conda, conda-forge\n"
            "    pytorch ==2.2.0 *_cpu_* cannot be installed because there are no viable options:\n"
            "    └─ pytorch 2.2.0 would require\n"
            "       └─ python >=3.11,<3.12.0a0, for which no candidates were found."
        ),
        "ask for another version, or take torch from conda-forge (source: conda-forge)",
    ),
    (
        {"torch": "2.6.0", "python": "3.11", "accelerator": "cu118"},
        (
            "py311-stable-here-conda: no solution with conda-forge: conda-forge was seen with CUDA 11.8 builds of "
            "torch for 2.1.0 to 2.4.0 only (as of 2026-11-21)\n"
            "    No candidates were found for pytorch ==2.6.0 cuda118*."
        ),
        "ask for another version of torch, Python or the package that is named above",
    ),
    (
        {"torch": "2.12.0", "python": "3.11", "accelerator": "cpu", "more": ', glibc: "2.12"'},
        (
            "py311-stable-here-conda: no solution with conda-forge\n"
            "    pytorch ==2.12.0 cpu* cannot be installed because there are no viable options:\n"
            "    └─ pytorch 2.12.0 would require\n"
            "       └─ __glibc >=2.17,<3.0.a0, for which no candidates were found.\n"
            "the target brings: __unix=0=0, __linux=4.18=0, __glibc=2.12=0, __archspec=1=x86_64"
        ),
        "a package needs a newer system: set glibc: in the target, or ask for an older version of it",
    ),
]


@pytest.mark.parametrize(("settings", "message", "hint"), NONE, ids=["python", "build", "system"])
def test_what_has_no_solution(
    solver: Solver, tmp_path: Path, settings: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(CellError) as caught:
        solve(solver, tmp_path, None, **settings)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_committed_lockfiles_are_of_the_recorded_packages(recorded_channels: Path) -> None:
    """The conda lockfiles that this repository publishes name packages of the real channels, with their real hashes."""
    folders = {"conda-forge": "conda-forge", "pytorch-conda": "pytorch", "nvidia": "nvidia"}
    known: dict[tuple[str, str], str] = {}
    for source, folder in folders.items():
        for listing in (recorded_channels / folder).rglob("repodata.json"):
            data = json.loads(listing.read_text(encoding="utf-8"))
            below = listing.parent.relative_to(recorded_channels / folder).as_posix()
            for file, one in {**data["packages"], **data["packages.conda"]}.items():
                known[source, f"{below}/{file}"] = one.get("sha256", "")
    records = sorted(Path(__file__).parents[2].glob("envs/*-conda*/cell.json"))
    if not records:
        pytest.skip("no envs/ beside the tests (an installed test suite)")
    for path in records:
        lockfile = read_record(path)
        assert lockfile is not None
        wrong = [a.file for a in lockfile.artifacts if known.get((a.source, a.path or "")) != a.sha256]
        assert wrong == [], path
