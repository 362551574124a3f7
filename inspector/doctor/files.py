"""The file of a station or a signaller: its faults as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from inspector.config.faults import StationFileError, dotted
from inspector.config.load import load_station
from inspector.doctor.finding import Finding, Grade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from inspector.config.secrets import Secrets
    from inspector.config.station import Station

Content = TypeVar("Content")

_EXPECTED = "a file without faults"


def read(path: Path, secrets: Secrets) -> tuple[Station | None, list[Finding]]:
    """The station, if the file can be used, and what is wrong with the file, or that nothing is."""
    station, findings = usable(path, secrets, load_station)
    if station is not None and not findings:
        found = f"station {station.station}, {len(station.cameras)} cameras"
        findings = [Finding("file", path.name, Grade.GOOD, found, _EXPECTED)]
    return station, findings


def usable(
    path: Path, secrets: Secrets, load: Callable[[Path, Secrets | None], Content]
) -> tuple[Content | None, list[Finding]]:
    """What a file says, if it can be used, and what is wrong with it.

    Secrets that are not set are faults; the rest can be examined without them.

    Args:
        load: reads a file of its kind.
    """
    try:
        return load(path, secrets), []
    except StationFileError as error:
        findings = list(_faults(path, error))
    try:
        return load(path, None), findings
    except StationFileError:
        return None, findings


def _faults(path: Path, error: StationFileError) -> Iterator[Finding]:
    for fault in error.faults:
        place = f"line {fault.line}: {dotted(fault.key)}: " if fault.line else ""
        yield Finding(
            "file",
            path.name,
            Grade.MISTAKE,
            f"{place}{fault.problem}",
            _EXPECTED,
            "correct the file" if "secret" not in fault.problem else "set the secret",
            {"line": fault.line, "key": dotted(fault.key)},
        )
