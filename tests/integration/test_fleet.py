"""A real station, a real broker, and the fleet view between them and the reader's eyes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import cv2
import pytest

from inspector.fleet.view import board
from tests.engine import tiny_engine
from tests.fleet.test_reader import Plant, until
from tests.integration.station_process import StationProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


def _looped(folder: Path, label: str) -> dict[str, Any]:
    pictures = folder / label
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), tiny_engine.picture(label, seed=1))
    source = {"kind": "images", "folder": str(pictures), "loop": True, "every_s": 0.2}
    return {"source": source}


def test_what_a_station_tells_is_what_the_fleet_view_shows(broker, topic_suffix, tmp_path: Path):
    plant = Plant(broker, topic_suffix)
    tiny_engine.make(tmp_path / "engines", name="tiny")
    config = {
        "engine": {"screen": "tiny", "folder": str(tmp_path / "engines"), "threads": 1},
        "cameras": {
            "good": _looped(tmp_path, "refimgs"),
            "blurred": _looped(tmp_path, "gblur"),
            "away": {"source": {"kind": "rtsp", "url": "rtsp://127.0.0.1:9/none"}},
        },
        "events": {
            "kafka": {"bootstrap_servers": [broker.bootstrap]},
            "topics": plant.topics.model_dump(),
            "heartbeat_s": 0.5,
        },
    }
    fleet = plant.read()

    def told() -> dict[str, Any]:
        stations = board(fleet, time.time())["stations"]
        return stations[0] if stations else {}

    def causes(camera: str) -> list[str]:
        return [each["cause"] for each in told()["cameras"] if each["camera"] == camera]

    def shift() -> dict[str, Any]:
        return board(fleet, time.time())["lines"][0]["shifts"][0]

    try:
        with StationProcess(tmp_path, config) as station:
            station.wait_ready()
            station.until("trouble", lambda: told().get("state") == "trouble")
            station.until("cameras", lambda: told()["lost"] == ["away"])
            station.until("bad pictures", lambda: told()["degraded"] == ["blurred"])
            station.until("counts", lambda: shift()["judged"] > shift()["rejected"] > 5)
            station.until("cause", lambda: "refused" in causes("away"))
            assert set(shift()["labels"]) == {"gblur"}
            assert told()["engine"]["name"] == "tiny"
            assert fleet.counts["invalid"] == fleet.counts["unknown"] == 0
            assert station.terminate() == 0
        until(lambda: told()["state"] == "quiet")  # and so all that it told has been read
        cameras = fleet.stations["test-01"].cameras.values()

        def as_told() -> bool:
            shifts = board(fleet, time.time())["lines"][0]["shifts"]
            return sum(s["judged"] for s in shifts) == sum(c.judged for c in cameras)

        until(as_told)
    finally:
        plant.readers[-1].stop()
