"""What the same tests need of each backend: a matrix, and its sources as a scene serves them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.cli.project import CELL, SMALL

if TYPE_CHECKING:
    from tests.support.conda_scene import CondaScene
    from tests.support.stage import Stage

CONDA = SMALL + "backend: conda\n"
"""`SMALL`, which the conda backend makes."""
CONDA_CELL = f"{CELL}-conda"

_AT_CONDA_SOURCE = """
import json, sys
import torchmatrix.sources.channels as channels
channels.CONDA_BASES = json.loads(sys.argv.pop(1))
import torchmatrix.lock.formats.addresses as addresses
addresses._ANACONDA = channels.CONDA_BASES["conda-forge"].removesuffix("conda-forge")
from torchmatrix.cli import main
main()
"""


def at_conda_source(at: Stage, scene: CondaScene) -> Stage:
    """The same with the conda channels of a scene as the real ones: the way to reach them, not mirrors of them."""
    bases = {"conda-forge": scene.conda_forge_url, "pytorch-conda": scene.pytorch_url, "nvidia": scene.nvidia_url}
    return replace(at, program=(sys.executable, "-c", _AT_CONDA_SOURCE, json.dumps(bases)))
