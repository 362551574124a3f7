"""From the validator's errors to faults in plain words."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from inspector.addresses import without_passwords
from inspector.config.base import NAME_PATTERN, SECRET_NAME_PATTERN
from inspector.config.events import SERVER_PATTERN, TOPIC_PATTERN
from inspector.config.faults import Fault, KeyPath
from inspector.config.line import HOST_PATTERN
from inspector.config.shape import is_mapping, models_in
from inspector.config.signaller import CAMERA_PATTERN, MEMBER_PATTERN
from inspector.config.station import Station

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

    from inspector.config.document import Document

_PATTERNS = {
    NAME_PATTERN: "a name of small letters, digits and hyphens, at most 63, such as infeed-2",
    SECRET_NAME_PATTERN: "the NAME of a secret, such as CAM_PASSWORD, never the secret itself",
    SERVER_PATTERN: "HOST:PORT, such as broker1:9093",
    HOST_PATTERN: "a host name or address, such as 10.0.0.5",
    CAMERA_PATTERN: "STATION/CAMERA, such as packing-07/infeed",
    MEMBER_PATTERN: "a name of letters, digits, underscores and hyphens",
    TOPIC_PATTERN: "a topic name of letters, digits, dots, underscores and hyphens",
}
_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "path_type": "a path",
    "dict_type": "a section of named entries",
    "model_type": "a section",
    "tuple_type": "a list",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_SECRET_KEYS = {"username", "password", "key_password", "token"}
_LONGEST_SHOWN = 60
_SCHEME = re.compile(r"[a-z]+://")


def faults_of(
    errors: Iterable[ErrorDetails], document: Document, root: type[BaseModel] = Station
) -> list[Fault]:
    """Say what the validator found, one fault a place.

    Args:
        root: the model of the whole file.
    """
    grouped: dict[KeyPath, list[ErrorDetails]] = {}
    for error in errors:
        grouped.setdefault(_key_of(error, document.value), []).append(error)
    return [
        _fault(key, group, document, root)
        for key, group in grouped.items()
        # A union reports each way it tried, a list what is left of it: what lies deeper says more.
        if group[0]["loc"][-1:] == ("[key]",) or not any(_below(other, key) for other in grouped)
    ]


def shown(value: Any, key: KeyPath) -> str:
    """A value as a message may show it: short, and without what may be secret."""
    if any(part in _SECRET_KEYS for part in key):
        return "a value that is not shown"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if not isinstance(value, str):
        return f"the number {value}"
    text = without_passwords(_without_user(value))
    return f'"{text[:_LONGEST_SHOWN]}…"' if len(text) > _LONGEST_SHOWN else f'"{text}"'


def _without_user(text: str) -> str:
    """Without what may be a user's name and password, however the address around it is wrong."""
    before, at, rest = text.rpartition("@")
    if ":" not in before:
        return text
    scheme = _SCHEME.match(text)
    return f"{scheme.group() if scheme else ''}***{at}{rest}"


