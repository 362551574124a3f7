"""The doctor at a PLC: a real Modbus server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from pymodbus.constants import ExcCodes

from inspector.config.station import Station
from inspector.doctor.line import check_line
from inspector.doctor.state import RunningStation
from tests.servers.plc import PlcServer

if TYPE_CHECKING:
    from inspector.doctor.finding import Finding


@pytest.fixture
def plc():
    with PlcServer() as server:
        yield server


def examined(
    plc: PlcServer, running: RunningStation | None = None, *, heartbeat_ms: float = 400, **line: Any
):
    modbus = {"host": "127.0.0.1", "port": plc.port, "timeout_ms": 20_000} | line.pop("modbus", {})
    station = Station.model_validate(
        {
            "version": 1,
            "station": "s",
            "cameras": {name: {"source": {"kind": "pattern"}} for name in "abcd"},
            "line": {"modbus": modbus, "heartbeat_ms": heartbeat_ms, **line},
        }
    )
    assert station.line is not None
    return list(check_line(station, station.line, running))


PATIENT = {"deadline_ms": 60_000, "reserve_ms": 50_000}
"""No round trip takes a third of that, on a busy machine either."""


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.name, finding.grade.word) for finding in findings]


def test_a_good_plc_is_told_of_and_left_as_it_was(plc):
    plc.registers = [*range(400)]
    plc.registers[0] = 1
    before = list(plc.registers)
    findings = examined(plc, cameras=dict.fromkeys("abcd", PATIENT))
    assert told(findings) == [
        ("connection", "good"),
        ("registers", "good"),
        ("round trip", "good"),
        ("writing", "good"),
    ]
    assert "4 cameras" in findings[1].found
    assert findings[3].facts == {"registers": 5 + 4 * 8}
    assert plc.writes
    assert plc.registers == before


def test_where_nothing_listens(plc):
    plc.stop()
    (finding,) = examined(plc)
    assert told([finding]) == [("connection", "mend")]
    assert "no connection to the PLC at 127.0.0.1" in finding.found
    assert "line.modbus" in finding.remedy


def test_where_nobody_answers(plc):
    plc.silent = True
    findings = examined(plc, modbus={"timeout_ms": 300})
    assert told(findings) == [("connection", "good"), ("connection", "mend")]
    assert "within 300 ms" in findings[1].found
    plc.silent = False


def test_registers_that_are_not_there(plc):
    findings = examined(plc, modbus={"cameras_at": 390})
    assert told(findings) == [("connection", "good"), ("registers", "mend")]
    assert "has no such registers (Modbus exception 2)" in findings[1].found
    assert "register map" in findings[1].remedy


def test_a_plc_that_may_not_be_written_to(plc):
    plc.refuses_writes = ExcCodes.ILLEGAL_ADDRESS
    findings = examined(plc, cameras={"a": PATIENT})
    assert told(findings)[-1] == ("registers", "mend")
    assert "registers 0 to 4 cannot be written" in findings[-1].found


def test_registers_that_another_program_uses_are_not_written_to(plc):
    plc.registers[0] = 1234
    findings = examined(plc, cameras={"a": PATIENT})
    assert told(findings) == [("connection", "good"), ("registers", "mend")]
    assert "holds 1234" in findings[1].found
    assert not plc.writes


def test_a_slow_plc_needs_a_larger_reserve(plc):
    plc.delay_s = 0.02
    findings = examined(plc, cameras={"a": {"reserve_ms": 15}})
    assert told(findings)[2] == ("round trip", "mend")
    assert "raise reserve_ms" in findings[2].remedy


@pytest.mark.parametrize(
    ("running", "grade", "words"),
    [(RunningStation(81), "note", "process 81"), (None, "mend", "another station")],
)
def test_where_a_heartbeat_counts_nothing_is_written(plc, running, grade, words):
    over = threading.Event()

    def count():
        while not over.wait(0.01):
            plc.registers[1] += 1

    counter = threading.Thread(target=count)
    counter.start()
    findings = examined(plc, running, heartbeat_ms=10_000)
    over.set()
    counter.join()
    assert told(findings)[-1] == ("writing", grade)
    assert words in findings[-1].found
    assert not plc.writes


def test_a_plc_whose_program_stands_still(plc):
    findings = examined(plc, plc_heartbeat_within_ms=60)
    assert ("PLC's heartbeat", "mend") in told(findings)
