"""What pip adds to conda packages: resolved around them, never one of them anew, and nothing of theirs touched."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.fixtures import clean_environment
from tests.support.pytorch import NEW, OLD
from tests.support.wheels import build_wheel, sha256
from torchmatrix.backends import CreateRequest, ResolveRequest
from torchmatrix.backends.conda_pip import Need, install_on_top, needs, require_no_family
from torchmatrix.backends.conda_stubs import brought_by, provided, stub_index, stub_pages
from torchmatrix.backends.lazy import LazyPipBackend
from torchmatrix.catalog import load_catalog
from torchmatrix.errors import CellError, HostError, IntegrityError, UsageError
from torchmatrix.lock.conda_version import CondaVersion
from torchmatrix.lock.demands import gather
from torchmatrix.lock.model import Artifact, CondaBuild, HashFrom, Lockfile
from torchmatrix.matrix.expand import expand
from torchmatrix.matrix.load import load_matrix
from torchmatrix.sources.config import SourceConfig
from torchmatrix.sources.pip_config import Setting
from torchmatrix.store import Store
from torchmatrix.target import PythonVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.support.index import FakeIndex
    from tests.support.pytorch import Scene
    from torchmatrix.backends.conda_pip import Added, PipOnTop

pytestmark = pytest.mark.xdist_group("conda-pip")
CELL = "py311-stable-here-conda"
MATRIX = """\
version: 1
axes: {{python: ["3.11"], channel: [stable], target: [here]}}
channels: {{stable: {{torch: "2.13.0"}}}}
backend: conda
targets: {{here: {{platform: {platform}, accelerator: {accelerator}}}}}
pip-packages: [{packages}]
{more}
"""


def conda(name: str, version: str, *depends: str, noarch: str | None = None) -> Artifact:
    """A conda package that depends on these, on Python where nothing is said."""
    file, needed = f"{name}-{version}-h0_0.conda", depends or ("python >=3.11,<3.12.0a0",)
    return Artifact(
        name=name,
        version=CondaVersion(version),
        file=file,
        sha256="0" * 64,
        source="conda-forge",
        path=f"linux-64/{file}",
        conda=CondaBuild(build="h0_0", number=0, subdir="linux-64", noarch=noarch, depends=needed),
    )


CONDA = (
    conda("jinja2", "3.1.6"),
    conda("python", "3.11.13", "__glibc >=2.17"),
    conda("pytorch", "2.13.0"),
    conda("typing_extensions", "4.15.0"),
    conda("tzdata", "2025b", "__unix", noarch="generic"),
    conda("zstd", "1.5.7", "__glibc >=2.17"),
)


# -- what conda packages are to Python -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("artifact", "expected"),
    [
        (conda("pytorch", "2.13.0"), {"torch": "2.13.0"}),
        (conda("py-opencv", "4.12.0"), {"opencv-python": "4.12.0", "opencv-python-headless": "4.12.0"}),
        (conda("typing_extensions", "4.15.0", noarch="python"), {"typing-extensions": "4.15.0"}),
        (conda("ruamel.yaml", "0.18.6"), {"ruamel-yaml": "0.18.6"}),
        (conda("matplotlib-base", "3.10.0"), {"matplotlib": "3.10.0"}),
        (conda("python-tzdata", "2025.2"), {"tzdata": "2025.2"}),
        (conda("pyside6", "6.9.0"), {"pyside6": "6.9.0", "shiboken6": "6.9.0"}),
        (conda("torchtriton", "2.1.0"), {"triton": "2.1.0"}),
        (conda("pure", "1.0", "__unix", noarch="python"), {"pure": "1.0"}),
        (conda("abi", "1.0", "python_abi 3.11.* *_cp311"), {"abi": "1.0"}),
        (conda("named", "1.0", "conda-forge::python >=3.11"), {"named": "1.0"}),
        (conda("early", "2.0rc1"), {"early": "2.0rc1"}),
        (conda("epoch", "1!2.0"), {"epoch": "1!2.0"}),
        (conda("python", "3.11.13", "python_abi 3.11.*"), {}),
        (conda("zstd", "1.5.7", "libzlib >=1.3"), {}),
        (conda("tzdata", "2025b", "__unix", noarch="generic"), {}),
        (conda("near", "1.0", "python-dateutil", "python.app"), {}),
        (conda("odd", "2024_07_x"), {}),
    ],
    ids=lambda value: value.name if isinstance(value, Artifact) else "",
)
def test_distributions_of_a_conda_package(artifact: Artifact, expected: dict[str, str]) -> None:
    assert provided([artifact]) == {name: Version(version) for name, version in expected.items()}


def test_wheels_are_none_of_them() -> None:
    wheel = replace(conda("lit", "1.0"), version=Version("1.0"), conda=None)
    assert provided([wheel, *CONDA]) == {
        "jinja2": Version("3.1.6"),
        "torch": Version("2.13.0"),
        "typing-extensions": Version("4.15.0"),
    }


def test_the_stub_of_a_distribution_is_a_page_without_a_file(tmp_path: Path) -> None:
    pages = stub_pages({"typing-extensions": Version("4.15.0")})
    assert stub_index(pages, tmp_path) == (
        f'[[index]]\nname = "torchmatrix-conda-packages"\nurl = "{tmp_path.as_uri()}"\nexclude-newer = false\n'
    )
    assert pages.tables() == (
        '[[dependency-metadata]]\nname = "typing-extensions"\nversion = "4.15.0"\nrequires-dist = []\n'
    )
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")] == ["typing-extensions/index.html"]
    assert 'href="typing_extensions-4.15.0-py3-none-any.whl#sha256=' in (
        tmp_path / "typing-extensions" / "index.html"
    ).read_text(encoding="utf-8")


def test_who_brings_what_under_another_name() -> None:
    assert (brought_by("torch"), brought_by("tzdata"), brought_by("numpy")) == ("pytorch", "python-tzdata", None)


UV_SAYS = """\
error: No solution found when resolving dependencies
  cause: Because lit[all]<=0.9 depends on torch<1.9 and all versions of lit depend on torch==2.13.0, we can conclude
         that lit<=0.9 cannot be used. And because nest>=1,<2 depends on Jinja2>=4,<5, and torchmatrix-cell depends on
         lit, we can conclude that your requirements are unsatisfiable.
