"""What changed between two lockfiles, said in three ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lock.samples import FILELOCK, TORCH, artifact, lockfile
from torchmatrix.lock.diff import diff, render_markdown, render_text, to_json
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
    assert render_text(changes) == "\n".join(text for _, _, text in CHANGES)


def test_backwards_is_the_opposite() -> None:
    opposite = {"removed": "added", "added": "removed", "upgraded": "downgraded", "downgraded": "upgraded"}
    there, back = diff(OLD, NEW), diff(NEW, OLD)
    assert [change.kind for change in back] == [opposite.get(change.kind, change.kind) for change in there]


def test_versions_are_compared_as_versions() -> None:
    before, after = lockfile(artifacts=(artifact("six", "1.9"),)), lockfile(artifacts=(artifact("six", "1.10"),))
    assert [str(change) for change in diff(before, after)] == ["upgraded six 1.9 -> 1.10"]


def test_no_change() -> None:
    assert diff(OLD, OLD) == ()
    assert render_text(()) == "no change"
    assert render_markdown((), "py311-stable-cpuonly") == "### py311-stable-cpuonly\n\nno change\n"
    assert to_json(()) == []


def test_the_first_lockfile_adds_everything() -> None:
    assert [str(change) for change in diff(None, lockfile())] == ["added filelock 3.20.0", "added torch 2.13.0+cpu"]


@pytest.mark.parametrize(
    "same", [{"path": None}, {"size": 1}, {"hash_from": HashFrom.INDEX}, {"hash_from": HashFrom.METADATA}]
)
def test_what_is_no_identity_is_no_change(same: dict[str, object]) -> None:
    fields = {"sha256": FILELOCK.sha256} | same
    assert diff(lockfile(), lockfile(artifacts=(artifact("filelock", "3.20.0", **fields), TORCH))) == ()


def test_markdown() -> None:
    assert render_markdown(diff(OLD, NEW), "py311") == (
        "### py311\n\n"
        "| package | change | before | after |\n"
        "| --- | --- | --- | --- |\n"
        "| certifi | removed | 2026.8.1 |  |\n"
        "| jinja2 | downgraded | 3.1.6 | 3.1.4 |\n"
        "| mpmath | moved | 1.3.0 | 1.3.0 |\n"
        "| numpy | added |  | 2.3.4 |\n"
        "| sympy | rebuilt | 1.13.3 | 1.13.3 |\n"
        "| torch | upgraded | 2.13.0+cpu | 2.13.1+cpu |\n"
    )


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
