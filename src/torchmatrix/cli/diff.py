"""``diff``: what changed between two lockfiles, two folders of them, or two revisions of git."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from torchmatrix.errors import HostError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from torchmatrix.cli.context import Context
    from torchmatrix.lock.model import Lockfile
    from torchmatrix.lock.revisions import Repository
    from torchmatrix.lock.trees import CellDiff

ENVS, RECORD = "envs", "cell.json"
WORKING_TREE = "working tree"
_WHAT = "a cell id, a cell.json, a folder with lockfiles, a revision of git, or REV:PATH"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "diff",
        help="what changed between two lockfiles",
        description="Compare two lockfiles, two folders with lockfiles, or two git revisions. A path wins over a "
        "revision of the same name; REV: is always the revision.",
    )
    parser.add_argument("before", metavar="A", help=_WHAT)
    parser.add_argument("after", metavar="B", nargs="?", help="likewise; without it, the working tree")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    parser.set_defaults(handler=handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side: the lockfile of one cell, or those of a tree by the names of their folders."""

    label: str
    cells: Mapping[str, Lockfile]
    tree: bool
    path: Path | None = None
    """The file of a side that is one of the working tree."""

    @property
    def lockfile(self) -> Lockfile | None:
        """The lockfile of a side that is one; ``None`` when it was found to have none."""
        return next(iter(self.cells.values()), None)

    @property
    def misplaced(self) -> tuple[str, ...]:
        """Remarks on lockfiles that lie in the folder of another cell."""
        places = {name: one.cell for name, one in self.cells.items()}
        if self.path is not None:
            folder, only = self.path.absolute().parent, self.lockfile
            named = self.path.name == RECORD and folder.parent.name == ENVS
            places = {folder.name: only.cell} if only and named else {}
        return tuple(
            f"{_shown(self.label)}: the lockfile in {_shown(name)}/ is that of the cell {_shown(cell)}: was it copied?"
            for name, cell in places.items()
            if name != cell
        )


def handle(context: Context) -> int:
    """Print what changed."""
    from torchmatrix.cli import diff_output
    from torchmatrix.lock.diff import pair_json
    from torchmatrix.lock.trees import compare, trees_json

    before, after = _sides(context)
    for text in dict.fromkeys((*before.misplaced, *after.misplaced)):
        context.console.warn(text)
    style = "json" if context.json_mode else context.options.format
    title = f"{before.label} -> {after.label}"
    if not before.tree and not after.tree:
        old, new = before.lockfile, after.lockfile
        if style == "json":
            context.console.json(pair_json(old, new))
        elif style == "markdown":
            context.console.data(diff_output.pair_markdown(old, new, title))
        else:
            context.console.data(diff_output.pair_text(old, new, context.console))
        return 0
    cells = tuple(_with_cells(cell) for cell in compare(before.cells, after.cells))
    if not cells:
        raise UsageError(f"no lockfile on either side: {title}", hint="torchmatrix lock writes them to envs/")
    if style == "json":
        context.console.json(trees_json(cells))
    elif style == "markdown":
        context.console.data(diff_output.trees_markdown(cells, title))
    else:
        context.console.data(diff_output.trees_text(cells, context.console))
    return 0


def _with_cells(cell: CellDiff) -> CellDiff:
    """With a remark where the lockfiles in one folder are those of two cells."""
    if cell.before is None or cell.after is None or cell.before.cell == cell.after.cell:
        return cell
    return replace(cell, remarks=(f"cell: {cell.before.cell} -> {cell.after.cell}", *cell.remarks))


def _sides(context: Context) -> tuple[Side, Side]:
    """Both sides, of one kind: a tree beside one lockfile is cut down to that cell."""
    finder = Finder(project=_project(context), env=context.environ)
    before = finder.find(context.options.before)
    after = finder.working_tree(before) if context.options.after is None else finder.find(context.options.after)
    if before.tree and not after.tree:
        before = _only(before, after)
    elif after.tree and not before.tree:
        after = _only(after, before)
    return before, after


def _only(side: Side, other: Side) -> Side:
    name = next((lockfile.cell for lockfile in other.cells.values()), "")
    return replace(side, cells={key: value for key, value in side.cells.items() if key == name}, tree=False)


def _project(context: Context) -> Path:
    """The folder of the matrix, which itself is not read; the current folder where there is none."""
    try:
        path = context.matrix_path
    except UsageError:
        return Path.cwd()
    if not path.is_file():
        raise UsageError(
            f"{path}: there is no such matrix file", hint="correct --matrix or TORCHMATRIX_MATRIX, or leave it out"
        )
    return path.absolute().parent


