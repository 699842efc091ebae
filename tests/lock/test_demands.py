"""What a cell demands: the project's tables, requirement files, and the digest of it all."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from tests.lock.samples import MACOS, WINDOWS, cell, matrix
from torchmatrix.errors import UsageError
from torchmatrix.lock.demands import (
    Demands,
    changed_inputs,
    floor_of,
    gather,
    input_digest,
    input_form,
    project_requirements,
    read_requirements,
)
from torchmatrix.matrix.model import Backend, PrivateSource, Project, TorchRequest
from torchmatrix.target import Accelerator, Platform, PythonVersion, Target

if TYPE_CHECKING:
    from pathlib import Path

PYPROJECT = """\
[project]
name = "My_Project"
version = "1.0"
dependencies = ["numpy>=2", "requests"]

[project.optional-dependencies]
test = ["pytest"]
gpu-Tools = ["pynvml"]
all = ["my-project[test,gpu_tools]", "rich"]
ring = ["My.Project[ring]", "six"]

[dependency-groups]
dev = ["ruff", {include-group = "Type_Checks"}]
type-checks = ["mypy", {include-group = "stubs"}]
stubs = ["types-requests"]
a = [{include-group = "b"}]
b = [{include-group = "A"}]
odd = [{include-file = "x"}]
strange = [{include-group = 3}]
number = [3]
"""


def texts(requirements: list[Requirement] | tuple[Requirement, ...]) -> list[str]:
    return [str(requirement) for requirement in requirements]


def of_project(folder: Path, text: str = PYPROJECT, **project: Any) -> list[str]:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    name, found = project_requirements(Project(path=".", **project), folder)
    assert name == "my-project"
    return texts(found)


def refusal(folder: Path, text: str = PYPROJECT, **project: Any) -> str:
    with pytest.raises(UsageError) as caught:
        of_project(folder, text, **project)
    return str(caught.value)


def read(folder: Path, **files: str | bytes) -> list[tuple[str, bool]]:
    """The requirements of ``main`` where ``files`` are the texts of files ``NAME.txt``."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read_requirements(folder / "main.txt", label="main.txt")
    return [(str(requirement), constraint) for requirement, constraint in found]


