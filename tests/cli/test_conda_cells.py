"""Lockfiles of conda cells through the real command line: for every platform, of the right variant, or with reasons."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.both import changed
from tests.cli.conda_cells import BOX, CPU, CU118, CU126, cell, error_of, matrix, one
from tests.cli.project import PY, answer, artifacts, must, record, stage
from tests.support.conda import Channel
from tests.support.conda_scene import TORCH_PYTHONS
from tests.support.stage import HERE, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.conda_scene import CondaScene

pytestmark = [
    pytest.mark.skipif(HERE not in TORCH_PYTHONS["2.13.0"], reason=f"the conda scene has no torch for Python {HERE}"),
    pytest.mark.xdist_group("conda-cells"),
]


def locked_build(at: Stage, id_: str = BOX) -> str:
    return str(artifacts(at, id_)["pytorch"]["build"])


# Lockfiles


PLATFORMS = {
    "cpu": "platform: linux-64, accelerator: cpu",
    "cu118": "platform: linux-64, accelerator: cu118",
    "cu126": "platform: linux-64, accelerator: cu126",
    "arm": "platform: linux-aarch64, accelerator: cpu",
    "mps": 'platform: osx-arm64, accelerator: mps, macos: "14.0"',
    "win": "platform: win-64, accelerator: cpu",
    "wincuda": "platform: win-64, accelerator: cu126",
    "old": 'platform: linux-64, accelerator: cpu, torch: "2.1.0", source: pytorch-conda',
    "old118": 'platform: linux-64, accelerator: cu118, torch: "2.1.0", source: pytorch-conda, '
    "conda-channels: [pytorch-conda, nvidia/label/cuda-11.8.0, conda-forge]",
    "oldwin118": 'platform: win-64, accelerator: cu118, torch: "2.1.0", source: pytorch-conda',
    "oldmps": 'platform: osx-arm64, accelerator: mps, torch: "2.1.0", source: pytorch-conda',
}
BUILDS = {
    "cpu": ("cpu_mkl_py311_h0_100", "cpu_py311_h0_0"),
    "cu118": ("cuda118_py311_h0_300", "cuda118_py311_h0_1"),
    "cu126": ("cuda126_mkl_py311_h0_300", "cuda126_py311_h0_1"),
    "arm": ("cpu_generic_py311_h0_0", "cpu_py311_h0_0"),
    "mps": ("cpu_generic_py311_h0_0", "cpu_py311_h0_0"),
    "win": ("cpu_mkl_py311_h0_100", "cpu_py311_h0_0"),
    "wincuda": ("cuda126_mkl_py311_h0_300", "cuda126_py311_h0_1"),
    "old": ("py3.11_cpu_0", "py311_cpu"),
    "old118": ("py3.11_cuda11.8_cudnn8.7.0_0", "py311_cu118"),
    "oldwin118": ("py3.11_cuda11.8_cudnn8_0", "py311_cu118"),
    "oldmps": ("py3.11_0", "py311"),
}
"""pytorch's and torchvision's."""


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory, shared_conda_scene: CondaScene) -> Stage:
    """Lockfiles for every platform, made on this host."""
    text = matrix(PLATFORMS, python="3.11", more="packages: [numpy, torchvision]")
    at = stage(tmp_path_factory.mktemp("everywhere"), None, text, **shared_conda_scene.env)
    cells = answer(at.run("--json", "lock"))["cells"]
    assert [one["status"] for one in cells] == ["passed"] * len(PLATFORMS)
    return at


@pytest.mark.parametrize("target", PLATFORMS)
def test_every_platform_is_locked_from_any_host(everywhere: Stage, target: str) -> None:
    found = artifacts(everywhere, cell(target, "3.11"))
    assert (found["pytorch"]["build"], found["torchvision"]["build"]) == BUILDS[target]
    platform = re.search(r"platform: ([\w-]+)", PLATFORMS[target])
    assert platform is not None
    assert {entry["subdir"] for entry in found.values()} == {platform[1], "noarch"}
    assert all(re.fullmatch("[0-9a-f]{64}", entry["sha256"]) for entry in found.values())
    source = "pytorch-conda" if target.startswith("old") else "conda-forge"
    assert {found[name]["source"] for name in ("pytorch", "torchvision")} == {source}
    assert {entry["source"] for name, entry in found.items() if name in ("python", "numpy")} == {"conda-forge"}
    assert record(everywhere, cell(target, "3.11"))["platform"] == platform[1]


def test_cuda_libraries_are_the_accelerators_own(everywhere: Stage) -> None:
    """A newer CUDA 12 or 11 needs a newer driver than the accelerator promises."""
    assert artifacts(everywhere, cell("cu126", "3.11"))["cuda-version"]["version"] == "12.6"
    assert artifacts(everywhere, cell("cu118", "3.11"))["cuda-version"]["version"] == "11.8"
    old = artifacts(everywhere, cell("old118", "3.11"))
    assert (old["cuda-cudart"]["version"], old["cuda-cudart"]["source"]) == ("11.8.89", "nvidia")
    assert old["cuda-cudart"]["path"].startswith("label/cuda-11.8.0/linux-64/")
    plain = artifacts(everywhere, cell("oldwin118", "3.11"))
    assert plain["cuda-cudart"]["version"] == "11.8.89"
    assert plain["cuda-cudart"]["path"].startswith("win-64/")


def test_locking_again_changes_nothing(everywhere: Stage) -> None:
    before = everywhere.published()
    assert must(everywhere.run("lock")).stderr == f"0 locked, {len(PLATFORMS)} already up to date\n"
    assert must(everywhere.run("lock", "--check")).stderr == f"{len(PLATFORMS)} lockfiles up to date\n"
    outcome = must(everywhere.run("lock", "--upgrade"))
    assert outcome.stderr.count(", no change\n") == len(PLATFORMS)
    assert everywhere.published() == before


def test_the_sources_still_serve_it(everywhere: Stage) -> None:
    expected = f"{len(PLATFORMS)} lockfiles up to date, and their sources serve the same bytes\n"
    assert must(everywhere.run("lock", "--check", "--online")).stderr.endswith(expected)


def test_an_upgrade_keeps_to_the_accelerator(tmp_path: Path, conda_scene: CondaScene) -> None:
    """torch 2.13.0 is there for cu126, and not for cu118, which keeps what it has."""
    settings = {"old": "platform: linux-64, accelerator: cu118", "new": "platform: linux-64, accelerator: cu126"}
    at = stage(tmp_path, None, matrix(settings), **conda_scene.env)
    must(at.run("lock"))
    text = (at.project / "matrix.yaml").read_text().replace('"2.5.1"', '">=2.5,<2.14"')
    (at.project / "matrix.yaml").write_text(text)
    must(at.run("lock"))
    assert artifacts(at, cell("new"))["pytorch"]["version"] == "2.5.1"
    must(at.run("lock", "--upgrade"))
    assert artifacts(at, cell("new"))["pytorch"]["version"] == "2.13.0"
    assert locked_build(at, id_=cell("new")) == f"cuda126_mkl_py{PY}_h0_300"
    assert locked_build(at, id_=cell("old")) == f"cuda118_py{PY}_h0_300"


# --as-of


DAYS = {
    "1.14.1": ("2024-11-30T23:59:59Z", None),
    "1.15.0": ("2024-12-01T00:00:00Z", None),
    "1.16.0": ("2024-01-01T00:00:00Z", "2024-12-02T00:00:00Z"),
    "1.17.0": (None, None),
}
"""Versions of sympy with the time when their records say they were built, and uploaded."""


def timestamp(text: str | None) -> int | None:
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1000 if text else None


def dating(_: str, entry: dict[str, Any]) -> None:
    """Indexing writes the time of the test itself into every record."""
    entry.pop("indexed_timestamp", None)
    if entry["name"] == "sympy" and entry["version"] in DAYS and (said := timestamp(DAYS[entry["version"]][1])):
        entry["indexed_timestamp"] = said


@pytest.fixture
def dated(tmp_path: Path, conda_scene: CondaScene) -> Stage:
    with changed(conda_scene, tmp_path) as channel:
        for version, (built, _) in DAYS.items():
            settings: dict[str, Any] = {"timestamp_ms": timestamp(built), "noarch": "python"}
            depends = ["python >=3.8", "mpmath >=0.19"]
            channel.add("sympy", version, build="pyhd8ed1ab_0", depends=depends, **settings)
    for subdir in channel.subdirs():
        channel.edit(subdir, dating)
    channel.serve(conda_scene.server, "/conda-forge")
    return stage(tmp_path, None, one(CPU, more="packages: [sympy]"), TZ="Pacific/Kiritimati", **conda_scene.env)


def sympy(at: Stage) -> str:
    return str(artifacts(at, BOX)["sympy"]["version"])


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2024-11-29", "1.14.0"), ("2024-11-30", "1.14.1"), ("2024-12-01", "1.15.0"), ("2024-12-02", "1.16.0")],
)
def test_as_of_is_the_end_of_that_day_in_utc(dated: Stage, day: str, expected: str) -> None:
    """What says no time is left out: nobody can tell whether it was there."""
    must(dated.run("lock", "--as-of", day))
    assert sympy(dated) == expected
    assert record(dated, BOX)["as_of"] == day
    before = dated.published()
    must(dated.run("lock", "--check"))
    must(dated.run("lock"))
    must(dated.run("lock", "--as-of", day))
    assert dated.published() == before
    must(dated.run("lock", "--upgrade"))
    assert sympy(dated) == "1.17.0"
    assert "as_of" not in record(dated, BOX)


def test_an_as_of_date_that_is_too_early(dated: Stage) -> None:
    text = (dated.project / "matrix.yaml").read_text().replace("[sympy]", '["sympy>=1.15"]')
    (dated.project / "matrix.yaml").write_text(text)
    message, hint = error_of(dated, "lock", "--as-of", "2024-11-30")
    assert message == (
        f"{BOX}: no solution as of 2024-11-30 with conda-forge\n"
        "    The following packages are incompatible\n"
        "    └─ sympy >=1.15 cannot be installed because there are no viable options:\n"
        "       ├─ sympy 1.17.0 is excluded because the package has no timestamp\n"
        "       └─ sympy 1.15.0 | 1.16.0 is excluded because it was uploaded later"
    )
    assert hint == "choose a later as-of date, or take away the pin that did not exist then"
    assert not dated.envs.exists()


# The end of the process


def test_the_process_ends_without_python_being_taken_down(tmp_path: Path, shared_conda_scene: CondaScene) -> None:
    """py-rattler's threads may call Python a moment after their answer: one process in ten would crash."""
    watched = "import atexit; atexit.register(print, 'late'); from torchmatrix.cli import main; main()"
    at = stage(tmp_path, None, one(f"{CPU}, conda-packages: [nonsense-lib]"), **shared_conda_scene.env)
    at = replace(at, program=(sys.executable, "-c", watched))
    outcome = must(at.run("lock"), 1)
    assert outcome.stdout == ""
    assert outcome.stderr.endswith("0 locked, 0 already up to date, 1 failed\n")
    assert must(at.run("list")).stdout.endswith("late\n"), "which knows nothing of py-rattler"


