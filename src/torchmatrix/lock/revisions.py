"""Files as they were at a revision of git, read from its objects: nothing is checked out, no filter or hook runs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchmatrix.command import Command, Outcome, run
from torchmatrix.errors import HostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_OF_ANOTHER = frozenset({
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_INDEX_FILE",
    "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
})  # fmt: skip
"""Set by git for its hooks, relative to a folder that need not be ours: the repository is the one of the folder.

Source: ``git rev-parse --local-env-vars``, less what is configuration.
"""
_OWN = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # A partial clone fetches what it lacks whenever something reads it. Older releases know the second of these only.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}
_HINT = "run: git fsck, or fetch the revision whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """The repository that ``folder`` lies in; ``prefix`` is the way from its root to the folder, ``""`` or ``a/b/``."""

    folder: Path
    prefix: str
    env: Mapping[str, str]

    def resolve(self, revision: str) -> str | None:
        """The id of the revision's tree; ``None`` when git knows no such revision, or it is no commit, tag or tree.

        What starts with ``-`` or holds control characters is no revision: it never gets to git.
        """
        if not revision or revision.startswith("-") or not revision.isprintable():
            return None
        found = self._git("rev-parse", "--verify", "--quiet", revision)
        name = found.stdout.strip()
        if not found.ok or not name.isalnum():  # `^main` is what to leave out, not a commit
            return None
        # In a second step: `:/words` takes everything behind it as words, and any 40 digits pass as a name.
        tree = self._git("rev-parse", "--verify", "--quiet", f"{name}^{{tree}}")
        return tree.stdout.strip() if tree.ok else None

    def files(self, tree: str, paths: Sequence[str] = ()) -> dict[str, str]:
        """Path from the root of the repository and object id of every file of a tree, or of those below ``paths``.

        A path is taken literally and may be missing; ``.`` is everything.
        """
        wanted = [] if "." in paths else ["--", *paths]
        listed = self._must("--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", tree, *wanted)
        found = {}
        for entry in listed.stdout.split("\0"):
            about, _, path = entry.partition("\t")
            if path and about.split()[1] == "blob":
                found[path] = about.split()[2]
        return found

    def texts(self, objects: Sequence[str]) -> list[str]:
        """The contents of objects by their ids, in that order. A missing one is a `UsageError`."""
        if not objects:
            return []
        # The contents are somebody's: what parts them must not be foreseen.
        mark = secrets.token_hex(16)
        answer = self._must("cat-file", f"--batch={mark}", stdin="".join(f"{name}\n" for name in objects)).stdout
        parts = answer.split(f"{mark}\n")
        if parts.pop(0) or len(parts) != len(objects):
            raise UsageError(
                f"git does not have every file of that revision here: {self.folder} is a partial clone, or damaged",
                hint=_HINT,
            )
        return [part[:-1] for part in parts]  # one line end is git's

    def _must(self, *arguments: str, stdin: str | None = None) -> Outcome:
        outcome = self._git(*arguments, stdin=stdin)
        if not outcome.ok:
            said = outcome.stderr.strip() or f"exit {outcome.returncode}"
            raise UsageError(f"git cannot read that revision: {said}", hint=_HINT)
        return outcome

    def _git(self, *arguments: str, stdin: str | None = None) -> Outcome:
        return _git(self.folder, self.env, *arguments, stdin=stdin)


def open_repository(folder: Path, env: Mapping[str, str]) -> Repository | None:
    """The repository of a folder; ``None`` when it lies in none.

    Raises `HostError` without git, and `UsageError` when git refuses the repository (it belongs to another user).
    """
    real = folder.resolve()
    outcome = _git(real, env, "rev-parse", "--show-prefix")
    if outcome.ok:
        return Repository(folder=real, prefix=outcome.stdout.removesuffix("\n"), env=env)
    if "not a git repository" in outcome.stderr.lower():
        return None
    raise UsageError(f"git cannot use the repository of {folder}: {outcome.stderr.strip()}")


def _git(folder: Path, env: Mapping[str, str], *arguments: str, stdin: str | None = None) -> Outcome:
    own = {name: value for name, value in env.items() if name not in _OF_ANOTHER} | _OWN
    try:
        return run(Command(argv=("git", *arguments), env=own, cwd=folder, stdin=stdin))
    except HostError as error:
        raise HostError(
            f"a revision of the repository is read by git: {error.message}",
            hint="install git, or compare files and folders",
        ) from error
