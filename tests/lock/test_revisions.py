"""Reading files of git revisions without checking anything out."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.fixtures import clean_environment
from torchmatrix import command
from torchmatrix.errors import HostError, UsageError
from torchmatrix.lock.revisions import Repository, open_repository

if TYPE_CHECKING:
    from pathlib import Path

    from torchmatrix.command import Command

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

FILES = {
    "a.txt": "first\n",
    "deep/b.txt": "no line end",
    "deep/empty": "",
    "deep/tab\tand ünï.txt": "x\n\ny\n",
    "deep/[ab].txt": "brackets",
    "deep/lying": "0123456789abcdef0123456789abcdef\nabc blob 3\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with `FILES` in one commit, opened from ``deep``."""
    root = tmp_path / "root"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    env = clean_environment(tmp_path)
    for arguments in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t.example", "commit", "--quiet", "-m", "one"],
    ):
        subprocess.run(["git", *arguments], cwd=root, env=env, check=True, timeout=60)
    found = open_repository(root / "deep", env)
    assert found is not None
    return found


def test_the_prefix_is_the_way_from_the_root(repository: Repository) -> None:
    assert repository.prefix == "deep/"
    root = open_repository(repository.folder.parent, repository.env)
    assert root is not None
    assert root.prefix == ""


def test_files_and_their_texts(repository: Repository) -> None:
    tree = repository.resolve("HEAD")
    assert tree is not None
    files = repository.files(tree)
    assert dict(zip(files, repository.texts(list(files.values())), strict=True)) == FILES
    assert repository.texts([]) == []
    assert repository.texts([files["a.txt"]] * 2) == ["first\n"] * 2


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["deep/[ab].txt"], ["deep/[ab].txt"]),
        (["deep"], [name for name in FILES if name.startswith("deep/")]),
        (["nothing", "a.txt"], ["a.txt"]),
        (["*"], []),
        ([":(top)a.txt"], []),
        (["--output=x"], []),
        (["."], list(FILES)),
    ],
)
def test_paths_are_literal(repository: Repository, paths: list[str], expected: list[str]) -> None:
    tree = repository.resolve("HEAD")
    assert tree is not None
    assert sorted(repository.files(tree, paths)) == sorted(expected)


def test_names_of_nothing(repository: Repository) -> None:
    for name in ("", "nonsense", "HEAD~1", "0" * 40, "HEAD:a.txt", "HEAD HEAD", "HEAD..HEAD", "^HEAD"):
        assert repository.resolve(name) is None, name


def test_options_never_get_to_git(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Command] = []
    monkeypatch.setattr(command, "_observers", [seen.append])
    for name in ("--help", "-x", "-", "HEAD\n", "\0"):
        assert repository.resolve(name) is None
    assert seen == []
    assert repository.resolve("HEAD")
    assert len(seen) == 2


def test_a_missing_object(repository: Repository) -> None:
    with pytest.raises(UsageError, match="git does not have every file of that revision here"):
        repository.texts(["0" * 40])


def test_no_tree(repository: Repository) -> None:
    with pytest.raises(UsageError, match="git cannot read that revision: fatal: "):
        repository.files("0" * 40)


def test_a_folder_in_no_repository(tmp_path: Path) -> None:
    env = clean_environment(tmp_path) | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    assert open_repository(tmp_path, env) is None


def test_a_repository_that_git_refuses(repository: Repository) -> None:
    (repository.folder.parent / ".git" / "config").write_text("[broken")
    with pytest.raises(UsageError, match=r"git cannot use the repository of .*bad config"):
        open_repository(repository.folder, repository.env)


def test_without_git(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(HostError, match="a revision of the repository is read by git: cannot run git") as caught:
        open_repository(tmp_path, {"PATH": str(empty)})
    assert caught.value.hint == "install git, or compare files and folders"