# The right variant or none


def add_torch(channel: Channel, name: str, version: str, build: str, **settings: Any) -> None:
    depends = [f"python {HERE}.*", *settings.pop("depends", ())]
    channel.add(name, version, build=build, subdir="linux-64", depends=depends, **settings)


def lead_astray(channel: Channel) -> None:
    """Packages that want another variant than the cell does, each in one way that is seen on conda channels."""
    add_torch(channel, "pytorch-gpu", "2.5.1", "cuda126_mkl_h0_300", depends=["pytorch 2.5.1 cuda126_mkl*300"])
    add_torch(channel, "pytorch-cpu", "2.5.1", "cpu_mkl_h0_100", depends=["pytorch 2.5.1 cpu_mkl*100"])
    for name, depends in {
        "wants-gpu": ["pytorch-gpu"],
        "wants-cuda": ["pytorch * cuda*"],
        "wants-cuda126": ["pytorch", "cuda-version 12.6.*", "cuda-cudart"],
        "wants-cpu": ["pytorch * cpu*"],
        "wants-cpu-package": ["pytorch-cpu"],
        "wants-cpuonly": ["cpuonly"],
        "wants-pytorch-cuda": ["pytorch-cuda 11.8.*"],
        "wants-old": ["pytorch 2.1.*"],
    }.items():
        channel.add(name, "1.0", build="0", noarch="generic", depends=depends)
    # The newest of all, for the wrong accelerator each, and with nothing that holds it back.
    add_torch(channel, "torchvision", "0.99.0", f"cuda126_py{PY}_h0_1", depends=["pytorch"])
    add_torch(channel, "torchaudio", "2.99.0", f"cpu_py{PY}_h0_0", depends=["pytorch"])
    add_torch(channel, "pytorch", "2.6.0", f"cuda126_mkl_py{PY}_h0_300", depends=["__cuda"])
    add_torch(channel, "pytorch", "2.7.0", f"cpu_generic_py{PY}_h0_0")
    add_torch(channel, "pytorch", "2.8.0", f"py{PY}_h0_0")


