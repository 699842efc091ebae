"""Obtaining, checking and publishing lockfiles, with a backend that answers from a list."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.lock.samples import FILELOCK, TORCH, artifact, cell, matrix
from tests.lock.samples import lockfile as sample
from torchmatrix import locking
from torchmatrix.backends import Resolution, ResolveRequest
from torchmatrix.catalog import load_catalog
from torchmatrix.errors import IntegrityError, SourceUnreachableError, StaleLockfileError, UsageError
from torchmatrix.files import write_atomic
from torchmatrix.lock.demands import gather, input_digest, input_form
from torchmatrix.lock.formats.addresses import Addresses
from torchmatrix.lock.record import DamagedRecordError, parse_record, render_record
from torchmatrix.locking import (
    LockOptions,
    LockPolicy,
    check_lockfile,
    obtain_lockfile,
    publish_lockfile,
    read_verified,
    stale_reasons,
)
from torchmatrix.matrix.model import Cell, Expansion
from torchmatrix.store import Store
from torchmatrix.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torchmatrix.lock.model import Artifact, Lockfile

BASES = {"pypi": "https://files.example"}
FROZEN = LockOptions(policy=LockPolicy.FROZEN)
REUSE = LockOptions()
NEWER = (artifact("filelock", "3.21.0"), TORCH)


class FakeBackend:
    """Resolves to what it is told and keeps the requests."""

    name = "pip"

    def stop(self) -> None:
        pass

    def __init__(self) -> None:
        self.requests: list[ResolveRequest] = []
        self.artifacts: tuple[Any, ...] = (FILELOCK, TORCH)
        self.bases: dict[str, str] = dict(BASES)
        self.change: Callable[[Lockfile], Lockfile] = lambda lockfile: lockfile

    def resolve(self, request: ResolveRequest) -> Resolution:
        self.requests.append(request)
        form = input_form(request.cell, request.demands, request.sources)
        made = sample(inputs=form, input_digest=input_digest(form), artifacts=self.artifacts)
        return Resolution(lockfile=self.change(made), bases=self.bases, remarks=("a remark",))


class Desk:
    """A workspace of one cell in a folder."""

    def __init__(self, folder: Path) -> None:
        self.cell = cell(packages=["numpy"])
        self.backend = FakeBackend()
        self.told: list[tuple[str, str]] = []
        self.workspace = Workspace(
            matrix=matrix(folder),
            expansion=Expansion(cells=(self.cell,), dropped=()),
            catalog=load_catalog(),
            store=Store(folder / "cache"),
            backends={"pip": self.backend},  # type: ignore[dict-item]  # it only resolves
            sandboxes={},
            tell=lambda name, text: self.told.append((name, text)),
        )
        self.folder = folder / "envs" / self.cell.id

    def lock(self, options: LockOptions = REUSE) -> Lockfile:
        lockfile = obtain_lockfile(self.cell, self.workspace, options).lockfile
        publish_lockfile(lockfile, self.cell, self.workspace)
        return lockfile

    def check(self) -> tuple[str, ...]:
        return check_lockfile(self.cell, self.workspace)

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(self.folder.iterdir())}

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        path = self.folder / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    def verified(self, lockfile: Lockfile) -> Path:
        path = self.folder / "verified.json"
        path.write_text(json.dumps({"lockfile_digest": lockfile.digest, "passed": ["import"]}))
        return path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def ask(desk: Desk, cell_: Cell | None = None) -> tuple[str, ...]:
    used = cell_ or desk.cell
    record = parse_record((desk.folder / "cell.json").read_text(), desk.folder / "cell.json")
    return stale_reasons(used, desk.workspace, gather(used, desk.workspace.matrix), record)


# Obtaining


def test_the_first_time_it_is_resolved(desk: Desk) -> None:
    found = obtain_lockfile(desk.cell, desk.workspace, REUSE)
    assert found.fresh
    assert found.remarks == ("a remark",)
    assert [str(change) for change in found.changes] == ["added filelock 3.20.0", "added torch 2.13.0+cpu"]
    [request] = desk.backend.requests
    assert (request.previous, request.upgrade, request.as_of, request.cell) == (None, False, None, desk.cell)
    assert [str(one) for one in request.demands.requirements] == ["numpy"]
    assert desk.told == [(desk.cell.id, "resolving")]
    assert not desk.folder.exists(), "obtaining publishes nothing"


def test_the_same_inputs_are_not_resolved_again(desk: Desk) -> None:
    made = desk.lock()
    desk.backend.requests.clear()
    for options in (REUSE, FROZEN):
        found = obtain_lockfile(desk.cell, desk.workspace, options)
        assert (found.lockfile, found.fresh, found.changes, found.remarks) == (made, False, (), ())
    assert desk.backend.requests == []


def test_other_inputs_are_resolved_with_the_old_versions_at_hand(desk: Desk) -> None:
    made = desk.lock()
    desk.cell = cell(packages=["numpy", "scipy"])
    desk.backend.artifacts = NEWER
    found = obtain_lockfile(desk.cell, desk.workspace, REUSE)
    assert found.fresh
    assert [str(change) for change in found.changes] == ["upgraded filelock 3.20.0 -> 3.21.0"]
    assert desk.backend.requests[-1].previous == made
    assert not desk.backend.requests[-1].upgrade


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (LockOptions(policy=LockPolicy.UPGRADE), (True, (), None)),
        (LockOptions(upgrade_packages=("numpy",)), (False, ("numpy",), None)),
        (LockOptions(as_of=dt.date(2026, 10, 1)), (True, (), dt.date(2026, 10, 1))),
    ],
)
def test_what_is_asked_for_reaches_the_resolver(
    desk: Desk, options: LockOptions, expected: tuple[bool, tuple[str, ...], dt.date | None]
) -> None:
    desk.lock()
    assert obtain_lockfile(desk.cell, desk.workspace, options).fresh
    request = desk.backend.requests[-1]
    assert (request.upgrade, request.upgrade_packages, request.as_of) == expected


def test_frozen_never_resolves(desk: Desk) -> None:
    with pytest.raises(StaleLockfileError) as caught:
        obtain_lockfile(desk.cell, desk.workspace, FROZEN)
    assert str(caught.value) == (
        "py311-stable-cpuonly: the lockfile is out of date: there is none\n"
        "hint: run: torchmatrix lock py311-stable-cpuonly"
    )
    desk.lock()
    desk.cell = cell(packages=["scipy"])
    with pytest.raises(StaleLockfileError) as caught:
        obtain_lockfile(desk.cell, desk.workspace, FROZEN)
    assert caught.value.message == (
        "py311-stable-cpuonly: the lockfile is out of date: packages: added scipy; packages: removed numpy"
    )
    assert caught.value.exit_code == 3
    assert len(desk.backend.requests) == 1


CONFLICT = "<<<<<<< HEAD\n=======\n>>>>>>> other\n"


def test_a_damaged_record_is_resolved_anew_and_said(desk: Desk) -> None:
    desk.lock()
    desk.edit("cell.json", lambda text: text + CONFLICT)
    obtained = obtain_lockfile(desk.cell, desk.workspace, REUSE)
    assert obtained.fresh
    path = desk.folder / "cell.json"
    assert obtained.remarks[0] == (
        f"{desk.cell}: {path}: holds a merge conflict (<<<<<<< … >>>>>>>); it was resolved anew, and what it had "
        "locked is not kept"
    )
    assert desk.backend.requests[-1].previous is None


def test_a_damaged_record_is_out_of_date_when_frozen(desk: Desk) -> None:
    desk.lock()
    desk.edit("cell.json", lambda text: text + CONFLICT)
    with pytest.raises(StaleLockfileError, match="holds a merge conflict"):
        obtain_lockfile(desk.cell, desk.workspace, FROZEN)


@pytest.mark.parametrize("policy", LockPolicy)
def test_a_record_of_a_newer_release_is_never_replaced(desk: Desk, policy: LockPolicy) -> None:
    desk.lock()
    desk.edit("cell.json", lambda text: text.replace('"schema": 1', '"schema": 2'))
    with pytest.raises(UsageError, match="written by a newer torchmatrix") as caught:
        obtain_lockfile(desk.cell, desk.workspace, LockOptions(policy=policy))
    assert not isinstance(caught.value, DamagedRecordError)
    assert len(desk.backend.requests) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda lockfile: replace(lockfile, inputs={"packages": ("numpy",)}),
        lambda lockfile: replace(lockfile, artifacts=cast("tuple[Artifact, ...]", [FILELOCK])),
        lambda lockfile: replace(lockfile, artifacts=(replace(FILELOCK, size=cast("int", 1.5)),)),
    ],
    ids=["tuple", "list", "fraction"],
)
def test_what_is_read_back_otherwise_is_never_used(desk: Desk, change: Callable[[Lockfile], Lockfile]) -> None:
    desk.backend.change = change
    with pytest.raises((IntegrityError, DamagedRecordError)) as caught:
        obtain_lockfile(desk.cell, desk.workspace, REUSE)
    if isinstance(caught.value, IntegrityError):
        assert caught.value.message == f"{desk.cell}: the record changed between writing and reading it back"


def test_reading_back_leaves_nothing_behind(desk: Desk) -> None:
    desk.lock()
    assert list(desk.workspace.store.scratch.iterdir()) == []


# Out of date or not


def test_each_reason_in_words(desk: Desk) -> None:
    desk.lock()
    assert ask(desk) == ()
    assert ask(desk, cell(packages=["numpy>=2"])) == ("packages: added numpy>=2", "packages: removed numpy")
    assert ask(desk, cell(packages=["numpy"], source="pypi")) == ("source: pytorch -> pypi",)


def test_inputs_edited_by_hand_are_noticed(desk: Desk) -> None:
    desk.lock()
    desk.edit("cell.json", lambda text: text.replace('"packages": ["numpy"]', '"packages": ["scipy"]'))
    assert ask(desk) == ("cell.json was edited by hand: its inputs do not give its input digest",)
    assert desk.check() == ask(desk)


def test_a_digest_of_another_form_without_other_inputs(desk: Desk) -> None:
    desk.lock()
    digest = json.loads(desk.files()["cell.json"])["input_digest"]
    desk.edit("cell.json", lambda text: text.replace(digest, "sha256:" + "0" * 64))
    assert ask(desk) == ("the form of its inputs is another one",)


def test_the_configuration_of_the_host_is_no_input(desk: Desk, tmp_path: Path) -> None:
    desk.lock()
    elsewhere = Desk(tmp_path)
    elsewhere.workspace = replace(elsewhere.workspace, env={"TORCHMATRIX_MIRRORS": "pytorch=/srv"})
    assert elsewhere.check() == ()


# Checking


def test_nothing_to_say(desk: Desk) -> None:
    desk.lock()
    assert desk.check() == ()
    assert len(desk.backend.requests) == 1


def test_no_lockfile(desk: Desk) -> None:
    assert desk.check() == ("there is none",)


def test_damage_is_a_reason_and_no_error(desk: Desk) -> None:
    desk.lock()
    desk.edit("cell.json", lambda text: text[: len(text) // 2])
    [reason] = desk.check()
    assert reason.startswith(f"{desk.folder / 'cell.json'}: not a valid record: ")


def test_each_format_is_compared(desk: Desk) -> None:
    desk.lock()
    desk.edit("requirements.txt", lambda text: text.replace("3.20.0", "3.21.0"))
    desk.edit("pylock.toml", lambda text: text + "\n")
    assert desk.check() == (
        "requirements.txt is not the one that cell.json gives",
        "pylock.toml is not the one that cell.json gives",
    )
    (desk.folder / "requirements.txt").unlink()
    (desk.folder / "pylock.toml").unlink()
    assert desk.check() == ("requirements.txt is missing",), "pylock.toml may be kept out of version control"


def test_a_machine_that_knows_no_addresses_can_check_too(desk: Desk, tmp_path: Path) -> None:
    desk.lock()
    fresh = Desk(tmp_path)
    fresh.workspace = replace(fresh.workspace, store=Store(tmp_path / "other-cache"))
    assert fresh.check() == ()
    desk.edit("requirements.txt", lambda text: text + "# more\n")
    assert fresh.check() == ("requirements.txt is not the one that cell.json gives",)


# Publishing


def test_what_is_published(desk: Desk) -> None:
    made = desk.lock()
    files = desk.files()
    assert sorted(files) == ["cell.json", "pylock.toml", "requirements.txt"]
    assert files["cell.json"] == render_record(made)
    assert "https://files.example/packages/filelock/filelock-3.20.0.whl" in files["pylock.toml"]
    assert "https://download.pytorch.org/whl/cpu/torch-2.13.0%2Bcpu-" in files["requirements.txt"]


def test_publishing_again_touches_nothing(desk: Desk) -> None:
    made = desk.lock()
    desk.verified(made)
    before = {path: path.stat().st_mtime_ns for path in desk.folder.iterdir()}
    assert publish_lockfile(made, desk.cell, desk.workspace) == ()
    assert {path: path.stat().st_mtime_ns for path in desk.folder.iterdir()} == before


def test_verified_goes_with_its_lockfile(desk: Desk) -> None:
    made = desk.lock()
    path = desk.verified(made)
    desk.lock(LockOptions(policy=LockPolicy.UPGRADE))
    assert path.exists(), "nothing changed"
    publish_lockfile(replace(made, as_of="2026-10-01"), desk.cell, desk.workspace)
    assert path.exists(), "the same artifacts"
    desk.backend.artifacts = NEWER
    desk.lock(LockOptions(policy=LockPolicy.UPGRADE))
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '"x"'])
def test_a_damaged_verification_is_none(desk: Desk, content: str) -> None:
    path = desk.verified(desk.lock())
    assert (read_verified(desk.folder) or {})["passed"] == ["import"]
    path.write_text(content)
    assert read_verified(desk.folder) is None
    assert read_verified(desk.folder / "gone") is None


def test_formats_that_are_not_wanted_go(desk: Desk) -> None:
    made = desk.lock()
    (desk.folder / "NOTES.md").write_text("mine")
    only = cell(packages=["numpy"], lockfiles=("requirements.txt",))
    publish_lockfile(made, only, desk.workspace)
    assert sorted(desk.files()) == ["NOTES.md", "cell.json", "requirements.txt"]
    assert check_lockfile(only, desk.workspace) == ()


def test_unknown_addresses_are_a_remark(desk: Desk) -> None:
    desk.backend.bases = {}
    made = obtain_lockfile(desk.cell, desk.workspace, REUSE).lockfile
    assert publish_lockfile(made, desk.cell, desk.workspace) == (
        "py311-stable-cpuonly: no pylock.toml: the addresses of these files are not known: filelock",
    )
    assert sorted(desk.files()) == ["cell.json", "requirements.txt"]
    assert desk.check() == ()


def test_a_pylock_of_another_lockfile_does_not_stay(desk: Desk, tmp_path: Path) -> None:
    desk.lock()
    desk.backend.artifacts = (artifact("filelock", "3.21.0", path=None), TORCH)
    made = obtain_lockfile(desk.cell, desk.workspace, LockOptions(policy=LockPolicy.UPGRADE)).lockfile
    publish_lockfile(made, desk.cell, desk.workspace)
    assert sorted(desk.files()) == ["cell.json", "requirements.txt"]


def test_a_machine_without_addresses_keeps_the_pylock_that_is_there(desk: Desk, tmp_path: Path) -> None:
    made = desk.lock()
    before = desk.files()
    poor = replace(desk.workspace, store=Store(tmp_path / "other-cache"))
    publish_lockfile(made, desk.cell, poor)
    assert desk.files() == before


def test_addresses_are_remembered_and_a_mirror_never_stands_for_pytorch(desk: Desk) -> None:
    desk.backend.bases = {"pypi": "https://files.example", "pytorch": "https://mirror.example/whl"}
    desk.lock()
    assert locking.addresses(desk.workspace, desk.cell) == Addresses(
        bases={"pypi": "https://files.example", "pytorch": "https://download.pytorch.org/whl"}
    )
    assert "mirror.example" not in "".join(desk.files().values())


def test_a_failed_resolution_leaves_everything_as_it_was(desk: Desk) -> None:
    desk.verified(desk.lock())
    before = desk.files()

    def fail(_lockfile: Lockfile) -> Lockfile:
        raise SourceUnreachableError("down")

    desk.backend.change = fail
    with pytest.raises(SourceUnreachableError):
        desk.lock(LockOptions(policy=LockPolicy.UPGRADE))
    assert desk.files() == before


# Kills


@pytest.mark.parametrize("first_time", [True, False])
@pytest.mark.parametrize("steps", range(4))
def test_the_record_comes_last_and_a_kill_before_it_is_repaired(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, steps: int, first_time: bool
) -> None:
    before = {} if first_time else (desk.verified(desk.lock()), desk.files())[1]
    desk.backend.artifacts = NEWER
    written: list[str] = []
    real = write_atomic

    def killed(path: Path, text: str) -> bool:
        if path.parent == desk.folder:
            if len(written) == steps:
                path.parent.mkdir(parents=True, exist_ok=True)
                (path.parent / f".{path.name}.killed.tmp").write_text(text[:5])
                raise KeyboardInterrupt
            written.append(path.name)
        return real(path, text)

    upgrade = LockOptions(policy=LockPolicy.UPGRADE)
    with monkeypatch.context() as patched:
        patched.setattr(locking, "write_atomic", killed)
        if steps < 3:
            with pytest.raises(KeyboardInterrupt):
                desk.lock(upgrade)
        else:
            desk.lock(upgrade)
    assert written == ["requirements.txt", "pylock.toml", "cell.json"][:steps]
    now = desk.files() if desk.folder.exists() else {}
    if steps < 3:
        assert now.get("cell.json") == before.get("cell.json"), "the old record stands until the new one does"
        assert "verified.json" not in now, "the formats beside it are not what was verified"
    if steps in (1, 2):
        assert desk.check()[0] in ("there is none", "requirements.txt is not the one that cell.json gives")
    if not first_time and steps < 3:  # going back: nothing is resolved, the files are those of the old record again
        asked = len(desk.backend.requests)
        desk.lock()
        assert len(desk.backend.requests) == asked
        assert desk.files() == {name: text for name, text in before.items() if name != "verified.json"}
    desk.lock(upgrade)
    assert sorted(desk.files()) == ["cell.json", "pylock.toml", "requirements.txt"]
    assert all("3.21.0" in text for text in desk.files().values())
    assert desk.check() == ()


@pytest.mark.parametrize("name", ["requirements.txt", "pylock.toml"])
@pytest.mark.parametrize("change", [None, "", "half"])
def test_a_lost_or_changed_format_is_repaired_without_a_resolution(desk: Desk, name: str, change: str | None) -> None:
    made = desk.lock()
    desk.verified(made)
    before = desk.files()
    if change is None:
        (desk.folder / name).unlink()
    else:
        (desk.folder / name).write_text(before[name][: len(before[name]) // 2] if change else "")
    desk.lock()
    assert desk.files() == before, "verified.json stays: the lockfile is the same"
    assert len(desk.backend.requests) == 1
