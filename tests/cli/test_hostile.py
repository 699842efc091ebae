"""Only from the named source: attackers on every other index, and proof that they would win without our sources."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.project import CELL, PY, SMALL, answer, artifacts, at_source, closed_port, must, stage
from tests.support.hostile import ATTACKS, Arena, Attack, arena, verdict, without_sources
from tests.support.index import FakeIndex
from tests.support.pytorch import HOSTILE, LINUX, Scene, stable_cpu, torch_wheel, torchvision_wheel
from tests.support.stage import HERE, SCENE_HAS_IT
from tests.support.wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stage import Stage

attacks = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
here = pytest.mark.skipif(not SCENE_HAS_IT, reason=f"the fake index has no torch for Python {HERE}")


@pytest.fixture
def ground(scene_wheels: Path) -> Iterator[Arena]:
    """The scene with all its attackers."""
    with arena(scene_wheels) as made:
        yield made


# What uv resolves


@attacks
def test_nothing_of_an_attacker_is_taken(attack: Attack, ground: Arena, tmp_path: Path) -> None:
    at = attack.stage(tmp_path, ground)
    outcome = must(at.run("lock"), attack.code)
    assert verdict(outcome, ground, at).startswith("safe")
    assert bool(at.published()) is (attack.code == 0)


@attacks
def test_without_explicit_sources_it_would_be(attack: Attack, ground: Arena, tmp_path: Path) -> None:
    """Else the test above would pass whatever torchmatrix does."""
    at = attack.stage(tmp_path, ground)
    outcome = without_sources(at, attack.mutation).run("lock")
    assert verdict(outcome, ground, at).startswith(("TAKEN", "caught"))


@pytest.mark.parametrize(
    "attack", [one for one in ATTACKS if one.victims], ids=lambda attack: attack.name.replace(" ", "-")
)
def test_without_the_source_of_the_victim_alone_it_is_taken(attack: Attack, ground: Arena, tmp_path: Path) -> None:
    """No later check stands in the way here: only the source does."""
    at = attack.stage(tmp_path, ground)
    outcome = without_sources(at, attack.mutation, attack.victims).run("lock")
    assert verdict(outcome, ground, at).startswith("caught" if attack.victims == ("torch",) else "TAKEN")


def test_a_target_may_name_the_default_index(scene: Scene, tmp_path: Path) -> None:
    """Then the family comes from there, at the versions that belong to it, and from there alone."""
    matrix = SMALL.replace("accelerator: cpu}", "accelerator: cu130, source: pypi}") + "packages: [triton]\n"
    at = stage(tmp_path, scene, matrix.replace("packages: [numpy]\n", "", 1))
    must(at.run("lock"))
    found = artifacts(at)
    assert {one["source"] for one in found.values()} == {"pypi"}
    assert (found["torch"]["version"], found["triton"]["version"]) == ("2.13.0", "99.0.0")
    assert scene.pytorch.requests == []


# pip's and uv's own second indexes


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[FakeIndex]:
    """An index that has everything in a higher version."""
    with FakeIndex() as index:
        for wheel in _everything_higher(tmp_path / "higher"):
            index.add("/simple", wheel)
        yield index


def _everything_higher(folder: Path) -> list[Path]:
    tag = f"cp{PY}-cp{PY}-{LINUX}"
    found = [torch_wheel(folder, version, tag) for version in ("99.0.0+cpu", "2.13.99+cpu", "2.13.0+zz9", "2.13.0")]
    found += [build_wheel(folder, name, "99.0.0") for name in (*HOSTILE, "numpy", "filelock", "jinja2")]
    found.append(torchvision_wheel(folder, "0.99.0+cpu", tag, "2.13.0"))
    return found


def _second_index(way: str, folder: Path, hostile: FakeIndex) -> dict[str, str]:
    url, wheels = f"{hostile.url}/simple", folder / "higher"
    if way.startswith("pip.conf"):
        key, value = ("extra-index-url", url) if way.endswith("index") else ("find-links", str(wheels))
        (folder / "pip.conf").write_text(f"[global]\n{key} = {value}\n", encoding="utf-8")
        return {"PIP_CONFIG_FILE": str(folder / "pip.conf")}
    if way == "uv":
        names = ("UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS")
        return dict.fromkeys(names, url) | {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    return {way: str(wheels) if way == "PIP_FIND_LINKS" else url}


WAYS = ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "pip.conf index", "pip.conf links", "uv")


@here
@pytest.mark.parametrize("way", WAYS)
def test_a_second_index_is_not_even_asked(way: str, scene: Scene, hostile: FakeIndex, tmp_path: Path) -> None:
    with_it = tmp_path / "with"
    with_it.mkdir()
    shutil.copytree(tmp_path / "higher", with_it / "higher")
    plain = stage(tmp_path, scene)
    must(plain.run("lock"))
    at = stage(with_it, scene, **_second_index(way, with_it, hostile))
    must(at.run("lock"))
    assert at.published() == plain.published()
    assert hostile.requests == []


@here
@pytest.mark.parametrize(
    ("way", "trouble"),
    [(WAYS[0], "stall"), *((way, trouble) for way in WAYS[:4] for trouble in ("500", "404", "403", "429", "reset"))],
)
def test_what_answers_or_hangs_is_never_stood_in_for(
    way: str, trouble: str, scene: Scene, hostile: FakeIndex, tmp_path: Path
) -> None:
    if trouble == "stall":
        scene.pytorch.fail("*", stall=60)
    elif trouble == "reset":
        scene.pytorch.fail("*", reset=True)
    else:
        scene.pytorch.fail("*", status=int(trouble))
    environ = _second_index(way, tmp_path, hostile) | {"TORCHMATRIX_MIRRORS": "", "UV_HTTP_RETRIES": "0"}
    at = at_source(stage(tmp_path, scene, **environ), scene.pytorch_url)
    outcome = at.run("lock")
    assert outcome.returncode in (1, 4), outcome.stderr
    assert at.published() == {}
    assert hostile.requests == []


def _refusing(folder: Path, scene: Scene, matrix: str = SMALL, **environ: str) -> Stage:
    """A project whose source ``pytorch`` refuses connections."""
    at = stage(folder, scene, matrix, **{"TORCHMATRIX_MIRRORS": "", **environ})
    return at_source(at, f"http://127.0.0.1:{closed_port()}/whl")


@here
def test_a_stand_in_gives_exactly_the_build_that_is_asked_for(scene: Scene, hostile: FakeIndex, tmp_path: Path) -> None:
    at = _refusing(tmp_path, scene, PIP_FIND_LINKS=str(tmp_path / "higher"))
    message = answer(at.run("--json", "lock"), 4)["cells"][0]["error"]["message"]
    assert "torch==2.13.0+cpu" in message
    for wheel in stable_cpu(scene.wheels):
        shutil.copy(wheel, tmp_path / "higher")
    must(at.run("lock"))
    found = artifacts(at)
    assert (found["torch"]["version"], found["torch"]["stand_in"]) == ("2.13.0+cpu", True)
    assert not [name for name, one in found.items() if name != "torch" and "stand_in" in one]
    assert "99.0.0" not in {one["version"] for one in found.values()}


@here
@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (SMALL.replace('"2.13.0"', '">=2.11"'), None),
        (SMALL.replace('"2.13.0"', "stable"), None),
        (SMALL.replace("[numpy]", '["torchvision>=0.20"]'), "torchvision 99.0.0, which is not known"),
    ],
    ids=["torch range", "newest torch", "torchvision range"],
)
def test_a_range_lets_no_stand_in_win(
    matrix: str, words: str | None, scene: Scene, hostile: FakeIndex, tmp_path: Path
) -> None:
    """Neither a release that nobody knows nor one that does not belong to the cell's torch is taken."""
    for wheel in stable_cpu(scene.wheels):
        shutil.copy(wheel, tmp_path / "higher")
    at = _refusing(tmp_path, scene, matrix, PIP_FIND_LINKS=str(tmp_path / "higher"))
    outcome = at.run("--json", "lock")
    if outcome.returncode == 0:
        assert artifacts(at)["torch"]["version"].partition("+")[0] not in ("2.13.99", "99.0.0")
        assert words is None
    else:
        assert outcome.returncode in (4, 5)
        assert (words or "") in answer(outcome, outcome.returncode)["cells"][0]["error"]["message"]
        assert at.published() == {}


@here
@pytest.mark.parametrize("allowed", [False, True])
def test_under_ci_only_when_the_matrix_allows_it(
    allowed: bool, scene: Scene, hostile: FakeIndex, tmp_path: Path
) -> None:
    for wheel in stable_cpu(scene.wheels):
        hostile.add("/simple", wheel)
    matrix = SMALL + ("stand-in: allow\n" if allowed else "")
    at = _refusing(tmp_path, scene, matrix, PIP_EXTRA_INDEX_URL=f"{hostile.url}/simple", CI="true")
    must(at.run("lock"), 0 if allowed else 4)
    assert (hostile.paths("/simple/torch/") != []) is allowed
    assert (CELL in {path.split("/")[0] for path in at.published()}) is allowed
