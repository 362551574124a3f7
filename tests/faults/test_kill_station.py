"""kill -9 of the station at any moment: what was decided is sent, and sent again by the same id."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import cv2
import pytest

from tests.engine import tiny_engine
from tests.integration.kafka_reading import outbox_events, read_with_kcat
from tests.integration.station_process import StationProcess

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

LIVES = 6


def config_of(tmp_path: Path, bootstrap: str, suffix: str) -> dict[str, Any]:
    """Two cameras whose pictures are good and bad in turn, as fast as they are judged."""
    tiny_engine.make(tmp_path / "engines", name="tiny")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i, label in enumerate(["refimgs"] * 5 + ["gblur"] * 5 + ["wn"] * 2):
        cv2.imwrite(str(pictures / f"{i:02}.png"), tiny_engine.picture(label, seed=i))
    source = {"kind": "images", "folder": str(pictures), "loop": True, "every_s": 0.01}
    return {
        "engine": {"screen": "tiny", "folder": str(tmp_path / "engines"), "threads": 1},
        "cameras": {"left": {"source": source}, "right": {"source": source}},
        "policies": {"default": {"needed": 3, "window": 5, "recover_after": 3}},
        "events": {
            "kafka": {"bootstrap_servers": [bootstrap]},
            "topics": {
                "rejects": f"rejects-{suffix}",
                "verdicts": f"verdicts-{suffix}",
                "status": f"status-{suffix}",
            },
        },
    }


def test_nothing_that_was_decided_is_lost_by_kill_9(
    broker: Broker, topic_suffix: str, tmp_path: Path
) -> None:
    rng = random.Random(5)
    config = config_of(tmp_path, broker.bootstrap, topic_suffix)
    for life in range(LIVES):
        with StationProcess(tmp_path, config) as station:
            station.wait_ready()
            station.until("events", lambda life=life: _epochs(station) >= _both(life + 1))
            time.sleep(rng.uniform(0.05, 1.5))
            if life == 2:
                broker.kill()
            if life == 4:
                broker.start()
            station.kill()
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until(
            "flow", lambda: station.get("/api/status").json()["broker"]["state"] == "connected"
        )
        station.until("sent", lambda: _epochs(station, "sent") >= _both(*range(1, LIVES + 2)))
        assert station.terminate() == 0

    topic = config["events"]["topics"]["rejects"]
    stored = {row["event"]["id"]: row for row in _decided(station)}
    records = read_with_kcat(broker.bootstrap, topic)
    sent = [json.loads(record["payload"]) for record in records]
    # All that was decided came to the broker, up to what the last life's stop left in the outbox.
    waiting = {i for i, row in stored.items() if row["state"] == "waiting"}
    assert {event["id"] for event in sent} == set(stored) - waiting
    frames: dict[tuple[str, str, int, int], set[str]] = defaultdict(set)
    order: dict[str, list[tuple[int, int]]] = defaultdict(list)
    seen: set[str] = set()
    for event in sent:
        data = event["data"]
        frame = (data["stream_epoch"], data["sequence"])
        frames[event["type"], data["camera"], *frame].add(event["id"])
        if event["id"] not in seen:
            seen.add(event["id"])
            order[data["camera"]].append(frame)
    assert all(len(ids) == 1 for ids in frames.values()), "one picture was told under two ids"
    for camera in ("left", "right"):
        assert order[camera] == sorted(order[camera])
        assert len({epoch for epoch, _ in order[camera]}) == LIVES + 1
    _states_alternate(sent)


def _decided(station: StationProcess) -> list[dict[str, Any]]:
    """The outbox's events that are about a frame."""
    return [row for row in outbox_events(station.file) if "sequence" in row["event"]["data"]]


def _epochs(station: StationProcess, *states: str) -> set[tuple[str, int]]:
    """Cameras and lives that have an event in the outbox, in one of `states` if any is named."""
    return {
        (row["event"]["data"]["camera"], row["event"]["data"]["stream_epoch"])
        for row in _decided(station)
        if not states or row["state"] in states
    }


def _both(*lives: int) -> set[tuple[str, int]]:
    return {(camera, life) for camera in ("left", "right") for life in lives}


def _states_alternate(sent: list[dict[str, Any]]) -> None:
    """A restart neither repeats `degraded` nor forgets `recovered`."""
    turns: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for event in sent:
        if event["type"].startswith("inspector.quality.") and event["id"] not in seen:
            seen.add(event["id"])
            turns[event["data"]["camera"]].append(event["type"].split(".")[2])
    for camera, words in turns.items():
        assert words[::2] == ["degraded"] * len(words[::2]), camera
        assert words[1::2] == ["recovered"] * len(words[1::2]), camera
    assert set(turns) == {"left", "right"}