@dataclass(kw_only=True)
class Finder:
    """Finds what the user names, from the project's folder and the current one."""

    project: Path
    env: Mapping[str, str]

    @cached_property
    def repository(self) -> Repository | None:
        """The repository of the project, if there is one. `HostError` without git."""
        from torchmatrix.lock.revisions import open_repository

        return open_repository(self.project, self.env)

    def find(self, name: str) -> Side:
        """The side that ``name`` means. Raises `UsageError` when it means nothing, or a lockfile cannot be used."""
        if "\0" in name:
            raise UsageError(f"{name!r}: no path and no revision holds a NUL", hint=f"name {_WHAT}")
        if not name.strip():
            raise UsageError(f"{name!r}: no lockfile: the name is empty", hint=f"name {_WHAT}")
        revision, path = _split(name)
        if path == "":
            return self._of_revision(revision, None, name)
        if os.path.lexists(name):
            return self._of_path(Path(name), name)
        cell = self.project / ENVS / name / RECORD
        if PurePath(name).name == name and os.path.lexists(cell):
            return _one(name, cell)
        return self._of_revision(revision, path, name)

    def working_tree(self, other: Side) -> Side:
        """The published lockfiles; only the cell of ``other`` when that is one lockfile."""
        if other.tree:
            return _of_folder(self.project / ENVS, WORKING_TREE)
        name = next(iter(other.cells))
        path = self.project / ENVS / name / RECORD
        there = PurePath(name).name == name and os.path.lexists(path)
        if there and other.path is not None and path.exists() and path.samefile(other.path):
            raise UsageError(
                f"{other.label}: is in the working tree itself: name what to compare it with",
                hint=f"for example: torchmatrix diff HEAD:{name} {name}",
            )
        return _one(WORKING_TREE, path) if there else Side(label=WORKING_TREE, cells={}, tree=False)

    def _of_path(self, path: Path, name: str) -> Side:
        if not path.is_dir():
            return _one(name, path)
        if os.path.lexists(path / RECORD):
            return _one(name, path / RECORD)
        if (path / ENVS).is_dir():
            return _of_folder(path / ENVS, name)
        side = _of_folder(path, name)
        if not side.cells and any(path.iterdir()):
            raise UsageError(
                f"{name}: a folder without lockfiles: no {RECORD}, no {ENVS}/, no folder with a {RECORD} in it",
                hint=f"write {name.rstrip('/')}: with a colon where a revision of git is meant",
            )
        return side

    def _of_revision(self, revision: str, path: str | None, name: str) -> Side:
        """``path`` is ``None`` for the project's lockfiles as they were."""
        said = f"{name}: no lockfile: it is no path, there is none in {self.project / ENVS / name}"
        if path is not None or PurePath(name).name != name:
            said = f"{name}: no lockfile: there is no such path"
        try:
            repository = self.repository
        except HostError as error:
            raise HostError(f"{said}, and {error.message}", hint=error.hint) from error
        if repository is None:
            raise UsageError(f"{said}, and {self.project} is in no git repository", hint=f"name {_WHAT}")
        tree = repository.resolve(revision)
        if tree is None:
            hint = f"name {_WHAT}; torchmatrix list shows the cells, git log and git tag the revisions"
            if ".." in revision:
                hint = "name both sides apart: torchmatrix diff A B"
            raise UsageError(f"{said}, and git knows no single revision {revision!r}", hint=hint)
        if path is None:
            envs = repository.prefix + ENVS
            return _of_tree(repository, repository.files(tree, (envs,)), envs, name)
        wanted = self._candidates(repository, path)
        files = repository.files(tree, wanted)
        for place in wanted:
            below = "" if place == "." else f"{place}/"
            if place in files or f"{below}{RECORD}" in files:
                return _one_of_tree(repository, files, place if place in files else f"{below}{RECORD}", name)
            if any(file.startswith(f"{below}{ENVS}/") for file in files):
                return _of_tree(repository, files, f"{below}{ENVS}", name)
            if any(file.startswith(below) and _is_record(file.removeprefix(below)) for file in files):
                return _of_tree(repository, files, place, name)
        raise UsageError(
            f"{name}: there is no lockfile at {path} in {revision}",
            hint="a path starts from the current folder or from the root of the repository",
        )

    def _candidates(self, repository: Repository, path: str) -> list[str]:
        """Where a path of a revision may be, from the root of the repository, likeliest first."""
        wanted, prefix = PurePath(path).as_posix(), repository.prefix
        tries = [f"{prefix}{wanted}", wanted, f"{prefix}{ENVS}/{wanted}"]
        try:
            here = Path(os.path.relpath(Path.cwd().resolve(), repository.folder)).as_posix()
            tries.insert(0, f"{prefix}{here}/{wanted}")
        except ValueError:  # another drive
            pass
        normal = [os.path.normpath(one).replace(os.sep, "/") for one in tries]
        inside = [one for one in normal if one.split("/")[0] not in ("..", "")]
        return list(dict.fromkeys(inside))


