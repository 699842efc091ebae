"""What the solver is asked for a cell: specs, constraints, virtual packages, names."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from torchmatrix.backends.conda_specs import (
    Names,
    build_accelerator,
    build_glob,
    family_constraints,
    family_specs,
    python_spec,
    question,
    versions,
    virtual_packages,
)
from torchmatrix.errors import CellError
from torchmatrix.lock.demands import Demands
from torchmatrix.matrix.model import Backend, Cell, SandboxKind, TorchRequest
from torchmatrix.target import Accelerator, Platform, PythonVersion, Target

KNOWN = ("numpy", "pytorch", "torchvision", "typing_extensions", "ruamel.yaml", "msgpack-python", "py-opencv", "mkl")


def cell(
    platform: str = "linux-64",
    accelerator: str = "cpu",
    *,
    source: str = "conda-forge",
    torch: str = "2.5.1",
    python: str = "3.11",
    channels: tuple[str, ...] = (),
    conda_packages: tuple[str, ...] = (),
    pip_packages: tuple[str, ...] = (),
) -> Cell:
    return Cell(
        id="one",
        python=PythonVersion.parse(python),
        channel="stable",
        target=Target(name="t", platform=Platform(platform), accelerator=Accelerator.parse(accelerator)),
        backend=Backend.CONDA,
        sandbox=SandboxKind.NATIVE,
        torch=TorchRequest.parse(torch),
        torch_version=None,
        source=source,
        conda_channels=channels or tuple(dict.fromkeys((source, "conda-forge"))),
        conda_packages=conda_packages,
        pip_packages=tuple(Requirement(text) for text in pip_packages),
    )


def asked(one: Cell, *requirements: str, constraints: tuple[str, ...] = ()) -> tuple[str, ...]:
    demands = Demands(
        requirements=tuple(Requirement(text) for text in requirements),
        constraints=tuple(Requirement(text) for text in constraints),
    )
    return question(one, demands, Names(known=KNOWN)).specs


@pytest.mark.parametrize(
    ("specifier", "expected"),
    [
        ("", None),
        ("==2.13.0", "==2.13.0"),
        ("==2.13.*", "2.13.*"),
        ("===2.13.0", "==2.13.0"),
        ("!=2.13.*", "!=2.13.*"),
        ("~=2.13.1", ">=2.13.1,2.13.*"),
        ("~=2.13", ">=2.13,2.*"),
        ("~=1.0.post1", ">=1.0.post1,1.*"),
        (">=2.11,<2.13", "<2.13a0,>=2.11"),
        ("<2.13rc1", "<2.13rc1"),
    ],
)
def test_specifiers_in_condas_words(specifier: str, expected: str | None) -> None:
    assert versions(SpecifierSet(specifier)) == expected


@pytest.mark.parametrize("specifier", ["==2.13.*", "~=2.13.1", "!=2.13.*", ">=2.11,<2.13", "===2.13.0"])
def test_the_solver_reads_them(specifier: str) -> None:
    from rattler import MatchSpec

    assert str(MatchSpec(f"numpy {versions(SpecifierSet(specifier))}", strict=True)).startswith("numpy ")


def test_a_local_version_is_refused() -> None:
    with pytest.raises(CellError) as caught:
        asked(cell(), "numpy==2.13.0+cpu")
    assert caught.value.message == "one: numpy==2.13.0+cpu: conda packages have no local versions"
    assert caught.value.hint == "leave the local version away; the target's accelerator chooses the build"


@pytest.mark.parametrize(
    ("python", "expected"), [("3.11", "python 3.11.*"), ("3.13t", "python 3.13.* *_cp313t"), ("3.8", "python 3.8.*")]
)
def test_python(python: str, expected: str) -> None:
    assert python_spec(PythonVersion.parse(python)) == expected


@pytest.mark.parametrize(
    ("platform", "accelerator", "source", "torch", "specs", "limits"),
    [
        ("linux-64", "cpu", "conda-forge", "2.5.1", ["pytorch ==2.5.1 cpu*"], []),
        ("linux-64", "cpu", "conda-forge", "stable", ["pytorch * cpu*"], []),
        ("osx-arm64", "mps", "conda-forge", ">=2.5,<3", ["pytorch <3a0,>=2.5 cpu*"], []),
        (
            "linux-64",
            "cu126",
            "conda-forge",
            "2.6.0",
            ["pytorch ==2.6.0 cuda126*"],
            ["cuda-version 12.6.*", "cudatoolkit 12.6.*"],
        ),
        ("linux-64", "cpu", "pytorch-conda", "2.1.0", ["pytorch ==2.1.0 *_cpu_*", "cpuonly"], []),
        ("osx-arm64", "mps", "pytorch-conda", "2.3.1", ["pytorch ==2.3.1"], []),
        ("osx-64", "cpu", "pytorch-conda", "2.2.2", ["pytorch ==2.2.2"], []),
        (
            "linux-64",
            "cu118",
            "pytorch-conda",
            "2.1.0",
            ['pytorch ==2.1.0[build="*_cuda11.8_*"]'],
            ["cuda-version 11.8.*", "cudatoolkit 11.8.*", "pytorch-cuda 11.8.*"],
        ),
        (
            "linux-64",
            "cu113",
            "pytorch-conda",
            "1.12.1",
            ['pytorch ==1.12.1[build="*_cuda11.3_*"]'],
            ["cuda-version 11.3.*", "cudatoolkit 11.3.*"],
        ),
    ],
)
def test_the_variant_is_pinned(
    platform: str, accelerator: str, source: str, torch: str, specs: list[str], limits: list[str]
) -> None:
    one = cell(platform, accelerator, source=source, torch=torch)
    assert family_specs(one) == specs
    assert family_constraints(one) == limits


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        ("cpu_mkl_py311_h338015a_100", "cpu"),
        ("cpu_generic_py311_hbaf2b46_0", "cpu"),
        ("cuda118_py311h4ee7bbc_301", "cu118"),
        ("cuda129_mkl_py311_h49b8cc7_300", "cu129"),
        ("cuda126py310h382487b_5", "cu126"),
        ("cuda112py39h4e14dd4_0", "cu112"),
        ("py3.10_cpu_0", "cpu"),
        ("py3.10_cuda11.8_cudnn8.7.0_0", "cu118"),
        ("py3.10_cuda10.1.243_cudnn7.6.3_0", "cu101"),
        ("py3.9_cuda9.2.148_cudnn7.6.3_0", "cu92"),
        ("py310_cpu", "cpu"),
        ("py310_cu118", "cu118"),
        ("py36_cu92", "cu92"),
        ("cpu_py314_hf84c570_0", "cpu"),
        ("py3.11_0", None),
        ("h7e8668a_5", None),
        ("pyhd8ed1ab_0", None),
    ],
)
def test_what_a_build_string_says(build: str, expected: str | None) -> None:
    assert build_accelerator(build) == expected


def test_every_recorded_build_of_torch_is_understood() -> None:
    """No build of the old conda channel matches the globs of two variants."""
    from fnmatch import fnmatchcase

    for build in ("py3.10_cpu_0", "py3.10_cuda11.8_cudnn8.7.0_0", "py3.10_cuda12.1_cudnn8.9.2_0"):
        globs = [build_glob(cell(accelerator=one, source="pytorch-conda")) for one in ("cpu", "cu118", "cu121")]
        assert sum(fnmatchcase(build, glob) for glob in globs if glob) == 1, build


@pytest.mark.parametrize(
    ("platform", "accelerator", "expected"),
    [
        ("linux-64", "cpu", "__unix=0=0 __linux=4.18=0 __glibc=2.28=0 __archspec=1=x86_64"),
        ("linux-64", "cu118", "__unix=0=0 __linux=4.18=0 __glibc=2.28=0 __archspec=1=x86_64 __cuda=11.8=0"),
        ("linux-aarch64", "cpu", "__unix=0=0 __linux=4.18=0 __glibc=2.28=0 __archspec=1=aarch64"),
        ("osx-arm64", "mps", "__unix=0=0 __osx=14.0=0 __archspec=1=m1"),
        ("osx-64", "cpu", "__unix=0=0 __osx=10.13=0 __archspec=1=x86_64"),
        ("win-64", "cpu", "__win=0=0 __archspec=1=x86_64"),
    ],
)
def test_the_target_says_what_a_machine_brings(platform: str, accelerator: str, expected: str) -> None:
    assert " ".join(map(str, virtual_packages(cell(platform, accelerator).target))) == expected


def test_names_are_looked_up_in_the_spellings_of_conda_channels() -> None:
    names = Names(known=KNOWN)
    found = {name: names.of(name) for name in ("torch", "NumPy", "typing-extensions", "ruamel.yaml", "msgpack", "what")}
    assert found == {
        "torch": "pytorch",
        "NumPy": "numpy",
        "typing-extensions": "typing_extensions",
        "ruamel.yaml": "ruamel.yaml",
        "msgpack": "msgpack-python",
        "what": None,
    }


def test_requirements_become_specs() -> None:
    one = cell(source="pytorch-conda", conda_packages=("mkl 2024.*", "torchaudio"), pip_packages=("rich",))
    found = asked(one, "numpy>=1.26", "torchvision", "opencv-python", "rich>=13", "colorama; sys_platform == 'win32'")
    assert found == (
        "python 3.11.*",
        "pytorch ==2.5.1 *_cpu_*",
        "cpuonly",
        "numpy >=1.26",
        "torchvision * *_cpu",
        "py-opencv",
        "mkl 2024.*",
        "torchaudio",
    )


def test_extras_are_left_out_and_said() -> None:
    demands = Demands(requirements=(Requirement("numpy[fast,more]"),))
    found = question(cell(), demands, Names(known=KNOWN))
    (remark,) = found.remarks
    assert remark == (
        "conda packages have no extras: numpy[fast,more] is taken as numpy; name what the extra brings under "
        "conda-packages"
    )


def test_a_package_that_no_conda_channel_has() -> None:
    with pytest.raises(CellError) as caught:
        asked(cell(), "numpy", "what", "nmupy")
    assert caught.value.message == (
        "one: no conda packages what, nmupy for linux-64 in conda-forge; nmupy: did you mean numpy?"
    )
    assert caught.value.hint == (
        "name it under conda-packages by its conda name, let pip install it on top (pip-packages), or add a conda "
        "channel that has it (conda-channels)"
    )


def test_constraints_do_not_ask_for_packages() -> None:
    demands = Demands(requirements=(), constraints=(Requirement("numpy<2"), Requirement("what<3")))
    found = question(cell(), demands, Names(known=KNOWN))
    assert "numpy <2a0" in found.constraints
    assert not any("what" in text for text in (*found.specs, *found.constraints))
