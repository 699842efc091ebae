"""Why a conda cell has no solution, in words: what the catalog knows first, then the solver's conflict."""

from __future__ import annotations

import re
import sys
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING

from torchmatrix.catalog.model import CONDA_FORGE, PYTORCH_CONDA
from torchmatrix.errors import CellError
from torchmatrix.sources.channels import CONDA_BASES, plain_base

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchmatrix.backends import ResolveRequest
    from torchmatrix.backends.conda_specs import Question
    from torchmatrix.catalog import Catalog

LINES = 24
"""As much of a conflict as somebody reads."""
_PREAMBLE = "Cannot solve the request because of: "
_CHANNEL = re.compile(r' ?\[channel="([^"]+)"\]')
"""How the solver writes a spec that is pinned to a conda channel."""
_CUTOFF = re.compile(r"because the package is uploaded after the cutoff date of [\d-]+ [\d:.]+")
"""How it writes that a package is too new; in the time zone of this machine."""


def unsolvable(request: ResolveRequest, asked: Question, text: str, catalog: Catalog) -> CellError:
    """The error for a solve without a solution; ``text`` is the solver's."""
    cell = request.cell
    private = {name: plain_base(one.conda_channel) for name, one in request.sources.items() if one.conda_channel}
    conflict = plain_conflict(text, private)
    if conflict != (whole := plain_conflict(text, private, sys.maxsize)):
        request.tell(f"the whole conflict:\n{whole}")
    known = catalog.conda_remark(
        cell.torch_version or cell.torch.version,
        cell.python,
        cell.target.platform,
        cell.target.accelerator,
        cell.source,
    )
    when = f" as of {request.as_of}" if request.as_of else ""
    message = f"{cell}: no solution{when} with {', '.join(cell.conda_channels)}"
    if known:
        message += f": {known}"
    message += f"\n{conflict}"
    if asked.virtual and "__" in conflict:
        message += f"\nthe target brings: {', '.join(str(one) for one in asked.virtual)}"
    return CellError(message, hint=_hint(request, conflict))


def plain_conflict(text: str, private: Mapping[str, str] = MappingProxyType({}), limit: int = LINES) -> str:
    """The solver's words without its preamble, with conda channels by their names, and no longer than one reads."""
    text = text.removeprefix(_PREAMBLE).strip()
    for name, base in CONDA_BASES.items():
        text = text.replace(f"{base}/", f"{name}/").replace(f"{base}::", f"{name}::").replace(base, name)
        text = text.replace(f'channel="{base.rpartition("/")[2]}"', f'channel="{name}"')
    for name, base in private.items():
        text = re.sub(rf"{re.escape(base)}/?(?=[\"\s:])", name, text)
    text = _CUTOFF.sub("because it was uploaded later", _CHANNEL.sub(r" from \1", text))
    # One version of several builds fails for one reason, said once for each.
    lines = [line for line, _ in groupby(line.rstrip() for line in text.splitlines() if line.strip())]
    if len(lines) > limit:
        left = len(lines) - limit
        lines = [*lines[:limit], f"… and {left} more lines (-v shows them)"]
    return "\n".join(f"    {line}" for line in lines)


def _hint(request: ResolveRequest, conflict: str) -> str:
    cell = request.cell
    if request.as_of:
        return "choose a later as-of date, or take away the pin that did not exist then"
    if "__glibc" in conflict or "__osx" in conflict:
        key = "macos" if cell.target.platform.is_macos else "glibc"
        return f"a package needs a newer system: set {key}: in the target, or ask for an older version of it"
    if cell.source == PYTORCH_CONDA:
        return f"ask for another version, or take torch from {CONDA_FORGE} (source: {CONDA_FORGE})"
    return "ask for another version of torch, Python or the package that is named above"