def file_refusal(folder: Path, **files: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        read(folder, **files)
    return str(caught.value)


# The project


def test_dependencies_alone(tmp_path: Path) -> None:
    assert of_project(tmp_path) == ["numpy>=2", "requests"]


def test_extras_and_groups_are_named_loosely(tmp_path: Path) -> None:
    found = of_project(tmp_path, extras=("GPU.tools",), groups=("Stubs",))
    assert found == ["numpy>=2", "requests", "pynvml", "types-requests"]


def test_an_extra_may_name_others_of_the_project(tmp_path: Path) -> None:
    assert of_project(tmp_path, extras=("all",)) == ["numpy>=2", "requests", "pynvml", "pytest", "rich"]


def test_an_extra_that_names_itself_ends(tmp_path: Path) -> None:
    assert of_project(tmp_path, extras=("ring",)) == ["numpy>=2", "requests", "six"]


def test_groups_include_groups(tmp_path: Path) -> None:
    assert of_project(tmp_path, groups=("dev",)) == ["numpy>=2", "requests", "ruff", "mypy", "types-requests"]


def test_the_same_requirement_twice_is_one(tmp_path: Path) -> None:
    assert of_project(tmp_path, extras=("test", "test", "all")).count("pytest") == 1


def test_a_cycle_of_groups_is_said(tmp_path: Path) -> None:
    assert refusal(tmp_path, groups=("a",)) == "pyproject.toml: dependency group 'A' includes itself: a -> b -> a"


@pytest.mark.parametrize(
    ("group", "item"), [("odd", "{'include-file': 'x'}"), ("strange", "{'include-group': 3}"), ("number", "3")]
)
def test_what_pep_735_does_not_know(tmp_path: Path, group: str, item: str) -> None:
    expected = f"pyproject.toml: dependency group {group!r} holds {item}, which PEP 735 does not know"
    assert refusal(tmp_path, groups=(group,)) == expected


def test_unknown_names_come_with_the_known_ones(tmp_path: Path) -> None:
    assert refusal(tmp_path, extras=("tests",)) == (
        "pyproject.toml: has no extra 'tests' (it has: all, gpu-tools, ring, test)\nhint: correct project.extras"
    )
    assert refusal(tmp_path, groups=("docs",)) == (
        "pyproject.toml: has no dependency group 'docs' (it has: a, b, dev, number, odd, strange, stubs, type-checks)\n"
        "hint: correct project.groups"
    )
    bare = '[project]\nname = "my-project"\n'
    assert "(it has: none)" in refusal(tmp_path, bare, extras=("test",))
    assert "(it has: none)" in refusal(tmp_path, bare, groups=("test",))


DYNAMIC = (
    "pyproject.toml: its dependencies are dynamic, and reading them would run its build code\n"
    "hint: write them in [project] dependencies, or list them in a file and name it under `requirements:`"
)


def test_dynamic_dependencies_are_refused(tmp_path: Path) -> None:
    text = '[project]\nname = "my-project"\ndynamic = ["dependencies"]\n'
    assert refusal(tmp_path, text) == DYNAMIC


def test_dynamic_extras_are_refused_only_where_an_extra_is_wanted(tmp_path: Path) -> None:
    text = '[project]\nname = "my-project"\ndynamic = ["version", "optional-dependencies"]\ndependencies = ["six"]\n'
    assert of_project(tmp_path, text) == ["six"]
    assert refusal(tmp_path, text, extras=("test",)) == DYNAMIC


@pytest.mark.parametrize("text", ["", "[project]\n", "[project]\nname = 3\n", "project = 'x'\n"])
def test_a_project_needs_a_name(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text) == "pyproject.toml: has no [project] table with a name\nhint: see PEP 621"


def test_broken_toml_and_bad_requirements_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[project\n").startswith("pyproject.toml: is not valid TOML: ")
    text = '[project]\nname = "my-project"\ndependencies = ["numpy>>2"]\n'
    assert refusal(tmp_path, text).startswith("pyproject.toml: 'numpy>>2': is no requirement: ")
    text = '[project]\nname = "my-project"\ndependencies = ["x @ https://other.example/x.whl"]\n'
    assert "is a direct reference, and a cell takes packages only from its named sources" in refusal(tmp_path, text)


NO_LIST = 'is no list\nhint: write for example: ["numpy>=2"]'


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('dependencies = "numpy"', f"project.dependencies: {NO_LIST}"),
        ("dependencies = 3", f"project.dependencies: {NO_LIST}"),
        ('optional-dependencies = ["test"]', "project.optional-dependencies: is no table of lists"),
        ('optional-dependencies = {test = "pytest"}', f"project.optional-dependencies.test: {NO_LIST}"),
        ("optional-dependencies = {Test = 3}", f"project.optional-dependencies.Test: {NO_LIST}"),
        ("[dependency-groups]\ndev = 'ruff'", f"dependency-groups.dev: {NO_LIST}"),
    ],
)
def test_tables_of_another_shape_are_refused(tmp_path: Path, table: str, message: str) -> None:
    assert refusal(tmp_path, f'[project]\nname = "my-project"\n{table}\n') == f"pyproject.toml: {message}"


@pytest.mark.parametrize("table", ["dependencies = [3]", "optional-dependencies = {test = [3]}"])
def test_a_number_is_no_requirement(tmp_path: Path, table: str) -> None:
    text = f'[project]\nname = "my-project"\n{table}\n'
    options = {"extras": ("test",)} if "optional" in table else {}
    message = refusal(tmp_path, text, **options)
    assert message.startswith("pyproject.toml: ")
    assert ": 3: is no requirement: " in message


def test_no_project_at_the_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        project_requirements(Project(path="libs/one/"), tmp_path)
    assert str(caught.value) == (
        "libs/one/pyproject.toml: cannot be read: No such file or directory\nhint: correct project.path"
    )


# Requirement files


