"""The station's real session and the PLC simulator, over a real connection."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from inspector.config.line import Line
from inspector.line.registers import Layout
from inspector.line.simulator.faults import Kind, Plan
from inspector.line.simulator.program import Settings
from inspector.line.simulator.simulation import PlcSimulator
from tests.line.lineside import Judging, agrees

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.line.simulator.program import Happening

CAMERAS = ("infeed", "outfeed")
PATIENT = {"deadline_ms": 20_000, "acknowledge_ms": 20_000, "timeout_ms": 20_000}
"""A machine that is busy is no fault of the line."""


def simulator(happened: list[Happening], **settings: Any) -> PlcSimulator:
    line = Line.model_validate({"modbus": {"host": "127.0.0.1"}})
    return PlcSimulator(
        Layout.of(line, dict.fromkeys(CAMERAS)),
        Settings(**settings),
        Plan([], random.Random(1)),
        on_happening=happened.append,
    )


def answers(happened: list[Happening]) -> list[dict[str, Any]]:
    return [{"camera": h.camera, **h.details} for h in happened if h.what == "answer"]


def told(faults: list[Any]) -> list[str]:
    """Faults, begun or ended, in no order."""
    return sorted(str(each) for each in faults)


def modes(happened: list[Happening]) -> list[str]:
    return [str(h.details["now"]) for h in happened if h.what == "mode"]


def test_each_of_some_hundred_parts_gets_its_own_answer(tmp_path: Path) -> None:
    happened: list[Happening] = []
    settings = {"per_s": 40, "parts": 150, "travel_s": 5.0, "indexed": True}
    with (
        simulator(happened, **settings, heartbeat_within_s=20.0) as plc,
        Judging(plc.port, CAMERAS, **PATIENT) as station,
    ):
        assert plc.wait(200)
    got = answers(happened)
    assert len(got) == 300
    assert all(agrees(answer) for answer in got)
    assert {(a["camera"], a["part"]) for a in got} == {
        (c, n) for c in CAMERAS for n in range(1, 151)
    }
    assert plc.summary()["well"], plc.summary()
    assert not station.happened.faults
    tallies = plc.summary()["cameras"].values()
    assert all(tally["ejected"] + tally["passed"] == 150 for tally in tallies)
    out = sum(answer["result"] != "accept" for answer in got)
    assert sum(tally["ejected"] for tally in tallies) == out


@pytest.mark.parametrize(
    ("fault", "cause", "safe", "settings"),
    [
        (Kind.NO_ACK, "no_acknowledge", "reject", {"reset_after_s": 0.3}),
        (Kind.LATE_ACK, "no_acknowledge", "reject", {"late_ack_s": 1.5, "reset_after_s": None}),
        (Kind.DROP_CONNECTION, "plc_away", "stop", {}),
        (Kind.SILENT, "plc_away", "stop", {}),
        (Kind.EXCEPTION, "bad_answer", "stop", {}),
    ],
)
def test_a_fault_ends_in_the_safe_state_and_an_event_and_then_it_goes_on(
    fault, cause, safe, settings
):
    happened: list[Happening] = []
    given = {"per_s": 20, "fault_s": 3.0, "travel_s": 8.0, "indexed": True, **settings}
    with (
        simulator(happened, **given) as plc,
        Judging(plc.port, CAMERAS, deadline_ms=20_000) as station,
    ):
        wait_for(lambda: len(answers(happened)) > 10)
        plc.make(fault)
        wait_for(lambda: cause in {each for _, each in station.happened.faults})
        wait_for(lambda: safe in modes(happened)[modes(happened).index("run") :])
        wait_for(lambda: any(each.what == "settled" for each in happened))
        settled = len(answers(happened))
        wait_for(lambda: len(answers(happened)) > settled + 20)
        wait_for(lambda: modes(happened)[-1] == "run")
        wait_for(lambda: told(station.happened.restored) == told(station.happened.faults))
    assert plc.summary()["faults_made"] == {fault.value: 1}
    for answer in answers(
        happened
    ):  # around a lost connection it may be none, but never a wrong one
        assert agrees(answer) or answer["result"] == "no_result"
    assert plc.summary()["well"], plc.summary()


def test_a_station_that_is_killed_leaves_the_line_safe_and_its_successor_goes_on(tmp_path):
    happened: list[Happening] = []
    with simulator(happened, per_s=20, travel_s=8.0, indexed=True) as plc:
        code = (
            "import sys, time; from tests.line.lineside import Judging\n"
            f"with Judging({plc.port}, {CAMERAS!r}, **{PATIENT!r}): time.sleep(600)"
        )
        process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
        try:
            wait_for(lambda: len(answers(happened)) > 10)
        finally:
            process.kill()
            process.wait()
        wait_for(lambda: modes(happened)[-1] == "stop")
        last = max(int(answer["sequence"]) for answer in answers(happened))
        before = len(answers(happened))
        with Judging(plc.port, CAMERAS, **PATIENT):
            wait_for(lambda: len(answers(happened)) > before + 10)
        for answer in answers(happened):  # what was on its way at the kill may have no result
            assert agrees(answer) or answer["result"] == "no_result"
        for camera in CAMERAS:  # numbered on from where the dead one was
            numbers = [a["sequence"] for a in answers(happened) if a["camera"] == camera]
            assert numbers == sorted(set(numbers))
        assert max(int(answer["sequence"]) for answer in answers(happened)) > last
        wait_for(lambda: modes(happened)[-1] == "stop")  # it ended in order, and serves no more
        wait_for(lambda: not plc.view().station.serving)
        cameras = plc.view().cameras.values()
        assert not any(status.ready or status.valid for status, *_ in cameras)


def test_verdicts_that_come_too_late_are_no_results_in_time():
    happened: list[Happening] = []
    settings = {"per_s": 5, "parts": 10, "travel_s": 6.0, "indexed": True}
    patient = PATIENT | {"deadline_ms": 150}
    with (
        simulator(happened, **settings, heartbeat_within_s=20.0) as plc,
        Judging(plc.port, CAMERAS, takes_s=(0.5, 0.6), **patient),
    ):
        assert plc.wait(120)
    got = answers(happened)
    assert {answer["result"] for answer in got} == {"no_result"}
    assert plc.summary()["well"], plc.summary()
    assert sum(tally["ejected"] for tally in plc.summary()["cameras"].values()) == len(got) == 20


def test_the_command_records_every_transition_and_tells_what_was_missing(tmp_path):
    record = tmp_path / "record.jsonl"
    words = ["--port=0", "--parts=3", "--travel-ms=5000", "--heartbeat-within-ms=20000"]
    command = [sys.executable, "-m", "inspector.cli", "plc-simulator", *words]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*command, f"--record={record}"], **pipes)
    assert process.stdout is not None
    port = int(process.stdout.readline().split("port=")[1])
    with Judging(port, ["camera"], **PATIENT):
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "each part got its own answer" in said
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    whats = [line["what"] for line in lines]
    assert whats[0] == "listening"
    assert whats[-1] == "summary"
    assert whats.count("trigger") == whats.count("answer") == whats.count("acknowledged") == 3
    assert all(agrees(line) for line in lines if line["what"] == "answer")
    assert all("utc" in line and "at_s" in line for line in lines[:-1])

    process = subprocess.Popen(command, **pipes)
    said, _ = process.communicate("nonsense\nquit\n", timeout=60)
    assert process.returncode == 1
    assert "it ended before all parts had come" in said


def wait_for(truth: Any, within_s: float = 60.0) -> None:
    from tests.signaller.lineside import wait_until

    wait_until("what was waited for", truth, within_s)
