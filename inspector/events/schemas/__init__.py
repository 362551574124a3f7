"""JSON Schemas (2020-12) of the events, one file a type and version, for any language.

The files are made from `inspector.events.model` by `python -m inspector.events.schemas` and are
part of the package; a test holds both together. Unknown fields are allowed everywhere, so that a
schema of today accepts what a later version of the same type adds.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from inspector.errors import EventsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema.protocols import Validator

Schema = dict[str, Any]


@functools.cache
def _load(event_type: str) -> Schema:
    file = resources.files(__name__) / f"{event_type}.json"
    try:
        schema: Schema = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(names()))
        raise EventsError(f"no schema for event type {event_type!r}, known: {known}") from None
    return schema


def names() -> list[str]:
    """The event types that have a schema."""
    folder = resources.files(__name__)
    return sorted(
        entry.name.removesuffix(".json")
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    )


def all_schemas() -> dict[str, Schema]:
    """Event type to its schema."""
    return {name: _load(name) for name in names()}


@functools.cache
def _validator(event_type: str) -> Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(
        _load(event_type), format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def check(document: Mapping[str, Any]) -> None:
    """Hold a document against the schema of its type.

    Raises:
        EventsError: there is no schema for the type, or the document does not fit; names the
            first misfits, each with its place.
    """
    event_type = document.get("type")
    if not isinstance(event_type, str):
        raise EventsError(f"an event needs a type, came {event_type!r}")
    errors = list(_validator(event_type).iter_errors(document))
    if errors:
        faults = "; ".join(f"{error.json_path}: {error.message}" for error in errors[:5])
        raise EventsError(f"{event_type} does not fit its schema: {faults}")
