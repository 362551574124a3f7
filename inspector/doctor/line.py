"""The PLC: reached, and asked for every register of the map.

What is written is what was just read, so that nothing changes on the line; and only while nobody's
heartbeat counts there. It shows that the PLC takes writes where the station will need them.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from inspector.config.line import PLC_REGISTERS, STATION_REGISTERS
from inspector.doctor.finding import Finding, Grade
from inspector.errors import LineError
from inspector.line.modbus import Plc
from inspector.line.registers import ANSWER_REGISTERS, CONTROL_REGISTERS, LAYOUT, Layout
from inspector.line.spans import spans_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.config.line import Line
    from inspector.config.station import Station
    from inspector.doctor.state import RunningStation

ROUND_TRIPS = 20
"""Requests whose median is told."""
TRIPS_A_RESULT = 3
"""Round trips from a verdict to `valid`: the reading under way, answer, status."""


def check_line(station: Station, line: Line, running: RunningStation | None) -> Iterator[Finding]:
    """Look at the PLC from the network upwards; ends at the first step that does not hold."""
    plc = Plc(line.modbus)
    layout = Layout.of(line, station.cameras)
    try:
        yield _reach(plc)
        registers = _read(plc, layout)
        yield registers
        if registers.grade is not Grade.GOOD:
            return  # somebody else's registers are not for us to write to
        yield _round_trip(plc, line, station)
        counting = _counts(plc, layout.station + 1, 2.5 * line.heartbeat_ms / 1e3)
        if line.plc_heartbeat_within_ms is not None:
            yield _plc_heartbeat(plc, layout, line.plc_heartbeat_within_ms)
        yield _write(plc, layout, counting=counting, running=running)
    except LineError as error:
        found, _, advice = str(error).partition("; ")
        remedy = advice or "look at the PLC, its network, and line.modbus in the station file"
        expected = (
            "a PLC that answers" if error.cause == "plc_away" else "every register of the map"
        )
        name = "connection" if error.cause == "plc_away" else "registers"
        yield Finding("line", name, Grade.MEND, found, expected, remedy, {"cause": error.cause})
    finally:
        plc.close()


def _reach(plc: Plc) -> Finding:
    began = time.perf_counter()
    plc.open()
    took_ms = (time.perf_counter() - began) * 1e3
    found = f"connected to {plc.address}, {took_ms:.0f} ms"
    facts = {"connect_ms": round(took_ms, 2)}
    return Finding("line", "connection", Grade.GOOD, found, "a connection", "", facts)


def _read(plc: Plc, layout: Layout) -> Finding:
    """Every register, in the requests that the station will make."""
    controls = [(layout.control(name), CONTROL_REGISTERS) for name in layout.cameras]
    spans = spans_of([(layout.plc, PLC_REGISTERS), *controls])
    for address, count in [*spans, *_ours(layout)]:
        plc.read(address, count)
    version = plc.read(layout.station, 1)[0]
    expected = f"layout {LAYOUT}, or 0 where no station has ever written"
    if version not in {0, LAYOUT}:
        found = f"register {layout.station} holds {version}: another layout, or another use"
        remedy = "see which registers are free, and set station_at, plc_at and cameras_at"
        return Finding("line", "registers", Grade.MEND, found, expected, remedy)
    cameras = len(layout.cameras)
    found = f"all can be read: station, PLC, {cameras} {'camera' if cameras == 1 else 'cameras'}"
    return Finding("line", "registers", Grade.GOOD, found, expected, "", {"layout": version})


def _round_trip(plc: Plc, line: Line, station: Station) -> Finding:
    took_ms = []
    for _ in range(ROUND_TRIPS):
        plc.read(line.modbus.plc_at, PLC_REGISTERS)
        took_ms.append(plc.round_trip_s * 1e3)
    median_ms, worst_ms = statistics.median(took_ms), max(took_ms)
    reserve_ms = min(camera.reserve_ms for camera in line.signalled(station.cameras).values())
    slow = TRIPS_A_RESULT * median_ms > reserve_ms
    return Finding(
        "line",
        "round trip",
        Grade.MEND if slow else Grade.GOOD,
        f"{median_ms:.1f} ms, at worst {worst_ms:.1f} ms",
        f"at most a third of reserve_ms ({reserve_ms:g})",
        f"raise reserve_ms to {4 * median_ms:.0f} or more, or see why it is slow" if slow else "",
        {"round_trip_ms": round(median_ms, 2), "worst_ms": round(worst_ms, 2)},
    )


def _plc_heartbeat(plc: Plc, layout: Layout, within_ms: float) -> Finding:
    expected = f"changes within {within_ms:g} ms (plc_heartbeat_within_ms)"
    if _counts(plc, layout.plc, within_ms / 1e3):
        return Finding("line", "PLC's heartbeat", Grade.GOOD, "counts", expected)
    remedy = "see whether the PLC's program runs, and writes that register"
    return Finding("line", "PLC's heartbeat", Grade.MEND, "stands still", expected, remedy)


def _write(plc: Plc, layout: Layout, *, counting: bool, running: RunningStation | None) -> Finding:
    expected = "the PLC takes what the station writes"
    if counting and running is not None:
        found = f"not tried: the running station ({running}) writes there"
        return Finding("line", "writing", Grade.NOTE, found, expected)
    if counting:
        found = "not tried: the heartbeat of another station counts there"
        remedy = "let each station write to registers of its own, or stop the other"
        return Finding("line", "writing", Grade.MEND, found, expected, remedy)
    registers = 0
    for address, count in _ours(layout):
        plc.write(address, plc.read(address, count))
        registers += count
    found = f"{registers} registers were written with what they held"
    return Finding("line", "writing", Grade.GOOD, found, expected, "", {"registers": registers})


def _counts(plc: Plc, address: int, within_s: float) -> bool:
    """Whether a register changes within a time."""
    first = plc.read(address, 1)
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        time.sleep(min(0.05, within_s / 10))
        if plc.read(address, 1) != first:
            return True
    return False


def _ours(layout: Layout) -> list[tuple[int, int]]:
    """Registers that the station writes, request by request."""
    blocks = [(layout.station, STATION_REGISTERS)]
    for name in layout.cameras:
        blocks += [(layout.answer(name), ANSWER_REGISTERS), (layout.status(name), 1)]
    return blocks
