"""The line of a running station: real frames, a real Modbus server whose bits the test moves."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import cv2
import httpx
import pytest

from inspector.line.registers import Result, Safe
from tests.engine import tiny_engine
from tests.integration.kafka_reading import outbox_events
from tests.integration.station_process import StationProcess
from tests.servers.plc import PlcServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def plc() -> Iterator[PlcServer]:
    with PlcServer() as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, plc: PlcServer) -> dict[str, Any]:
    """A bad and a good camera that the PLC triggers, and one that is away."""
    tiny_engine.make(tmp_path / "engines", name="tiny")
    for label in ("gblur", "refimgs"):
        (tmp_path / label).mkdir()
        cv2.imwrite(str(tmp_path / label / "0.png"), tiny_engine.picture(label))

    def folder(label: str) -> dict[str, object]:
        source = {"kind": "images", "folder": str(tmp_path / label), "loop": True, "every_s": 0.02}
        return {"source": source, "inspect": {"on_trigger": True, "deadline_ms": 20_000}}

    return {
        "engine": {"screen": "tiny", "folder": str(tmp_path / "engines"), "threads": 1},
        "cameras": {
            "bad": folder("gblur"),
            "good": folder("refimgs"),
            "away": {"source": {"kind": "rtsp", "url": "rtsp://127.0.0.1:9/none"}},
        },
        "line": {
            "modbus": {"host": "127.0.0.1", "port": plc.port, "timeout_ms": 20_000},
            "acknowledge_ms": 30_000,
            "cameras": {
                name: {"trigger": "plc", "deadline_ms": 15_000} for name in ("bad", "good", "away")
            },
        },
    }


AWAY, BAD, GOOD = 0, 1, 2  # the file is written in the order of the names


def serving(folder: Path, config: dict[str, Any]) -> StationProcess:
    return StationProcess(folder, config).wait_ready()


def line_events(station: StationProcess) -> list[dict[str, Any]]:
    """The line's events in the outbox, oldest first."""
    events = [row["event"] for row in outbox_events(station.file)]
    return [event for event in events if ".line." in event["type"]]


