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
from torchmatrix.cli import main
main()
"""
_ROUTED = """
import sys
from torchmatrix.sources.web import Web
base, send = sys.argv.pop(1), Web._send
def routed(self, method, url, headers, credentials):
    return send(self, method, url.replace("https://conda.anaconda.org", base), headers, credentials)
Web._send = routed
from torchmatrix.cli import main
main()
"""


def at_conda_source(at: Stage, scene: CondaScene) -> Stage:
    """The same with the conda channels of a scene as the real ones: the way to reach them, not mirrors of them."""
    bases = {"conda-forge": scene.conda_forge_url, "pytorch-conda": scene.pytorch_url, "nvidia": scene.nvidia_url}
    return replace(at, program=(sys.executable, "-c", _AT_CONDA_SOURCE, json.dumps(bases)))


def routed(at: Stage, scene: CondaScene) -> Stage:
    """The same where requests for the real conda channels reach a scene: every file has the real addresses."""
    return replace(at, program=(sys.executable, "-c", _ROUTED, scene.server.url))
