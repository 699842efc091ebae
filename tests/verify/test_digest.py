"""The environment digest: equal wherever and by whatever tool an environment was made, different for one byte."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.wheels import build_wheel
from tests.verify.conftest import bin_folder, install_real_torch, make_venv, python_of, site_of, uv, wheel_folder
from torchmatrix.verify import PROBE
from torchmatrix.verify.probe import environment_digest as digest
from torchmatrix.verify.probe import installed
from torchmatrix.verify.probe.context import Context, Skipped
from torchmatrix.verify.probe.digest import check_environment_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES: dict[str, str | bytes] = {
    "sample/__init__.py": "def main():\n    print('hello')\n",
    "sample/data.bin": b"\0\1\2" * 1000,
}


def wheel(folder: Path) -> Path:
    files: dict[str, str | bytes] = {
        **FILES,
        "sample-1.0.data/scripts/sample-tool": "#!python\nprint('a script of its own')\n",
        "sample-1.0.data/data/share/sample/notes.txt": "beside site-packages\n",
    }
    return build_wheel(folder, "sample", "1.0", files=files, scripts={"sample": "sample:main"})


def by_uv(prefix: Path, *wheels: Path) -> Path:
    subprocess.run([uv(), "venv", "-q", "--no-config", "--python", sys.executable, str(prefix)], check=True)
    command = [uv(), "pip", "install", "-q", "--no-config", "--no-index", "--python", str(python_of(prefix))]
    subprocess.run([*command, *map(str, wheels)], check=True)
    return prefix


def by_pip(prefix: Path, *wheels: Path) -> Path:
    pytest.importorskip("pip")
    make_venv(prefix)
    command = [sys.executable, "-m", "pip", "--isolated", "-q", "--python", str(python_of(prefix)), "install"]
    subprocess.run([*command, "--no-index", "--no-deps", *map(str, wheels)], check=True)
    return prefix


def test_it_is_the_documented_sum(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "b.txt").write_bytes(b"two")
    (tmp_path / "lib" / "a.txt").write_bytes(b"one")
    lines = [
        name + b"\0" + hashlib.sha256(content).hexdigest().encode() + b"\n"
        for name, content in ((b"b.txt", b"two"), (b"lib/a.txt", b"one"))
    ]
    assert digest(str(tmp_path)) == "sha256:" + hashlib.sha256(b"".join(lines)).hexdigest()


def test_equal_in_two_folders_by_uv_and_by_pip(tmp_path: Path) -> None:
    sample = wheel(tmp_path / "wheels")
    short, long = tmp_path / "a", tmp_path / ("a folder with blanks and a long name " * 4).strip()
    builds = [by_uv(short, sample), by_uv(long, sample), by_pip(tmp_path / "c", sample)]
    scripts = {(bin_folder(build) / "sample-tool").read_bytes() for build in builds}
    assert len(scripts) == 3  # each has its own shebang, so that something is levelled at all
    assert len({digest(str(build)) for build in builds}) == 1
    assert digest(str(short)) != digest(str(make_venv(tmp_path / "empty")))


def test_bytecode_and_what_installers_note_down_do_not_count(tmp_path: Path) -> None:
    build = by_uv(tmp_path / "a", wheel(tmp_path / "wheels"))
    before = digest(str(build))
    subprocess.run([str(python_of(build)), "-m", "compileall", "-q", str(site_of(build))], check=True)
    assert list(site_of(build).rglob("*.pyc"))
    info = site_of(build) / "sample-1.0.dist-info"
    (info / "REQUESTED").touch()
    (info / "INSTALLER").write_text("somebody else")
    (info / "direct_url.json").write_text("{}")
    (info / "RECORD").write_text((info / "RECORD").read_text() + "more,,\n")
    assert digest(str(build)) == before


@pytest.mark.parametrize(
    "place",
    [
        "lib/python*/site-packages/sample/data.bin",
        "lib/python*/site-packages/sample/__init__.py",
        "lib/python*/site-packages/sample-1.0.dist-info/METADATA",
        "bin/sample",
        "bin/sample-tool",
        "share/sample/notes.txt",
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="places of POSIX")
def test_one_byte_changes_it(tmp_path: Path, place: str) -> None:
    build = by_uv(tmp_path / "a", wheel(tmp_path / "wheels"))
    before = digest(str(build))
    (path,) = build.glob(place)
    content = path.read_bytes()
    path.unlink()  # uv may have linked it to its cache
    path.write_bytes(content.replace(b"from sample import main", b"from sampel import main") + b"#")
    assert digest(str(build)) != before


def test_a_file_more_or_less_or_renamed_changes_it(tmp_path: Path) -> None:
    build = by_uv(tmp_path / "a", wheel(tmp_path / "wheels"))
    seen = {digest(str(build))}
    extra = site_of(build) / "extra.py"
    extra.touch()
    seen.add(digest(str(build)))
    extra.rename(extra.with_name("other.py"))
    seen.add(digest(str(build)))
    (site_of(build) / "sample" / "data.bin").unlink()
    seen.add(digest(str(build)))
    assert len(seen) == 4


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_links_count_by_their_target(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("content")
    seen = []
    for name in ("a", "bb"):
        root = tmp_path / name
        (root / "lib").mkdir(parents=True)
        (root / "lib" / "real.so.1").write_text("library")
        (root / "lib" / "real.so").symlink_to("real.so.1")
        (root / "absolute").symlink_to(root / "lib" / "real.so.1")
        (root / "content").symlink_to(outside)
        (root / "dangling").symlink_to("nowhere")
        seen.append(digest(str(root)))
    assert seen[0] == seen[1]
    (tmp_path / "a" / "lib" / "real.so").unlink()
    (tmp_path / "a" / "lib" / "real.so").symlink_to("./real.so.1")
    assert digest(str(tmp_path / "a")) != seen[0]
    outside.write_text("other content")
    assert digest(str(tmp_path / "bb")) != seen[1]


@pytest.mark.parametrize("editable", [False, True])
def test_files_of_the_project_do_not_count(tmp_path: Path, editable: bool) -> None:
    sample = wheel(tmp_path / "wheels")
    build = by_uv(tmp_path / "a", sample)
    before = digest(str(build))
    files: dict[str, str | bytes] = {"__editable__.my_project.pth": str(tmp_path)} if editable else {"mine.py": "x = 1"}
    project = build_wheel(tmp_path / "wheels", "my-project", "0.1", files=files, scripts={"mine": "mine:main"})
    command = [uv(), "pip", "install", "-q", "--no-config", "--no-index", "--python", str(python_of(build))]
    subprocess.run([*command, str(project)], check=True)
    assert (bin_folder(build) / ("mine.exe" if os.name == "nt" else "mine")).exists()
    assert digest(str(build), ["My.Project"]) == before
    assert digest(str(build)) != before


def test_conda_places_count_as_if_they_had_no_prefix(tmp_path: Path) -> None:
    seen = []
    for name in ("a", "a-much-longer-name"):
        prefix = tmp_path / name
        own = str(prefix).encode()
        (prefix / "conda-meta").mkdir(parents=True)
        (prefix / "lib").mkdir()
        (prefix / "bin").mkdir()
        (prefix / "bin" / "python3.11").write_bytes(b"the interpreter belongs to a package here")
        (prefix / "bin" / "tool").write_bytes(b"#!" + own + b"/bin/python\nprint('" + own + b"')\n")
        (prefix / "lib" / "text.pc").write_bytes(b"prefix=" + own + b"\nlibdir=" + own + b"/lib\n")
        binary = b"\x7fELF\0" + (own + b"/lib:" + own + b"/lib64").ljust(600, b"\0") + b"tail"
        (prefix / "lib" / "binary.so").write_bytes(binary)
        paths = [{"_path": path, "prefix_placeholder": "/old"} for path in ("bin/tool", "lib/text.pc", "lib/binary.so")]
        record = {"name": "sample", "version": "1.0", "files": [], "paths_data": {"paths": paths}, "link": str(prefix)}
        (prefix / "conda-meta" / "sample-1.0-0.json").write_text(json.dumps(record))
        seen.append(digest(str(prefix)))
    assert seen[0] == seen[1]
    (tmp_path / "a" / "bin" / "python3.11").write_bytes(b"another interpreter")
    assert digest(str(tmp_path / "a")) != seen[0]


def test_conda_packages_are_the_distributions_of_a_conda_environment(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in ("numpy-2.4.6", "intruder-1.0"):
        (site / f"{name}.dist-info").mkdir(parents=True)
        project, _, version = name.partition("-")
        text = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
        (site / f"{name}.dist-info" / "METADATA").write_text(text)
    (tmp_path / "conda-meta").mkdir()
    record = {
        "name": "numpy",
        "version": "2.4.6",
        "files": ["lib/python3.11/site-packages/numpy-2.4.6.dist-info/METADATA"],
    }
    (tmp_path / "conda-meta" / "numpy-2.4.6-0.json").write_text(json.dumps(record))
    (tmp_path / "conda-meta" / "tzdata-2024b-0.json").write_text(json.dumps({"name": "tzdata", "version": "2024b"}))
    assert installed(str(tmp_path)) == {"numpy": ["2.4.6"], "tzdata": ["2024b"], "intruder": ["1.0"]}


def test_a_whole_python_installation_has_no_digest(tmp_path: Path) -> None:
    context = Context({"prefix": str(tmp_path)}, str(tmp_path), lambda _: None)
    with pytest.raises(Skipped, match="no environment of its own but a whole Python installation"):
        check_environment_digest(context)


def test_older_python_computes_the_same(need_python: Callable[[str], str], tmp_path: Path) -> None:
    python = need_python("3.8")
    build = by_uv(tmp_path / "a", wheel(tmp_path / "wheels"))
    code = "import sys; sys.path.insert(0, sys.argv[1]); import probe; print(probe.environment_digest(sys.argv[2]))"
    folder = str(PROBE.parent)
    done = subprocess.run([python, "-I", "-c", code, folder, str(build)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(str(build))


@pytest.mark.torch
@pytest.mark.slow
def test_real_torch_by_pip_has_the_digest_of_uv(real_torch: Path, tmp_path: Path) -> None:
    pytest.importorskip("pip")
    other = make_venv(tmp_path / "by pip")
    pins = [f"{name}=={versions[0]}" for name, versions in installed(str(real_torch)).items()]
    command = [sys.executable, "-m", "pip", "-q", "--python", str(python_of(other)), "install", "--no-compile"]
    subprocess.run([*command, "--no-deps", "--find-links", wheel_folder(), *pins], check=True)
    assert digest(str(other)) == digest(str(real_torch))
    third = install_real_torch(tmp_path / "by uv")
    assert digest(str(third)) == digest(str(real_torch))
