"""What only a conda cell's bundle has: where its packages lie, what conda and micromamba read, and lies about it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.lock.samples import FILELOCK, NUMPY, PYTORCH, conda_lockfile, conda_package
from tests.test_bundle import CELL, CONDA, PIP, Forged, bundle, conda_locked, left_in, refused, stored
from torchmatrix.bundle import read, write
from torchmatrix.bundle.contents import describe, render_description
from torchmatrix.bundle.texts import (
    explicit_text,
    needs,
    own_texts,
    readme_text,
    repodata_text,
    sums_text,
)
from torchmatrix.lock.formats.depends import by_dependency
from torchmatrix.lock.record import render_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torchmatrix.lock.model import Artifact, Lockfile

PLAIN = conda_lockfile()
"""Without wheels, from known conda channels alone."""
CEP_23 = re.compile(
    r"(?:(?P<url_p>.+)(?:[/\\]))?(?P<fn>[^/\\#]+(?:\.tar\.bz2|\.conda))"
    r"(?:#((?P<md5>[0-9a-f]{32})|((sha256:)?(?P<sha256>[0-9a-f]{64}))))?$"
)
"""A line of an ``@EXPLICIT`` file (https://conda.org/learn/ceps/cep-0023)."""


def lines_of(text: str) -> list[str]:
    """Without remarks."""
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_the_format_is_the_one_that_others_have_hashes_of(tmp_path: Path) -> None:
    written = write.write_bundle(CONDA.lockfile, b"{}\n", stored(tmp_path / "a", CONDA), tmp_path / "cell.tar")
    # Whoever changes it on purpose says so: bundles of one lockfile differ from those of earlier releases then.
    assert written.sha256 == "e31a26add2b2095ca7dd021956a554d7c2eebf392130365204df8b2765714311"


# what conda and micromamba read


def test_each_line_of_the_explicit_file_is_one_that_conda_reads() -> None:
    head, *lines = lines_of(explicit_text(PLAIN))
    assert head == "@EXPLICIT"
    assert len(lines) == len(PLAIN.conda_artifacts)
    for line in lines:
        found = CEP_23.match(line)
        assert found is not None
        # With ./ also micromamba takes it for a path (https://github.com/mamba-org/mamba/issues/4266).
        assert re.fullmatch(r"\./packages/(linux-64|noarch)", found["url_p"])


def test_packages_come_after_what_they_need() -> None:
    lines = lines_of(explicit_text(PLAIN))[1:]
    assert [line.rpartition("/")[2].partition("-")[0] for line in lines] == [
        "cuda",
        "python",
        "python_abi",
        "numpy",
        "pytorch",
        "tzdata",
    ]


def package(name: str, *depends: str) -> Artifact:
    return conda_package(name, "1", "0", depends=depends)


@pytest.mark.parametrize(
    ("packages", "order"),
    [
        ([package("a", "b >=1", "c"), package("b", "c"), package("c")], "cba"),
        ([package("a", "b"), package("b", "a")], "ba"),  # as python and pip were
        ([package("a", "a"), package("b", "absent", "__glibc >=2.17")], "ab"),
        ([package("a", "conda-forge::b[build=0]"), package("b")], "ba"),
    ],
)
def test_order(packages: list[Artifact], order: str) -> None:
    assert "".join(one.name for one in by_dependency(conda_lockfile(artifacts=tuple(packages)))) == order


def test_a_chain_of_thousands_is_no_recursion() -> None:
    chain = [package(f"p{number:05}", f"p{number + 1:05}") for number in range(5000)]
    found = by_dependency(conda_lockfile(artifacts=tuple(chain)))
    assert [one.name for one in found] == [one.name for one in reversed(chain)]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum here")
def test_the_sums_are_those_of_the_files(tmp_path: Path) -> None:
    folder = read.unpack(bundle(tmp_path / "out", sample=CONDA), tmp_path / "folder").folder
    said = next(line for line in (folder / "README.txt").read_text().splitlines() if "sha256sum" in line)
    argv = said.split()
    assert subprocess.run(argv, cwd=folder, capture_output=True, check=False).returncode == 0
    assert len(sums_text(CONDA.lockfile).splitlines()) == len(CONDA.contents)
    (folder / CONDA.one).write_bytes(b"other")
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, f"{CONDA.one}: FAILED\n")


