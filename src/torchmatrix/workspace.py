"""What the pipeline works with: a matrix expanded into cells, backends, sandboxes, the store, and a listener."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from torchmatrix.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torchmatrix.backends import Backend
    from torchmatrix.catalog import Catalog
    from torchmatrix.matrix.model import Cell, Expansion, Matrix, SandboxKind
    from torchmatrix.sandboxes import Sandbox
    from torchmatrix.store import Store


def _silent(_cell: str, _text: str) -> None:
    """The listener of nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Everything a command needs, made once in cli/."""

    matrix: Matrix
    expansion: Expansion
    catalog: Catalog
    store: Store
    backends: Mapping[str, Backend]
    sandboxes: Mapping[SandboxKind, Sandbox]
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The caller's environment, for processes that run inside a cell."""
    tell: Callable[[str, str], None] = _silent
    """Called with a cell's id and what happens to it."""

    @property
    def envs(self) -> Path:
        """The folder of lockfiles, committed beside the matrix."""
        return self.matrix.folder / "envs"

    @property
    def results(self) -> Path:
        """The folder of results of builds, ignored by version control."""
        return self.matrix.folder / ".torchmatrix"

    def backend(self, cell: Cell) -> Backend:
        """The backend of a cell; `HostError` when this release has none of that name."""
        try:
            return self.backends[cell.backend]
        except KeyError:
            raise HostError(
                f"{cell}: the {cell.backend} backend is not part of this release",
                hint=f"available: {', '.join(sorted(self.backends))}",
            ) from None

    def sandbox(self, cell: Cell, override: SandboxKind | None = None) -> Sandbox:
        """The sandbox of a cell; `HostError` when this release has none of that name."""
        kind = override or cell.sandbox
        try:
            return self.sandboxes[kind]
        except KeyError:
            raise HostError(
                f"{cell}: the {kind} sandbox is not part of this release",
                hint=f"build it with --sandbox {min(self.sandboxes)} on a {cell.target.platform} machine",
            ) from None
