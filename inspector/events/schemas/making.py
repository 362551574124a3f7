"""JSON Schemas made from the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspector.events.model import MODELS

if TYPE_CHECKING:
    from inspector.events.schemas import Schema


def schemas() -> dict[str, Schema]:
    """Event type to the schema that its model gives."""
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:inspector:schema:{name}",
            **_without_titles(model.model_json_schema()),
        }
        for name, model in MODELS.items()
    }


def _without_titles(value: Any) -> Any:
    """Pydantic titles every field by its own name, which tells nobody anything."""
    if isinstance(value, dict):
        return {
            key: _without_titles(inner)
            for key, inner in value.items()
            if not (key == "title" and isinstance(inner, str))
        }
    if isinstance(value, list):
        return [_without_titles(inner) for inner in value]
    return value
