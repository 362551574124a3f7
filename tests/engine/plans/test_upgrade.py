"""An upgrade: what it does after each thing that can happen to a build."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from inspector.engine.golden import Parity
from inspector.engine.load import Engine
from inspector.engine.manifest import read_manifest
from inspector.engine.plans import upgrade as upgrades
from inspector.engine.plans.building import BuildStoppedError
from inspector.engine.plans.engine_plans import NoPlanServesError
from inspector.engine.plans.later import LaterPlans
from inspector.engine.plans.request import Stage
from inspector.engine.plans.upgrade import Upgrade
from inspector.errors import EngineError
from tests.engine.fakes import FakeRuntime
from tests.engine.plans.conftest import key

WAIT_S = 20


@dataclass
class FakePlans:
    """Builds what the test says, one thing after the other: an engine, or an error.

    `second` is what comes of the plan that may be faster: an engine, or an error.
    """

    things: list
    second: object = None
    wins: bool = False
    keys: tuple = (key(), key(precision="fp16"))
    what: str = key().what
    built: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def here(self):
        return self

    def build(self, *, on_stage, stopped):
        on_stage(self.keys[0], Stage(stage="Timing graph nodes", percent=40.0))
        with self.changed:
            thing = self.things[min(self.built, len(self.things) - 1)]
            self.built += 1
            self.changed.notify_all()
        if thing == "hang":
            while not stopped():
                threading.Event().wait(0.01)
            raise BuildStoppedError("given up")
        if isinstance(thing, Exception):
            raise thing
        return thing

    def rival(self, engine):
        return None if self.second is None else self.keys[1]

    def build_rival(self, rival, *, on_stage, stopped):
        assert rival is self.keys[1]
        on_stage(rival, Stage(stage="Timing graph nodes", percent=20.0, left_s=170.0))
        with self.changed:
            self.built += 1
            self.changed.notify_all()
        if self.second == "hang":
            while not stopped():
                threading.Event().wait(0.01)
            raise BuildStoppedError("given up")
        if isinstance(self.second, Exception):
            raise self.second
        return self.second

    def faster(self, present, other):
        assert other is self.second
        if not isinstance(self.wins, bool):
            raise self.wins
        return self.wins, "fp16 takes 1.00 ms a tile, int8 2.00 ms"

    def wait_built(self, times):
        with self.changed:
            assert self.changed.wait_for(lambda: self.built >= times, WAIT_S)


def made(engines):
    manifest = read_manifest(engines / "tiny")
    parity = Parity("int8", 1, 0.01, 0.1, "-", "-", 0.0, 0.0, ())
    return Engine(manifest, FakeRuntime("tiny"), manifest.verdict_thresholds(), parity)


@pytest.fixture
def engine(engines):
    one = made(engines)
    yield one
    one.close()


@pytest.fixture
def other(engines):
    one = made(engines)
    yield one
    one.close()


class Seat:
    """Takes engines and notes, or has another occupant meanwhile."""

    def __init__(self, *engines, taken=False):
        self.engines, self.whys, self.notes = [*engines], [], []
        self.taken = taken

    def present(self):
        return self.engines[-1] if self.engines and not self.taken else None

    def swap(self, engine, why):
        if self.taken:
            raise EngineError("the seat has another occupant")
        self.engines.append(engine)
        self.whys.append(why)

    def upgrade(self, plans, **retry):
        return Upgrade(
            "screen",
            plans,
            present=self.present,
            swap=self.swap,
            note=self.notes.append,
            **retry,
        )


def test_what_fails_is_tried_again_until_a_plan_serves(engine):
    plans, seat = FakePlans([EngineError("GPU full"), EngineError("GPU full"), engine]), Seat()
    upgrade = seat.upgrade(plans, retry_first_s=0.01, retry_most_s=0.02)
    upgrade.start()
    upgrade.join(WAIT_S)
    assert seat.engines == [engine]
    assert seat.notes == ["no plan serves yet: GPU full"] * 2
    assert seat.whys == ["its plan reproduces the golden tiles"]
    assert (upgrade.progress.state, upgrade.progress.percent) == ("serving", 100.0)
    assert upgrade.progress.sentence == "the plan of tiny fp32 serves"
    assert upgrade.progress.serves


def test_a_gpu_that_fails_is_asked_again_until_it_is_there(engine):
    answers = [EngineError("not ready"), EngineError("not ready"), FakePlans([engine])]

    def ask():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    seat = Seat()
    upgrade = seat.upgrade(LaterPlans("tiny", ask), retry_first_s=0.01, retry_most_s=0.02)
    assert upgrade.progress.what == "tiny"
    upgrade.start()
    upgrade.join(WAIT_S)
    assert seat.engines == [engine]
    assert seat.notes == ["no plan serves yet: not ready"] * 2
    assert answers == []
    assert upgrade.progress.serves


def test_refused_plans_are_not_built_again_by_themselves():
    plans, seat = FakePlans([NoPlanServesError("wn became jpeg")]), Seat()
    upgrade = seat.upgrade(plans, retry_first_s=0.01)
    upgrade.start()
    upgrade.join(WAIT_S)
    assert plans.built == 1
    assert upgrade.progress.state == "refused"
    (note,) = seat.notes
    remedy = "inspector engines build --runtime tensorrt --station FILE --again"
    assert note == f"no plan serves: wn became jpeg; {remedy}"


def test_a_fault_of_the_program_ends_nothing(engine):
    plans, seat = FakePlans([KeyError("bug"), engine]), Seat()
    upgrade = seat.upgrade(plans, retry_first_s=0.01)
    upgrade.start()
    upgrade.join(WAIT_S)
    assert seat.engines == [engine]
    assert seat.notes == ["no plan serves yet: a fault of the program, see the log"]


@pytest.mark.parametrize("thing", ["hang", EngineError("GPU full")])
def test_a_stop_ends_it_in_whatever_it_does(thing):
    plans, seat = FakePlans([thing]), Seat()
    upgrade = seat.upgrade(plans, retry_first_s=3600)
    upgrade.start()
    plans.wait_built(1)
    upgrade.stop()
    upgrade.join(WAIT_S)
    assert upgrade.progress.state == "ended"
    assert seat.engines == []


def test_where_the_seat_is_anothers_the_engine_is_closed(engine):
    plans, seat = FakePlans([engine]), Seat(taken=True)
    upgrade = seat.upgrade(plans, retry_first_s=3600)
    upgrade.start()
    upgrade.join(WAIT_S)
    assert upgrade.progress.state == "ended"
    assert engine.runtime._closed


def test_its_progress_is_a_sentence():
    plans, seat = FakePlans([EngineError("GPU full"), "hang"]), Seat()
    upgrade = seat.upgrade(plans, retry_first_s=0.01)
    assert upgrade.progress.failures == 0
    upgrade.start()
    plans.wait_built(2)
    said = upgrade.progress
    assert (said.state, said.percent, said.failures) == ("building", 40.0, 1)
    assert not said.serves
    assert said.sentence.startswith(
        "the plan of tiny int8 is being built: 40 %, Timing graph nodes, "
    )
    assert said.sentence.endswith(" s"), "nothing is known of the time that is left"
    upgrade.stop()
    upgrade.join(WAIT_S)


def test_the_first_plan_serves_at_once_and_the_faster_one_follows(engine, other):
    plans, seat = FakePlans([engine], second=other, wins=True), Seat()
    upgrade = seat.upgrade(plans)
    upgrade.start()
    upgrade.join(WAIT_S)
    assert seat.engines == [engine, other]
    assert seat.whys[1] == "fp16 takes 1.00 ms a tile, int8 2.00 ms"
    assert upgrade.progress.sentence.endswith(" serves: fp16 takes 1.00 ms a tile, int8 2.00 ms")
    assert not other.runtime._closed


def test_an_engine_that_is_on_tensorrt_already_is_compared_and_stays_if_it_is_faster(engine, other):
    plans, seat = FakePlans([], second=other), Seat(engine)
    upgrade = seat.upgrade(plans)
    upgrade.start()
    upgrade.join(WAIT_S)
    assert seat.engines == [engine]
    assert other.runtime._closed
    assert not engine.runtime._closed
    assert upgrade.progress.serves
    assert "fp16 takes 1.00 ms" in upgrade.progress.sentence


@pytest.mark.parametrize("how", ["not built", "not measured", "program"])
def test_a_plan_that_cannot_be_compared_costs_nothing(engine, other, how):
    fault = KeyError("bug") if how == "program" else EngineError("GPU full")
    second = fault if how == "not built" else other
    plans, seat = FakePlans([engine], second=second, wins=fault), Seat()
    upgrade = seat.upgrade(plans, retry_first_s=0.01)
    upgrade.start()
    upgrade.join(WAIT_S)
    assert seat.engines == [engine]
    assert seat.notes == [], "nothing is wrong with what serves"
    said = "a fault of the program" if how == "program" else "GPU full"
    assert upgrade.progress.sentence.endswith(f" serves: fp16 is not measured: {said}")
    assert upgrade.progress.serves
    assert other.runtime._closed == (how != "not built")


def test_while_the_other_plan_is_built_the_first_one_is_said_to_serve(engine):
    plans, seat = FakePlans([], second="hang"), Seat(engine)
    upgrade = seat.upgrade(plans)
    upgrade.start()
    plans.wait_built(1)
    said = upgrade.progress
    assert (said.state, said.serves, said.left_s) == ("building", True, 170.0)
    assert said.sentence.startswith(
        "the plan of tiny fp32 serves, and may be slower; the plan of tiny fp16 is being built: "
        "20 %, Timing graph nodes, "
    )
    assert said.sentence.endswith(" s, about 3 min left")
    upgrade.stop()
    upgrade.join(WAIT_S)
    assert upgrade.progress.state == "ended"
    assert not engine.runtime._closed


def test_the_log_has_a_line_every_ten_seconds_and_no_more(engine, monkeypatch):
    with capture_logs() as told:
        plans, seat = FakePlans([engine]), Seat()
        upgrade = seat.upgrade(plans)
        for percent in (1.0, 2.0, 3.0):
            upgrade._heard(key(), Stage(stage="Timing", percent=percent, left_s=90.0))
        monkeypatch.setattr(upgrades, "LOG_EVERY_S", 0.0)  # ten seconds later
        upgrade._heard(key(), Stage(stage="Timing", percent=4.0, left_s=80.0))
    lines = [line for line in told if line["event"] == "plan: building"]
    assert [(line["percent"], line["left_s"]) for line in lines] == [(1.0, 90.0), (4.0, 80.0)]
