"""Paths that the user named: what is there, or why this user cannot know."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from inspector.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def is_file(path: Path) -> bool:
    """As `Path.is_file`. Raises UserError where this user may not look."""
    with _looking_at(path):
        return path.is_file()


def is_folder(path: Path) -> bool:
    """As `Path.is_dir`. Raises UserError where this user may not look."""
    with _looking_at(path):
        return path.is_dir()


@contextmanager
def _looking_at(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{path} cannot be looked at: {error.strerror}"
        raise UserError(msg) from error
