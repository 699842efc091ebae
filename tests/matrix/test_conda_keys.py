"""Keys of conda cells: what they take, how they cascade, and which conda channels a cell gets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchmatrix.catalog import load_catalog
from torchmatrix.errors import UsageError
from torchmatrix.matrix.conda import decide_channels
from torchmatrix.matrix.conda_fields import match_spec
from torchmatrix.matrix.expand import expand
from torchmatrix.matrix.load import load_matrix
from torchmatrix.matrix.model import Backend, Cell, Include, Matrix, PrivateSource, Settings, TargetSpec
from torchmatrix.matrix.problems import Rejected
from torchmatrix.target import Accelerator, Platform, PythonVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

CATALOG = load_catalog()
HEAD = """\
version: 1
axes: {python: ["3.11"], channel: [stable], target: [cpuonly]}
targets:
  cpuonly: {platform: linux-64, accelerator: cpu}
  cu118: {platform: linux-64, accelerator: cu118, torch: "2.3.1"}
"""
INCLUDE = '{python: "3.11", channel: stable, target: '


def cells(text: str) -> Mapping[str, Cell]:
    return {cell.id: cell for cell in expand(load_matrix(Path("matrix.yaml"), HEAD + text), CATALOG).cells}


def conda_cell(include: str, rest: str = "", target: str = "cpuonly") -> Cell:
    found = cells(f"include: [{INCLUDE}{target}, backend: conda{include}}}]\n{rest}")
    return found[f"py311-stable-{target}-conda"]


# --- packages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("numpy", "numpy"),
        ("  mkl   2024.* ", "mkl 2024.*"),
        ("ffmpeg >=6,<8", "ffmpeg >=6,<8"),
        ("libblas * *openblas", "libblas * *openblas"),
        ("_openmp_mutex 4.5 2_gnu", "_openmp_mutex 4.5 2_gnu"),
        ("NumPy ==1.26.4|1.25.*", "numpy ==1.26.4|1.25.*"),
        ("pytorch * cpu_generic*", "pytorch * cpu_generic*"),
    ],
)
def test_a_match_spec_is_taken_as_it_is(text: str, spec: str) -> None:
    assert match_spec(text) == spec


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("numpy=1.26", "'numpy=1.26' is not a conda package", "write numpy 1.26.*"),
        ("numpy=1.26=py311_0", "'numpy=1.26=py311_0' is not a conda package", "write numpy 1.26 py311_0"),
        ("numpy>=1.26", "'numpy>=1.26' is not a conda package", "write numpy >=1.26"),
        ("numpy >= 1.26", "'numpy >= 1.26' is not a conda package", "write numpy >=1.26"),
        ("ffmpeg >=6, <8", "'ffmpeg >=6, <8' is not a conda package", "write ffmpeg >=6,<8"),
        (
            "a b c d",
            "'a b c d' is not a conda package",
            "write NAME, NAME VERSION or NAME VERSION BUILD: mkl 2024.*, ffmpeg >=6,<8, libblas * *openblas",
        ),
        (
            "conda-forge::numpy",
            "'conda-forge::numpy' pins a conda channel",
            "write numpy and set conda-channels, or let an entry of sources claim it",
        ),
        (
            "../corp-1.0-0.conda",
            "is a URL or a path, not a package",
            "name the conda channel under sources, as conda-channel",
        ),
        ("pytorch", "pytorch does not belong among packages", 'use its own key: torch: "stable"'),
        ("torch ==2.3.1", "torch does not belong among packages", 'use its own key: torch: "2.3.1"'),
        (
            "pytorch-cuda 11.8",
            "pytorch-cuda does not belong among packages",
            "the accelerator of the target chooses torch's build",
        ),
    ],
)
def test_a_wrong_match_spec_is_refused_with_a_better_one(text: str, message: str, hint: str) -> None:
    with pytest.raises(Rejected) as caught:
        match_spec(text)
    assert (str(caught.value), caught.value.hint) == (message, hint)


def test_packages_add_up_and_belong_to_their_backend() -> None:
    text = (
        "packages: [numpy]\nconda-packages: [mkl 2024.*]\npip-packages: [rich, numpy]\n"
        f"include: [{INCLUDE}cpuonly, backend: conda, "
        "conda-packages: [ffmpeg, mkl 2024.*], pip-packages: [corp-tools]}]\n"
    )
    found = cells(text)
    pip, conda = found["py311-stable-cpuonly"], found["py311-stable-cpuonly-conda"]
    assert [str(each) for each in pip.packages] == ["numpy", "rich"]
    assert (pip.conda_packages, pip.pip_packages, pip.conda_channels) == ((), (), ())
    assert [str(each) for each in conda.packages] == ["numpy"]
    assert conda.conda_packages == ("mkl 2024.*", "ffmpeg")
    assert [str(each) for each in conda.pip_packages] == ["rich", "numpy", "corp-tools"]


# --- conda channels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("include", "target", "source", "channels"),
    [
        ("", "cpuonly", "conda-forge", ("conda-forge",)),
        (", source: conda-forge", "cpuonly", "conda-forge", ("conda-forge",)),
        (", source: pytorch", "cpuonly", "conda-forge", ("conda-forge",)),
        (", source: pypi", "cpuonly", "conda-forge", ("conda-forge",)),
        (", source: pytorch-conda", "cpuonly", "pytorch-conda", ("pytorch-conda", "conda-forge")),
        (", source: pytorch-conda", "cu118", "pytorch-conda", ("pytorch-conda", "nvidia", "conda-forge")),
        (", conda-channels: [nvidia, conda-forge]", "cpuonly", "conda-forge", ("nvidia", "conda-forge")),
        (
            ", source: pytorch-conda, conda-channels: [pytorch-conda, nvidia/label/cuda-11.8.0]",
            "cu118",
            "pytorch-conda",
            ("pytorch-conda", "nvidia/label/cuda-11.8.0"),
        ),
    ],
)
def test_conda_channels_of_a_cell(include: str, target: str, source: str, channels: tuple[str, ...]) -> None:
    cell = conda_cell(include, target=target)
    assert (cell.source, cell.conda_channels, cell.notes[1:]) == (source, channels, ())


PRIVATE = """\
sources:
  two: {conda-channel: "https://conda.example/two", packages: [two]}
  index: {index: "https://index.example/simple", packages: [index]}
  one: {index: "https://one.example/simple", conda-channel: "https://conda.example/one", packages: [one]}
