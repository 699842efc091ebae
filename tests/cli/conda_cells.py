"""Matrices of conda cells, and short ways to lock and build them through the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cli.project import answer
from tests.support.stage import HERE

if TYPE_CHECKING:
    from tests.support.stage import Stage

CPU, CU118, CU126 = "accelerator: cpu", "accelerator: cu118", "accelerator: cu126"


def cell(target: str, python: str = HERE) -> str:
    """The id of a cell."""
    return f"py{python.replace('.', '')}-stable-{target}-conda"


def matrix(targets: dict[str, str], *, torch: str = "2.5.1", python: str = HERE, more: str = "") -> str:
    """Conda cells; ``targets`` are names with their settings."""
    lines = [f'axes: {{python: ["{python}"], channel: [stable], target: [{", ".join(targets)}]}}']
    lines += [f'channels: {{stable: {{torch: "{torch}"}}}}', "targets:"]
    lines += [f"  {name}: {{{settings}}}" for name, settings in targets.items()]
    return "\n".join(["version: 1", "backend: conda", *lines, more]) + "\n"


def one(settings: str, **more: str) -> str:
    """One cell for linux-64, which is `BOX`; ``more`` as of `matrix`."""
    return matrix({"box": f"platform: linux-64, {settings}"}, **more)


def error_of(at: Stage, *arguments: str, code: int = 1) -> tuple[str, str | None]:
    """Message and hint of the one cell that fails."""
    error = answer(at.run("--json", *(arguments or ("lock",))), code)["cells"][0]["error"]
    return error["message"], error["hint"]


def store(at: Stage) -> Path:
    """The store."""
    return Path(at.env["TORCHMATRIX_CACHE"])


def build(at: Stage, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What ``build --no-verify`` answers about its one cell."""
    built = answer(at.run("--json", "build", "--no-verify", *arguments), code)["cells"][0]
    assert isinstance(built, dict)
    return built


BOX = cell("box")