"""


def test_who_needs_what_in_the_words_of_uv() -> None:
    assert needs(UV_SAYS) == [
        Need(who="lit", name="torch", spec="<1.9"),
        Need(who="lit", name="torch", spec="==2.13.0"),
        Need(who="nest", name="jinja2", spec=">=4,<5"),
        Need(who="torchmatrix-cell", name="lit", spec=""),
    ]
    assert needs("error: something else") == []


# -- resolving -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Ground:
    """A pip backend on the scene's default index, and cells that ask it for packages."""

    folder: Path
    scene: Scene
    more: str = ""
    """Of the matrix."""
    wheels: dict[str, Path] = field(default_factory=dict)

    def add(
        self, name: str, version: str, *requires: str, tag: str = "py3-none-any", index: FakeIndex | None = None
    ) -> None:
        """Upload a wheel to the default index, or to another one."""
        wheel = build_wheel(self.folder / "wheels", name, version, tag=tag, requires=requires)
        self.wheels[wheel.name] = wheel
        if index is not None:
            index.add("/simple", wheel, upload_time=OLD)
        else:
            self.scene.default.add("/simple", wheel, host=self.scene.files, folder="/packages", upload_time=OLD)

    def backend(self, **private: str) -> LazyPipBackend:
        # A cache of its own: uv may reuse a page for two minutes.
        env = clean_environment(self.folder) | {"UV_CACHE_DIR": tempfile.mkdtemp(prefix="uv-cache-", dir=self.folder)}
        config = SourceConfig(default_index=Setting(value=self.scene.default_url, origin="a test"), child_env=env)
        store = Store(self.folder / "store")
        return LazyPipBackend(config, load_catalog(), store, home=self.folder, private=private)

    def request(self, packages: str, platform: str = "linux-64", accelerator: str = "cpu") -> ResolveRequest:
        path = self.folder / "matrix.yaml"
        text = MATRIX.format(packages=packages, platform=platform, accelerator=accelerator, more=self.more)
        path.write_text(text, encoding="utf-8")
        matrix = load_matrix(path)
        cells = expand(matrix, load_catalog()).cells
        assert [cell.id for cell in cells] == [CELL]
        return ResolveRequest(cell=cells[0], demands=gather(cells[0], matrix), sources=matrix.sources)

    def resolved(self, packages: str, conda: Iterable[Artifact] = CONDA) -> Added:
        return self.backend().resolve_on_top(self.request(packages), tuple(conda))

    def versions(self, packages: str, conda: Iterable[Artifact] = CONDA) -> dict[str, str]:
        return {one.name: str(one.version) for one in self.resolved(packages, conda).artifacts}

    def error(self, packages: str, conda: Iterable[Artifact] = CONDA) -> tuple[str, str | None]:
        """First line and hint of the error."""
        with pytest.raises(CellError) as caught:
            self.resolved(packages, conda)
        return caught.value.message.splitlines()[0], caught.value.hint


