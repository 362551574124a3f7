"""The evidence folder: its place and disk, its room, and how long it takes to keep a picture."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.config.state import state_folder
from inspector.doctor.disk import disk_of, existing, unmounted
from inspector.doctor.finding import Finding, Grade
from inspector.doctor.state import holders, user
from inspector.evidence.folder import MARKER, Folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.config.evidence import Evidence
    from inspector.config.station import Station
    from inspector.doctor.state import RunningStation

PICTURE_BYTES = 500_000
"""Of a 1080p picture as `jpeg`."""
_PICTURES = 5
_LEAST_ROOM_BYTES = 100_000_000
"""Evidence with less room than this, some 200 pictures, is of little use."""


def check_evidence(station: Station, running: RunningStation | None) -> Iterator[Finding]:
    """Look at the evidence folder, or at the one in which it would be made.

    What is written lies in a folder with a name of its own there, and is removed.
    """
    asked = station.evidence
    if asked is None:
        yield Finding("evidence", "", Grade.GOOD, "none: no pictures are kept")
        return
    folder = (state_folder(station) / asked.folder).absolute()
    home = existing(folder)
    expected = f"a folder that {user()} may write to, on a disk that is there"
    try:
        if not home.is_dir():
            raise NotADirectoryError(None, f"{home} is not a folder")
        times, room = _keep_s(home), _room(asked, folder, home)
    except OSError as error:
        found = f"{folder}: {user()} cannot write there: {error.strerror}"
        remedy = (
            "make room, or give another folder under evidence.folder, or the service's user the "
            "right to write there (in its unit too: ReadWritePaths=)"
        )
        yield Finding("evidence", "folder", Grade.MEND, found, expected, remedy)
        return
    yield _place(folder, home, running, expected)
    yield room
    yield keep_finding(times, asked.within_ms)


def _place(folder: Path, home: Path, running: RunningStation | None, expected: str) -> Finding:
    disk = disk_of(home)
    there = f"{folder}" if home == folder else f"{folder}, to be made in {home}"
    found = f"{there}, on {disk or 'a disk that the kernel does not name'}"
    if (missing := unmounted(folder)) is not None:
        remedy = f"mount it: pictures would lie on the disk beneath (mount {missing})"
        found = f"{found}; the disk of {missing} is not mounted"
        return Finding("evidence", "folder", Grade.MEND, found, expected, remedy)
    if others := _held_by(folder) - ({running.pid} if running else set()):
        found = f"{there}: process {min(others)}, another station, keeps its evidence there"
        remedy = "give this station a folder of its own under evidence.folder"
        return Finding("evidence", "folder", Grade.MISTAKE, found, "this station alone", remedy)
    return Finding("evidence", "folder", Grade.GOOD, found, expected)


def _held_by(folder: Path) -> set[int]:
    """Processes that keep their evidence in a folder; no lock is tried."""
    try:
        inode = (folder / MARKER).stat().st_ino
        return holders(Path("/proc/locks").read_text(encoding="ascii"), inode)
    except OSError:
        return set()


def _room(asked: Evidence, folder: Path, home: Path) -> Finding:
    held = sum(
        sum(batch.pictures.values()) + sum(batch.notes.values())
        for batch in Folder(folder).batches()
    )
    return room_finding(asked, held_bytes=held, free_bytes=Folder(home).free_bytes())


def room_finding(asked: Evidence, *, held_bytes: int, free_bytes: int) -> Finding:
    """What the disk leaves for pictures, those that are there included. Pure."""
    least, most = asked.min_free_mb * 1_000_000, asked.max_mb * 1_000_000
    room = max(0, held_bytes + free_bytes - least)
    found = (
        f"{free_bytes / 1e9:.1f} GB free, {least / 1e9:.1f} GB of them for others (min_free_mb): "
        f"room for {min(room, most) / 1e9:.1f} GB of pictures, {held_bytes / 1e9:.1f} GB are there"
    )
    facts = {"free_bytes": free_bytes, "held_bytes": held_bytes, "room_bytes": min(room, most)}
    expected = f"{most / 1e9:.1f} GB, as max_mb says"
    if room >= most:
        return Finding("evidence", "space", Grade.GOOD, found, expected, "", facts)
    if room >= _LEAST_ROOM_BYTES:
        found = f"{found}; the disk bounds them before max_mb does"
        return Finding("evidence", "space", Grade.NOTE, found, expected, "", facts)
    remedy = "make room, give evidence.folder on a larger disk, or lower evidence.min_free_mb"
    return Finding("evidence", "space", Grade.MEND, found, expected, remedy, facts)


def _keep_s(folder: Path) -> list[float]:
    """Seconds of each of some pictures, written, made durable and renamed. Raises OSError."""
    data = os.urandom(PICTURE_BYTES)  # some disks pack what repeats itself
    times = []
    with tempfile.TemporaryDirectory(prefix=".inspector-doctor-", dir=folder) as made:
        for number in range(_PICTURES):
            part, place = Path(made, f"{number}.part"), Path(made, f"{number}.jpg")
            began = time.perf_counter()
            with part.open("wb", buffering=0) as file:
                file.write(data)
                os.fdatasync(file.fileno())
            part.rename(place)
            times.append(time.perf_counter() - began)
    return times


def keep_finding(times_s: list[float], within_ms: float) -> Finding:
    """What times of keeping a picture mean. Pure."""
    most_ms = max(times_s) * 1e3
    slow = most_ms > within_ms
    return Finding(
        "evidence",
        "write",
        Grade.MEND if slow else Grade.GOOD,
        f"{most_ms:.0f} ms at most to write, sync and rename {PICTURE_BYTES / 1e6:g} MB",
        f"less than {within_ms:g} ms (within_ms): an event waits no longer for its picture",
        "put the folder onto a faster disk, or raise evidence.within_ms" if slow else "",
        {"write_ms_max": round(most_ms, 3)},
    )
