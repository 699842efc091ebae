"""Runs inside an environment and says what it is: ``PY -I probe SPEC.json``, or ``-`` for the spec on stdin.

Needs Python 3.8 or later and nothing but the standard library and the torch under test: this folder, under whatever
name, may be copied or mounted into another machine or container and run there (`torchmatrix.verify.PROBE` is the
folder, ``run_probe(probe=...)`` takes where the interpreter finds it). Prints one JSON object on stdout, whatever
torch prints there. The checks run in a child process that imports torch once; a check that hangs or crashes costs
that child alone: the check is `failed`, and a new child goes on with the next one.
"""

from __future__ import annotations

from .context import SCHEMA
from .digest import environment_digest
from .installed import canonical, installed
from .registry import CHECKS, WITHOUT_TORCH

__all__ = ["CHECKS", "SCHEMA", "WITHOUT_TORCH", "canonical", "environment_digest", "installed"]