@pytest.fixture
def ground(scene: Scene, tmp_path: Path) -> Ground:
    """The scene's default index with a few packages more."""
    ground = Ground(folder=tmp_path, scene=scene)
    ground.add("lit", "1.0", "torch>=2", "helper>=1", "Jinja2")
    ground.add("helper", "1.1", "jinja2>=3", "typing-extensions")
    ground.add("oldtorch", "1.0", "torch<2")
    ground.add("nest", "1.0", "oldtorch")
    ground.add("wantstriton", "1.0", "triton>=3")
    ground.add("exacttriton", "1.0", "triton==3.1")
    ground.add("anytriton", "1.0", "triton")
    ground.add("nesttriton", "1.0", "wantstriton")
    ground.add("alone", "1.0")
    return ground


def test_conda_packages_come_from_no_index_however_deep_they_turn_up(ground: Ground) -> None:
    ground.scene.forget()
    added = ground.resolved("lit")
    assert [one.name for one in added.artifacts] == ["helper", "lit"]
    assert added.remarks == ()
    asked = {path.rstrip("/").rpartition("/")[2] for path in ground.scene.default.paths("/simple/*")}
    assert asked == {"lit", "helper"}, "the default index is asked for nothing that conda has"


def test_an_artifact_is_as_the_pip_backend_has_it(ground: Ground) -> None:
    lit = ground.resolved("lit").artifacts[1]
    wheel = ground.wheels[lit.file]
    assert (lit.version, lit.source, lit.conda, lit.hash_from) == (Version("1.0"), "pypi", None, HashFrom.INDEX)
    assert (lit.sha256, lit.size) == (sha256(wheel), wheel.stat().st_size)
    assert lit.path == "packages/lit-1.0-py3-none-any.whl"


def test_the_bases_of_files_are_told(ground: Ground) -> None:
    added = ground.resolved("lit")
    url = f"{ground.scene.files.url}/packages"
    assert added.bases == {f"pypi/{one.sha256}": f"{url}/{one.file}" for one in added.artifacts}


def test_the_newest_that_goes_with_the_conda_packages_is_taken(ground: Ground) -> None:
    ground.add("lit", "2.0", "torch>=3")
    assert ground.versions("lit") == {"helper": "1.1", "lit": "1.0"}


def test_a_pre_release_of_conda_is_good_enough(ground: Ground) -> None:
    assert ground.versions("lit", [*CONDA[1:], conda("jinja2", "3.2rc1")]) == {"helper": "1.1", "lit": "1.0"}


def test_another_platform(ground: Ground) -> None:
    ground.add("binary", "1.0", tag="cp311-cp311-manylinux_2_28_x86_64")
    ground.add("binary", "1.0", tag="cp311-cp311-macosx_12_0_arm64")
    ground.add("binary", "1.1", tag="cp311-cp311-macosx_26_0_arm64")
    request = ground.request("binary", platform="osx-arm64", accelerator="mps")
    (binary,) = ground.backend().resolve_on_top(request, CONDA).artifacts
    assert binary.file == "binary-1.0-cp311-cp311-macosx_12_0_arm64.whl"