"""


@pytest.mark.parametrize(
    ("include", "channels"),
    [
        ("", ("two", "one", "conda-forge")),
        (", source: one", ("two", "one", "conda-forge")),
        (", source: two", ("one", "two", "conda-forge")),
        (", source: one, conda-channels: [conda-forge]", ("two", "one", "conda-forge")),
        (", conda-channels: [conda-forge, two/label/dev]", ("one", "conda-forge", "two/label/dev")),
    ],
)
def test_private_conda_channels_stand_in_front_unless_they_are_named(include: str, channels: tuple[str, ...]) -> None:
    assert conda_cell(include, PRIVATE).conda_channels == channels


def test_conda_channels_replace_those_of_the_matrix() -> None:
    rest = "conda-channels: [conda-forge, nvidia]\n"
    assert conda_cell("", rest).conda_channels == ("conda-forge", "nvidia")
    assert conda_cell(", conda-channels: [conda-forge]", rest).conda_channels == ("conda-forge",)


def test_an_earlier_conda_channel_with_torch_is_remarked_upon() -> None:
    cell = conda_cell(", conda-channels: [pytorch-conda, nvidia, conda-forge]")
    assert cell.source == "conda-forge"
    assert cell.notes == (
        (
            "torch comes from conda-forge, although conda-channels has pytorch-conda first; source: pytorch-conda "
            "takes it from there"
        ),
    )


def test_nvidia_is_only_for_cuda_of_the_channel_pytorch() -> None:
    assert decide_channels("conda-forge", None, Accelerator.parse("cu118"), ()) == ("conda-forge",)
    assert decide_channels("corp", None, Accelerator.parse("cu118"), ("corp",)) == ("corp", "conda-forge")


def test_an_excluded_cell_is_not_judged() -> None:
    text = HEAD.replace("[cpuonly]", "[cpuonly, cu118]") + "channels: {stable: {source: pytorch-conda}}\n"
    with pytest.raises(UsageError, match="target cpuonly is pip"):
        load_matrix(Path("matrix.yaml"), text)
    exclude = 'exclude: [{target: cpuonly}, {target: cu118, python: "3.11"}]\n'
    assert load_matrix(Path("matrix.yaml"), text + exclude).exclude


# --- a matrix without a file ----------------------------------------------------------------------------------------


def built(
    include: Settings, locations: Mapping[str, tuple[int, int]] | None = None, **sources: PrivateSource
) -> Matrix:
    python = PythonVersion.parse("3.11")
    return Matrix(
        path=Path("matrix.yaml"),
        version=1,
        pythons=(python,),
        channel_axis=("stable",),
        target_axis=("cpuonly",),
        channels={},
        targets={"cpuonly": TargetSpec(platform=Platform.LINUX_64, accelerator=Accelerator.parse("cpu"))},
        defaults=Settings(),
        include=(Include(python=python, channel="stable", target="cpuonly", settings=include, name="more"),),
        sources=sources,
        locations=locations or {},
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            Settings(source="conda-forge"),
            (
                "matrix.yaml:9:5: include[0].source: conda-forge is a conda channel, and the backend of channel stable "
                "with target cpuonly is pip\n"
                "hint: write it in the target or include with backend: conda; in pip cells source is pypi or pytorch"
            ),
        ),
        (
            Settings(source="corp", backend=Backend.CONDA),
            (
                "matrix.yaml:9:5: include[0].source: source corp has no conda-channel, and the backend of channel "
                "stable with target cpuonly is conda\n"
                "hint: give sources.corp a conda-channel, or write source: conda-forge there"
            ),
        ),
        (
            Settings(backend=Backend.CONDA, conda_channels=("pytorch-conda",)),
            (
                "conda-channels: conda-forge is missing, from which channel stable with target cpuonly takes the "
                "PyTorch family\n"
                "hint: add conda-forge, or write source: pytorch-conda there"
            ),
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: Settings, message: str) -> None:
    corp = PrivateSource(name="corp", index="https://corp.example/simple", packages=("corp",))
    with pytest.raises(UsageError) as caught:
        expand(built(settings, {"include[0].source": (9, 5)}, corp=corp), CATALOG)
    assert str(caught.value) == message


def test_a_dropped_conda_cell_names_cells_then_words() -> None:
    expansion = expand(
        load_matrix(
            Path("matrix.yaml"),
            HEAD + f'include: [{INCLUDE}cpuonly, backend: conda, source: pytorch-conda, torch: "2.13.0"}}]\n',
        ),
        CATALOG,
    )
    (gone,) = expansion.dropped
    assert gone.reason == "the conda channel pytorch ends with torch 2.5.1; it has no torch 2.13.0"
    assert gone.url == "https://github.com/pytorch/pytorch/issues/138506"
    assert gone.nearest == (
        "py311-stable-cpuonly",
        "torch 2.13.0 from conda-forge",
        "torch 2.3.1 from pytorch-conda",
        "torch 2.13.0 with backend pip",
    )


def test_the_cells_of_the_documentation_expand() -> None:
    document = Path(__file__).parents[2] / "docs" / "matrix.md"
    if not document.is_file():
        pytest.skip("the documents are in a checkout, not in an installed package")
    section = document.read_text(encoding="utf-8").split("## Conda cells\n")[1].split("\n## ")[0]
    classic, mixed = (block.split("```")[0] for block in section.split("```yaml\n")[1:])
    expansion = expand(load_matrix(Path("matrix.yaml"), classic), CATALOG)
    assert not expansion.dropped
    assert {cell.id: cell.conda_channels for cell in expansion.cells} == {
        "py311-stable-cpuonly-conda": ("pytorch-conda", "conda-forge"),
        "py311-stable-cu118-conda": ("pytorch-conda", "nvidia", "conda-forge"),
        "py311-stable-mps-conda": ("pytorch-conda", "conda-forge"),
        "py311-stable-forge-conda": ("conda-forge",),
    }
    pip, conda = expand(load_matrix(Path("matrix.yaml"), mixed), CATALOG).cells
    assert [str(each) for each in pip.packages] == ["numpy", "torchmetrics", "corp-tools"]
    assert conda.conda_channels == ("corp", "conda-forge")
