"""Triggers on a running station, over HTTP: many at once, cameras that are away, and its stop."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cv2
import httpx
import pytest

from tests.engine import tiny_engine
from tests.integration.kafka_reading import outbox_events
from tests.integration.station_process import StationProcess

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Two cameras that wait for triggers, one that judges all the time, one that is away."""
    tiny_engine.make(tmp_path / "engines", name="tiny")
    for label in ("gblur", "refimgs"):
        (tmp_path / label).mkdir()
        cv2.imwrite(str(tmp_path / label / "0.png"), tiny_engine.picture(label))

    def folder(label: str) -> dict[str, object]:
        source = {"kind": "images", "folder": str(tmp_path / label), "loop": True, "every_s": 0.02}
        return {"source": source}

    def asked() -> dict[str, object]:
        return {"inspect": {"on_trigger": True, "deadline_ms": 20_000}}

    return {
        "engine": {"screen": "tiny", "folder": str(tmp_path / "engines"), "threads": 1},
        "mode": "observe",
        "cameras": {
            "bad": {**folder("gblur"), **asked()},
            "good": {**folder("refimgs"), **asked(), "camera_delay_ms": 50},
            "all": {**folder("gblur"), "inspect": {"deadline_ms": 20_000}},
            "away": {
                "source": {"kind": "rtsp", "url": "rtsp://127.0.0.1:9/none"},
                "inspect": {"deadline_ms": 60_000},
            },
        },
    }


def trigger(station: StationProcess, camera: str, part_id: str | None = None) -> dict[str, Any]:
    body = {"part_id": part_id} if part_id is not None else {}
    answer = httpx.post(f"{station.page}/api/cameras/{camera}/inspect", json=body, timeout=90)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def serving(folder: Path, config: dict[str, Any]) -> StationProcess:
    station = StationProcess(folder, config).wait_ready()
    for name in config["cameras"]:
        state = "lost" if name == "away" else "running"
        station.until(f"{name} {state}", lambda n=name, s=state: station.camera(n)["state"] == s)
    return station


def frame_data(station: StationProcess) -> list[dict[str, Any]]:
    """The data of all frame events of a station that has ended."""
    events = [row["event"] for row in outbox_events(station.file)]
    return [dict(event["data"]) for event in events if ".frame." in event["type"]]


def test_many_triggers_on_several_cameras_each_get_the_verdict_on_their_part(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with serving(tmp_path, config) as station:
        jobs = [(name, f"{name}-{n}") for n in range(20) for name in ("bad", "good", "all")]
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda job: trigger(station, *job), jobs))
        assert [(a["camera"], a["part_id"]) for a in answers] == jobs
        assert len({a["trigger_id"] for a in answers}) == len(jobs)
        for answer in answers:
            good = answer["camera"] == "good"
            assert answer["verdict"] == ("accepted" if good else "rejected")
            assert answer["reject"] is not good
            assert answer["mode"] == "observe"
            assert answer["frame"]["captured"] > answer["triggered"]
            assert not good or answer["waited_ms"] >= 50
        away = trigger(station, "away", "part-1")
        assert (away["verdict"], away["cause"]) == ("unjudgeable", "camera_away")
        assert "camera away gives no pictures: it is lost; the camera at" in away["reasons"][0]
        assert away["waited_ms"] < 60_000

        counters = station.camera("bad")["counters"]
        assert 1 <= counters["judged"] <= 20, "frames that nobody asked for are not judged"
        assert counters["dropped"]["not_due"] > 0
        accounted = counters["judged"] + sum(counters["dropped"].values()) + counters["in_flight"]
        assert counters["frames_in"] == accounted
        metrics = station.get("/metrics").text
        assert 'inspector_triggers_total{camera="bad",result="rejected"} 20.0' in metrics
        assert 'inspector_triggers_total{camera="away",result="camera_away"} 1.0' in metrics
        assert 'inspector_trigger_seconds_count{camera="good"} 20.0' in metrics
        facts = {fact["name"]: fact for fact in station.get("/readyz").json()["facts"]}
        assert "the line gets no signal" in facts["mode"]["detail"]
        assert station.camera("bad")["last_verdict"]["part_id"].startswith("bad-")
        assert station.terminate() == 0
    told = frame_data(station)
    for camera in ("bad", "all"):
        parts = {a["part_id"]: a["trigger_id"] for a in answers if a["camera"] == camera}
        seen = [d for d in told if d["camera"] == camera and d["trigger_id"]]
        assert {d["part_id"]: d["trigger_id"] for d in seen} == parts
        assert len(seen) == len(parts), "an event for each trigger"
        assert not any(d["late"] for d in seen)
    assert all(d["mode"] == "observe" for d in told)
    assert all(d["trigger_id"] for d in told if d["camera"] == "bad")


def test_a_stop_answers_what_waits_at_once(config: dict[str, Any], tmp_path: Path) -> None:
    config["cameras"]["bad"]["camera_delay_ms"] = 10_000
    with serving(tmp_path, config) as station, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(trigger, station, "bad", f"part-{n}") for n in range(4)]
        time.sleep(3)  # so that they wait
        assert not any(one.done() for one in waiting)
        station.process.send_signal(signal.SIGTERM)
        answers = [one.result(60) for one in waiting]
        assert station.process.wait(60) == 0
    assert {(a["verdict"], a["cause"]) for a in answers} == {("unjudgeable", "shutdown")}


def test_where_the_deadline_is_too_short_answers_come_in_time_and_late_events_say_so(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["cameras"]["bad"]["inspect"]["deadline_ms"] = 25  # a frame takes up to 20
    with serving(tmp_path, config) as station:
        answers = [trigger(station, "bad", f"part-{n}") for n in range(30)]
        assert {a["verdict"] for a in answers} <= {"unjudgeable", "rejected"}
        late = {a["trigger_id"] for a in answers if a["verdict"] == "unjudgeable"}
        assert station.terminate() == 0
    told = frame_data(station)
    asked = [d for d in told if d["trigger_id"]]
    assert all(d["late"] == (d["trigger_id"] in late) for d in asked)
