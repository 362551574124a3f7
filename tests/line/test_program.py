"""The simulator's PLC program by itself: the clock is the test's, and so is the station."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from inspector.errors import UserError
from inspector.line.registers import Answer, Result, Safe, StationBlock, Status
from inspector.line.simulator.faults import Fault, Kind, Plan
from inspector.line.simulator.program import Program, Settings

STEP_S = 0.01


class Line:
    """A program, and the registers of a station that the test moves."""

    def __init__(self, *faults: str, announces: bool = True, **settings: Any) -> None:
        plan = Plan([Fault.parse(word) for word in faults], random.Random(1))
        self.program = Program(Settings(**settings), {"infeed": announces}, plan)
        self.lane = self.program.lanes["infeed"]
        self.station = StationBlock(heartbeat=1, serving=True, cameras=1)
        self.status, self.answer = Status(ready=True), Answer()
        self.now_s = 0.0
        self.beats = True
        self.happened: list[tuple[str, dict[str, Any]]] = []
        self.scan()

    def scan(self, seconds: float = STEP_S) -> None:
        """So many seconds of scans."""
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            if self.beats:
                beat = self.station.heartbeat + 1
                self.station = replace(self.station, heartbeat=beat)
            told = self.program.scan(
                self.now_s, self.station, {"infeed": (self.status, self.answer)}
            )
            self.control, self.plc = told.cameras["infeed"], told.plc
            self.happened += [(each.what, dict(each.details)) for each in told.happenings]

    def until_trigger(self) -> int:
        for _ in range(1000):
            if self.control.trigger:
                self.status = Status(busy=True)
                return self.control.part
            self.scan()
        raise AssertionError("no trigger")

    def tell(self, result: Result, part: int, sequence: int | None = None) -> None:
        number = self.answer.sequence + 1 if sequence is None else sequence
        self.answer = Answer(number, result, 3, 900, part)
        self.status = Status(valid=True)
        self.scan()

    def whole(self, result: Result) -> int:
        """A whole handshake."""
        part = self.until_trigger()
        self.tell(result, part)
        assert self.control.acknowledge
        assert not self.control.trigger
        self.status = Status()
        self.scan()
        assert not self.control.acknowledge
        self.status = Status(ready=True)
        return part

    def whats(self) -> list[str]:
        return [what for what, _ in self.happened]


def test_parts_pass_or_go_out_as_they_are_answered():
    line = Line(per_s=5, parts=5, travel_s=0.5)
    results = [Result.ACCEPT, Result.REJECT, Result.UNCERTAIN, Result.NO_RESULT, Result.ACCEPT]
    assert [line.whole(result) for result in results] == [1, 2, 3, 4, 5]
    assert not line.program.ended
    line.scan(1)
    assert line.program.ended
    assert line.program.verdict() == (True, "well: each part got its own answer, in time")
    assert (line.lane.tally.passed, line.lane.tally.ejected) == (2, 3)


def test_nothing_is_announced_while_the_station_is_not_ready_and_what_passes_by_is_missing():
    line = Line(per_s=5)
    line.status = Status()
    line.scan(0.7)
    assert not line.control.trigger
    assert line.lane.tally.missing == 2  # the third is still before the camera
    line.status = Status(ready=True)
    assert line.until_trigger() == 3


def test_an_indexed_belt_waits_for_the_station():
    line = Line(per_s=5, indexed=True)
    line.status = Status()
    line.scan(5)
    assert line.lane.tally.parts == 1
    assert line.lane.tally.held_up_s > 4
    line.status = Status(ready=True)
    assert line.until_trigger() == 1
    assert line.lane.tally.missing == 0


def test_an_answer_for_another_part_is_wrong_and_the_part_goes_out():
    line = Line(per_s=1, travel_s=0.3)
    part = line.until_trigger()
    line.tell(Result.ACCEPT, part + 1)
    line.status = Status()
    line.scan(0.5)
    assert line.lane.tally.wrong == line.lane.tally.ejected == 1
    assert not line.program.verdict()[0]


def test_a_repeat_is_acknowledged_and_not_acted_on():
    line = Line(announces=False)
    line.tell(Result.REJECT, 7)
    line.status = Status()
    line.scan()
    line.tell(Result.REJECT, 7, sequence=line.answer.sequence)
    assert line.control.acknowledge
    assert line.control.sequence == line.answer.sequence
    assert (line.lane.tally.acted, line.lane.tally.repeats) == (1, 1)


def test_a_reject_that_comes_after_the_ejector_is_a_fault_and_the_part_went_out():
    line = Line(per_s=1, travel_s=0.2)
    part = line.until_trigger()
    line.scan(0.3)
    assert line.lane.tally.ejected == 1
    line.tell(Result.REJECT, part)
    tally = line.lane.tally
    assert (tally.late, tally.late_rejects, tally.missing) == (1, 1, 1)
    assert line.control.acknowledge
    assert not line.program.verdict()[0]


@pytest.mark.parametrize("when_lost", ["stop", "reject"])
def test_a_heartbeat_that_stands_still_makes_it_safe_and_one_that_counts_ends_that(when_lost):
    line = Line(per_s=5, heartbeat_within_s=0.5, when_lost=when_lost)
    line.until_trigger()
    line.beats = False
    line.scan(0.4)
    assert line.program.mode.value == "run"
    line.scan(0.2)
    assert line.program.mode.value == when_lost
    assert line.plc.running == (when_lost == "reject")
    assert not line.control.trigger
    parts = line.lane.tally.parts
    line.scan(2)
    tally = line.lane.tally
    if when_lost == "stop":
        assert tally.parts <= parts + 1
    else:
        assert tally.parts > parts + 8
        assert tally.passed == 0
    line.beats = True
    line.status = Status(ready=True)
    line.scan(0.1)
    assert line.program.mode.value == "run"


def test_nothing_runs_before_the_first_heartbeat_or_when_the_station_does_not_serve():
    line = Line(per_s=100)
    line.station = replace(line.station, serving=False)
    line.scan(2)
    assert line.program.mode.value == "stop"
    fresh = Line(per_s=100)
    fresh.program = Program(Settings(per_s=100), {"infeed": True}, Plan([], random.Random(1)))
    fresh.station, fresh.beats = StationBlock(serving=True), False
    fresh.scan(2)
    assert fresh.program.mode.value == "stop"


def test_an_order_is_obeyed_and_reset_pressed_once_it_has_held():
    line = Line(per_s=5, reset_after_s=0.5)
    line.station = replace(line.station, safe=Safe.REJECT)
    line.scan(0.4)
    assert line.program.mode.value == "reject"
    assert not line.plc.reset
    line.scan(0.2)
    assert line.plc.reset
    line.scan(0.3)
    assert not line.plc.reset  # a pulse
    line.station = replace(line.station, safe=Safe.STOP)
    line.scan()
    assert line.program.mode.value == "stop"


def test_a_station_that_observes_is_asked_nothing_and_parts_pass():
    line = Line(per_s=10, travel_s=0.1)
    line.station = replace(line.station, observing=True)
    line.scan(1)
    assert line.program.mode.value == "observe"
    assert not line.control.trigger
    assert line.lane.tally.passed > 5
    assert line.lane.tally.ejected == 0
    assert line.program.verdict()[0]


def test_no_ack_holds_the_answer_back_until_the_station_gives_it_up():
    line = Line("no-ack@1", per_s=1)
    part = line.until_trigger()
    line.tell(Result.ACCEPT, part)
    line.scan(3)
    assert not line.control.acknowledge
    line.status = Status()
    line.scan()
    assert "valid_withdrawn" in line.whats()
    assert line.lane.tally.missing == 0
    assert line.lane.tally.spoilt > 0
    line.status = Status(ready=True)
    assert line.until_trigger() > part


def test_late_ack_comes_when_it_is_due():
    line = Line("late-ack@1", per_s=1, late_ack_s=1.0)
    line.tell(Result.ACCEPT, line.until_trigger())
    line.scan(0.8)
    assert not line.control.acknowledge
    line.scan(0.3)
    assert line.control.acknowledge


def test_an_answer_that_a_fault_on_purpose_made_late_is_no_fault_of_the_station():
    line = Line("late-ack@1", per_s=1, travel_s=0.5, late_ack_s=1.0)
    line.tell(Result.REJECT, line.until_trigger())
    line.scan(1.1)
    tally = line.lane.tally
    assert (tally.late, tally.late_rejects, tally.spoilt, tally.missing) == (1, 0, 1, 0)
    assert tally.well


def test_faults_of_a_share_come_as_often_and_of_a_part_once():
    plan = Plan([Fault.parse("late-ack:10%"), Fault.parse("silent@7")], random.Random(1))
    hits = sum(plan.due(Kind.LATE_ACK, part) for part in range(10_000))
    assert 900 < hits < 1100
    assert [part for part in range(20) if plan.due(Kind.SILENT, part)] == [7]
    plan.add(Kind.EXCEPTION)
    assert [plan.due(Kind.EXCEPTION, 1) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("word", ["", "smoke", "no-ack@", "no-ack@x", "no-ack:0%", "silent:101%"])
def test_a_word_that_is_no_fault_says_what_one_is(word):
    with pytest.raises(UserError, match=r"expected|percent"):
        Fault.parse(word)
