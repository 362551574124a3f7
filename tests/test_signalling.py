"""Between station and line: real triggers, outbox and Modbus server; a camera with behaviour."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from inspector.capture.asks import MOST_WAITING, NoFramesError
from inspector.config.events import Topics
from inspector.config.station import Station
from inspector.errors import TriggerError
from inspector.events.documents import Documents
from inspector.frame import Trigger
from inspector.line.parts import Finding
from inspector.line.registers import Result
from inspector.line.session import Standing
from inspector.observe.metrics import Metrics
from inspector.signalling import Signalling, finding_of
from inspector.triggers import Triggers
from inspector.verdict import Cause, Outcome, Verdict
from tests.events.making import STATION, frame, open_outbox, rejected
from tests.servers.plc import PlcServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from inspector.events.outbox import Outbox


class Camera:
    """One camera, `infeed`; the test makes its frames."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[Trigger] = []

    def ask(self, camera: str, trigger_id: str, part_id: str | None) -> Trigger:
        if self.away:
            raise NoFramesError("camera_away", "it is away")
        now = time.monotonic_ns()
        trigger = Trigger(trigger_id, camera, part_id, now, time.time_ns(), now, now + 60 * 10**9)
        self.asked.append(trigger)
        return trigger

    def awaits_frame(self, trigger: Trigger) -> bool:
        return False


class Side:
    """All of it."""

    def __init__(self, folder: Path, plc: PlcServer, **camera: Any) -> None:
        self.station = Station.model_validate(
            {
                "version": 1,
                "station": STATION,
                "cameras": {"infeed": {"source": {"kind": "pattern"}}},
                "line": {
                    "modbus": {"host": "127.0.0.1", "port": plc.port, "timeout_ms": 10_000},
                    "acknowledge_ms": 100,
                    "cameras": {"infeed": {"deadline_ms": 20_000, **camera}},
                },
            }
        )
        assert self.station.line is not None
        self.camera, self.metrics = Camera(), Metrics(dict)
        self.triggers = Triggers(self.camera, "inspect", self.metrics)
        self.triggers.start()
        self.standing = Standing(serving=True)
        self.outbox: Outbox = open_outbox(folder)
        self.line = Signalling(
            self.station,
            self.station.line,
            Documents(STATION, "inspect", Topics()),
            self.outbox,
            self.metrics,
            self.triggers,
            lambda: self.standing,
        )
        self.line.camera("infeed", "running")
        self.line.start()

    def judged(self, verdict: Verdict, *, reject: bool, **of_frame: Any) -> None:
        """As the station does it: the triggers get their answer, then the line hears of it."""
        one = frame(**of_frame)
        late = self.triggers.claim(one)
        self.triggers.answer(one, verdict, reject=reject)
        self.line.judged(one, verdict, reject=reject, late=late)

    def stop(self) -> None:
        self.triggers.close()
        self.line.stop(0)
        self.outbox.close(10)

    def events(self) -> list[tuple[str, str, str | None]]:
        """The events of the line, oldest first: kind, cause, camera."""
        return [
            (e["type"].split(".")[2], e["data"]["cause"], e["data"]["camera"])
            for e in reversed(self.outbox.newest(50))
            if ".line." in e["type"]
        ]


def announced(side: Side, plc: PlcServer, part: int) -> Trigger:
    """The PLC announces the first part; the trigger that it becomes."""
    plc.until_ready()
    plc.says(trigger=True, part=part)
    (trigger,) = plc.until("trigger", lambda: side.camera.asked)
    return trigger


@pytest.fixture
def plc() -> Iterator[PlcServer]:
    with PlcServer() as server:
        yield server


@pytest.mark.parametrize(
    ("outcome", "reject", "result"),
    [
        (Outcome.ACCEPTED, False, Result.ACCEPT),
        (Outcome.REJECTED, True, Result.REJECT),
        (Outcome.REJECTED, False, Result.ACCEPT),
        (Outcome.UNCERTAIN, False, Result.UNCERTAIN),
        (Outcome.UNJUDGEABLE, False, Result.UNJUDGEABLE),
    ],
)
def test_the_policy_has_the_last_word(outcome: Outcome, reject: bool, result: Result) -> None:
    assert finding_of(outcome, "wn", 0.9, reject=reject) == Finding(result, 8, 900)


def test_a_label_that_the_map_does_not_know_is_no_label() -> None:
    assert finding_of(Outcome.REJECTED, "scratch", 0.9, reject=True).label == 0
    assert finding_of(Outcome.UNJUDGEABLE, None, None, reject=False).confidence == 0


def test_the_part_of_a_trigger_is_the_part_of_its_verdict(plc: PlcServer, tmp_path: Path) -> None:
    side = Side(tmp_path, plc)
    trigger = announced(side, plc, 4711)
    assert trigger.part_id == "4711"
    side.judged(rejected(), reject=True, triggers=(trigger,))
    answer = plc.acknowledge()
    assert (answer.part, answer.result, answer.label) == (4711, Result.REJECT, 3)
    side.stop()


