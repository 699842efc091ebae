"""What changed between two sets of lockfiles: statuses, groups of cells, sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lock.samples import artifact, lockfile
from torchmatrix.lock.trees import CellDiff, compare, groups, label, trees_json

if TYPE_CHECKING:
    from torchmatrix.lock.model import Lockfile


def cell(python: str, *versions: str, rest: str = "stable-mps", **more: object) -> Lockfile:
    """A lockfile whose artifacts are ``name=version`` texts, each of 100 bytes for every part of its version."""
    artifacts = []
    for text in versions:
        name, _, version = text.partition("=")
        artifacts.append(artifact(name, version, size=100 * (version.count(".") + 1)))
    return lockfile(cell=f"py{python.replace('.', '')}-{rest}", python=python, artifacts=tuple(artifacts), **more)


def tree(*lockfiles: Lockfile) -> dict[str, Lockfile]:
    return {one.cell: one for one in lockfiles}


BEFORE = tree(
    cell("3.9", "six=1.9"),
    cell("3.10", "six=1.9", "numpy=2.2"),
    cell("3.11", "six=1.9", "numpy=2.3"),
    cell("3.12", "six=1.9", "numpy=2.3"),
    cell("3.12", "six=1.9", rest="nightly-mps"),
)
AFTER = tree(
    cell("3.10", "six=1.10", "numpy=2.2"),
    cell("3.11", "six=1.10", "numpy=2.4.1", as_of="2026-01-30"),
    cell("3.12", "six=1.10", "numpy=2.4.1"),
    cell("3.12", "six=1.9", rest="nightly-mps"),
    cell("3.13", "six=1.10", "numpy=2.4.1"),
)


def test_every_cell_has_a_status() -> None:
    assert [(one.id, one.status) for one in compare(BEFORE, AFTER)] == [
        ("py39-stable-mps", "removed"),
        ("py310-stable-mps", "changed"),
        ("py311-stable-mps", "changed"),
        ("py312-nightly-mps", "unchanged"),
        ("py312-stable-mps", "changed"),
        ("py313-stable-mps", "added"),
    ]


def test_a_cell_with_other_inputs_only_is_changed() -> None:
    one, other = lockfile(), lockfile(inputs={"torch": "2.13.0", "packages": ["numpy", "filelock"]})
    (found,) = compare(tree(one), tree(other))
    assert (found.status, found.changes) == ("changed", ())
    assert found.remarks == ("inputs: packages: added filelock",)


def test_what_is_the_same_in_many_cells_is_said_once() -> None:
    found = groups(compare(BEFORE, AFTER))
    assert [(group.cells, [str(row.first) for row in group.rows], group.remarks) for group in found] == [
        (("py310-stable-mps", "py311-stable-mps", "py312-stable-mps"), ["upgraded six 1.9 -> 1.10"], ()),
        (("py311-stable-mps", "py312-stable-mps"), ["upgraded numpy 2.3 -> 2.4.1"], ()),
        (("py311-stable-mps",), [], ("as_of: nothing -> 2026-01-30",)),
    ]


def test_sizes_of_a_row_are_those_of_single_cells() -> None:
    before = tree(*(lockfile(cell=name, artifacts=(artifact("six", "1", size=5),)) for name in "ab"))
    grown = tree(
        lockfile(cell="a", artifacts=(artifact("six", "2", size=7, sha256="7" * 64),)),
        lockfile(cell="b", artifacts=(artifact("six", "2", size=9, sha256="9" * 64),)),
    )
    (group,) = groups(compare(before, grown))
    assert group.rows[0].sizes == (2, 4)
    unknown = tree(grown["a"], lockfile(cell="b", artifacts=(artifact("six", "2", sha256="9" * 64),)))
    (group,) = groups(compare(before, unknown))
    assert group.rows[0].sizes is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["py310-stable-mps", "py311-stable-mps", "py312-stable-mps"], "py310..py312-stable-mps"),
        (["py311-stable-mps", "py312-stable-mps"], "py311-stable-mps, py312-stable-mps"),
        (["py39-stable-mps", "py310-stable-mps", "py312-stable-mps"],
         "py39-stable-mps, py310-stable-mps, py312-stable-mps"),
        (["py312-nightly-mps"], "py312-nightly-mps"),
        (["py312-nightly-mps", "py310-stable-mps", "py311-stable-mps", "py312-stable-mps", "py313-stable-mps"],
         "py310..py313-stable-mps, py312-nightly-mps"),
    ],
)  # fmt: skip
def test_labels(names: list[str], expected: str) -> None:
    assert label(names, compare(BEFORE, AFTER)) == expected


def test_labels_of_all_cells_and_of_names_of_another_form() -> None:
    cells = compare(BEFORE, AFTER)
    assert label([one.id for one in cells], cells) == "all 6 cells"
    other = compare(tree(lockfile(cell="mine"), lockfile(cell="yours")), {})
    assert label(["mine"], other) == "mine"
    assert label(["mine"], other[:1]) == "mine", "one cell has a name of its own"


def test_json() -> None:
    found = trees_json(compare(BEFORE, AFTER))
    assert list(found) == ["cells", "size_change"]
    assert isinstance(found["cells"], list)
    assert [list(one) for one in found["cells"]] == [
        ["id", "status", "before", "after", "changes", "size_change", "remarks"]
    ] * 6
    by_id = {one["id"]: one for one in found["cells"]}
    assert by_id["py39-stable-mps"]["after"] is None
    assert by_id["py39-stable-mps"]["size_change"] == -200
    assert by_id["py313-stable-mps"]["before"] is None
    assert by_id["py313-stable-mps"]["size_change"] == 500
    assert by_id["py312-stable-mps"]["before"] == BEFORE["py312-stable-mps"].digest
    assert by_id["py312-nightly-mps"]["changes"] == []
    assert by_id["py312-nightly-mps"]["size_change"] == 0
    # Samples of one name have one sha256, so that an upgrade alone has no other size here.
    assert found["size_change"] == 300


def test_one_unknown_size_makes_the_total_unknown() -> None:
    found = trees_json(compare({}, tree(lockfile(), lockfile(cell="b", artifacts=(artifact("six", "1"),)))))
    assert found["size_change"] is None


versions = st.sampled_from(["1.9", "1.10", "2.0"])
sides = st.dictionaries(
    st.sampled_from(["3.9", "3.10", "3.11"]), st.dictionaries(st.sampled_from(["six", "numpy"]), versions)
).map(lambda cells: tree(*(cell(python, *(f"{n}={v}" for n, v in have.items())) for python, have in cells.items())))


@given(sides, sides)
def test_groups_hold_every_change_of_every_changed_cell_once(
    before: dict[str, Lockfile], after: dict[str, Lockfile]
) -> None:
    cells = compare(before, after)
    changed: list[CellDiff] = [one for one in cells if one.status == "changed"]
    expected = sorted((one.id, str(change)) for one in changed for change in one.changes)
    found = sorted((name, str(row.first)) for group in groups(cells) for row in group.rows for name in group.cells)
    assert found == expected