@pytest.fixture(scope="module")
def astray(tmp_path_factory: pytest.TempPathFactory, shared_conda_scene: CondaScene) -> dict[str, str]:
    """The scene's variables with such a conda-forge in it, as a folder."""
    folder = tmp_path_factory.mktemp("astray") / "conda-forge"
    shutil.copytree(shared_conda_scene.folder / "conda-forge", folder)
    channel = Channel(folder=folder)
    lead_astray(channel)
    channel.index()
    mirrors = shared_conda_scene.env["TORCHMATRIX_MIRRORS"].replace(shared_conda_scene.conda_forge_url, str(folder))
    return {"TORCHMATRIX_MIRRORS": mirrors}


OLD = 'torch: "2.1.0", source: pytorch-conda'
IMPOSSIBLE = {
    "cpu: pytorch-gpu from below": f"{CPU}, conda-packages: [wants-gpu]",
    "cpu: a CUDA build from below": f"{CPU}, conda-packages: [wants-cuda]",
    "cpu: a CUDA build asked for": f'{CPU}, conda-packages: ["pytorch * cuda*"]',
    "cpu: CUDA builds alone": f'{CPU}, torch: "2.6.0"',
    "cpu: pytorch-cuda from below": f"{CPU}, {OLD}, conda-packages: [wants-pytorch-cuda]",
    "cpu: on another conda channel alone": f'{CPU}, torch: "2.1.0", conda-channels: [conda-forge, pytorch-conda]',
    "cu118: a CPU build from below": f"{CU118}, conda-packages: [wants-cpu]",
    "cu118: pytorch-cpu from below": f"{CU118}, conda-packages: [wants-cpu-package]",
    "cu118: a CPU build asked for": f'{CU118}, conda-packages: ["pytorch * cpu*"]',
    "cu118: another CUDA's build asked for": f'{CU118}, conda-packages: ["pytorch * cuda126*"]',
    "cu118: another CUDA's libraries": f"{CU118}, conda-packages: [wants-cuda126]",
    "cu118: a CPU build alone": f'{CU118}, torch: "2.7.0"',
    "cu118: another CUDA's build alone": f'{CU118}, torch: "2.6.0"',
    "cu118: cpuonly from below": f"{CU118}, {OLD}, conda-packages: [wants-cpuonly]",
    "cu118: cpuonly that conda-forge lacks": f"{CU118}, conda-packages: [wants-cpuonly]",
    "cu126: a CPU build alone": f'{CU126}, torch: "2.7.0"',
    "cu118: on another conda channel alone": f'{CU118}, torch: "2.1.0", conda-channels: [conda-forge, pytorch-conda]',
}


