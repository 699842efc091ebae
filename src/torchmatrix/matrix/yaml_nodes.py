"""YAML text to a tree of nodes that know their place, within hard limits.

The tree is composed from parser events, one at a time: nothing is constructed, an alias is a reference to the node of
its anchor, and depth and expanded size are known before anything walks the tree. Limits therefore hold in time and
memory linear in the text, whatever the aliases multiply to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from torchmatrix.matrix.problems import Problems, Unreadable, shown

if TYPE_CHECKING:
    from torchmatrix.matrix.model import Location

MAX_NODES = 100_000
"""Keys and values that a file may have, each alias counted with everything behind it."""
MAX_DEPTH = 50
"""Levels of nesting, each alias counted with the levels behind it."""

MAX_ANCHOR = 40
"""Characters of an anchor that a message shows."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it (about ten times faster), else the pure one."""

_CORE = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset({"str", "int", "float", "bool", "null", "timestamp"})
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RESOLVER: Any = yaml.resolver.Resolver()


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A single value. ``tag`` is the short name of what YAML 1.1 takes the text for: str, int, float, bool…"""

    value: str
    tag: str
    where: Location
    size: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """A sequence. ``size`` counts nodes and ``height`` levels, aliases expanded."""

    items: tuple[Node, ...]
    where: Location
    size: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A mapping, its pairs as they stand in the file: duplicates and merge keys included."""

    pairs: tuple[tuple[Node, Node], ...]
    where: Location
    size: int
    height: int


Node = Scalar | Listing | Table


def kind_of(node: Node) -> str:
    """What the node is, in the words of messages."""
    match node:
        case Listing():
            return "a list"
        case Table():
            return "a mapping"
        case Scalar(tag="null"):
            return "nothing"
        case Scalar(tag="str"):
            return "text"
        case Scalar(tag="merge"):
            return "a merge key"
        case Scalar(tag="timestamp"):
            return "a date"
        case Scalar(tag="bool"):
            return "true or false"
        case _:
            return "a number"


def compose(text: str, problems: Problems) -> Node:
    """The tree of the one document in ``text``; raises `Unreadable` when there is none to go on with."""
    if bad := _UNPRINTABLE.search(text):
        message = f"the character U+{ord(bad[0]):04X} is not allowed in YAML"
        problems.add(place_of(text, bad.start()), "", message, "remove it, or write it as an escape in double quotes")
        raise Unreadable
    composer = _Composer(problems)
    try:
        for event in yaml.parse(text, Loader=LOADER):
            if composer.take(event):
                break
    except yaml.MarkedYAMLError as error:
        where, message, hint = _explain(error, text)
        problems.add(where, "", message, hint)
        raise Unreadable from None
    except yaml.YAMLError as error:
        problems.add((1, 1), "", f"this is not YAML: {str(error).splitlines()[0]}")
        raise Unreadable from None
    if composer.root is None or (isinstance(composer.root, Scalar) and composer.root.tag == "null"):
        problems.add((1, 1), "", "the file is empty", "docs/matrix.md has a matrix to start from")
        raise Unreadable
    return composer.root


def place_of(text: str, index: int) -> Location:
    """Line and column, from 1, of the character at ``index``; lines end as YAML has it."""
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    is_table: bool
    anchor: str | None
    where: Location
    children: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1


