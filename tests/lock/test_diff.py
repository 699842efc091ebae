"""What changed between two lockfiles, said in three ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from tests.lock.samples import FILELOCK, TORCH, artifact, lockfile
from torchmatrix.lock.diff import diff, pair_json, remarks, to_json, total
from torchmatrix.lock.model import Artifact, HashFrom

OLD = lockfile(
    artifacts=(
        artifact("certifi", "2026.8.1"),
        artifact("filelock", "3.20.0"),
        artifact("jinja2", "3.1.6"),
        artifact("mpmath", "1.3.0"),
        artifact("sympy", "1.13.3", sha256="1" * 64),
        artifact("torch", "2.13.0+cpu"),
    )
)
NEW = lockfile(
    artifacts=(
        artifact("filelock", "3.20.0"),
        artifact("jinja2", "3.1.4"),
        artifact("mpmath", "1.3.0", source="corp"),
        artifact("numpy", "2.3.4", size=16_000_000),
        artifact("sympy", "1.13.3", sha256="2" * 64),
        artifact("torch", "2.13.1+cpu"),
    )
)
CHANGES = [
    ("certifi", "removed", "removed certifi 2026.8.1"),
    ("jinja2", "downgraded", "downgraded jinja2 3.1.6 -> 3.1.4"),
    ("mpmath", "moved", "moved mpmath 1.3.0 from pypi to corp"),
    ("numpy", "added", "added numpy 2.3.4"),
    ("sympy", "rebuilt", "rebuilt sympy 1.13.3: sympy-1.13.3-py3-none-any.whl has other bytes"),
    ("torch", "upgraded", "upgraded torch 2.13.0+cpu -> 2.13.1+cpu"),
]


def test_every_kind_of_change_in_words() -> None:
    changes = diff(OLD, NEW)
    assert [(change.name, change.kind, str(change)) for change in changes] == CHANGES


def test_backwards_is_the_opposite() -> None:
    opposite = {"removed": "added", "added": "removed", "upgraded": "downgraded", "downgraded": "upgraded"}
    there, back = diff(OLD, NEW), diff(NEW, OLD)
    assert [change.kind for change in back] == [opposite.get(change.kind, change.kind) for change in there]


def test_versions_are_compared_as_versions() -> None:
    before, after = lockfile(artifacts=(artifact("six", "1.9"),)), lockfile(artifacts=(artifact("six", "1.10"),))
    assert [str(change) for change in diff(before, after)] == ["upgraded six 1.9 -> 1.10"]


def test_no_change() -> None:
    assert diff(OLD, OLD) == ()
    assert diff(None, None) == ()
    assert to_json(()) == []


def test_the_first_lockfile_adds_everything() -> None:
    assert [str(change) for change in diff(None, lockfile())] == ["added filelock 3.20.0", "added torch 2.13.0+cpu"]


@pytest.mark.parametrize(
    "same", [{"path": None}, {"size": 1}, {"hash_from": HashFrom.INDEX}, {"hash_from": HashFrom.METADATA}]
)
def test_what_is_no_identity_is_no_change(same: dict[str, object]) -> None:
    fields = {"sha256": FILELOCK.sha256} | same
    assert diff(lockfile(), lockfile(artifacts=(artifact("filelock", "3.20.0", **fields), TORCH))) == ()


def test_another_file_of_one_version() -> None:
    other = artifact("sympy", "1.13.3", file="sympy-1.13.3-py2.py3-none-any.whl")
    before, after = lockfile(artifacts=(artifact("sympy", "1.13.3"),)), lockfile(artifacts=(other,))
    (change,) = diff(before, after)
    assert change.kind == "replaced"
    assert change.detail == "1.13.3: sympy-1.13.3-py3-none-any.whl by sympy-1.13.3-py2.py3-none-any.whl"


ONE, TWO = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, 7, 7),
        (7, None, -7),
        (5, 7, 2),
        (7, 5, -2),
        (7, 7, 0),
    ],
)
def test_size_change_in_bytes(before: int | None, after: int | None, expected: int) -> None:
    old = () if before is None else (artifact("six", "1.9", size=before, sha256=ONE),)
    new = () if after is None else (artifact("six", "1.10", size=after, sha256=TWO),)
    (change,) = diff(lockfile(artifacts=old), lockfile(artifacts=new))
    assert change.size_change == expected


def test_an_unknown_size_makes_the_change_unknown() -> None:
    known, unknown = artifact("six", "1.9", size=5, sha256=ONE), artifact("six", "1.10", sha256=TWO)
    for one, other in ((known, unknown), (unknown, known), (None, unknown), (unknown, None)):
        sides = [lockfile(artifacts=(side,) if side else ()) for side in (one, other)]
        assert [change.size_change for change in diff(*sides)] == [None]


def test_the_same_bytes_have_the_same_size_known_or_not() -> None:
    here, there = artifact("six", "1.9", size=5), artifact("six", "1.9", source="corp")
    (change,) = diff(lockfile(artifacts=(here,)), lockfile(artifacts=(there,)))
    assert (change.kind, change.size_change) == ("moved", 0)


def test_total() -> None:
    assert total([]) == 0
    assert total([3, -5]) == -2
    assert total([3, None]) is None


def test_remarks_say_what_differs_beside_the_packages() -> None:
    inputs = {"torch": "2.13.0", "packages": ["numpy", "scipy"], "floor": "glibc 2.31"}
    other = lockfile(floor="glibc 2.31", as_of="2026-01-30", inputs=inputs)
    before = lockfile(inputs={"torch": "2.13.0", "packages": ["numpy"], "floor": "glibc 2.28"})
    assert remarks(before, other) == (
        "floor: glibc 2.28 -> glibc 2.31",
        "as_of: nothing -> 2026-01-30",
        "inputs: packages: added scipy",
    )
    assert remarks(other, other) == ()
    assert remarks(None, other) == remarks(other, None) == ()


def test_the_version_of_torch_is_a_remark_only_where_no_package_says_it() -> None:
    sides = [lockfile(torch=Version(text), artifacts=(FILELOCK,)) for text in ("2.12.0", "2.13.0")]
    assert remarks(*sides) == ("torch: 2.12.0 -> 2.13.0",)
    assert remarks(lockfile(), lockfile(torch=Version("2.14.0"))) == ()


def test_json_of_two_lockfiles() -> None:
    found = pair_json(OLD, NEW)
    assert list(found) == ["before", "after", "changes", "size_change", "remarks"]
    assert (found["before"], found["after"]) == (OLD.digest, NEW.digest)
    assert found["size_change"] is None, "only numpy has a size"
    assert dict(pair_json(OLD, OLD)) | {"before": None} == {
        "before": None,
        "after": OLD.digest,
        "changes": [],
        "size_change": 0,
        "remarks": [],
    }
    sized = lockfile(artifacts=(artifact("six", "1.9", size=5),))
    gone = pair_json(sized, None)
    assert (gone["after"], gone["size_change"]) == (None, -5)


def test_json() -> None:
    found = {str(change["name"]): change for change in to_json(diff(OLD, NEW))}
    assert found["numpy"] == {
        "name": "numpy",
        "change": "added",
        "before": None,
        "after": {
            "version": "2.3.4",
            "source": "pypi",
            "file": "numpy-2.3.4-py3-none-any.whl",
            "sha256": artifact("numpy", "2.3.4").sha256,
            "size": 16_000_000,
        },
        "size_change": 16_000_000,
    }
    assert found["certifi"]["after"] is None
    assert [change["change"] for change in found.values()] == [kind for _, kind, _ in CHANGES]


sides = st.lists(
    st.builds(
        lambda name, version, source, sha256: artifact(name, version, source=source, sha256=sha256 * 64),
        st.sampled_from(["torch", "numpy", "six"]),
        st.sampled_from(["1.9", "1.10", "1.10+cpu"]),
        st.sampled_from(["pypi", "pytorch"]),
        st.sampled_from("01"),
    ),
    unique_by=lambda one: one.name,
).map(tuple)


@given(sides, sides)
def test_changes_turn_one_side_into_the_other(before: tuple[Artifact, ...], after: tuple[Artifact, ...]) -> None:
    state = {one.name: one for one in before}
    for change in diff(lockfile(artifacts=before), lockfile(artifacts=after)):
        assert change.before == state.pop(change.name, None)
        if change.after is not None:
            state[change.name] = change.after
    assert state == {one.name: one for one in after}
