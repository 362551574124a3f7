from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.evidence.making import Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def room_of(tmp_path: Path) -> Iterator[Callable[..., Room]]:
    """Makes open rooms, in `tmp_path`/evidence unless told otherwise, and closes them."""
    rooms: list[Room] = []

    def make(folder: Path | None = None, **settings: object) -> Room:
        rooms.append(Room(folder or tmp_path / "evidence", **settings))
        return rooms[-1].open()

    yield make
    for room in rooms:
        room.evidence.close(5)


@pytest.fixture
def room(room_of: Callable[..., Room]) -> Room:
    return room_of()