class _Composer:
    """Takes events, builds `root`."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self.problems = problems
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._documents = 0

    def take(self, event: yaml.Event) -> bool:
        """Handle one event; true when the rest of the text does not matter any more."""
        mark = event.start_mark
        where = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        match event:
            case yaml.ScalarEvent():
                self._add(Scalar(event.value, self._scalar_tag(event, where), where), where, event.anchor)
            case yaml.AliasEvent():
                self._add(self._target(str(event.anchor), where), where, None)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                is_table = isinstance(event, yaml.MappingStartEvent)
                self._refuse_tag(event, "map" if is_table else "seq", where)
                if len(self._open) >= MAX_DEPTH:
                    self._fail(where, f"nested more than {MAX_DEPTH} levels deep")
                if event.anchor:
                    self._anchors[event.anchor] = None
                self._open.append(_Open(is_table, event.anchor, where))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    message = "a second YAML document begins here; a matrix file holds one"
                    self.problems.add(where, "", message, "remove the line --- and what follows it")
                    return True
            case _:
                pass
        return False

    def _close(self) -> None:
        done = self._open.pop()
        children = done.children
        node: Node
        if done.is_table:
            pairs = tuple(zip(children[::2], children[1::2], strict=True))
            node = Table(pairs, done.where, done.size, done.height)
        else:
            node = Listing(tuple(children), done.where, done.size, done.height)
        self._add(node, done.where, done.anchor)

    def _add(self, node: Node, where: Location, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.children.append(node)
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if parent.size > MAX_NODES:
            self._fail(where, f"more than {MAX_NODES:,} values, with every alias written out")
        if parent.height > MAX_DEPTH:
            self._fail(where, f"nested more than {MAX_DEPTH} levels deep, with every alias written out")

    def _target(self, anchor: str, where: Location) -> Node:
        name = anchor if len(anchor) <= MAX_ANCHOR else anchor[:MAX_ANCHOR] + "…"
        if anchor not in self._anchors:
            hint = self.problems.did_you_mean(anchor, self._anchors)
            self._fail(where, f"the alias *{name} has no anchor &{name} before it", hint)
        node = self._anchors[anchor]
        if node is None:
            self._fail(where, f"the alias *{name} stands inside its own anchor &{name}: it would never end")
        return node

    def _scalar_tag(self, event: yaml.ScalarEvent, where: Location) -> str:
        if event.tag is None and event.implicit[0]:
            tag = _RESOLVER.resolve(yaml.ScalarNode, event.value, (True, False))
        elif event.tag is None or event.tag == "!":
            tag = _CORE + "str"
        else:
            tag = event.tag
            short = tag.removeprefix(_CORE)
            if short == tag or short not in _SCALAR_TAGS:
                self._refuse(tag, where)
                return "str"
        short = str(tag).removeprefix(_CORE)
        return "str" if short == "value" else short  # a lone =, which YAML 1.1 once had plans for

    def _refuse_tag(self, event: yaml.CollectionStartEvent, expected: str, where: Location) -> None:
        if event.tag not in (None, "!", _CORE + expected):
            self._refuse(event.tag, where)

    def _refuse(self, tag: str, where: Location) -> None:
        name = "!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag
        self.problems.add(where, "", f"the tag {shown(name)} is refused: a matrix is plain data", "remove the tag")

    def _fail(self, where: Location, message: str, hint: str | None = None) -> NoReturn:
        self.problems.add(where, "", message, hint)
        raise Unreadable


def _explain(error: yaml.MarkedYAMLError, text: str) -> tuple[Location, str, str | None]:
    """Place, message and hint for what the parser could not read, in our words where they are better."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    where = (line + 1, column + 1)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    written = lines[line] if line < len(lines) else ""
    indent = written[: len(written) - len(written.lstrip())]
    if "\t" in indent and column <= len(indent):
        return (
            (line + 1, indent.index("\t") + 1),
            "a tab is used as indentation; YAML allows spaces only",
            "replace each tab at the beginning of a line by two spaces",
        )
    problem = error.problem or "unreadable"
    began = error.context_mark
    since = f" that begins at {began.line + 1}:{began.column + 1}" if began else ""
    if "cannot start any token" in problem:
        bad = written[column : column + 1]
        return where, f"a value cannot begin with {shown(bad)} in YAML", "put the value into double quotes"
    if "mapping values are not allowed" in problem:
        hint = "check the indentation; a text with a colon and a space in it needs quotes"
        return where, "a second `key:` where YAML expects none", hint
    if "unexpected end of stream" in problem:
        return where, f"the quoted text{since} is not closed", "add the closing quote"
    for brackets in ("]", "}"):
        if f"',' or '{brackets}'" in problem:
            what = "list" if brackets == "]" else "mapping"
            return where, f"a comma or the closing {brackets} of the {what}{since} is missing", None
    return where, f"this is not YAML: {problem}" + (f" ({error.context}{since})" if error.context else ""), None
