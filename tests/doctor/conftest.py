"""Station files for the doctor: the tiny engine, and whatever else a test puts in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from inspector.capture.sources.pattern import paint_belt
from inspector.config.load import load_station
from tests.engine import tiny_engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inspector.config.station import Station

PATTERN = {"kind": "pattern", "width": 128, "height": 96, "fps": 10}


@pytest.fixture(scope="session")
def engines(tmp_path_factory) -> Path:
    """Folder with one whole engine, `tiny`. Read-only for tests."""
    folder = tmp_path_factory.mktemp("engines")
    tiny_engine.make(folder)
    return folder


@pytest.fixture
def station_file(tmp_path, engines) -> Callable[..., Path]:
    """Writes station files: `station_file(cameras={...})`."""

    def write(**more: Any) -> Path:
        document = {
            "version": 1,
            "station": "line-1",
            "state": str(tmp_path / "state"),
            "engine": {"screen": "tiny", "folder": str(engines)},
            "cameras": {"belt": {"source": PATTERN}},
            "web": {"listen": "127.0.0.1:0"},
        }
        path = tmp_path / "station.yaml"
        path.write_text(yaml.safe_dump(document | more, sort_keys=False))
        return path

    return write


@pytest.fixture
def station(station_file) -> Callable[..., Station]:
    """Makes stations out of such files."""
    return lambda **more: load_station(station_file(**more))


@pytest.fixture(scope="session")
def scene() -> np.ndarray:
    """A textured picture of 320x256 pixels."""
    return np.ascontiguousarray(paint_belt(256, 640, 3)[:, :320])
