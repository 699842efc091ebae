"""Which cells a command means."""

from __future__ import annotations

from typing import Any

import pytest

from torchmatrix.errors import UsageError
from torchmatrix.matrix.model import Backend, Cell, Dropped, SandboxKind, TorchRequest, cell_id
from torchmatrix.matrix.select import select
from torchmatrix.target import Accelerator, Platform, PythonVersion, Target


def cell(python: str, channel: str, target: str, backend: Backend = Backend.PIP) -> Cell:
    version = PythonVersion.parse(python)
    return Cell(
        id=cell_id(version, channel, target, backend),
        python=version,
        channel=channel,
        target=Target(name=target, platform=Platform.LINUX_64, accelerator=Accelerator.parse("cpu")),
        backend=backend,
        sandbox=SandboxKind.NATIVE,
        torch=TorchRequest.parse("stable"),
        torch_version=None,
        source="pytorch",
    )


CELLS = (
    *(
        cell(python, channel, target)
        for python in ("3.10", "3.11")
        for channel in ("stable", "nightly")
        for target in ("cpuonly", "gpu")
    ),
    cell("3.11", "stable", "cpuonly", Backend.CONDA),
)
GONE = (
    Dropped(
        id="py313-nightly-cu118",
        reason="nightlies stopped building CUDA 11.8 in June 2025",
        url="https://e.example",
        nearest=("py311-stable-cpuonly", "nightly with cu130"),
    ),
    Dropped(id="py312-stable-gpu", reason="numba", excluded=True),
)


def ids(*patterns: str, **filters: Any) -> list[str]:
    return [each.id for each in select(CELLS, patterns, **filters)]


def test_nothing_named_selects_all() -> None:
    assert select(CELLS) == CELLS


def test_ids_and_globs_in_matrix_order_without_repeats() -> None:
    assert ids("py311-stable-gpu", "py310-*-gpu", "py310-stable-gpu") == [
        "py310-stable-gpu",
        "py310-nightly-gpu",
        "py311-stable-gpu",
    ]


def test_axis_values_are_alternatives_and_axes_conditions() -> None:
    assert ids(python=("3.11",), channel=("stable",), target=("cpuonly", "gpu")) == [
        "py311-stable-cpuonly",
        "py311-stable-gpu",
        "py311-stable-cpuonly-conda",
    ]
    assert ids("*cpuonly*", backend=("conda",)) == ["py311-stable-cpuonly-conda"]


def error(*patterns: str, **filters: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        select(CELLS, patterns, dropped=GONE, **filters)
    return caught.value


def test_unknown_id_names_near_misses() -> None:
    assert str(error("py311-stabel-gpu")) == (
        "no cell matches 'py311-stabel-gpu'\n"
        "hint: did you mean py311-stable-gpu, py310-stable-gpu, py311-stable-cpuonly?"
    )


def test_one_pattern_without_a_cell_is_an_error_beside_others() -> None:
    assert error("py311-*", "zzz").message == "no cell matches 'zzz'"
    assert error("zzz").hint == "torchmatrix list shows the cells"


def test_dropped_id_tells_its_reason() -> None:
    assert str(error("py313-nightly-cu118")) == (
        "the cell py313-nightly-cu118 does not exist: nightlies stopped building CUDA 11.8 in June 2025 (https://e.example)\n"
        "hint: nearest: py311-stable-cpuonly, nightly with cu130"
    )
    assert str(error("py312-stable-gpu")) == "the cell py312-stable-gpu is excluded: numba"


def test_glob_of_dropped_ids_tells_their_reasons() -> None:
    assert error("py312-*").message == "'py312-*' matches only combinations without a cell: py312-stable-gpu: numba"


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"python": ("3.1",)}, "no cell has python '3.1'\nhint: did you mean 3.11, 3.10?"),
        ({"target": ("cpu-only",)}, "no cell has target 'cpu-only'\nhint: did you mean cpuonly?"),
        ({"backend": ("uv",)}, "no cell has backend 'uv'\nhint: the cells have pip, conda"),
        (
            {"target": ("cu118",)},
            (
                "no cell has target 'cu118': every combination with it is left out, py313-nightly-cu118 because "
                "nightlies stopped building CUDA 11.8 in June 2025\n"
                "hint: torchmatrix list --all shows all of them with their reasons"
            ),
        ),
    ],
)
def test_unknown_axis_value(filters: dict[str, tuple[str, ...]], text: str) -> None:
    assert str(error(**filters)) == text


def test_conditions_that_no_cell_meets_together() -> None:
    assert str(error("py310-*", backend=("conda",))) == (
        "no cell matches all of 'py310-*', --backend conda\n"
        "hint: leave one out, or see what exists: torchmatrix list --all"
    )


def test_empty_matrix_without_any_wish_is_empty() -> None:
    assert select(()) == ()
