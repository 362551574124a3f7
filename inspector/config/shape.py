"""Which models a field of the station file may hold."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field of that type may hold: all branches of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def is_mapping(annotation: Any) -> bool:
    """Whether a field of that type holds named entries, such as the cameras."""
    return getattr(annotation, "__origin__", None) is dict or any(
        is_mapping(part) for part in get_args(annotation)
    )