def test_the_packages_are_a_conda_channel(tmp_path: Path) -> None:
    rattler = pytest.importorskip("rattler")
    folder = read.unpack(bundle(tmp_path / "out", sample=CONDA), tmp_path / "folder").packages
    assert left_in(folder) == ["linux-64", "noarch"]
    found: dict[str, Any] = {}
    for subdir in left_in(folder):
        data = rattler.SparseRepoData(rattler.Channel(folder.as_uri()), subdir, folder / subdir / "repodata.json")
        for name in data.package_names():
            for record in data.load_records(rattler.PackageName(name)):
                assert (folder / subdir / record.file_name).is_file()
                found[record.file_name] = record
    assert set(found) == {one.file for one in CONDA.lockfile.conda_artifacts}
    for artifact in CONDA.lockfile.conda_artifacts:
        record = found[artifact.file]
        assert artifact.conda is not None
        assert record.sha256.hex() == artifact.sha256
        assert (str(record.version), str(record.build), record.subdir) == (
            str(artifact.version),
            artifact.conda.build,
            artifact.conda.subdir,
        )
        assert record.depends == list(artifact.conda.depends)


def test_a_listing() -> None:
    said = json.loads(repodata_text(PLAIN, "linux-64"))
    assert list(said) == ["info", "packages", "packages.conda", "repodata_version"]
    assert said["info"] == {"subdir": "linux-64"}
    assert list(said["packages"]) == ["cuda-cudart-11.8.89-0.tar.bz2", PYTORCH.file]
    assert said["packages.conda"][NUMPY.file] == {
        "build": "py311h_1",
        "build_number": 1,
        "constrains": ["numpy-base <0a0"],
        "depends": ["python >=3.11,<3.12.0a0", "__glibc >=2.17,<3.0.a0", "python_abi 3.11.* *_cp311"],
        "md5": "6e756d70790000000000000000000000",
        "name": "numpy",
        "sha256": NUMPY.sha256,
        "size": 8_000_000,
        "subdir": "linux-64",
        "version": "2.2.6",
    }
    noarch = json.loads(repodata_text(PLAIN, "noarch"))["packages.conda"]
    assert {name: record["noarch"] for name, record in noarch.items()} == {
        "python_abi-3.11-8_cp311.conda": "generic",
        "tzdata-2025b-h_1.conda": "python",
    }


# which small files


@pytest.mark.parametrize(
    ("one", "formats"),
    [
        (PLAIN, ["conda-linux-64.lock", "environment.yml", "conda-lock.yml"]),
        # conda-lock.yml needs the address of the wheel, which only a machine that resolved has learned
        (conda_locked(), ["requirements.txt", "conda-linux-64.lock", "environment.yml"]),
        # no address of a private conda channel is in the record
        (conda_lockfile(conda_channels=("corp", "conda-forge")), ["conda-linux-64.lock"]),
        (conda_lockfile(artifacts=(conda_package("x", "1", "0", source="corp"),)), ["environment.yml"]),
        (
            conda_lockfile(artifacts=(conda_package("x", "1", "0", md5=None),)),
            ["conda-linux-64.lock", "environment.yml"],
        ),
    ],
)
def test_formats_are_those_that_the_record_alone_gives(one: Lockfile, formats: list[str]) -> None:
    always = [
        "explicit.txt",
        "SHA256SUMS",
        "README.txt",
        "packages/linux-64/repodata.json",
        "packages/noarch/repodata.json",
    ]
    found = [name for name in own_texts(one) if name not in always]
    assert sorted(found) == sorted(formats)
    assert [name for name in own_texts(one) if name in always] == always


def test_requirements_hold_what_pip_adds() -> None:
    text = own_texts(conda_locked())["requirements.txt"].decode()
    assert lines_of(text)[0] == "contour==1.0 \\"
    assert text.count("--hash=") == 1


# the note


def commands(one: Lockfile) -> list[str]:
    return [line.strip() for line in readme_text(one).splitlines() if line.startswith("    ")]