def test_a_plain_file(tmp_path: Path) -> None:
    text = "\n# a comment\nnumpy>=2  # why\n  six==1.0\nurl-like[extra]; python_version < '3.12'\n"
    assert read(tmp_path, main=text) == [
        ("numpy>=2", False),
        ("six==1.0", False),
        ('url-like[extra]; python_version < "3.12"', False),
    ]


def test_continued_lines_hashes_and_crlf(tmp_path: Path) -> None:
    text = "numpy==2.0 \\\r\n    --hash=sha256:" + "a" * 64 + " \\\r\n    --hash=sha256:" + "b" * 64 + "\r\nsix \\\r\n"
    assert read(tmp_path, main=text) == [("numpy==2.0", False), ("six", False)]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert read(tmp_path, main="numpy\n".encode("utf-8-sig")) == [("numpy", False)]


def test_files_are_followed_from_where_they_stand(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        main="-r sub/one.txt\n--requirement=sub/two.txt\n-c pins.txt\n",
        sub__one="six\n-r three.txt\n",
        sub__two="numpy\n",
        sub__three="pytest\n",
        pins="pytest<9\n-r more.txt\n",
        more="rich<15\n",
    )
    assert found == [
        ("six", False),
        ("pytest", False),
        ("numpy", False),
        ("pytest<9", True),
        ("rich<15", True),  # what a constraint file includes is a constraint
    ]


def test_a_constraint_below_a_requirements_file_stays_one(tmp_path: Path) -> None:
    found = read(tmp_path, main="-r one.txt\n", one="six\n-c pins.txt\n", pins="six<2\n")
    assert found == [("six", False), ("six<2", True)]


def test_one_file_twice_is_no_cycle(tmp_path: Path) -> None:
    assert read(tmp_path, main="-r one.txt\n-r one.txt\n", one="six\n") == [("six", False), ("six", False)]


def test_a_cycle_of_files_is_said(tmp_path: Path) -> None:
    assert file_refusal(tmp_path, main="-r one.txt\n", one="-r ./main.txt\n") == "main.txt: includes itself"


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://corp.example/simple",
        "--extra-index-url=https://corp.example/simple",
        "-i https://corp.example/simple",
        "-f ./wheels",
        "--find-links ./wheels",
        "--trusted-host corp.example",
        "--no-index",
    ],
)
def test_index_options_are_refused(tmp_path: Path, line: str) -> None:
    assert file_refusal(tmp_path, main=f"six\n{line}\n") == (
        f"main.txt:2: {re.split('[ =]', line)[0]} is refused: an index named there would serve every package, so that "
        "whoever publishes a name on either index wins (dependency confusion)\n"
        "hint: name the index in matrix.yaml with the packages that it alone serves: "
        'sources: {corp: {index: URL, packages: ["corp-*"]}}'
    )


@pytest.mark.parametrize("line", ["-e .", "--editable=.", "--pre", "--no-binary :all:", "--require-hashes", "-r"])
def test_other_options_are_refused(tmp_path: Path, line: str) -> None:
    assert file_refusal(tmp_path, main=f"{line}\n") == (
        f"main.txt:1: the option {re.split('[ =]', line)[0]} is not supported in a requirements file of a cell\n"
        "hint: name requirements only; editable installs belong under `project:`"
    )


@pytest.mark.parametrize("line", ["x @ https://other.example/x-1.0.whl", "x @ file:///x.whl", "x @ git+https://h/x"])
def test_direct_references_are_refused(tmp_path: Path, line: str) -> None:
    assert file_refusal(tmp_path, main=f"\n\n{line}\n") == (
        "main.txt:3: is a direct reference, and a cell takes packages only from its named sources\n"
        "hint: publish it on a private index and name that under `sources:`"
    )


@pytest.mark.parametrize("line", ["./folder", "https://other.example/x-1.0.whl", "numpy>>2", "numpy 2", "=2"])
def test_what_is_no_requirement_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    message = file_refusal(tmp_path, main=f"six\n{line}\n")
    assert message.startswith("main.txt:2: is no requirement: ")
    assert message.endswith("\nhint: write for example: numpy>=2")


