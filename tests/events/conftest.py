from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.events.making import Maker, open_outbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.events.outbox import Outbox


@pytest.fixture
def make() -> Maker:
    return Maker()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def outbox(folder: Path) -> Iterator[Outbox]:
    box = open_outbox(folder)
    yield box
    box.close()
