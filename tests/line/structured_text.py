"""Runs IEC 61131-3 structured text, as far as docs/plc/inspection.st uses it.

`blark` parses the text by the grammar of the language; what it finds is carried out here, scan by
scan, with the types' own widths. What is not known raises an error.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from blark import transform as st
from blark.parse import parse_source_code

if TYPE_CHECKING:
    from pathlib import Path

WIDTHS = {"UINT": 1 << 16, "UDINT": 1 << 32}
_COMPARE = {"=": lambda a, b: a == b, "<>": lambda a, b: a != b}
_NUMBERS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b,
    "MOD": lambda a, b: a % b,
}


class Ton:
    """The standard's on-delay timer."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"Q": False}
        self._since_s: float | None = None

    def call(self, given: dict[str, Any]) -> None:
        if not given["IN"]:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = time.monotonic()
        since_s = self._since_s
        self.values["Q"] = since_s is not None and time.monotonic() - since_s >= given["PT"]


class RisingEdge:
    """The standard's R_TRIG."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"Q": False}
        self._before = False

    def call(self, given: dict[str, Any]) -> None:
        self.values["Q"] = given["CLK"] and not self._before
        self._before = given["CLK"]


STANDARD = {"TON": Ton, "R_TRIG": RisingEdge}


@dataclass
class Block:
    """An instance of a function block or program."""

    library: dict[str, Any]
    source: Any
    values: dict[str, Any] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for section in self.source.declarations:
            for item in section.items:
                if isinstance(item, st.ExternalVariableDeclaration):
                    continue  # given from outside
                kind = str(item.init.spec.type).upper()
                for declared in item.variables:
                    name = str(declared.variable.name)
                    self.types[name] = kind
                    self.values[name] = self._new(str(item.init.spec.type), item.init.value)

    def _new(self, kind: str, value: Any) -> Any:
        if value is not None:
            return self._value(value)
        if kind in self.library:
            return Block(self.library, self.library[kind])
        if kind in STANDARD:
            return STANDARD[kind]()
        return {"BOOL": False, "UINT": 0, "UDINT": 0, "TIME": 0.0}[kind.upper()]

    def call(self, given: dict[str, Any]) -> None:
        """One scan with these inputs."""
        unknown = set(given) - set(self.values)
        assert not unknown, f"{self.source.name} has no input {unknown}"
        self.values.update(given)
        self._run(self.source.body)

    def _run(self, body: Any) -> None:
        for statement in body.statements:
            self._do(statement)

    def _do(self, statement: Any) -> None:
        match statement:
            case st.AssignmentStatement(variables=[variable], expression=expression):
                self._assign(variable, self._value(expression))
            case st.IfStatement():
                self._branch(statement)
            case st.FunctionCallStatement(name=name, parameters=parameters):
                given = {str(p.name.name): self._value(p.value) for p in parameters}
                self._value(name).call(given)
            case _:
                raise NotImplementedError(statement)

    def _branch(self, statement: Any) -> None:
        branches = [(statement.if_expression, statement.statements)]
        branches += [(other.if_expression, other.statements) for other in statement.else_ifs]
        for condition, body in branches:
            if self._truth(condition):
                self._run(body)
                return
        if statement.else_clause is not None:
            self._run(statement.else_clause.statements)

    def _assign(self, variable: Any, value: Any) -> None:
        match variable:
            case st.SimpleVariable(name=name):
                kind = self.types[str(name)]
                assert isinstance(value, bool) == (kind == "BOOL"), f"{name} := {value!r}"
                self.values[str(name)] = value % WIDTHS[kind] if kind in WIDTHS else value
            case st.MultiElementVariable(name=name, elements=[st.SubscriptList(subscripts=[at])]):
                assert not isinstance(value, bool)
                self.values[str(name.name)][self._value(at)] = value % WIDTHS["UINT"]
            case _:
                raise NotImplementedError(variable)

    def _truth(self, expression: Any) -> bool:
        value = self._value(expression)
        assert isinstance(value, bool), f"{expression} is {value!r}, no BOOL"
        return value

    def _value(self, node: Any) -> Any:
        match node:
            case st.SimpleVariable(name=name):
                return self.values[str(name)]
            case st.MultiElementVariable(name=name, elements=[st.FieldSelector(field=part)]):
                return self.values[str(name.name)].values[str(part.name)]
            case st.MultiElementVariable(name=name, elements=[st.SubscriptList(subscripts=[at])]):
                return self.values[str(name.name)][self._value(at)]
            case st.Integer() | st.Boolean() | st.Duration():
                return _constant(node)
            case _:
                return self._computed(node)

    def _computed(self, node: Any) -> Any:
        match node:
            case st.ParenthesizedExpression(expr=inner):
                return self._value(inner)
            case st.UnaryOperation(op=op, expr=inner) if str(op).upper() == "NOT":
                return not self._truth(inner)
            case st.BinaryOperation(left=left, op=op, right=right):
                return self._binary(left, str(op).upper(), right)
            case st.FunctionCall(name=name, parameters=[only]):
                assert str(name.name) in {"UINT_TO_UDINT", "UDINT_TO_UINT"}, name
                return self._value(only.value)
            case _:
                raise NotImplementedError(node)

    def _binary(self, left: Any, op: str, right: Any) -> Any:
        if op in {"AND", "OR"}:  # both sides, as the standard has it
            first, second = self._truth(left), self._truth(right)
            return first and second if op == "AND" else first or second
        first, second = self._value(left), self._value(right)
        return (_COMPARE | _NUMBERS)[op](first, second)


def parse(file: Path) -> dict[str, Any]:
    """The function blocks and programs of a file, by name. Raises what the parser finds."""
    result = parse_source_code(file.read_text(encoding="utf-8"))
    if result.exception is not None:
        raise result.exception
    return {str(item.name): item for item in result.transform().items}


def _constant(node: Any) -> Any:
    match node:
        case st.Integer(value=value):
            return int(str(value))
        case st.Boolean(value=value):
            return str(value).upper() == "TRUE"
        case st.Duration(seconds=seconds, milliseconds=ms):
            return float(str(seconds or 0)) + float(str(ms or 0)) / 1000
        case _:
            raise NotImplementedError(node)