def test_a_damaged_picture_is_unjudgeable_and_a_camera_that_is_away_no_result(
    plc: PlcServer, tmp_path: Path
) -> None:
    side = Side(tmp_path, plc)
    trigger = announced(side, plc, 1)
    damaged = Verdict(Outcome.UNJUDGEABLE, cause=Cause.DECODE, reasons=("damaged",))
    side.judged(damaged, reject=False, triggers=(trigger,))
    assert plc.acknowledge().result is Result.UNJUDGEABLE
    side.camera.away = True
    assert plc.part(2).result is Result.NO_RESULT
    side.stop()


def test_while_a_camera_gives_no_pictures_it_is_not_ready(plc: PlcServer, tmp_path: Path) -> None:
    side = Side(tmp_path, plc)
    plc.until_ready()
    side.line.camera("infeed", "stalled")
    plc.until("not ready", lambda: not plc.status().ready)
    side.line.camera("infeed", "running")
    plc.until_ready()
    side.stop()


def test_at_a_stop_the_station_serves_until_what_is_on_its_way_is_answered(
    plc: PlcServer, tmp_path: Path
) -> None:
    side = Side(tmp_path, plc)
    trigger = announced(side, plc, 1)
    side.standing = Standing(serving=True, accepting=False)
    plc.until("ready lowered", lambda: not plc.status().ready)
    assert plc.station.serving
    side.judged(rejected(), reject=True, triggers=(trigger,))
    assert plc.acknowledge().result is Result.REJECT
    assert plc.station.serving
    side.stop()
    assert not plc.station.serving


def test_a_verdict_after_both_deadlines_is_counted_as_late(plc: PlcServer, tmp_path: Path) -> None:
    side = Side(tmp_path, plc)
    trigger = announced(side, plc, 1)
    side.triggers.missed([trigger], "deadline", "it was too slow")
    assert plc.acknowledge().result is Result.NO_RESULT
    side.judged(rejected(), reject=True, triggers=(trigger,))
    counters = lambda: side.line.status()["cameras"]["infeed"]["counters"]  # noqa: E731
    plc.until("late", lambda: counters()["late"] == 1)
    assert len(plc.raised()) == 1
    side.stop()


def test_a_part_of_the_api_that_is_not_taken_is_no_result(plc: PlcServer, tmp_path: Path) -> None:
    side = Side(tmp_path, plc, trigger="api", queue=100)
    plc.until_ready()
    answers: list[Future[Any]] = [side.line.ask("infeed", str(n)) for n in range(MOST_WAITING)]
    with pytest.raises(TriggerError):
        side.line.ask("infeed", "4711")
    told = plc.acknowledge()
    assert (told.part, told.result) == (4711, Result.NO_RESULT)
    assert not any(answer.done() for answer in answers)
    side.stop()


def test_a_part_without_a_picture_is_no_result_under_its_number(
    plc: PlcServer, tmp_path: Path
) -> None:
    side = Side(tmp_path, plc, trigger="frames", count_parts=True)
    for seen in (1, 2, 5, 1, 2):  # two are missing; then the camera's own numbers begin anew
        side.judged(rejected(), reject=True, part=seen)
    told = [plc.acknowledge() for _ in range(7)]
    assert [answer.part for answer in told] == [1, 2, 3, 4, 5, 6, 7]
    assert [answer.part for answer in told if answer.result is Result.NO_RESULT] == [3, 4]
    side.stop()


def test_faults_are_told_once_and_a_later_life_knows_of_them(
    plc: PlcServer, tmp_path: Path
) -> None:
    side = Side(tmp_path, plc, trigger="frames")
    side.judged(rejected(), reject=True)
    plc.until("alarm", lambda: side.events() == [("fault", "no_acknowledge", "infeed")])
    plc.stop()
    plc.until("alarm", lambda: len(side.events()) == 2)
    side.stop()

    second = Side(tmp_path, plc, trigger="frames")
    plc.until("away", lambda: second.line.status()["state"] == "away")
    fact = second.line.fact()
    assert not fact.ok
    assert not fact.gates
    assert len(second.events()) == 2, "it was told before"
    plc.start()
    plc.until("restored", lambda: len(second.events()) == 4)
    assert second.events()[1] == ("fault", "plc_away", None)
    assert sorted(second.events()[2:], key=str) == [
        ("restored", "no_acknowledge", "infeed"),
        ("restored", "plc_away", None),
    ]
    second.stop()

    third = Side(tmp_path, plc, trigger="frames")
    plc.until("connected", lambda: third.line.status()["state"] == "connected")
    assert third.line.fact().ok
    assert len(third.events()) == 4
    third.stop()
