"""An upgrade: what it does after each thing that can happen to a build."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from inspector.engine.golden import Parity
from inspector.engine.load import Engine
from inspector.engine.manifest import read_manifest
from inspector.engine.plans.building import BuildStoppedError
from inspector.engine.plans.engine_plans import NoPlanServesError
from inspector.engine.plans.request import Stage
from inspector.engine.plans.upgrade import Upgrade
from inspector.errors import EngineError
from tests.engine.fakes import FakeRuntime
from tests.engine.plans.conftest import key

WAIT_S = 20


@dataclass
class FakePlans:
    """Builds what the test says, one thing after the other: an engine, or an error."""

    things: list
    keys: tuple = (key(),)
    built: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

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

    def last_build_s(self, key):
        return 240.0

    def wait_built(self, times):
        with self.changed:
            assert self.changed.wait_for(lambda: self.built >= times, WAIT_S)


@pytest.fixture
def engine(engines):
    manifest = read_manifest(engines / "tiny")
    parity = Parity("int8", 1, 0.01, 0.1, "-", "-", 0.0, 0.0, ())
    made = Engine(manifest, FakeRuntime("tiny"), manifest.verdict_thresholds(), parity)
    yield made
    made.close()


class Seat:
    """Takes engines and notes, or has another occupant meanwhile."""

    def __init__(self, *, taken=False):
        self.engines, self.notes = [], []
        self.taken = taken

    def swap(self, engine):
        if self.taken:
            raise EngineError("the seat has another occupant")
        self.engines.append(engine)

    def upgrade(self, plans, **retry):
        return Upgrade("screen", plans, swap=self.swap, note=self.notes.append, **retry)


def test_what_fails_is_tried_again_until_a_plan_serves(engine):
    plans, seat = FakePlans([EngineError("GPU full"), EngineError("GPU full"), engine]), Seat()
    upgrade = seat.upgrade(plans, retry_first_s=0.01, retry_most_s=0.02)
    upgrade.start()
    upgrade.join(WAIT_S)
    assert seat.engines == [engine]
    assert seat.notes == ["no plan could be built: GPU full"] * 2
    assert (upgrade.progress.state, upgrade.progress.percent) == ("serving", 100.0)
    assert upgrade.progress.sentence == "the plan of tiny int8 serves"


def test_refused_plans_are_not_built_again_by_themselves():
    plans, seat = FakePlans([NoPlanServesError("wn became jpeg")]), Seat()
    upgrade = seat.upgrade(plans, retry_first_s=0.01)
    upgrade.start()
    upgrade.join(WAIT_S)
    assert plans.built == 1
    assert upgrade.progress.state == "refused"
    assert seat.notes == ["no plan serves: wn became jpeg; inspector engines build --again"]


def test_a_fault_of_the_program_ends_nothing(engine):
    plans, seat = FakePlans([KeyError("bug"), engine]), Seat()
    upgrade = seat.upgrade(plans, retry_first_s=0.01)
    upgrade.start()
    upgrade.join(WAIT_S)
    assert seat.engines == [engine]
    assert seat.notes == ["no plan could be built: a fault of the program, see the log"]


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
    plans, seat = FakePlans(["hang"]), Seat()
    upgrade = seat.upgrade(plans)
    upgrade.start()
    plans.wait_built(1)
    said = upgrade.progress
    assert (said.state, said.percent, said.last_build_s) == ("building", 40.0, 240.0)
    assert said.sentence.startswith(
        "the plan of tiny int8 is being built: 40 %, Timing graph nodes, "
    )
    assert said.sentence.endswith(" s; the last took 240 s")
    upgrade.stop()
    upgrade.join(WAIT_S)
