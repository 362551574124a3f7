from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from inspector.config.line import Line, Modbus
from inspector.line.lease import END_AT, LEAVE_AT, Lease
from inspector.line.modbus import NotOursError, Plc
from inspector.line.parts import Done, Finding
from inspector.line.registers import Result
from inspector.line.signals import Signals
from tests.servers.plc import PlcServer

if TYPE_CHECKING:
    from collections.abc import Iterator

S = 10**9


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now_ns = 1000 * S

    def __call__(self) -> int:
        return self.now_ns


class Listener:
    """Nothing that is told is of interest."""

    def connected(self) -> None: ...

    def triggered(self, *_: Any) -> None: ...

    def raised(self, *_: Any) -> None: ...

    def faulted(self, *_: Any) -> None: ...

    def restored(self, *_: Any) -> None: ...


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def plc() -> Iterator[PlcServer]:
    with PlcServer() as server:
        yield server


def signals_of(plc: PlcServer, lease: Lease) -> Signals:
    line = Line.model_validate(
        {
            "modbus": {"host": "127.0.0.1", "port": plc.port, "timeout_ms": 20_000},
            "heartbeat_ms": 50,
            "acknowledge_ms": 30_000,
            "cameras": {"a": {"trigger": "frames", "deadline_ms": 60_000}},
        }
    )
    return Signals(line, {"a": None}, Listener(), lease=lease)


def with_a_reject(plc: PlcServer, lease: Lease) -> tuple[Signals, list[Done]]:
    """A session whose reject stands before the PLC, and how that ends."""
    signals, ends = signals_of(plc, lease), list[Done]()
    signals.start()
    signals.signal("a", Finding(Result.REJECT), on_done=ends.append)
    plc.until_valid()
    return signals, ends


def test_it_lapses_in_two_steps_unless_it_is_renewed(clock: Clock) -> None:
    lease = Lease(10.0, clock.now_ns, clock)
    clock.now_ns += round(LEAVE_AT * 10 * S) - 1
    assert not lease.due()
    lease.renew(clock.now_ns)
    clock.now_ns += round(LEAVE_AT * 10 * S)
    assert lease.due()
    assert lease.holds(), "for the last words"
    clock.now_ns += round((END_AT - LEAVE_AT) * 10 * S)
    assert not lease.holds()


def test_a_holder_that_was_told_to_leave_has_gone(clock: Clock) -> None:
    lease = Lease(10.0, clock.now_ns, clock)
    clock.now_ns += round(LEAVE_AT * 10 * S)
    assert lease.due()
    lease.renew(clock.now_ns)
    assert lease.due()
    clock.now_ns += round(LEAVE_AT * 10 * S)
    assert not lease.holds()


def test_after_the_end_nothing_is_written(plc: PlcServer, clock: Clock) -> None:
    lease = Lease(10.0, clock.now_ns, clock)
    ours = Plc(Modbus(host="127.0.0.1", port=plc.port, timeout_ms=20_000), may_write=lease.holds)
    ours.open()
    ours.write(0, [1])
    lease.end()
    with pytest.raises(NotOursError):
        ours.write(0, [2])
    assert plc.registers[0] == 1
    ours.close()


def test_the_session_leaves_with_its_last_words_before_the_lease_ends(
    plc: PlcServer, clock: Clock
) -> None:
    signals, ends = with_a_reject(plc, Lease(10.0, clock.now_ns, clock))
    assert plc.station.serving
    clock.now_ns += round(LEAVE_AT * 10 * S)
    plc.until("its end", lambda: signals.status()["state"] == "closed")
    assert not plc.station.serving
    assert not plc.status().valid
    assert [done.end for done in ends] == ["abandoned"]
    assert signals.progress_ns(), "and is not missed by the watchdog"
    signals.stop()


def test_a_session_that_wakes_after_the_end_writes_not_even_its_last_words(
    plc: PlcServer, clock: Clock
) -> None:
    signals, ends = with_a_reject(plc, Lease(10.0, clock.now_ns, clock))
    clock.now_ns += 60 * S  # as if the machine had stood
    plc.until("its end", lambda: signals.status()["state"] == "closed")
    assert plc.station.serving, "as it stood"
    assert plc.status().valid
    assert [done.end for done in ends] == ["abandoned"]
    signals.stop()
