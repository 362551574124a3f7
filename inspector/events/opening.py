"""Opening an outbox folder: one writer at a time, and a broken file never stops a station."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from inspector.errors import EventsError, UserError
from inspector.events.records import Gap
from inspector.events.store import FILE, FORMAT, Store, Work, connect, read_states
from inspector.owners import why_denied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.events.documents import Documents
    from inspector.events.records import CameraState

LOCK = "outbox.lock"
COPIES = 2
"""So many broken files are kept of each database."""
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PASSING = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY}
"""Faults of the disk, not of what the user gave: another start may not meet them any more."""
_PASSING_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
_FOLDER_TELLS = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
"""SQLite keeps to itself why it can make no file beside its own: the folder is asked."""
_PROBE = "outbox.probe"
_IN_ORDER = "the disk must have room, and be in order"
_READ_ONLY = (
    "either its disk became read-only after an error (dmesg; then mount -o remount,rw),"
    " or the unit may not write there (ReadWritePaths=)"
)

_log = structlog.get_logger("inspector.events")


class OutboxUnusableError(EventsError, UserError):
    """The folder or the file is not one that this station can keep its events in."""


class OutboxInUseError(EventsError):
    """Another process writes to the outbox of this folder.

    That may pass: one that waits for a dead disk outlives every signal, and holds on to it.
    """


def make_folder(folder: Path) -> None:
    """Make the folder of a state, where it is not there yet.

    Raises:
        OutboxUnusableError: it cannot be made.
        EventsError: the disk is full or failing, which may pass.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        remedy = "give another one under state:, or the right to write there"
        msg = f"the state folder {folder} cannot be made: {error.strerror};"
        # Where a disk became read-only the folder is there: this is a place that was never ours.
        if _may_pass(error) and error.errno != errno.EROFS:
            raise EventsError(f"{msg} {_IN_ORDER}") from error
        raise OutboxUnusableError(f"{msg} {remedy}") from error


class FolderLock:
    """Holds a folder for one writing process, until it is released or the process ends.

    Args:
        name: file of the lock.
        what, whose: for messages: what the folder holds, and who uses it.

    Raises:
        OutboxInUseError: another process holds it.
        OutboxUnusableError: the folder cannot be made or written to.
        EventsError: the disk is full or failing, which may pass.
    """

    def __init__(
        self,
        folder: Path,
        name: str = LOCK,
        *,
        what: str = "the outbox",
        whose: str = "station",
    ) -> None:
        make_folder(folder)
        try:
            self._file = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            otherwise = "give `state` a folder that the station may write to"
            remedy = _remedy(error, folder, folder / name) or otherwise
            msg = f"the outbox folder {folder} cannot be used: {error.strerror}; {remedy}"
            raise (EventsError if _may_pass(error) else OutboxUnusableError)(msg) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            msg = (
                f"{what} in {folder} is in use by process {owner}: a second {whose} cannot"
                " use the same state folder; stop the other one, or give this one its own `state`"
            )
            raise OutboxInUseError(msg) from None
        with contextlib.suppress(OSError):  # who holds it is good to know, and no more
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the folder go. Idempotent.

        The lock's file stays, since to delete it would be a race.
        """
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)  # once: the number may be another file's by now


def open_store(folder: Path, *, limit: int, documents: Documents) -> Store:
    """Open the outbox file of a locked folder.

    A broken file is moved aside, named in the log, and a new one begun; what can still be read of
    the cameras' states is taken over, and an event tells of the gap.

    Raises:
        OutboxUnusableError: the file may not be written, or was written by a newer version.
        EventsError: the disk is full or failing, or another program holds the file; it may pass.
    """
    path = folder / FILE
    try:
        store = _opened(path, limit=limit, documents=documents)
    except (sqlite3.DatabaseError, OSError) as error:
        found = _fault_of(folder, error)
        cause = found or error
        said = f"{error} ({found.strerror})" if found else str(error)
        otherwise = (
            "the station must be able to write to it and to its folder, and the disk must have room"
        )
        remedy = _remedy(cause, folder, *_parts(path)) or otherwise
        msg = f"the outbox {path} cannot be opened: {said}; {remedy}"
        raise (EventsError if _may_pass(cause) else OutboxUnusableError)(msg) from error
    if store.version > FORMAT:
        version = store.version
        store.close()
        msg = (
            f"the outbox {path} has format {version}, this version knows {FORMAT}:"
            " update inspector, or move the file away (its events are then not sent)"
        )
        raise OutboxUnusableError(msg)
    return store


def _opened(path: Path, *, limit: int, documents: Documents) -> Store:
    try:
        return Store(path, limit=limit, documents=documents)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            raise
        return begin_anew(path, str(error), limit=limit, documents=documents)


def is_broken(error: BaseException | None) -> bool:
    """Whether a file is damaged, or is no database: it will be no better another time."""
    return isinstance(error, sqlite3.Error) and _code(error) in _BROKEN


def _may_pass(error: sqlite3.Error | OSError) -> bool:
    """Whether it is the disk's fault for now, and nobody's mistake."""
    if isinstance(error, OSError):
        return error.errno in _PASSING_ERRNO
    return _code(error) in _PASSING


def _fault_of(folder: Path, error: sqlite3.Error | OSError) -> OSError | None:
    """Why the folder takes no new file, where that may be what SQLite means; None if it does."""
    if isinstance(error, OSError) or _code(error) not in _FOLDER_TELLS:
        return None
    probe = folder / _PROBE
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
        probe.unlink()
    except OSError as found:
        return found
    return None


def _remedy(error: sqlite3.Error | OSError, folder: Path, *files: Path) -> str:
    """What to do where the disk is read-only or fails, or files are another user's; else empty."""
    if isinstance(error, OSError):
        if error.errno == errno.EROFS:
            return _READ_ONLY
        if _may_pass(error):
            return _IN_ORDER
        denied = error.errno in {errno.EACCES, errno.EPERM}
    else:
        denied = _code(error) in _FOLDER_TELLS
    return why_denied(folder, *files) if denied else ""