def told(events: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [
        (event["type"].split(".")[2], event["data"]["cause"], event["data"]["camera"])
        for event in events
    ]


def line_of(station: StationProcess) -> dict[str, Any]:
    return dict(station.get("/api/status").json()["line"])


def facts(station: StationProcess) -> dict[str, Any]:
    return {fact["name"]: fact for fact in station.get("/readyz").json()["facts"]}


def test_each_trigger_of_the_plc_gets_the_verdict_on_its_part(
    config: dict[str, Any], plc: PlcServer, tmp_path: Path
) -> None:
    with serving(tmp_path, config) as station:
        for number in range(70_000, 70_010):
            bad, good = plc.part(number, BAD), plc.part(number + 100, GOOD)
            assert (bad.result, bad.label, bad.part) == (Result.REJECT, 3, number)
            assert (good.result, good.label, good.part) == (Result.ACCEPT, 7, number + 100)
            assert min(bad.confidence, good.confidence) > 500
        assert [answer.sequence for answer in plc.raised(BAD)] == list(range(1, 11))

        away = plc.status(AWAY)
        assert not away.ready, "a camera without pictures takes no parts"
        plc.says(AWAY, trigger=True, part=5)
        assert plc.acknowledge(AWAY).result is Result.NO_RESULT

        block = plc.station
        assert (block.layout, block.serving, block.fault, block.cameras) == (1, True, False, 3)
        line = line_of(station)
        assert (line["state"], line["safe"], line["observing"]) == ("connected", "normal", False)
        assert line["cameras"]["bad"]["counters"]["reject"] == 10
        assert line["cameras"]["away"]["counters"]["no_result"] == 1
        assert facts(station)["line"]["ok"]
        metrics = station.get("/metrics").text
        assert 'inspector_signals_total{camera="bad",result="reject"} 10.0' in metrics
        assert 'inspector_signal_seconds_count{camera="good"} 10.0' in metrics
        assert "inspector_line_up 1.0" in metrics
        assert "inspector_line_safe 0.0" in metrics

        station.write(config | {"line": config["line"] | {"fail_safe": "stop"}})
        answer = station.reload().json()
        assert answer["outcome"] == "restart needed"
        assert [fault["key"] for fault in answer["faults"]] == ["line.fail_safe"]

        plc.until_ready(BAD)
        writes = len(plc.writes)
        assert station.terminate() == 0
        last = plc.writes[writes:]
        assert not any(plc.status(camera).ready for camera in (BAD, GOOD, AWAY))
        assert not plc.station.serving
        assert last, "the session has its last words"
    rejected = [
        row["event"]["data"]
        for row in outbox_events(station.file)
        if row["event"]["type"] == "inspector.frame.rejected.v1"
    ]
    assert [data["part_id"] for data in rejected] == [str(n) for n in range(70_000, 70_010)]
    assert not line_events(station)


def test_each_part_that_passes_the_barrier_in_the_picture_is_told_once(
    config: dict[str, Any], plc: PlcServer, tmp_path: Path
) -> None:
    barrier = {"x": 150, "y": 40, "width": 8, "height": 160, "parts": "lighter", "free": 0.2}
    source = {"kind": "pattern", "width": 320, "height": 240, "fps": 25}
    config["cameras"] = {"belt": {"source": source, "inspect": {"on_motion": barrier}}}
    config["line"]["acknowledge_ms"] = 20_000
    config["line"]["cameras"] = {
        "belt": {"trigger": "frames", "count_parts": True, "deadline_ms": 20_000}
    }
    with serving(tmp_path, config) as station:
        for number in range(1, 6):
            plc.until(f"part {number}", lambda: plc.status(0).valid)
            assert plc.acknowledge(0).part == number
        camera = station.get("/api/cameras").json()["belt"]
        assert camera["on_motion"]
        assert camera["counters"]["parts"] >= 5
        assert camera["counters"]["judged"] <= camera["counters"]["parts"]
        assert 'inspector_parts_total{camera="belt"}' in station.get("/metrics").text


def test_a_late_verdict_is_no_result_in_time_and_never_told(
    config: dict[str, Any], plc: PlcServer, tmp_path: Path
) -> None:
    config["cameras"]["bad"]["camera_delay_ms"] = 400
    config["line"]["cameras"]["bad"] = {"deadline_ms": 450, "reserve_ms": 40}
    # The first frame that may answer comes when the line's time is over; so it is with any load.
    config["cameras"]["bad"]["source"]["every_s"] = 0.3
    with serving(tmp_path, config) as station:
        results = [plc.part(number, BAD) for number in range(1, 9)]
        none = [answer for answer in results if answer.result is Result.NO_RESULT]
        assert none, "no verdict was late in eight parts, though hardly any frame comes in time"
        for answer in results:
            assert answer in none or answer.elapsed_ms <= 410
        counters = station.until(
            "late verdicts",
            lambda: (c := line_of(station)["cameras"]["bad"]["counters"])["late"] and c,
        )
        assert counters["late"] <= len(none) == counters["no_result"]
        assert len(plc.raised(BAD)) == 8
        assert station.terminate() == 0
    events = [row["event"]["data"] for row in outbox_events(station.file)]
    late = {data["part_id"] for data in events if data.get("late")}
    assert late <= {str(answer.part) for answer in none}
    assert len(late) >= counters["late"]


def test_without_acknowledgement_the_line_goes_safe_and_the_alarm_is_an_event(
    config: dict[str, Any], plc: PlcServer, tmp_path: Path
) -> None:
    config["line"]["acknowledge_ms"] = 300
    config["line"]["fail_safe"] = "stop"
    with serving(tmp_path, config) as station:
        plc.until_ready(BAD)
        plc.says(BAD, trigger=True, part=7)
        plc.until_valid(BAD)
        plc.until("fail-safe", lambda: plc.station.safe is Safe.STOP)
        plc.until("fault", lambda: plc.status(BAD).fault)
        assert plc.station.fault
        assert plc.status(BAD).valid
        fact = facts(station)["line"]
        assert not fact["ok"]
        assert not fact["gates"]
        assert (
            fact["detail"]
            == "camera bad: the PLC does not acknowledge; the PLC is told to stop the line"
        )
        events = station.until("alarm", lambda: line_events(station))
        assert told(events) == [("fault", "no_acknowledge", "bad")]
        assert events[0]["data"]["fail_safe"] == "stop"
        assert plc.acknowledge(BAD).part == 7
        plc.until("normal", lambda: plc.station.safe is Safe.NORMAL)
        station.until("restored", lambda: len(line_events(station)) == 2)
        assert told(line_events(station))[1] == ("restored", "no_acknowledge", "bad")
        metrics = station.get("/metrics").text
        assert 'inspector_line_faults_total{camera="bad",cause="no_acknowledge"} 1.0' in metrics
        assert plc.part(8, BAD).result is Result.REJECT
        assert station.terminate() == 0


def test_observing_the_plc_sees_a_heartbeat_and_never_a_result(
    config: dict[str, Any], plc: PlcServer, tmp_path: Path
) -> None:
    config["mode"] = "observe"
    config["line"]["heartbeat_ms"] = 50
    config["line"]["cameras"]["good"] = {"trigger": "frames", "deadline_ms": 10_000}
    config["cameras"]["good"]["inspect"] = {}
    with serving(tmp_path, config) as station:
        plc.until("heartbeat", lambda: plc.station.heartbeat > 5)
        plc.says(BAD, trigger=True, part=7)
        judged = lambda: station.camera("good")["counters"]["judged"]  # noqa: E731
        station.until("verdicts", lambda: judged() > 10)
        assert plc.station.observing
        assert plc.station.serving
        assert line_of(station)["observing"]
        assert station.terminate() == 0
    for camera in (BAD, GOOD, AWAY):
        assert plc.raised(camera) == []
        assert plc.answer(camera).result is Result.NONE
        assert not plc.status(camera).ready


def test_frames_and_parts_of_the_api_are_signalled_without_a_trigger_of_the_plc(
    config: dict[str, Any], plc: PlcServer, tmp_path: Path
) -> None:
    config["line"]["cameras"] = {
        "bad": {"trigger": "api", "deadline_ms": 10_000},
        "good": {"trigger": "frames", "deadline_ms": 60_000, "count_parts": True, "queue": 1000},
        "away": {"trigger": "plc"},
    }
    config["cameras"]["good"]["inspect"] = {"every_s": 0.1}
    with serving(tmp_path, config) as station:
        assert [plc.acknowledge(GOOD).part for _ in range(5)] == [1, 2, 3, 4, 5]
        plc.until_ready(BAD)
        for part_id, number in (("4711", 4711), ("A-7", 0)):
            url = f"{station.page}/api/cameras/bad/inspect"
            answer = httpx.post(url, json={"part_id": part_id}, timeout=60).json()
            assert answer["reject"]
            told_part = plc.acknowledge(BAD)
            assert (told_part.result, told_part.part) == (Result.REJECT, number)
        assert station.terminate() == 0


def test_a_label_that_the_policy_does_not_count_is_accepted_on_the_line(
    config: dict[str, Any], plc: PlcServer, tmp_path: Path
) -> None:
    config["policies"] = {"default": {"reject": ["wn"]}}
    with serving(tmp_path, config) as station:
        answer = plc.part(1, BAD)
        assert (answer.result, answer.label) == (Result.ACCEPT, 3)
        assert station.terminate() == 0


def test_sigterm_lowers_what_stands(config: dict[str, Any], plc: PlcServer, tmp_path: Path) -> None:
    with serving(tmp_path, config) as station:
        plc.until_ready(GOOD)
        plc.until_ready(BAD)
        plc.says(BAD, trigger=True, part=7)
        plc.until_valid(BAD)
        station.process.send_signal(signal.SIGTERM)
        plc.until("ready lowered", lambda: not plc.status(GOOD).ready)
        assert station.process.wait(60) == 0
        assert not plc.status(BAD).valid
        assert not plc.station.serving


def test_kill_9_stops_the_heartbeat_and_the_next_life_goes_on_from_the_sequence(
    config: dict[str, Any], plc: PlcServer, tmp_path: Path
) -> None:
    with serving(tmp_path, config) as station:
        plc.part(1, BAD)
        plc.part(2, BAD)
        plc.until_ready(BAD)
        plc.says(BAD, trigger=True, part=3)
        plc.until_valid(BAD)
        station.kill()
    plc.until("the end of its connection", lambda: not plc.open)
    held = plc.station.heartbeat
    assert plc.status(BAD).valid, "the registers stay as they were"
    time.sleep(1)  # four heartbeats
    assert plc.station.heartbeat == held
    plc.says(BAD)
    with serving(tmp_path, config) as station:
        plc.until("heartbeat", lambda: plc.station.heartbeat != held)
        assert plc.part(4, BAD).sequence == 4
        plc.hang_up()
        station.until("restored", lambda: len(line_events(station)) == 2)
        assert told(line_events(station)) == [
            ("fault", "plc_away", None),
            ("restored", "plc_away", None),
        ]
        assert plc.part(5, BAD).sequence == 5
        assert station.terminate() == 0


def test_without_a_plc_the_station_is_ready_and_what_it_told_of_is_restored_in_a_later_life(
    config: dict[str, Any], plc: PlcServer, tmp_path: Path
) -> None:
    plc.stop()
    with serving(tmp_path, config) as station:
        station.until("away", lambda: line_of(station)["state"] == "away")
        assert "no connection to the PLC at 127.0.0.1" in facts(station)["line"]["detail"]
        assert station.get("/readyz").status_code == 200
        assert "inspector_line_up 0.0" in station.get("/metrics").text
        station.until("alarm", lambda: line_events(station))
        assert station.terminate() == 0
    plc.start()
    with serving(tmp_path, config) as station:
        station.until("restored", lambda: len(line_events(station)) == 2)
        fault, restored = line_events(station)
        assert told([fault, restored]) == [
            ("fault", "plc_away", None),
            ("restored", "plc_away", None),
        ]
        assert restored["data"]["after_s"] is None
        assert station.terminate() == 0
