"""Whose PLC is played: that of a station file, or one with the default registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.config.line import Line, Modbus
from inspector.config.load import is_signaller_file, load_signaller, load_station
from inspector.errors import UserError
from inspector.line.registers import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DEFAULT_PORT = 5020
"""Modbus' own, 502, is for root alone."""


@dataclass(frozen=True, slots=True)
class Played:
    """What is to be played.

    Attributes:
        unannounced: cameras whose parts the PLC does not announce.
    """

    layout: Layout
    port: int
    unit: int
    unannounced: frozenset[str]


def played(file: Path | None, cameras: Sequence[str], *, announces: bool | None) -> Played:
    """The PLC of a file.

    Args:
        file: a station file with a section `line`, or a signaller's; None: the default registers.
        cameras: their names, where there is no file.
        announces: whether parts are announced; None: as the file says.

    Raises:
        StationFileError: the file cannot be used.
        UserError: it has no section `line`.
    """
    if file is None:
        line = Line(modbus=Modbus(host="localhost", port=DEFAULT_PORT))
        names: Sequence[str] = tuple(dict.fromkeys(cameras))
    elif is_signaller_file(file):
        signaller = load_signaller(file)
        line, names = signaller.line.as_line(), tuple(signaller.line.cameras)
    else:
        station = load_station(file)
        if station.line is None:
            msg = (
                f"{file} has no section `line`, so it has no PLC to be played; add one, such as"
                f" `line: {{modbus: {{host: 127.0.0.1, port: {DEFAULT_PORT}}}}}`"
            )
            raise UserError(msg)
        line, names = station.line, tuple(station.cameras)
    signalled = line.signalled(dict.fromkeys(names))
    unannounced = {
        name
        for name, camera in signalled.items()
        if not (camera.trigger == "plc" if announces is None else announces)
    }
    layout = Layout.of(line, dict.fromkeys(names))
    return Played(layout, line.modbus.port, line.modbus.unit, frozenset(unannounced))
