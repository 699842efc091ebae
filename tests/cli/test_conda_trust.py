"""What is installed is what was locked: files on this machine are not trusted by their names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conda_cells import BOX, CPU, build, one, store
from tests.cli.project import answer, stage
from tests.support.conda import Channel
from tests.support.conda_scene import NATIVE_SUBDIR
from tests.support.stage import HERE

if TYPE_CHECKING:
    from tests.support.stage import Stage

pytestmark = pytest.mark.skipif(NATIVE_SUBDIR != "linux-64", reason="builds cells of linux-64")
MODULES = f"lib/python{HERE}/site-packages"


@pytest.fixture
def folder(tmp_path: Path, conda_folder: Path) -> Path:
    """A copy of the conda channels for one test, which may change it."""
    return Path(shutil.copytree(conda_folder, tmp_path / "channels"))


@pytest.fixture
def at(tmp_path: Path, folder: Path) -> Stage:
    """A cell of conda-forge, read from a folder."""
    settings = {"TORCHMATRIX_MIRRORS": f"conda-forge={folder / 'conda-forge'}"}
    return stage(tmp_path, None, one(f"{CPU}, conda-packages: [numpy]"), **settings)


def environment(at: Stage) -> Path:
    (found,) = (store(at) / "envs").glob("*/env-*")
    return found


def test_what_was_written_to_through_an_environment_is_unpacked_again(at: Stage) -> None:
    build(at)
    module = environment(at) / MODULES / "numpy" / "__init__.py"
    before = module.read_bytes()
    with module.open("ab") as file:  # in place, as no editor does: the file is a link to the unpacked package
        file.write(b"HACK = 1\n")
    shutil.rmtree(store(at) / "envs")
    build(at)
    assert (environment(at) / MODULES / "numpy" / "__init__.py").read_bytes() == before


def test_verify_notices_a_changed_environment(at: Stage) -> None:
    at.run("build")  # its torch computes nothing, so some checks fail; the digest is noted all the same
    (environment(at) / MODULES / "numpy" / "added.py").write_text("HACK = 1\n", encoding="utf-8")
    findings = answer(at.run("--json", "verify"), 1)["cells"][0]["verification"]["findings"]
    digest = next(one for one in findings if one["check"] == "environment-digest")
    assert digest["status"] == "failed"


def test_a_download_is_not_trusted_by_its_name(at: Stage) -> None:
    at.run("lock")
    record = json.loads((at.project / "envs" / BOX / "cell.json").read_text(encoding="utf-8"))
    numpy = next(artifact for artifact in record["artifacts"] if artifact["name"] == "numpy")
    planted = store(at) / "downloads" / numpy["sha256"] / numpy["file"]
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"something else")
    build(at, "--frozen")
    assert (environment(at) / MODULES / "numpy" / "__init__.py").is_file()


def test_a_mirrors_file_of_other_bytes_is_refused(at: Stage, folder: Path) -> None:
    at.run("lock")
    record = json.loads((at.project / "envs" / BOX / "cell.json").read_text(encoding="utf-8"))
    file = next(artifact["file"] for artifact in record["artifacts"] if artifact["name"] == "numpy")
    package = folder / "conda-forge" / "linux-64" / file
    package.write_bytes(package.read_bytes() + b"\0")
    error = answer(at.run("--json", "build", "--no-verify"), 5)["cells"][0]["error"]
    assert error["message"].startswith(f"source conda-forge: {package.name} is not the file that was locked: sha256 ")
    assert not list((store(at) / "envs").glob("*/entry.json"))


def test_a_package_with_a_path_outside_is_refused(at: Stage, folder: Path) -> None:
    channel = Channel(folder=folder / "conda-forge")
    channel.add("evil", "1.0", files={"share/evil": "x"}, subdir="noarch", noarch="generic")
    package = folder / "conda-forge" / "noarch" / "evil-1.0-0.conda"
    _rename_inside(package, "share/evil", "../../evil")
    channel.index()
    (at.project / "matrix.yaml").write_text(one(f"{CPU}, conda-packages: [evil]"), encoding="utf-8")
    error = answer(at.run("--json", "build", "--no-verify"), 5)["cells"][0]["error"]
    assert error["message"] == (
        "source conda-forge: evil-1.0-0.conda has the file '../../evil', which is outside of it"
    )


def _rename_inside(package: Path, old: str, new: str) -> None:
    """Change a path in the list of files of a package, not the file itself."""
    import io
    import tarfile
    import zipfile

    import zstandard

    with zipfile.ZipFile(package) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(one for one in members if one.startswith("info-"))
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(members[name])
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(plain)) as source, tarfile.open(fileobj=made, mode="w") as target:
        for member in source.getmembers():
            content = source.extractfile(member)
            data = content.read() if content else b""
            if member.name == "info/paths.json":
                data = data.replace(old.encode(), new.encode())
                member.size = len(data)
            target.addfile(member, io.BytesIO(data))
    members[name] = zstandard.ZstdCompressor().compress(made.getvalue())
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        for one_name, content_bytes in members.items():
            archive.writestr(one_name, content_bytes)


def test_two_packages_with_one_file_are_named(at: Stage, folder: Path) -> None:
    channel = Channel(folder=folder / "conda-forge")
    for name in ("first", "second"):
        channel.add(name, "1.0", files={"share/one": name, f"share/{name}": name}, subdir="noarch", noarch="generic")
    channel.index()
    (at.project / "matrix.yaml").write_text(one(f"{CPU}, conda-packages: [first, second]"), encoding="utf-8")
    assert "first and second both have share/one" in " ".join(build(at)["remarks"])


def test_half_a_mirror_is_passed_over(tmp_path: Path, folder: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(folder / "conda-forge" / "noarch", half / "noarch")
    settings = {"TORCHMATRIX_MIRRORS": f"conda-forge={half} conda-forge={folder / 'conda-forge'}"}
    at = stage(tmp_path, None, one(CPU), **settings)
    assert at.run("lock").returncode == 0
    alone = stage(tmp_path / "b", None, one(CPU), TORCHMATRIX_MIRRORS=f"conda-forge={half}")
    error = answer(alone.run("--json", "lock"), 4)["cells"][0]["error"]
    assert f"{half}: it has no linux-64/repodata.json" in error["message"]
