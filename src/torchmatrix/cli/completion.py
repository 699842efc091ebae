"""``completion SHELL``: the line to evaluate for completion of commands, options and cell ids."""

from __future__ import annotations

import argparse
import os
import sys

from torchmatrix.cli.context import Context
from torchmatrix.console import Console
from torchmatrix.errors import TorchmatrixError

SHELLS = ("bash", "zsh", "fish", "powershell")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "completion",
        help="shell completion",
        description='Print the completion script of a shell, for example: eval "$(torchmatrix completion bash)"',
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(handler=handle)


def handle(context: Context) -> int:
    """Print the script."""
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(shellcode(["torchmatrix"], shell=context.options.shell) + "\n")
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end, when it asks (argcomplete's protocol)."""
    import argcomplete

    _attach(parser)
    argcomplete.autocomplete(parser)


def _attach(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to its actions
        if action.dest in ("select", "cell", "before", "after"):
            action.completer = cell_ids  # type: ignore[attr-defined]  # argcomplete's protocol
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                _attach(child)


def cell_ids(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Ids of the matrix that would be used; none when it cannot be read."""
    options = argparse.Namespace(matrix=getattr(parsed_args, "matrix", None), offline=True, json=False, as_of=None)
    try:
        return [cell.id for cell in Context(options=options, console=Console(), environ=os.environ).expansion.cells]
    except TorchmatrixError:
        return []
