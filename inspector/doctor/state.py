"""The state folder: may be written, has room, and how long its disk takes to keep something."""

from __future__ import annotations

import getpass
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.config.state import state_folder
from inspector.doctor.disk import existing
from inspector.doctor.finding import Finding, Grade
from inspector.events.opening import LOCK
from inspector.events.store import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.config.station import Station

FSYNC_MS = 10.0
"""What one fsync may take as a rule: events are to be durable within it."""
_FSYNCS = 20
_SPARE_BYTES = 100_000_000
"""Room beside the outbox that a disk should keep."""


@dataclass(frozen=True, slots=True)
class RunningStation:
    """The process that holds a state folder."""

    pid: int

    def __str__(self) -> str:
        return f"process {self.pid}"

    @classmethod
    def of(cls, station: Station) -> RunningStation | None:
        """The station that runs on this state folder, if one does.

        The kernel's list of locks is read, and no lock is tried: a station that starts at this
        moment would find it taken.
        """
        lock = state_folder(station) / LOCK
        try:
            inode = lock.stat().st_ino
            pid = int(lock.read_text(encoding="ascii", errors="replace") or 0)
            locks = Path("/proc/locks").read_text(encoding="ascii")
        except (OSError, ValueError):
            return None
        return cls(pid) if pid in holders(locks, inode) else None


def holders(locks: str, inode: int) -> set[int]:
    """Processes that hold a lock on a file, by what /proc/locks says. Pure.

    >>> holders("1: FLOCK ADVISORY WRITE 81 fd:00:7 0 EOF", inode=7)
    {81}
    """
    # Who waits for a lock stands behind an arrow.
    rows = (line.split() for line in locks.splitlines() if "FLOCK" in line and "->" not in line)
    return {int(row[4]) for row in rows if row[5].rpartition(":")[2] == str(inode)}


def check_state(station: Station, running: RunningStation | None) -> Iterator[Finding]:
    """Look at the state folder, or at the folder in which it would be made.

    What is written has no name in the file system, and is gone when it is closed.
    """
    folder = state_folder(station).absolute()
    home = existing(folder)
    expected = f"a folder that {user()} may write to"
    try:
        if not home.is_dir():
            raise NotADirectoryError(None, f"{home} is not a folder")
        times = _fsync_s(home)
    except OSError as error:
        found = f"{folder}: {user()} cannot write there: {error.strerror}"
        remedy = "give another folder under state, or the service's user the right to write there"
        yield Finding("state", "folder", Grade.MEND, found, expected, remedy)
        return
    there = f"{folder}" if home == folder else f"{folder}, to be made in {home}"
    holder = f", in use by the running station ({running})" if running else ""
    yield Finding("state", "folder", Grade.GOOD, f"{there}{holder}", expected)
    yield _room(home, folder, station.events.outbox.max_mb * 1_000_000)
    yield fsync_finding(times)


def user() -> str:
    """Who looks, by name where there is one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.geteuid()}"


def _fsync_s(folder: Path) -> list[float]:
    """Seconds of each of some small writes that were made durable. Raises OSError."""
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for number in range(_FSYNCS):
            os.pwrite(file.fileno(), bytes(4096), 4096 * number)
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return times


def fsync_finding(times_s: list[float]) -> Finding:
    """What times of fsync mean. Pure."""
    usual_ms, most_ms = statistics.median(times_s) * 1e3, max(times_s) * 1e3
    slow = usual_ms > FSYNC_MS
    return Finding(
        "state",
        "fsync",
        Grade.MEND if slow else Grade.GOOD,
        f"{usual_ms:.1f} ms as a rule, {most_ms:.1f} ms at most of {len(times_s)}",
        f"{FSYNC_MS:g} ms as a rule",
        "put the state folder onto a disk with fast durable writes" if slow else "",
        {"fsync_ms_p50": round(usual_ms, 3), "fsync_ms_max": round(most_ms, 3)},
    )


def _room(home: Path, folder: Path, outbox_bytes: int) -> Finding:
    usage = shutil.disk_usage(home)
    held = sum(path.stat().st_size for path in folder.glob(f"{FILE}*"))
    needed = max(0, outbox_bytes - held) + _SPARE_BYTES
    short = usage.free < needed
    return Finding(
        "state",
        "space",
        Grade.MEND if short else Grade.GOOD,
        f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB",
        f"{needed / 1e9:.1f} GB: what the outbox may still grow by, and some more",
        "make room, or lower events.outbox.max_mb" if short else "",
        {"free_bytes": usage.free, "needed_bytes": needed},
    )
