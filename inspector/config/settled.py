"""Reading a station file that somebody may be writing: only what stands still is taken."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from inspector.config.faults import Fault, StationFileError
from inspector.config.load import read_station

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inspector.config.load import StationFile
    from inspector.config.secrets import Secrets

SETTLED_S = 0.2
"""A file that changed within this time may still be being written."""

TRIES = 3
"""Readings of a file that changes meanwhile."""


def read_settled(
    file: Path, secrets: Secrets, *, sleep: Callable[[float], None] = time.sleep
) -> StationFile:
    """Read a station file, when it stands still; takes `TRIES` times `SETTLED_S` at most.

    Args:
        file: the station file.
        secrets: where the secrets that it names are found.
        sleep: waits for the file to settle; seconds.

    Raises:
        StationFileError: with every fault of the file, or since it changed at each reading.
    """
    for _ in range(TRIES):
        stamp = _stamp(file)
        if stamp is not None and 0 <= (age_s := time.time() - stamp[0] / 1e9) < SETTLED_S:
            sleep(SETTLED_S - age_s)
            stamp = _stamp(file)
        fault: StationFileError | None = None
        try:
            loaded = read_station(file, secrets)
        except StationFileError as error:
            fault = error
        if _stamp(file) == stamp:
            if fault is not None:
                raise fault
            return loaded
    problem = "changes while it is read; write elsewhere, rename, and ask again"
    raise StationFileError(file, [Fault((), problem)])


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What differs after a file was written or replaced; None where it cannot be told."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