def test_a_continued_line_is_named_by_its_first(tmp_path: Path) -> None:
    assert file_refusal(tmp_path, main="six\n\nnumpy \\\n  >>2\n").startswith("main.txt:3: ")


def test_missing_and_binary_files(tmp_path: Path) -> None:
    assert file_refusal(tmp_path, main="-r gone.txt\n") == (
        "gone.txt: cannot be read: No such file or directory\nhint: correct the path in matrix.yaml"
    )
    assert file_refusal(tmp_path, main=b"\xff\xfen\x00") == "main.txt: is not UTF-8 text"


names = st.sampled_from(["numpy", "six", "pytest", "ruamel.yaml"])
specifiers = st.sampled_from(["", ">=2", "==1.0", "~=3.1,!=3.2"])
markers = st.sampled_from(["", "; python_version < '3.12'", "; sys_platform == 'linux'"])
gaps = st.sampled_from(["", "\n", "# comment\n", "   \n"])
ends = st.sampled_from(["\n", "  # why\n", " \\\n  --hash=sha256:00\n", "\r\n"])


@given(st.lists(st.tuples(gaps, names, specifiers, markers, ends)))
def test_every_requirement_of_a_file_is_read(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str, str, str, str]]
) -> None:
    text = "".join(gap + name + specifier + marker + end for gap, name, specifier, marker, end in lines)
    wanted = [str(Requirement(name + specifier + marker)) for _, name, specifier, marker, _ in lines]
    assert [found for found, _ in read(tmp_path_factory.getbasetemp(), main=text)] == wanted


# All of it


def test_everything_is_gathered_once(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "more.txt").write_text("six\nrequests\n-c pins.txt\n")
    (tmp_path / "pins.txt").write_text("six<2\n")
    (tmp_path / "limits.txt").write_text("numpy<3\nsix<2\n")
    value = cell(
        packages=["scipy", "requests"],
        project=Project(path=".", extras=("test",)),
        requirements=("more.txt",),
        constraints=("limits.txt",),
    )
    found = gather(value, matrix(tmp_path))
    assert texts(found.requirements) == ["scipy", "requests", "numpy>=2", "pytest", "six"]
    assert texts(found.constraints) == ["six<2", "numpy<3"]
    assert found.project_name == "my-project"


def test_files_are_looked_for_beside_the_matrix_and_named_as_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^deps/more\.txt: cannot be read"):
        gather(cell(requirements=("deps/more.txt",)), matrix(tmp_path))
    with pytest.raises(UsageError, match=r"^limits\.txt: cannot be read"):
        gather(cell(constraints=("limits.txt",)), matrix(tmp_path))


def test_a_cell_that_demands_nothing(tmp_path: Path) -> None:
    assert gather(cell(), matrix(tmp_path)) == Demands(requirements=())


CU118 = Target(name="cu118", platform=Platform.LINUX_64, accelerator=Accelerator.parse("cu118"), glibc="2.31")
CORP = {"corp": PrivateSource(name="corp", index="https://corp.example/simple", packages=("corp-*", "acme"))}


def demands(*requirements: str, constraints: tuple[str, ...] = ()) -> Demands:
    return Demands(requirements=tuple(map(Requirement, requirements)), constraints=tuple(map(Requirement, constraints)))


def test_the_input_form() -> None:
    value = cell(target=CU118, allow_sdist=("b", "a"))
    assert input_form(value, demands("six", "numpy >= 2", constraints=("six<2",)), CORP) == {
        "torch": "2.13.0",
        "python": "3.11",
        "platform": "linux-64",
        "accelerator": "cu118",
        "floor": "glibc 2.31",
        "backend": "pip",
        "source": "pytorch",
        "packages": ["numpy>=2", "six"],
        "constraints": ["six<2"],
        "allow-sdist": ["a", "b"],
        "sources": {"corp": {"index": "https://corp.example/simple", "packages": ["acme", "corp-*"]}},
    }


