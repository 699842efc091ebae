"""Private conda channels: each package comes from the one source that may serve it, whoever else has its name.

The enemy always has the higher version, and sits in front and behind in the order of the conda channels.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.project import answer, artifacts, must
from tests.support.backends import CondaScenario, edit_repodata
from tests.support.conda import Channel, write_repodata
from tests.support.conda_scene import modules
from tests.support.index import FakeIndex
from tests.support.stage import HERE, SCENE_HAS_IT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.conda_scene import CondaScene
    from tests.support.stage import Stage

pytestmark = pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}")
ORDERS = ("", "conda-channels: [corp, conda-forge]\n", "conda-channels: [conda-forge, corp]\n")
each_order = pytest.mark.parametrize("order", ORDERS, ids=["nothing said", "corp first", "corp last"])


class Field:
    """conda-forge and a private conda channel, each with a server."""

    def __init__(self, folder: Path, scene: CondaScene, corp: FakeIndex) -> None:
        self.conda = CondaScenario(scene=scene)
        self.folder = folder
        self.corp = corp
        self.channel = Channel(folder=folder / "corp")
        self.cell = self.conda.cell

    def own(self, name: str, version: str, **settings: Any) -> None:
        """A package of the private conda channel."""
        self.channel.add(name, version, **self._settings(name, version, settings))

    def forge(self, name: str, version: str, **settings: Any) -> None:
        """The same on conda-forge, by whoever got it in there."""
        made = Channel(folder=self.folder / f"forge-{name}-{version}")
        path = made.add(name, version, **self._settings(name, version, settings))
        made.index()
        place = f"/conda-forge/{path.parent.name}"
        self.conda.scene.server.put(f"{place}/{path.name}", path.read_bytes())
        edit_repodata(self.conda.scene.server, place, lambda records: records.update(made.records(path.parent.name)))

    @staticmethod
    def _settings(name: str, version: str, settings: dict[str, Any]) -> dict[str, Any]:
        return {"noarch": "python", "files": modules("site-packages", name, version), **settings}

    def stage(self, packages: str, order: str = "", *, pattern: str = "corp-*", **environ: str) -> Stage:
        """A project that wants ``packages``; the private conda channel is served as it is now."""
        self.channel.index()
        address = self.channel.serve(self.corp, "/corp")
        source = f'sources: {{corp: {{conda-channel: "{address}", packages: ["{pattern}"]}}}}\n'
        matrix = self.conda.bare + f"packages: [{packages}]\n{order}{source}"
        return self.conda.stage(self.folder / "at", matrix, **environ)


@pytest.fixture
def field(tmp_path: Path, conda_scene: CondaScene) -> Iterator[Field]:
    with FakeIndex() as corp:
        made = Field(tmp_path, conda_scene, corp)
        made.own("corp-lib", "1.0")
        made.own("corp-lib", "1.1")
        yield made


def taken(at: Stage, cell: str) -> dict[str, tuple[str, str]]:
    """Version and source of everything that is locked."""
    must(at.run("lock"))
    return {name: (one["version"], one["source"]) for name, one in artifacts(at, cell).items()}


@each_order
def test_a_claimed_name_is_never_taken_from_elsewhere(field: Field, order: str) -> None:
    field.forge("corp-lib", "9.0")
    at = field.stage("corp-lib", order)
    assert taken(at, field.cell)["corp-lib"] == ("1.1", "corp")
    must(at.run("build", "--no-verify"))
    assert not [path for path in field.conda.scene.server.paths() if "corp-lib" in path]


@each_order
def test_what_is_not_claimed_is_never_taken_from_the_private_one(field: Field, order: str) -> None:
    for name in ("numpy", "pytorch", "libtorch", "sympy", "python_abi"):
        field.own(name, "99.0")
    field.own("python", "3.99.0", files={"bin/python": "enemy"}, noarch="generic")
    found = taken(field.stage("corp-lib, numpy", order), field.cell)
    assert {name: source for name, (_, source) in found.items() if source != "conda-forge"} == {"corp-lib": "corp"}
    assert found["numpy"][0] == "2.3.4"


@each_order
def test_a_claimed_name_that_only_somebody_else_has(field: Field, order: str) -> None:
    field.forge("corp-new", "1.0")
    at = field.stage("corp-new", order)
    outcome = at.run("lock")
    assert outcome.returncode in (1, 2)
    assert "corp-new" in outcome.stderr
    assert at.published() == {}


@each_order
def test_a_claimed_name_that_turns_up_from_below(field: Field, order: str) -> None:
    """Needed by a package of the private conda channel, and had by somebody else alone."""
    field.own("corp-lib", "2.0", depends=["corp-base"])
    field.forge("corp-base", "9.0")
    found = taken(field.stage("corp-lib", order), field.cell)
    assert found["corp-lib"] == ("1.1", "corp"), "2.0 cannot be installed"
    assert "corp-base" not in found
    field.own("corp-base", "0.1")
    at = field.stage("corp-lib", order)
    must(at.run("lock", "--upgrade"))
    assert {one["version"] for one in artifacts(at, field.cell).values() if one["source"] == "corp"} == {"2.0", "0.1"}


@each_order
def test_somebody_elses_package_that_needs_its_own_copy(field: Field, order: str) -> None:
    field.forge("pyyaml", "9.0", depends=["corp-lib >=9"])
    field.forge("corp-lib", "9.0")
    found = taken(field.stage("corp-lib, pyyaml", order), field.cell)
    assert (found["pyyaml"], found["corp-lib"]) == (("6.0.3", "conda-forge"), ("1.1", "corp"))


@each_order
@pytest.mark.parametrize("trouble", ["500", "empty", "down"])
def test_nobody_stands_in_for_it(field: Field, order: str, trouble: str) -> None:
    field.forge("corp-lib", "9.0")
    at = field.stage("corp-lib", order, UV_HTTP_RETRIES="0")
    if trouble == "500":
        field.corp.fail("*", status=500)
    elif trouble == "empty":
        field.corp.drop("*")
    else:
        field.corp.stop()
    cell = answer(at.run("--json", "lock"), 4)["cells"][0]
    assert cell["error"]["message"].startswith("source corp cannot be reached: 127.0.0.1: ")
    assert at.published() == {}


@each_order
@pytest.mark.parametrize("group", ["packages", "packages.conda", "v3"])
def test_a_listing_in_another_form(field: Field, order: str, group: str) -> None:
    """Newer forms of repodata list packages in more than one place."""
    field.own("numpy", "99.0")
    at = field.stage("corp-lib, numpy", order)
    folder = field.channel.folder / "noarch"
    said = json.loads((folder / "repodata.json").read_bytes())
    [(file, record)] = [(name, one) for name, one in said["packages.conda"].items() if name.startswith("numpy-")]
    said["packages.conda"] = {name: one for name, one in said["packages.conda"].items() if name != file}
    said[group] = {
        "packages": {file.replace(".conda", ".tar.bz2"): record},
        "packages.conda": {**said["packages.conda"], file: record},
        "v3": {"conda": {file.removesuffix(".conda"): record}, "tar.bz2": {}, "whl": {}},
    }[group]
    write_repodata(folder, said)
    field.channel.serve(field.corp, "/corp")
    assert taken(at, field.cell)["numpy"] == ("2.3.4", "conda-forge")


@each_order
@pytest.mark.parametrize("side", ["corp", "conda-forge"])
def test_a_record_under_another_packages_file_name(field: Field, order: str, side: str) -> None:
    """By its file name the package is one that may be served, by its record one that may not."""
    at = field.stage("corp-lib, numpy", order)
    [record] = [one for one in field.channel.records("noarch").values() if one["version"] == "1.1"]
    if side == "corp":
        lie = {"corp-lib-99.0-0.conda": record | {"name": "numpy", "version": "99.0"}}
        edit_repodata(field.corp, "/corp/noarch", lambda records: records.update(lie))
    else:
        lie = {"sympy-99.0-0.conda": record | {"name": "corp-lib", "version": "99.0"}}
        edit_repodata(field.conda.scene.server, "/conda-forge/noarch", lambda records: records.update(lie))
    outcome = at.run("lock")
    if outcome.returncode == 0:
        found = artifacts(at, field.cell)
        assert (found["numpy"]["version"], found["numpy"]["source"]) == ("2.3.4", "conda-forge")
        assert (found["corp-lib"]["version"], found["corp-lib"]["source"]) == ("1.1", "corp")
    else:
        must(outcome, 5)
        assert at.published() == {}


def test_a_claim_that_is_taken_back_is_solved_anew(field: Field) -> None:
    """The claims are inputs of the lockfile; what was solved for one of them is not used for another."""
    field.own("numpy", "2.99", depends=[])
    assert taken(field.stage("corp-lib, numpy"), field.cell)["numpy"] == ("2.3.4", "conda-forge")
    both = field.stage("corp-lib, numpy", pattern='corp-*", "numpy')
    assert taken(both, field.cell)["numpy"] == ("2.99", "corp")
    assert taken(field.stage("corp-lib, numpy"), field.cell)["numpy"] == ("2.3.4", "conda-forge")