def test_an_as_of_date_holds_for_what_pip_adds_and_not_for_what_conda_has(ground: Ground) -> None:
    as_of = replace(ground.request("requests, lit"), as_of=dt.date(2024, 6, 1))
    before = {one.name: str(one.version) for one in ground.backend().resolve_on_top(as_of, CONDA).artifacts}
    assert before == {"certifi": "2024.2.2", "helper": "1.1", "lit": "1.0", "requests": "2.31.0"}
    assert ground.versions("requests") == {"certifi": "2026.8.1", "requests": "2.32.5"}
    assert NEW > "2024-06-01"


def locked(artifacts: Iterable[Artifact]) -> Lockfile:
    return Lockfile(
        cell=CELL,
        python="3.11",
        channel="stable",
        target="here",
        platform="linux-64",
        accelerator="cpu",
        backend="conda",
        floor="glibc 2.28",
        torch=Version("2.13.0"),
        input_digest="",
        artifacts=tuple(artifacts),
    )


def test_what_was_locked_before_is_preferred(ground: Ground) -> None:
    first = ground.resolved("lit")
    ground.add("helper", "1.2")
    request = replace(ground.request("lit"), previous=locked([*CONDA, *first.artifacts]))
    assert ground.backend().resolve_on_top(request, CONDA).artifacts == first.artifacts
    upgraded = ground.backend().resolve_on_top(replace(request, upgrade_packages=("helper",)), CONDA)
    assert {one.name: str(one.version) for one in upgraded.artifacts} == {"helper": "1.2", "lit": "1.0"}


def test_demands_of_others_hold_for_what_pip_installs(ground: Ground) -> None:
    request = ground.request("lit, requests")
    demands = replace(
        request.demands,
        requirements=(Requirement("requests<2.32"), Requirement("numpy")),
        constraints=(Requirement("certifi<2026"), Requirement("jinja2==3.1.4")),
    )
    added = ground.backend().resolve_on_top(replace(request, demands=demands), CONDA)
    assert {one.name: str(one.version) for one in added.artifacts} == {
        "certifi": "2024.2.2",
        "helper": "1.1",
        "lit": "1.0",
        "requests": "2.31.0",
    }


def test_what_conda_has_already_is_said(ground: Ground) -> None:
    added = ground.resolved('"Jinja2[i18n]", typing-extensions, alone, "jinja2; sys_platform == \'win32\'"')
    assert [one.name for one in added.artifacts] == ["alone"]
    assert added.remarks == (
        "pip-packages: the conda packages have jinja2 3.1.6 already; its extras are not followed",
        "pip-packages: the conda packages have typing-extensions 4.15.0 already",
    )


# -- conflicts -------------------------------------------------------------------------------------------------------


def test_a_conflict_with_the_conda_packages(ground: Ground) -> None:
    words = "pip-packages: oldtorch needs torch<2, and the conda packages have torch 2.13.0"
    hint = "ask for another version of oldtorch, or for another torch from conda: packages"
    assert ground.error("oldtorch") == (f"{CELL}: {words}", hint)
    assert ground.error("alone, nest") == (f"{CELL}: {words}", hint)


def test_a_conflict_with_what_is_asked_for_itself(ground: Ground) -> None:
    assert ground.error('"jinja2>=4"') == (
        f"{CELL}: pip-packages: jinja2>=4 is asked for, and the conda packages have jinja2 3.1.6",
        "leave jinja2 to conda, and ask for the version there: packages",
    )


def test_another_failure_is_that_of_the_pip_backend(ground: Ground) -> None:
    first, hint = ground.error("no-such-thing")
    assert (first, hint) == (f"resolving {CELL} failed:", None)


@pytest.mark.parametrize(
    ("packages", "words"),
    [
        ("wantstriton", "wantstriton needs triton>=3"),
        ("nesttriton", "wantstriton needs triton>=3"),
        ("exacttriton", "exacttriton needs triton==3.1"),
        ("anytriton", "anytriton needs triton"),
    ],
)
def test_the_family_comes_through_conda_alone(ground: Ground, packages: str, words: str) -> None:
    assert ground.error(packages) == (
        f"{CELL}: pip-packages: {words}, and the PyTorch family of a conda cell comes from its conda channel",
        "have conda bring it: packages: [triton]",
    )


def test_what_conda_brings_of_the_family_is_fine(ground: Ground) -> None:
    assert ground.versions("wantstriton", [*CONDA, conda("triton", "3.5.0")]) == {"wantstriton": "1.0"}


