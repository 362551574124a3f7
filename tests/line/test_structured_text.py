"""The sample for PLC programmers: parsed by the language's grammar, and run as a PLC."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from inspector.config.line import Line
from inspector.line.registers import Layout, Result
from inspector.line.simulator.server import PlcServer, Registers
from tests.line.lineside import Judging, verdict_on
from tests.line.structured_text import Block, parse
from tests.signaller.lineside import wait_until

if TYPE_CHECKING:
    from typing import Self

DOCS = Path(__file__).parents[2] / "docs"
FILE = DOCS / "plc" / "inspection.st"
SCAN_S = 0.005


def program_on(registers: Any) -> Block:
    """PRG_Line as a PLC starts it, on its holding registers."""
    library = parse(FILE)
    program = Block(library, library["PRG_Line"])
    program.values |= {
        "HoldingRegisters": registers,
        "LightBarrier": False,
        "PartCounter": 70_000,  # needs both words
        "ResetButton": False,
        "Conveyor": False,
        "Alarm": False,
    }
    program.types |= {"Conveyor": "BOOL", "Alarm": "BOOL"}
    return program


class Controller:
    """A PLC that runs PRG_Line around a real Modbus server; parts come as soon as one may."""

    def __init__(self) -> None:
        line = Line.model_validate({"modbus": {"host": "127.0.0.1"}})
        self.registers = Registers(Layout.of(line, {"camera": None}))
        self.program = program_on(self.registers.values)
        # A busy machine is not a station that has gone.
        self.program.values["Station"].values["HeartbeatWithin"] = 10.0
        self.answered: list[tuple[int, bool]] = []
        self.missed: list[int] = []
        self.parts: deque[int] = deque()
        self._server = PlcServer(
            self.registers,
            host="127.0.0.1",
            port=0,
            unit=1,
            on_connection=lambda _: None,
            on_foreign_write=lambda *_: None,
        )
        self._over = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="plc")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._begun.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        self.port = await self._server.start()
        self._begun.set()
        while not self._over.is_set():
            self._scan()
            await asyncio.sleep(SCAN_S)
        await self._server.stop()

    def _scan(self) -> None:
        values = self.program.values
        camera = values["Camera"].values
        free = not (camera["Present"] or camera["Asked"])
        values["LightBarrier"] = bool(self.parts) and free and not values["LightBarrier"]
        if values["LightBarrier"] and values["Conveyor"]:
            values["PartCounter"] = self.parts.popleft()
        else:
            values["LightBarrier"] = False
        self.program.call({})
        if camera["Answered"]:
            self.answered.append((camera["AnsweredPart"], camera["Pass"]))
        if camera["Missed"]:
            self.missed.append(camera["MissedPart"])

    def alarm(self) -> bool:
        return bool(self.program.values["Alarm"])


def test_the_sample_is_structured_text_and_the_page_shows_a_part_of_it():
    blocks = parse(FILE)
    assert list(blocks) == ["FB_InspectionStation", "FB_InspectionCamera", "PRG_Line"]
    page = (DOCS / "line.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```iecst\n(.*?)```", page, re.DOTALL)
    assert shown in FILE.read_text(encoding="utf-8")


@pytest.mark.timeout(600)
def test_the_sample_as_a_plc_gets_every_answer_and_goes_safe_when_the_station_has_gone():
    parts = list(range(69_990, 70_040))
    with Controller() as plc:
        plc.parts.extend(parts)
        patient = {"deadline_ms": 20_000, "acknowledge_ms": 20_000, "timeout_ms": 20_000}
        with Judging(plc.port, ["camera"], **patient) as station:
            wait_until("all answers", lambda: len(plc.answered) == len(parts))
            assert not plc.alarm()
        good = [(part, verdict_on(part).result is Result.ACCEPT) for part in parts]
        assert plc.answered == good
        assert {passed for _, passed in good} == {True, False}
        assert not plc.missed
        assert not [cause for _, cause in station.happened.faults if cause != "plc_away"]
        wait_until("its alarm", plc.alarm)  # the station has stopped
        assert not plc.program.values["Conveyor"]


@pytest.mark.timeout(600)
def test_the_sample_ejects_the_part_that_a_dead_station_cannot_answer():
    with Controller() as plc:
        slow = Judging(plc.port, ["camera"], takes_s=(50, 60), deadline_ms=30_000)
        with slow:
            plc.parts.append(7)
            wait_until("the trigger", lambda: plc.program.values["Camera"].values["Asked"])
            slow.signals.stop(0.0)
            wait_until("the part", lambda: plc.missed == [7])
        assert plc.answered == []
        assert plc.alarm()


def test_after_a_power_failure_nothing_moves_until_the_station_has_counted():
    """The registers are retained and show a station that serves; it has not come back yet."""
    registers = [0] * 64
    registers[0:4] = [1, 1234, 1, 0]
    program = program_on(registers)
    for _ in range(5):
        program.call({})
        assert not program.values["Conveyor"]
        assert program.values["Alarm"]
    registers[1] = 1235
    program.call({})
    program.call({})
    assert program.values["Conveyor"]
