"""What the doctor finds of a signaller: the broker, its topic, and the PLC's registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.config.line import CAMERA_REGISTERS, PLC_REGISTERS, STATION_REGISTERS
from inspector.config.load import load_signaller
from inspector.doctor.files import usable
from inspector.doctor.finding import Finding, Grade
from inspector.doctor.reading import check_reading
from inspector.errors import LineError
from inspector.line.modbus import Plc
from inspector.line.registers import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.config.secrets import Secrets
    from inspector.config.signaller import Signaller

REMEDY_PLC = "start the PLC's Modbus server, or correct line.modbus"


def examine_signaller_file(path: Path, secrets: Secrets) -> list[Finding]:
    """Examine a signaller's file and what it names; a faulty file is a finding itself."""
    config, findings = usable(path, secrets, load_signaller)
    return findings if config is None else [*findings, *examine_signaller(config, secrets)]


def examine_signaller(config: Signaller, secrets: Secrets) -> list[Finding]:
    """Reach what the signaller needs; nothing is written, and no group is joined."""
    topics = (config.consume.topic,)
    return [*check_reading(config.kafka, topics, secrets, "consume.topic"), *_plc(config)]


def _plc(config: Signaller) -> Iterator[Finding]:
    line = config.line.as_line()
    layout = Layout.of(line, config.line.cameras)
    blocks = {
        "station's block": (layout.station, STATION_REGISTERS),
        "PLC's block": (layout.plc, PLC_REGISTERS),
        **{name: (at, CAMERA_REGISTERS) for name, at in layout.cameras.items()},
    }
    plc = Plc(line.modbus)
    try:
        plc.open()
        for name, (at, count) in blocks.items():
            plc.read(at, count)
            found = f"registers {at} to {at + count - 1} read, {plc.round_trip_s * 1e3:.1f} ms"
            yield Finding("line", name, Grade.GOOD, found, "registers that can be read")
    except LineError as error:
        expected = "registers that can be read"
        yield Finding("line", plc.address, Grade.MEND, str(error), expected, REMEDY_PLC)
    finally:
        plc.close()