def _split(name: str) -> tuple[str, str | None]:
    """Revision and path of ``REV:PATH``, as git parts them: no colon in braces, and ``:/words`` is a revision."""
    depth = 0
    for position, letter in enumerate(name):
        depth += (letter == "{") - (letter == "}")
        if letter == ":" and depth <= 0 and not (position == 0 and name.startswith(":/")):
            return name[:position], name[position + 1 :]
        if position == 0 and name.startswith(":/"):
            break
    return name, None


def _one(label: str, path: Path) -> Side:
    from torchmatrix.lock.record import DamagedRecordError, read_record

    try:
        lockfile = read_record(path)
    except DamagedRecordError as error:
        if path.name == RECORD:
            raise
        hint = f"name {_WHAT}; write {label}: with a colon where a revision of git is meant"
        raise UsageError(error.message, hint=hint) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", hint="check its permissions") from error
    if lockfile is None:  # a link to nowhere
        raise UsageError(f"{path}: there is no such file", hint=f"name {_WHAT}")
    return Side(label=label, cells={lockfile.cell: lockfile}, tree=False, path=path)


def _of_folder(envs: Path, label: str) -> Side:
    """The lockfiles of the cells below a folder; none when the folder is missing."""
    from torchmatrix.lock.record import read_record

    found = sorted(envs.iterdir()) if envs.is_dir() else []
    names = [path.name for path in found if not path.name.startswith(".") and os.path.lexists(path / RECORD)]
    return Side(label=label, cells=_all(label, names, lambda name: read_record(envs / name / RECORD)), tree=True)


def _of_tree(repository: Repository, files: Mapping[str, str], envs: str, label: str) -> Side:
    """The same at a revision."""
    from torchmatrix.lock.record import parse_record

    below = "" if envs == "." else f"{envs}/"
    paths = [path for path in files if path.startswith(below) and _is_record(path.removeprefix(below))]
    texts = dict(zip(paths, repository.texts([files[path] for path in paths]), strict=True))
    places = {PurePath(path).parent.name: path for path in paths}
    cells = _all(label, places, lambda name: parse_record(texts[places[name]], Path(places[name])))
    return Side(label=label, cells=cells, tree=True)


def _one_of_tree(repository: Repository, files: Mapping[str, str], path: str, label: str) -> Side:
    from torchmatrix.lock.record import DamagedRecordError, parse_record

    (text,) = repository.texts([files[path]])
    try:
        lockfile = parse_record(text, Path(label))
    except DamagedRecordError as error:
        raise UsageError(error.message, hint="name another revision: this one cannot be mended") from error
    return Side(label=label, cells={lockfile.cell: lockfile}, tree=False)


def _all(label: str, names: Iterable[str], read: Callable[[str], Lockfile | None]) -> dict[str, Lockfile]:
    """Every lockfile of a tree; all that cannot be used are named in one `UsageError`."""
    cells, wrong = {}, []
    for name in names:
        try:
            lockfile = read(name)
        except UsageError as error:
            wrong.append(f"{name}: {error.message}")
        except OSError as error:
            wrong.append(f"{name}: cannot be read: {error.strerror}")
        else:
            if lockfile is None:
                wrong.append(f"{name}: its {RECORD} is a link to nothing")
            else:
                cells[name] = lockfile
    if wrong:
        raise UsageError(
            f"{label}: {len(wrong)} of its lockfiles cannot be used:\n" + "\n".join(f"    {words}" for words in wrong),
            hint="mend them with torchmatrix lock CELL, or compare single cells: torchmatrix diff REV:CELL CELL",
        )
    return cells


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _is_record(path: str) -> bool:
    """Whether ``path`` is CELL/cell.json."""
    folder, _, file = path.partition("/")
    return file == RECORD and not folder.startswith(".")