def test_the_digest_of_inputs_is_the_same_as_in_earlier_releases() -> None:
    # Another digest makes every committed lockfile of every user out of date: change it only together with
    # "input-form" and a line in the changelog.
    plain = input_form(cell(), demands(), {})
    assert input_digest(plain) == "sha256:79e69ddc2d117896c74a1ce0c183feeb0d056493b6d7377aa2d6e87046ca8607"
    value = cell(target=CU118, allow_sdist=("b", "a"))
    full = input_form(value, demands("six", "numpy >= 2", constraints=("six<2",)), CORP)
    assert input_digest(full) == "sha256:3d4ff4e9d47cc3ee5a8ec652a267f84c1725db1e4a08cafb79d0a85c6bf0b799"


def test_the_order_of_what_was_said_does_not_matter() -> None:
    one = input_form(cell(allow_sdist=("a", "b")), demands("six", "numpy"), CORP)
    other = input_form(cell(allow_sdist=("b", "a")), demands("numpy", "six"), CORP)
    assert input_digest(one) == input_digest(other)


def test_the_digest_survives_json() -> None:
    form = input_form(cell(allow_sdist=("a",)), demands("six", constraints=("six<2",)), CORP)
    assert input_digest(json.loads(json.dumps(form))) == input_digest(form)


@pytest.mark.parametrize(
    "change",
    [
        {"torch": TorchRequest.parse("2.12.0")},
        {"torch": TorchRequest.parse("nightly")},
        {"python": PythonVersion.parse("3.13t")},
        {"target": CU118},
        {"target": MACOS},
        {"target": Target(name="x", platform=Platform.LINUX_64, accelerator=Accelerator.parse("cpu"), glibc="2.17")},
        {"backend": Backend.CONDA},
        {"source": "pypi"},
        {"allow_sdist": ("six",)},
    ],
    ids=lambda change: "-".join(change),
)
def test_each_input_counts(change: dict[str, Any]) -> None:
    assert input_digest(input_form(cell(**change), demands(), {})) != input_digest(input_form(cell(), demands(), {}))


@pytest.mark.parametrize("changed", [demands("six"), demands(constraints=("six",))])
def test_requirements_and_constraints_count(changed: Demands) -> None:
    assert input_digest(input_form(cell(), changed, {})) != input_digest(input_form(cell(), demands(), {}))


def test_names_are_no_input() -> None:
    """A renamed target or channel asks for the same artifacts."""
    renamed = Target(name="renamed", platform=Platform.LINUX_64, accelerator=Accelerator.parse("cpu"))
    other = cell(id="py311-edge-renamed", channel="edge", target=renamed)
    assert input_form(other, demands(), {}) == input_form(cell(), demands(), {})


def test_floors() -> None:
    assert floor_of(cell()) == "glibc 2.28"
    assert floor_of(cell(target=MACOS)) == "macos 14.0"
    assert floor_of(cell(target=WINDOWS)) is None


def test_changed_inputs_in_words() -> None:
    before = {
        "torch": "2.12.0",
        "packages": ["numpy", "six"],
        "constraints": ["six<2"],
        "floor": None,
        "python": "3.11",
    }
    after = {
        "torch": "2.13.0",
        "packages": ["numpy>=2", "six"],
        "allow-sdist": ["b"],
        "floor": "glibc 2.28",
        "python": "3.11",
    }
    assert changed_inputs(before, after) == [
        "allow-sdist: added b",
        "constraints: removed six<2",
        "floor: nothing -> glibc 2.28",
        "packages: added numpy>=2",
        "packages: removed numpy",
        "torch: 2.12.0 -> 2.13.0",
    ]
    assert changed_inputs(after, after) == []


forms = st.fixed_dictionaries(
    {"packages": st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(sorted)},
    optional={"torch": st.sampled_from(["1", "2"]), "floor": st.none() | st.sampled_from(["glibc 2.28", "macos 14.0"])},
)


@given(forms, forms)
def test_there_are_words_exactly_where_something_differs(before: dict[str, object], after: dict[str, object]) -> None:
    said = {key: value for key, value in before.items() if value is not None}
    now = {key: value for key, value in after.items() if value is not None}
    assert bool(changed_inputs(before, after)) is (said != now)