def test_a_version_without_the_family_is_not_taken_in_silence(ground: Ground) -> None:
    ground.add("wantstriton", "0.9")
    assert ground.error("wantstriton")[0] == (
        f"{CELL}: pip-packages: wantstriton needs triton>=3, and the PyTorch family of a conda cell comes from its "
        "conda channel"
    )


def test_the_family_may_not_be_named(ground: Ground) -> None:
    with pytest.raises(UsageError) as caught:
        require_no_family(ground.request('alone, "torchvision>=0.20"'), load_catalog())
    assert caught.value.message == (
        f"{CELL}: pip-packages: torchvision>=0.20: the PyTorch family of a conda cell comes from its conda channel"
    )
    assert caught.value.hint == "name it under packages: [torchvision]"


@pytest.mark.parametrize(
    ("name", "version", "hint"),
    [
        ("zstd", "1.5.7", "take what needs zstd from a conda channel: packages, conda-packages"),
        ("tzdata", "2025b", "have conda bring it: conda-packages: [python-tzdata]"),
    ],
)
def test_one_name_is_one_artifact(ground: Ground, name: str, version: str, hint: str) -> None:
    """A conda package that has nothing to do with Python."""
    ground.add(name, "9.1")
    ground.add("wants", "1.0", name)
    assert ground.error("wants") == (
        f"{CELL}: pip-packages bring {name} 9.1, and {name} {version} is a conda package of the cell",
        hint,
    )


def test_a_free_threaded_python(ground: Ground) -> None:
    request = ground.request("alone")
    free = replace(request, cell=replace(request.cell, python=PythonVersion.parse("3.13t")))
    with pytest.raises(HostError) as caught:
        ground.backend().resolve_on_top(free, CONDA)
    assert caught.value.message == (
        f"{CELL}: pip-packages: uv resolves for a free-threaded Python only with that interpreter at hand"
    )
    assert caught.value.hint == "take them from a conda channel: packages, conda-packages"


# -- private sources -------------------------------------------------------------------------------------------------


def test_a_private_source_alone_serves_what_it_claims(ground: Ground, fake_index: FakeIndex) -> None:
    ground.add("corp-tools", "1.0", "corp-base", "alone", index=fake_index)
    ground.add("corp-base", "1.0", index=fake_index)
    ground.add("corp-base", "9.0")
    ground.add("corp-tools", "9.0")
    url = f"{fake_index.url}/simple"
    ground.more = f'sources: {{corp: {{index: "{url}", packages: ["corp-*"]}}}}'
    added = ground.backend(corp=url).resolve_on_top(ground.request("corp-tools"), CONDA)
    assert [(one.name, str(one.version), one.source) for one in added.artifacts] == [
        ("alone", "1.0", "pypi"),
        ("corp-base", "1.0", "corp"),
        ("corp-tools", "1.0", "corp"),
    ]
    with_base = ground.backend(corp=url).resolve_on_top(ground.request("corp-tools"), (*CONDA, conda("corp-base", "3")))
    assert [one.name for one in with_base.artifacts] == ["alone", "corp-tools"]


def test_a_source_without_an_index_cannot_serve_pip(ground: Ground) -> None:
    ground.more = 'sources: {corp: {conda-channel: "https://conda.corp.example/corp", packages: ["corp-*"]}}'
    with pytest.raises(UsageError) as caught:
        ground.resolved("corp-tools")
    assert caught.value.message == f"{CELL}: pip-packages: corp-tools comes only from source corp, which has no index"
    assert caught.value.hint == "take it from its conda channel: packages: [corp-tools]"


# -- installing ------------------------------------------------------------------------------------------------------

SITE = "lib/python3.11/site-packages"


class Fake:
    """A pip that only writes what it is told to, below the prefix of the request."""

    def __init__(self, write: Callable[[Path], None]) -> None:
        self.write = write
        self.asked: list[CreateRequest] = []

    def install_on_top(self, request: CreateRequest, _python: Path, _sandbox: object) -> tuple[str, ...]:
        self.asked.append(request)
        self.write(request.prefix)
        return ("a remark",)


