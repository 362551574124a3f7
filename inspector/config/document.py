"""A YAML text as plain values, with the place of every key.

YAML's surprises are taken out: only `true` and `false` are booleans (not `yes`, `on`), `012` and
`1:30` are no octal and base-60 numbers, dates are text, a key that comes twice is a fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from inspector.config.faults import Fault, KeyPath

MOST_VALUES = 100_000
"""More than any station needs; ends the expansion of aliases that multiply."""

_FLOAT = (
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_INT_TAG = "tag:yaml.org,2002:int"
_FLOAT_TAG = "tag:yaml.org,2002:float"
_MERGE_TAG = "tag:yaml.org,2002:merge"
_CHOKED = (
    yaml.constructor.ConstructorError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
)
"""So YAML's constructors fail where a text is not what its tag says, as `!!bool foo`."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads plain words as YAML 1.2 does."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    (_INT_TAG, r"^[-+]?[0-9]+$", "-+0123456789"),
    (
        _FLOAT_TAG,
        _FLOAT,
        "-+.0123456789",
    ),
    (_MERGE_TAG, r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))
_Loader.add_constructor(_INT_TAG, lambda _, node: int(node.value))


@dataclass(frozen=True)
class Document:
    """The values of a YAML text, and where they stand.

    `places` gives line and column, from 1, of each key path's key (of the item itself in a list).
    """

    value: Any
    places: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    def place(self, key: KeyPath) -> tuple[int | None, int | None]:
        """Line and column of a key, or of its nearest parent where the key itself is absent."""
        for end in range(len(key), 0, -1):
            if key[:end] in self.places:
                return self.places[key[:end]]
        return None, None


def parse(text: str) -> Document:
    """Read one YAML document. Faults of its form are in the result, never raised."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"not text: the character U+{ord(text[error.position]):04X} cannot stand in YAML"
        return Document(None, faults=(Fault((), problem, line),))
    try:
        node = loader.get_single_node()
        if node is None:
            return Document(None, faults=(Fault((), "the file is empty"),))
        walk = _Walk(loader)
        walk.note_repeats(node, ())
        value = walk.value(node, ())
        return Document(value, walk.places, tuple(walk.faults))
    except yaml.MarkedYAMLError as error:
        return Document(None, faults=(_syntax_fault(error),))
    except RecursionError:
        return Document(None, faults=(Fault((), "nested too deeply"),))
    finally:
        loader.dispose()


class _Walk:
    """Turns nodes into values and notes places and faults on the way."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._open: list[Node] = []
        self._looked_at: set[int] = set()
        self._count = 0
        self.places: dict[KeyPath, tuple[int, int]] = {}
        self.faults: list[Fault] = []

    def note_repeats(self, node: Node, key: KeyPath) -> None:
        """Find keys that come twice, before a merge key brings in others on purpose.

        Each node is looked at once, however many aliases there are of it.
        """
        if id(node) in self._looked_at:
            return
        self._looked_at.add(id(node))
        if isinstance(node, SequenceNode):
            for at, item in enumerate(node.value):
                self.note_repeats(item, (*key, at))
        if not isinstance(node, MappingNode):
            return
        first: dict[str, Node] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode) or key_node.tag == _MERGE_TAG:
                self.note_repeats(value_node, key)
                continue
            name = key_node.value
            earlier = first.setdefault(name, key_node)
            if earlier is not key_node:
                line, column = _place(key_node)
                what = "the camera" if key == ("cameras",) else "the key"
                problem = (
                    f"{what} came twice, first at line {_place(earlier)[0]}; each name stands once"
                )
                self.faults.append(Fault((*key, name), problem, line, column))
            self.note_repeats(value_node, (*key, name))

    def value(self, node: Node, key: KeyPath) -> Any:
        self._count += 1
        if self._count > MOST_VALUES:
            problem = f"more than {MOST_VALUES} values; aliases multiply"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        if node in self._open:
            problem = "an alias that holds itself"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        self._open.append(node)
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, key)
            if isinstance(node, SequenceNode):
                return [self._item(item, (*key, at)) for at, item in enumerate(node.value)]
            return self._scalar(node, key)
        finally:
            self._open.pop()

    def _mapping(self, node: MappingNode, key: KeyPath) -> dict[str, Any]:
        self._loader.flatten_mapping(node)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = self._name(key_node, key)
            self.places[(*key, name)] = _place(key_node)
            result[name] = self.value(value_node, (*key, name))
        return result

    def _name(self, node: Node, key: KeyPath) -> str:
        if isinstance(node, ScalarNode):
            return str(node.value)
        line, column = _place(node)
        self.faults.append(
            Fault(key, "a key must be one word, not a list or section", line, column)
        )
        return f"line {line}"

    def _item(self, node: Node, key: KeyPath) -> Any:
        self.places[key] = _place(node)
        return self.value(node, key)

    def _scalar(self, node: Node, key: KeyPath) -> Any:
        try:
            value = self._loader.construct_object(node)
        except _CHOKED:
            pass
        else:
            if value is None or isinstance(value, str | bool | int | float):
                return value
        line, column = _place(node)
        problem = f"a value of kind {node.tag} has no place here"
        self.faults.append(Fault(key, problem, line, column))
        return None


def _place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _syntax_fault(error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or "cannot be read"
    if "'\\t'" in problem:
        problem = "a tab; YAML indents with spaces"
    elif "expected a single document" in f"{error.context}":
        problem = "a second document begins here; a station file is one document"
    elif "mapping values are not allowed here" in problem:
        problem = "a colon where none is expected; check the indentation, or quote the text"
    if mark is None:
        return Fault((), f"not YAML: {problem}")
    return Fault((), f"not YAML: {problem}", mark.line + 1, mark.column + 1)