def test_the_note_without_wheels() -> None:
    assert commands(PLAIN) == [
        "sha256sum --check --quiet SHA256SUMS",
        "conda create --yes --offline --prefix ./env --file explicit.txt",
        "micromamba create --yes --offline --prefix ./env --file explicit.txt",
        "torchmatrix unbundle py311-stable-cu118-conda.tar",
    ]
    assert "Needed: Linux x86_64 with glibc 2.28 or newer; to compute on a GPU an NVIDIA driver 450.80" in readme_text(
        PLAIN
    )
    assert "Everything else is here, Python too: 6 files in packages/.\n" in readme_text(PLAIN)


def test_the_note_with_wheels() -> None:
    offline = "--no-index --find-links wheels --require-hashes --no-deps -r requirements.txt"
    one = conda_locked()
    assert commands(one)[3:-1] == [
        f"pip --python env/bin/python install {offline}",
        f"uv pip install --no-config --offline --python env/bin/python {offline}",
    ]
    pip = conda_package("pip", "25.3", "pyh_0", subdir="noarch", noarch="python")
    with_pip = replace(one, artifacts=(*one.conda_artifacts, pip, *one.pip_artifacts))
    assert commands(with_pip)[3:-1] == [f"env/bin/python -m pip install {offline}"]
    assert "5 files in packages/ and wheels/.\n" in readme_text(one)


def test_the_note_for_other_systems() -> None:
    windows = conda_locked(platform="win-64", floor=None, accelerator="cpu")
    assert commands(windows)[0].startswith("certutil -hashfile FILE SHA256 ")
    assert commands(windows)[3].startswith("pip --python env\\python.exe install ")
    mac = conda_lockfile(platform="osx-arm64", accelerator="mps", floor="macos 14.0")
    assert commands(mac)[0] == "shasum --algorithm 256 --check SHA256SUMS"
    assert needs(mac) == "macOS on Apple silicon, macOS 14.0 or newer"


# lies


@pytest.mark.parametrize("name", ["requirements.txt", "explicit.txt", "SHA256SUMS"])
def test_what_commands_read_is_what_the_record_gives(tmp_path: Path, name: str) -> None:
    forged = Forged.good(CONDA)
    forged.texts[name] += b"https://evil.example/linux-64/python-3.11.9-h_0_cpython.conda\n"
    refused(forged, tmp_path, f"{name} is not what cell.json gives")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: files.update(path="packages/../../x.conda"), "is not the path of a wheel or a conda package"),
        (lambda files: files.update(path="packages/x.conda"), "is not the path of a wheel or a conda package"),
        (lambda files: files.update(path="packages/linux-32/x.conda"), "is not the path of a wheel or a conda package"),
        (lambda files: files.update(path="packages/noarch/x.whl"), "is not the path of a wheel or a conda package"),
        (lambda files: files.update(path="packages/noarch/.x.conda"), "is not the path of a wheel or a conda package"),
        (lambda files: files.update(path="wheels/x.conda"), "is not the path of a wheel or a conda package"),
        (lambda files: files.update(path="packages/noarch/repodata.json.zst"), "is not the path of a wheel or a conda"),
        (lambda files: files.update(path="packages/win-64/x.conda"), "are not those of cell.json: packages/"),
        (lambda files: files.update(path="packages/noarch/repodata.json"), "listed twice"),
        (
            lambda files: files.update(path="packages/osx-64/repodata.json"),
            "not those that cell.json gives",
        ),
        (lambda files: files.update(sha256="0" * 64), "are not those of cell.json: packages/linux-64/cuda-cudart"),
    ],
)
def test_lists(tmp_path: Path, change: Callable[[dict[str, Any]], Any], words: str) -> None:
    forged = Forged.good(CONDA)

    def changed(value: dict[str, Any]) -> Any:
        change(value["files"][len(CONDA.texts)])
        return value

    forged.listed = changed
    refused(forged, tmp_path, words)


@pytest.mark.parametrize("name", ["explicit.txt", "packages/noarch/repodata.json", "environment.yml"])
def test_a_small_file_that_is_missing(tmp_path: Path, name: str) -> None:
    forged = Forged.good(CONDA)
    del forged.texts[name]
    refused(forged, tmp_path, f"lists are not those that cell.json gives: {re.escape(name)}")


