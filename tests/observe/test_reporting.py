"""When the service manager is told what; the clock stands until it is moved."""

from __future__ import annotations

import pytest

from inspector.observe.health import Fact, Health, Loop, Phase, Report
from inspector.observe.reporting import EXTEND_S, STEP_LIMIT_S, Reporter, status_of
from tests.observe.test_health import SECOND_NS, Clock


class Manager:
    """A service manager that writes down what it is told."""

    def __init__(self) -> None:
        self.listens = True
        self.deaf = False
        self._told: list[str] = []

    def tell(self, *, status: str | None = None, **states: str | int) -> bool:
        if self.deaf:
            return False
        self._told += [f"{name}={value}" for name, value in states.items()]
        self._told += [] if status is None else [f"STATUS={status}"]
        return True

    def told(self) -> list[str]:
        """What was told since the last question."""
        told, self._told = self._told, []
        return told


class Station:
    """Health, its loops and its reporter."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.manager = Manager()
        self.health = Health(self.clock)
        self.facts: list[Fact] = []
        self.turned_ns = {"judge": 0, "capture": 0, "outbox": 0}
        self.reporter = Reporter(self.manager, self.health, self.clock)

    def serve(self) -> None:
        loops = [Loop(n, lambda n=n: self.turned_ns[n], limit_s=10) for n in self.turned_ns]
        self.health.watch(loops, lambda: self.facts)
        self.health.phase, self.health.step = Phase.SERVING, "serving"

    def turn(self, *loops: str) -> list[str]:
        """Half a second later, in which these loops have turned, the reporter does."""
        self.clock.now_ns += SECOND_NS // 2
        self.turned_ns.update(dict.fromkeys(loops, self.clock.now_ns))
        self.clock.now_ns += 1
        self.reporter.turn()
        return self.manager.told()


@pytest.fixture
def station() -> Station:
    return Station()


ALL = ("judge", "capture", "outbox")


def test_a_start_tells_its_step_and_asks_for_time_but_not_that_it_is_alive(station):
    station.health.step = "loading engine simplenet"
    more = f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1e6:.0f}"
    assert station.turn() == [more, "STATUS=loading engine simplenet"]
    assert station.turn() == [more]


def test_a_step_of_the_start_that_hangs_gets_no_more_time(station):
    station.turn()
    station.clock.now_ns += round(STEP_LIMIT_S * SECOND_NS)
    assert station.turn() == []
    station.health.step = "loading engine inceptionresnetv2"
    assert station.turn()[0].startswith("EXTEND_TIMEOUT_USEC=")


def test_ready_is_told_once_when_it_serves(station):
    station.turn()
    station.serve()
    assert station.turn(*ALL) == ["READY=1", "WATCHDOG=1", "STATUS=serving"]
    assert station.turn(*ALL) == ["WATCHDOG=1"]


@pytest.mark.parametrize("hung", ALL)
def test_one_loop_that_hangs_silences_the_watchdog(station, hung):
    others = [name for name in ALL if name != hung]
    station.serve()
    assert "WATCHDOG=1" in station.turn(*ALL)
    for _ in range(20):
        assert station.turn(*others) == []
    assert station.turn(hung) == ["WATCHDOG=1"]


def test_a_loop_that_never_began_is_not_alive(station):
    station.serve()
    assert "WATCHDOG=1" not in station.turn("judge", "capture")


def test_the_status_is_told_when_it_changes(station):
    station.serve()
    station.turn(*ALL)
    station.facts.append(Fact("camera infeed", ok=False, detail="lost: refused"))
    assert station.turn() == ["STATUS=serving; not well: camera infeed: lost: refused"]
    assert station.turn() == []
    station.facts[0] = Fact("camera infeed", ok=True, detail="running")
    assert station.turn() == ["STATUS=serving; camera infeed: running"]


def test_a_stop_is_told_and_its_loops_may_end(station):
    station.serve()
    station.turn(*ALL)
    station.health.phase, station.health.step = Phase.STOPPING, "stopping"
    assert station.turn() == ["STOPPING=1", "WATCHDOG=1", "STATUS=stopping"]
    assert station.turn() == ["WATCHDOG=1"]


def test_what_did_not_go_out_is_told_again(station):
    station.serve()
    station.manager.deaf = True
    assert station.turn(*ALL) == []
    station.manager.deaf = False
    assert station.turn() == ["READY=1", "WATCHDOG=1", "STATUS=serving"]


def test_the_thread_reports_at_once_and_a_last_time_at_the_end(station):
    station.serve()
    station.turned_ns = dict.fromkeys(ALL, 1)
    with station.reporter:
        while "READY=1" not in station.manager._told:
            pass
        station.health.phase, station.health.step = Phase.STOPPING, "stopping"
    assert station.manager.told()[-1] == "STATUS=stopping"


def test_where_nobody_listens_there_is_no_thread(station):
    station.manager.listens = False
    with station.reporter:
        assert not station.reporter._thread.is_alive()
    assert station.manager.told() == []


def test_a_report_that_fails_does_not_end_the_thread(station, capsys):
    def broken():
        station.facts.append(Fact("once", ok=True, detail=""))
        if len(station.facts) == 1:
            raise RuntimeError

        return station.facts

    station.serve()
    station.health.watch([], broken)
    with station.reporter:
        while not any("once" in line for line in station.manager._told):
            pass
    assert "the service manager was not told" in capsys.readouterr().out


def test_not_ready_is_the_first_that_is_read():
    facts = (
        Fact("phase", ok=True, detail="serving", gates=True),
        Fact("broker", ok=True, detail="connected"),
        Fact("outbox", ok=False, detail="disk full", gates=True),
    )
    assert status_of(Report(ok=False, phase=Phase.SERVING, facts=facts)) == (
        "serving, but not ready; not well: outbox: disk full; well: broker: connected"
    )
