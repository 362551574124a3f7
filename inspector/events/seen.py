"""Ids of events that were handled already: a bounded memory, in a file where one is given."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog

from inspector.errors import EventsError

if TYPE_CHECKING:
    from pathlib import Path

REMEMBER = 100_000
"""Ids kept. Repeats come within an outage of events, so this outlasts hours of rejects."""
IN_MEMORY = (
    "ids of handled events are kept in memory alone: after a restart such an event may be handled"
    " again; the disk must have room"
)

_log = structlog.get_logger("inspector.events")


class Seen:
    """The last ids that were handled. Belongs to one thread.

    Args:
        file: keeps the ids over restarts (SQLite; it survives kill -9 of the process). One process
            may use it at a time.
        remember: how many ids are kept; the oldest are forgotten.

    Raises:
        EventsError: the file cannot be used.
    """

    def __init__(self, file: Path | None = None, remember: int = REMEMBER) -> None:
        self._remember = remember
        self._file = file
        self._unwritten = False
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._db: sqlite3.Connection | None = None
        if file is not None:
            try:
                self._db = sqlite3.connect(file, isolation_level=None)
                # Losing the last ids with the power is a repeat, which is permitted anyway.
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS seen (number INTEGER PRIMARY KEY, id TEXT NOT NULL)"
                )
                rows = self._db.execute(
                    "SELECT id FROM seen ORDER BY number DESC LIMIT ?", (remember,)
                ).fetchall()
            except sqlite3.Error as error:
                msg = f"the file of handled events {file} cannot be used: {error}"
                raise EventsError(msg) from error
            self._ids.update((event_id, None) for (event_id,) in reversed(rows))

    def __contains__(self, event_id: str) -> bool:
        """Whether an event was handled."""
        return event_id in self._ids

    def __len__(self) -> int:
        """Ids kept."""
        return len(self._ids)

    def add(self, event_id: str) -> None:
        """Note that an event was handled; in memory alone while the disk takes nothing."""
        self._ids[event_id] = None
        forgotten = len(self._ids) > self._remember
        if forgotten:
            self._ids.popitem(last=False)
        if self._db is None:
            return
        try:
            row = self._db.execute("INSERT INTO seen (id) VALUES (?)", (event_id,)).lastrowid
            if forgotten:
                self._db.execute(
                    "DELETE FROM seen WHERE number <= ?", ((row or 0) - self._remember,)
                )
        except sqlite3.Error as error:
            if not self._unwritten:
                _log.error(IN_MEMORY, file=str(self._file), fault=str(error))
            self._unwritten = True
        else:
            self._unwritten = False

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None
