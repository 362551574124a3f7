"""The main job on real parts: an RTSP camera in, an engine judging, events in Kafka.

Once with the shipped engine on real pictures, and once with the tests' tiny one, so that a fault in
the way of the events is not taken for one of the training.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from inspector.capture.sources.pictures import read_picture
from inspector.config.shipped import shipped_configs
from inspector.events.consumer import consume
from tests.engine import tiny_engine
from tests.integration.kafka_reading import outbox_events, read_with_kcat
from tests.integration.station_process import StationProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.servers.kafka import Broker
    from tests.servers.rtsp import RtspServer

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

REJECTED = "inspector.frame.rejected.v1"
DEGRADED = "inspector.quality.degraded.v1"
RECOVERED = "inspector.quality.recovered.v1"
LOST = "inspector.camera.lost.v1"
PATIENT = {"open_timeout_s": 30, "read_timeout_s": 30}
"""A busy machine is no fault of the camera."""


def pictures() -> dict[str, NDArray[np.uint8]]:
    """A good picture of the demo, the same out of focus, and in the dark with a camera's gain."""
    path = next((shipped_configs() / "demo" / "pictures").glob("*music-america*good*"))
    good = read_picture(path)
    good = np.ascontiguousarray(good[: good.shape[0] // 16 * 16, : good.shape[1] // 16 * 16])
    blurred = cv2.GaussianBlur(good, (0, 0), 5)
    noise = np.random.default_rng(7).normal(0, 8.0, good.shape)
    dark = (good * 0.1 + noise).clip(0, 255).astype(np.uint8)
    return {"good": good, "gblur": blurred.astype(np.uint8), "bad_lighting": dark}


def colours() -> dict[str, NDArray[np.uint8]]:
    """The same for the tiny engine, which knows labels by their colours."""
    labels = {"good": "refimgs", "gblur": "gblur", "bad_lighting": "bad_lighting"}
    return {name: tiny_engine.picture(label, 240, 320) for name, label in labels.items()}


def topics(suffix: str) -> dict[str, str]:
    return {
        "rejects": f"rejects-{suffix}",
        "verdicts": f"verdicts-{suffix}",
        "status": f"status-{suffix}",
    }


@pytest.mark.parametrize("engine", ["tiny", "simplenet"])
def test_a_picture_that_turns_bad_and_good_again_is_told_in_kafka(
    broker: Broker,
    rtsp_server: Callable[..., RtspServer],
    topic_suffix: str,
    tmp_path: Path,
    engine: str,
) -> None:
    names = topics(topic_suffix)
    chosen: dict[str, Any] = {"screen": engine, "threads": 1}
    if engine == "tiny":
        tiny_engine.make(tmp_path / "engines", name="tiny")
        chosen["folder"] = str(tmp_path / "engines")
    server = rtsp_server(colours() if engine == "tiny" else pictures(), fps=10)
    config = {
        "engine": chosen,
        "cameras": {
            "infeed": {
                # What the server shows is one picture, which is frozen indeed.
                "source": {"kind": "rtsp", "url": server.url(), "frozen_after_s": 0, **PATIENT},
                "inspect": {"every_s": 0.15},
            }
        },
        "policies": {"default": {"needed": 3, "window": 5, "recover_after": 4}},
        "events": {
            "kafka": {"bootstrap_servers": [broker.bootstrap]},
            "topics": names,
            "heartbeat_s": 1,
        },
    }
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()

        def says(verdict: str, label: str, quality: str) -> bool:
            camera = station.camera("infeed")
            last = camera["last_verdict"]
            return (
                bool(last and (last["verdict"], last["label"]) == (verdict, label))
                and camera["quality"] == quality
            )

        station.until("good verdict", lambda: says("accepted", "refimgs", "good"))
        server.show("gblur")
        station.until("blur", lambda: says("rejected", "gblur", "degraded"))

        broker.kill()
        server.show("good")
        station.until("recovery", lambda: says("accepted", "refimgs", "good"))
        server.show("bad_lighting")
        station.until("darkness", lambda: says("rejected", "bad_lighting", "degraded"))
        station.until("reason", lambda: _broker_is_named(station))
        assert station.get("/readyz").status_code == 200
        broker.start()

        server.show("good")
        station.until("recovery", lambda: says("accepted", "refimgs", "good"))
        station.until("flow", lambda: station.get("/api/status").json()["outbox"]["waiting"] == 0)
        counters = station.camera("infeed")["counters"]
        assert counters["frames_in"] == (
            counters["judged"] + sum(counters["dropped"].values()) + counters["in_flight"]
        )
        assert station.terminate() == 0

    records = read_with_kcat(broker.bootstrap, names["rejects"])
    assert {record["key"] for record in records} == {"test-01/infeed"}
    for record in records:
        headers = dict(zip(record["headers"][::2], record["headers"][1::2], strict=True))
        assert headers == {"content-type": "application/cloudevents+json; charset=UTF-8"}
    events = [json.loads(record["payload"]) for record in records]
    turns = [(e["type"], e["data"]["label"]) for e in events if e["type"] != REJECTED]
    assert turns == [
        (DEGRADED, "gblur"),
        (RECOVERED, "refimgs"),
        (DEGRADED, "bad_lighting"),
        (RECOVERED, "refimgs"),
    ]
    assert {e["data"]["label"] for e in events if e["type"] == REJECTED} == {
        "gblur",
        "bad_lighting",
    }
    _in_order_without_gaps(events)
    kept = outbox_events(station.file)
    stored = {row["event"]["id"] for row in kept if row["topic"] == names["rejects"]}
    assert {event["id"] for event in events} == stored

    typed = list(
        consume(
            [broker.bootstrap],
            [names["rejects"]],
            group=f"reader-{topic_suffix}",
            idle_s=15,
        )
    )
    assert len(typed) == len(stored)
    assert {event.id for event in typed} == stored
    assert [event.type for event in typed if event.type != REJECTED] == [t for t, _ in turns]


def _broker_is_named(station: StationProcess) -> bool:
    facts = {fact["name"]: fact for fact in station.get("/readyz").json()["facts"]}
    return not facts["broker"]["ok"] and facts["broker"]["detail"] != ""


def _in_order_without_gaps(events: list[dict[str, Any]]) -> None:
    """Frames rise within a camera's epoch, whatever the broker went through."""
    seen: dict[str, list[tuple[int, int]]] = defaultdict(list)
    known: set[str] = set()
    for event in events:
        if event["id"] in known:
            continue
        known.add(event["id"])
        data = event["data"]
        seen[data["camera"]].append((data["stream_epoch"], data["sequence"]))
    for frames in seen.values():
        assert frames == sorted(frames)