def test_a_small_file_of_another_platform(tmp_path: Path) -> None:
    forged = Forged.good(CONDA)
    forged.texts["conda-win-64.lock"] = b"@EXPLICIT\n"
    refused(forged, tmp_path, "lists are not those that cell.json gives: conda-win-64.lock")


def like(one: Artifact, **change: Any) -> dict[str, Any]:
    """A record of that package alone; ``conda__NAME`` are fields of its build."""
    build = {key.removeprefix("conda__"): change.pop(key) for key in list(change) if key.startswith("conda__")}
    assert one.conda is not None
    return {"artifacts": (replace(one, conda=replace(one.conda, **build), **change),)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (like(NUMPY, name="-c"), "'-c' is no name of a conda package"),
        (like(NUMPY, name="numpy\nevil"), "name is not one line of text"),
        (like(NUMPY, file="numpy.whl"), "'numpy.whl' is not the file name of a conda package"),
        (like(NUMPY, file=".."), "'..' is not the file name of a conda package"),
        (like(NUMPY, file="--x.conda"), "'--x.conda' is not the file name of a conda package"),
        (like(NUMPY, conda__build="0 --evil"), "'0 --evil' is neither a version nor a build"),
        (like(NUMPY, conda__build=""), "'' is neither a version nor a build"),
        (like(NUMPY, conda__subdir="../.."), r"'\.\./\.\.' is neither linux-64 nor noarch"),
        (like(NUMPY, conda__subdir="win-64"), "'win-64' is neither linux-64 nor noarch"),
        (like(NUMPY, source="https://evil"), "is no name of a source"),
        (like(NUMPY, path="../../evil/x.conda"), "is not the path of a file"),
        (like(NUMPY, path="linux-64/.x.conda"), "is not the path of a file"),
        (like(NUMPY, path="linux-64/x.conda\nhttps://evil.example/x.conda"), "path is not one line of text"),
        (like(NUMPY, path="linux-64/x.conda#0"), "is not the path of a file"),
        (like(NUMPY, path="/linux-64/x.conda"), "is not the path of a file"),
        ({"artifacts": (replace(FILELOCK, path="a\nb"),)}, "'filelock': path is not one line of text"),
        ({"conda_channels": ("conda-forge", "https://evil.example")}, "is no name of a conda channel"),
        ({"conda_channels": ("nvidia/label/../x",)}, "is no name of a conda channel"),
        (
            {"artifacts": (NUMPY, replace(NUMPY, name="other"))},
            "two artifacts have the file numpy-2.2.6-",
        ),
        ({"platform": "linux-32"}, "is not a valid Platform"),
    ],
)
def test_records_that_hold_what_no_record_of_ours_holds(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    forged = Forged.good(CONDA)
    forged.texts["cell.json"] = render_record(conda_locked(**change)).encode()
    refused(forged, tmp_path, words)


def test_labels_and_encoded_paths_are_no_lies(tmp_path: Path) -> None:
    file = "x-1.0_1-h_0.conda"
    one = conda_package("_x", "1!1.0_1+cu", "h.0_1", file=file, path=f"label/cuda-11.8.0/linux-64/{file}%2B")
    sample = replace(
        CONDA,
        lockfile=conda_lockfile(
            cell=CELL,
            artifacts=(replace(one, sha256="2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),),
        ),
        contents={file: b"x"},
    )
    assert read.unpack(bundle(tmp_path / "out", sample=sample), tmp_path / "folder").lockfile == sample.lockfile


def test_a_record_of_the_other_backend(tmp_path: Path) -> None:
    forged = Forged.good(CONDA)
    forged.texts["cell.json"] = PIP.record
    forged.listed = lambda value: {**value, "lockfile_digest": PIP.lockfile.digest, "torch": str(PIP.lockfile.torch)}
    refused(forged, tmp_path, "accelerator is 'cu118' in bundle.json and another one in cell.json")
    forged.listed = lambda value: {
        **json.loads(render_description(describe(PIP.lockfile, ()))),
        "files": value["files"],
    }
    refused(forged, tmp_path, "the small files that bundle.json lists are not those that cell.json gives: SHA256SUMS")
