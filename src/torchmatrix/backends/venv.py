"""Where things are in a virtual environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def venv_python(prefix: Path) -> Path:
    """The interpreter of the virtual environment at ``prefix``."""
    return prefix / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