def prefix_with(folder: Path, package: str, files: dict[str, str]) -> Path:
    """An environment with one conda package."""
    prefix = folder / "env"
    paths = []
    for name, text in files.items():
        path = prefix / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append({"_path": name, "path_type": "hardlink", "sha256": "f" * 64, "sha256_in_prefix": sha256(path)})
    meta = prefix / "conda-meta" / f"{package}-1.0-0.json"
    meta.parent.mkdir(parents=True)
    said = {"name": package, "files": list(files), "paths_data": {"paths": paths, "paths_version": 1}}
    meta.write_text(json.dumps(said), encoding="utf-8")
    return prefix


def installs(*files: str, text: str = "from pip\n") -> Callable[[Path], None]:
    """As uv leaves ``lit``: these files, by their paths below the prefix, and a RECORD of them."""

    def write(prefix: Path) -> None:
        info = prefix / SITE / "lit-1.0.dist-info"
        info.mkdir(parents=True)
        for name in files:
            (prefix / name).parent.mkdir(parents=True, exist_ok=True)
            (prefix / name).write_text(text, encoding="utf-8")
        rows = [f"../../../{name},," if not name.startswith(SITE) else f"{name[len(SITE) + 1 :]},," for name in files]
        (info / "RECORD").write_text("\n".join(rows) + "\n", encoding="utf-8")

    return write


def on_top(prefix: Path, fake: Fake) -> tuple[str, ...]:
    lit = replace(conda("lit", "1.0"), version=Version("1.0"), conda=None)
    request = CreateRequest(lockfile=locked([*CONDA, lit]), prefix=prefix, interpreter=None)
    pip: PipOnTop = fake  # type: ignore[assignment]  # the one method of it that is used
    return install_on_top(pip, request, prefix / "bin" / "python", None)  # type: ignore[arg-type]  # nothing is run


def test_pip_gets_its_own_part_of_the_record(tmp_path: Path) -> None:
    fake = Fake(installs(f"{SITE}/lit.py", "bin/lit"))
    assert on_top(prefix_with(tmp_path, "tool", {"bin/tool": "tool\n"}), fake) == ("a remark",)
    assert [[one.name for one in request.lockfile.artifacts] for request in fake.asked] == [["lit"]]


@pytest.mark.parametrize("file", [f"{SITE}/tests/__init__.py", "bin/tool"])
def test_a_file_of_a_conda_package_stays_what_it_is(tmp_path: Path, file: str) -> None:
    prefix = prefix_with(tmp_path, "tool", {file: "from conda\n"})
    with pytest.raises(CellError) as caught:
        on_top(prefix, Fake(installs(f"{SITE}/lit.py", file)))
    assert caught.value.message == f"{CELL}: lit of pip-packages writes over {file} of the conda package tool"
    assert caught.value.hint == "take one of the two alone: lit from pip, or tool from conda"


def test_the_same_file_in_both_is_in_nobodys_way(tmp_path: Path) -> None:
    file = f"{SITE}/tests/__init__.py"
    assert on_top(prefix_with(tmp_path, "tool", {file: ""}), Fake(installs(file, text=""))) == ("a remark",)


@pytest.mark.parametrize("file", ["LIT-0.9.dist-info/METADATA", "lit-0.9-py3.11.egg-info", "Lit-0.9.egg-info/PKG-INFO"])
def test_a_distribution_that_conda_brings_under_another_name(tmp_path: Path, file: str) -> None:
    """Only the unpacked package shows it: uv would take it away."""
    fake = Fake(installs(f"{SITE}/lit.py"))
    with pytest.raises(CellError) as caught:
        on_top(prefix_with(tmp_path, "lit-core", {f"{SITE}/{file}": "x"}), fake)
    assert caught.value.message == (
        f"{CELL}: pip-packages bring lit 1.0, and the conda package lit-core brings lit too"
    )
    assert caught.value.hint == "leave it to conda: take it off pip-packages, and name it under packages: [lit]"
    assert fake.asked == []


def test_a_damaged_conda_meta(tmp_path: Path) -> None:
    prefix = prefix_with(tmp_path, "tool", {})
    (prefix / "conda-meta" / "tool-1.0-0.json").write_text("[]", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"conda-meta/tool-1\.0-0\.json cannot be read"):
        on_top(prefix, Fake(installs()))
