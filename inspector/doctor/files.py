"""The station file: its faults as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.config.faults import StationFileError, dotted
from inspector.config.load import read_station
from inspector.doctor.finding import Finding, Grade

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.config.secrets import Secrets
    from inspector.config.station import Station


def read(path: Path, secrets: Secrets) -> tuple[Station | None, list[Finding]]:
    """The station, if the file can be used, and what is wrong with the file.

    Secrets that are not set are faults; the rest can be examined without them.
    """
    try:
        station = read_station(path, secrets).station
    except StationFileError as error:
        findings = list(_faults(path, error))
        try:
            return read_station(path).station, findings
        except StationFileError:
            return None, findings
    found = f"station {station.station}, {len(station.cameras)} cameras"
    return station, [Finding("file", path.name, Grade.GOOD, found, "a station file without faults")]


def _faults(path: Path, error: StationFileError) -> Iterator[Finding]:
    for fault in error.faults:
        place = f"line {fault.line}: {dotted(fault.key)}: " if fault.line else ""
        yield Finding(
            "file",
            path.name,
            Grade.MISTAKE,
            f"{place}{fault.problem}",
            "a station file without faults",
            "correct the file" if "secret" not in fault.problem else "set the secret",
            {"line": fault.line, "key": dotted(fault.key)},
        )