@pytest.mark.parametrize("settings", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_another_variant_is_never_locked(tmp_path: Path, astray: dict[str, str], settings: str) -> None:
    at = stage(tmp_path, None, one(settings), **astray)
    message, _ = error_of(at)
    assert message.startswith(f"{BOX}: no solution with ")
    assert not at.envs.exists()


@pytest.mark.parametrize(
    ("settings", "more", "said"),
    [
        (CPU, "packages: [torchvision]", f"asked for the cpu build, and torchvision 0.99.0 cuda126_py{PY}_h0_1"),
        (CU118, "packages: [torchaudio]", f"asked for the cu118 build, and torchaudio 2.99.0 cpu_py{PY}_h0_0"),
    ],
)
def test_a_companion_of_another_variant_is_never_locked(
    tmp_path: Path, astray: dict[str, str], settings: str, more: str, said: str
) -> None:
    at = stage(tmp_path, None, one(settings, more=more), **astray)
    message, hint = error_of(at, code=5)
    kind = "cu126" if "cuda126" in said else "cpu"
    assert message == f"{BOX}: {said} from conda-forge is a {kind} build"
    assert hint == "look at conda-packages and conda-channels in the matrix"
    assert not at.envs.exists()


POSSIBLE = {
    "cpu with CUDA's version": (f'{CPU}, conda-packages: ["cuda-version 12.6"]', "cpu_mkl_py{}_h0_100"),
    "cpu with CUDA's libraries": (f"{CPU}, conda-packages: [wants-cuda126]", "cpu_mkl_py{}_h0_100"),
    "cu118 with its own version": (f'{CU118}, conda-packages: ["cuda-version 11.8"]', "cuda118_py{}_h0_300"),
    "cu126 with pytorch-gpu": (f"{CU126}, conda-packages: [wants-gpu]", "cuda126_mkl_py{}_h0_300"),
    "a CPU build of one's own choice": (f'{CPU}, conda-packages: ["pytorch * cpu_mkl*"]', "cpu_mkl_py{}_h0_100"),
    "torch is on both": (f"{CPU}, conda-channels: [pytorch-conda, conda-forge]", "cpu_mkl_py{}_h0_100"),
}


@pytest.mark.parametrize(("settings", "build"), POSSIBLE.values(), ids=POSSIBLE)
def test_what_does_not_contradict_the_variant_is_locked(
    tmp_path: Path, astray: dict[str, str], settings: str, build: str
) -> None:
    at = stage(tmp_path, None, one(settings), **astray)
    must(at.run("lock"))
    assert locked_build(at) == build.format(PY)
    assert artifacts(at, BOX)["pytorch"]["source"] == "conda-forge"


@pytest.mark.parametrize("name", ["pytorch-cpu", "pytorch-gpu", "cpuonly", "pytorch-cuda", "pytorch-mutex"])
def test_what_chooses_a_variant_is_refused_in_the_matrix(tmp_path: Path, name: str) -> None:
    error = answer(stage(tmp_path, None, one(f"{CU118}, conda-packages: [{name}]")).run("--json", "lock"), 2)["error"]
    assert f"{name} does not belong among packages" in error["message"]
    assert "the accelerator of the target chooses torch's build" in error["message"]


def test_a_build_that_says_nothing_is_not_taken(tmp_path: Path, conda_scene: CondaScene) -> None:
    """A conda channel of one's own whose builds of torch do not say what they are for."""
    private = Channel(folder=tmp_path / "corp")
    add_torch(private, "pytorch", "2.5.1", f"py{PY}_h0_0")
    private.index()
    more = f'sources: {{corp: {{conda-channel: "{private.url}", packages: [corp-*]}}}}'
    at = stage(tmp_path, None, one(f"{CPU}, source: corp", more=more), **conda_scene.env)
    message, _ = error_of(at)
    assert message == (
        f"{BOX}: no solution with corp, conda-forge\n    No candidates were found for pytorch ==2.5.1 cpu*."
    )
    assert not at.envs.exists()


# Why there is no solution


OTHER = "ask for another version of torch, Python or the package that is named above"
NONE = "no solution with conda-forge"
SYSTEM = "a package needs a newer system: set glibc: in the target, or ask for an older version of it"
UNSOLVABLE: dict[str, tuple[str, list[str], str]] = {
    "a torch that does not exist": (
        one(f'{CPU}, torch: "2.99.0"'),
        [
            f"{NONE}: conda-forge was seen with CPU builds of torch for SOME to SOME only (as of DAY)",
            "    No candidates were found for pytorch ==2.99.0 cpu*.",
        ],
        OTHER,
    ),
    "a version that does not exist": (
        one(CPU, more='packages: ["numpy>=99"]'),
        [NONE, "    No candidates were found for numpy >=99."],
        OTHER,
    ),
    "a conda package that does not exist": (
        one(f"{CPU}, conda-packages: [nonsense-lib]"),
        [NONE, "    No candidates were found for nonsense-lib *."],
        OTHER,
    ),
    "an old glibc": (
        one(f'{CPU}, glibc: "2.12"'),
        [
            NONE,
            "    pytorch ==2.5.1 cpu* cannot be installed because there are no viable options:",
            "    └─ pytorch 2.5.1 would require",
            "       └─ __glibc >=2.17,<3.0.a0, for which no candidates were found.",
            "the target brings: __unix=0=0, __linux=4.18=0, __glibc=2.12=0, __archspec=1=x86_64",
        ],
        SYSTEM,
    ),
    "an accelerator that was never built": (
        one("accelerator: cu124"),
        [
            f"{NONE}: conda-forge was not seen with CUDA 12.4 builds of torch for linux-64, but with MORE (as of DAY)",
            "    No candidates were found for pytorch ==2.5.1 cuda124*.",
        ],
        OTHER,
    ),
    "an accelerator that has ended": (
        one(CU118, torch="2.13.0"),
        [
            f"{NONE}: conda-forge was seen with CUDA 11.8 builds of torch for SOME to SOME only (as of DAY)",
            "    No candidates were found for pytorch ==2.13.0 cuda118*.",
        ],
        OTHER,
    ),
    "a Python that is too new": (
        one(CPU, python="3.14"),
        [
            f"{NONE}: conda-forge was seen with CPU builds of torch 2.5.1 for Python SOME to SOME only (as of DAY)",
            "    pytorch ==2.5.1 cpu* cannot be installed because there are no viable options:",
            "    PYTORCH 2.5.1 would require",
            "      PYTHON, for which no candidates were found.",
        ],
        OTHER,
    ),
}
"""Matrix, lines of the message, hint; what the catalog knows today and what is said again are left out."""
_TODAY = (
    (r"(as of) \d{4}-\d\d-\d\d", r"\1 DAY"),
    (r"\b(for|Python) [\d.]+ to [\d.]+ only", r"\1 SOME to SOME only"),
    (r"but with cpu, (?:cu\d+, )*cu\d+ and cu\d+ ", "but with MORE "),
    (r"(?m)^    [├└]─ pytorch", "    PYTORCH"),
    (r"(?m)^    [│ ]  └─ python >=3\.\d+,<3\.\d+\.0a0", "      PYTHON"),
)


@pytest.mark.parametrize(("text", "lines", "hint"), UNSOLVABLE.values(), ids=UNSOLVABLE)
def test_what_has_no_solution_is_explained(
    tmp_path: Path, shared_conda_scene: CondaScene, text: str, lines: list[str], hint: str
) -> None:
    at = stage(tmp_path, None, text, **shared_conda_scene.env)
    said, advice = error_of(at)
    for pattern, instead in _TODAY if "PYTORCH" in str(lines) else _TODAY[:3]:
        said = re.sub(pattern, instead, said)
    assert list(dict.fromkeys(said.partition(": ")[2].splitlines())) == lines
    assert advice == hint
    assert not at.envs.exists()


def test_a_requirement_that_no_conda_channel_has(tmp_path: Path, shared_conda_scene: CondaScene) -> None:
    at = stage(tmp_path, None, one(CPU, more="packages: [nonsense-lib, numpy]"), **shared_conda_scene.env)
    message, hint = error_of(at)
    assert message == f"{BOX}: no conda package nonsense-lib for linux-64 in conda-forge"
    assert hint == (
        "name it under conda-packages by its conda name, let pip install it on top (pip-packages), or add a conda "
        "channel that has it (conda-channels)"
    )
