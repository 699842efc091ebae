"""Sandboxes: where environments are built and run. A sandbox never knows what a wheel is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torchmatrix.command import Command, Outcome
    from torchmatrix.matrix.model import SandboxKind
    from torchmatrix.target import PythonVersion, Target


class Sandbox(Protocol):
    """A place with a file system, interpreters and processes."""

    @property
    def kind(self) -> SandboxKind:
        """native or docker."""

    def refusal(self, target: Target) -> str | None:
        """Why no environment for ``target`` can be made there, in words; ``None`` when it can."""

    def interpreter(self, python: PythonVersion) -> Path:
        """A CPython of that feature release there; `HostError` with the command to get one otherwise."""

    def describe_interpreter(self, path: Path) -> str:
        """What identifies an interpreter: implementation, full version and where it is."""

    def run(self, command: Command, /, *, live: bool = False) -> Outcome:
        """Run a process there; ``live`` lets it draw its progress on our terminal."""

    def run_through(self, command: Command, /) -> int:
        """Run a process there with our own streams; its exit code."""

    def environ(self, prefix: Path, base: Mapping[str, str]) -> dict[str, str]:
        """The variables of a process that runs inside the environment at ``prefix``."""

    def copy_in(self, source: Path, target: Path) -> None:
        """Copy a file of this machine to a path there."""

    def copy_out(self, source: Path, target: Path) -> None:
        """Copy a file there to a path of this machine."""