def near_miss(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: what was probably meant, or what there is."""
    choices = sorted(known)
    close = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(choices)}" if choices else "nothing is known here"


def _key_of(error: ErrorDetails, value: Any) -> KeyPath:
    """The place in the file: the validator's location less the names of the union branches."""
    key: list[str | int] = []
    location = error["loc"]
    for at, part in enumerate(location):
        last = at == len(location) - 1
        if _holds(value, part):
            value = value[part]
        elif not (last and error["type"] == "missing"):
            continue
        key.append(part)
    return tuple(key)


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def _below(other: KeyPath, key: KeyPath) -> bool:
    return len(other) > len(key) and other[: len(key)] == key


def _fault(
    key: KeyPath, group: list[ErrorDetails], document: Document, root: type[BaseModel]
) -> Fault:
    error = group[0]
    line, column = document.place(key)
    if error["type"] == "extra_forbidden":
        hint = near_miss(str(key[-1]), _keys_at(error["loc"][:-1], root))
        return Fault(key, f"unknown key; {hint}", line, column, expected=hint)
    if error["type"] == "missing":
        about = _about(error["loc"], root)
        problem = f"missing; expected {about}" if about else "missing"
        return Fault(key, problem, line, column, expected=about)
    if error["type"] == "union_tag_not_found":
        expected = f"one of {', '.join(_kinds_at(error['loc'], root))}"
        return Fault((*key, "kind"), f"missing; expected {expected}", line, column, None, expected)
    if error["type"] == "union_tag_invalid":
        key = (*key, "kind")
        line, column = document.place(key)
        tag = str(error["ctx"]["tag"])
        kinds = _kinds_at(error["loc"], root)
        expected = f"one of {', '.join(kinds)}"
        problem = f"got {shown(tag, key)}, expected {expected}"
        close = difflib.get_close_matches(tag, kinds, n=1)
        if close:
            problem += f'; did you mean "{close[0]}"?'
        return Fault(key, problem, line, column, shown(tag, key), expected)
    if error["loc"][-1:] == ("[key]",):
        expected = _expected(error)
        return Fault(key, f"expected {expected}", line, column, shown(key[-1], ()), expected)
    if error["type"] == "value_error" and isinstance(error["input"], dict | BaseModel):
        return Fault(key, _own_words(error), line, column)
    got = shown(error["input"], key)
    expected = ", or ".join(dict.fromkeys(_expected(each) for each in group))
    if error["type"] == "value_error" and not expected.startswith("expected"):
        return Fault(key, f"got {got}: {expected}", line, column, got, None)
    expected = expected.removeprefix("expected ")
    return Fault(key, f"got {got}, expected {expected}", line, column, got, expected)


def _expected(error: ErrorDetails) -> str:
    kind = error["type"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind in _TYPES:
        quoted = kind == "string_type" and isinstance(error["input"], int | float)
        return _TYPES[kind] + (" (write it in quotes)" if quoted else "")
    if kind in _BOUNDS:
        word, name = _BOUNDS[kind]
        bound = context[name]
        return f"{word} {int(bound) if bound == int(bound) else bound}"
    if kind == "literal_error":
        return str(context["expected"]).replace("'", '"')
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text like {context['pattern']}")
    if kind in {"too_short", "string_too_short"}:
        return f"at least {context['min_length']} {_unit(kind, context['min_length'])}"
    if kind in {"too_long", "string_too_long"}:
        return f"at most {context['max_length']} {_unit(kind, context['max_length'])}"
    return _own_words(error)


def _unit(kind: str, count: int) -> str:
    word, plural = ("character", "s") if kind.startswith("string") else ("entr", "ies")
    return word + (plural if count != 1 else "y" if plural == "ies" else "")


def _own_words(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ")


def _about(location: KeyPath, root: type[BaseModel]) -> str | None:
    """What belongs at a place, by the description of its model."""
    for model in _models_at(location[:-1], root):
        field = model.model_fields.get(str(location[-1]))
        if field is not None and field.description:
            sentence = field.description.split(". ")[0].split("\n")[0].rstrip(".")
            return sentence[0].lower() + sentence[1:]
    return None


def _keys_at(location: KeyPath, root: type[BaseModel]) -> set[str]:
    return {name for model in _models_at(location, root) for name in model.model_fields}


def _kinds_at(location: KeyPath, root: type[BaseModel]) -> list[str]:
    return [
        str(kind)
        for model in _models_at(location, root)
        if "kind" in model.model_fields
        for kind in get_args(model.model_fields["kind"].annotation)
    ]


def _models_at(location: KeyPath, root: type[BaseModel]) -> list[type[BaseModel]]:
    """The models that may stand at a location of the validator (union branches by their tag)."""
    models: list[type[BaseModel]] = [root]
    named = False
    for part in location:
        if named:  # the name of an entry, such as a camera
            named = False
            continue
        fields = [
            m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields
        ]
        if fields:
            models = [model for each in fields for model in models_in(each.annotation)]
            named = any(is_mapping(each.annotation) for each in fields)
        else:  # a branch of a union by its tag, or a position in a list
            models = [m for m in models if part in _tags(m)] or models
    return models


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field is not None else ()