def _code(error: sqlite3.Error) -> int:
    """SQLite's result code, without what it adds for some."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def begin_anew(path: Path, fault: str, *, limit: int, documents: Documents) -> Store:
    """Move a broken file aside and begin a new one with what is left of the cameras' states.

    Raises:
        sqlite3.Error, OSError: there is no new one; the broken file lies where it was.
    """
    states = _rescued_states(path)
    aside = move_aside(path)
    try:
        store = Store(path, limit=limit, documents=documents)
        try:
            store.write(Work(states=states, gaps=[Gap("outbox_corrupt", unknown=True)]))
        except BaseException:
            store.close()
            raise
    except BaseException:
        for part in _parts(path):
            part.unlink(missing_ok=True)
        move(aside, path)  # with the states in it, for another try
        raise
    forget_old_copies(path)
    _log.error(
        "the outbox was broken and has been begun anew; events that waited in it are not sent",
        fault=fault,
        kept_as=str(aside),
        rescued_cameras=sorted(states),
    )
    return store


def _parts(path: Path) -> Iterator[Path]:
    """A database and what SQLite keeps beside it."""
    for ending in ("", "-wal", "-shm"):
        yield path.with_name(path.name + ending)


def move_aside(path: Path) -> Path:
    """Move a broken database that nobody has open out of the way; where to. Raises OSError."""
    now = datetime.now(UTC)
    aside = path.with_name(f"{path.stem}.corrupt-{now:%Y%m%dT%H%M%S.%fZ}{path.suffix}")
    move(path, aside)
    return aside


def forget_old_copies(path: Path) -> None:
    """Of what was moved aside keep the newest: a worn disk breaks a file again and again."""
    copies = sorted(path.parent.glob(f"{path.stem}.corrupt-*{path.suffix}"))
    for copy in copies[:-COPIES]:
        for part in _parts(copy):
            with contextlib.suppress(OSError):  # it is tried again after the next one
                part.unlink(missing_ok=True)


def move(path: Path, target: Path) -> None:
    """Move a database that nobody has open, with all that lies beside it. Raises OSError."""
    for part, place in zip(_parts(path), _parts(target), strict=True):
        if part.exists():
            part.rename(place)


def _rescued_states(path: Path) -> dict[str, CameraState]:
    try:
        db = connect(path)
        try:
            return read_states(db)
        finally:
            db.close()
    except (sqlite3.DatabaseError, ValueError):
        return {}
