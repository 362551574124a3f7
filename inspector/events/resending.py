"""Asking for stored events to be sent again, also while a station runs."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.errors import EventsError
from inspector.events.store import connect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inspector.events.records import State

CHUNK = 500
"""Rows of one transaction: the station's writer waits for it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events: those that fit all that is given.

    Attributes:
        ids, types: any of these.
        since_ms, until_ms: UTC milliseconds of arrival in the outbox; until is exclusive.
        states: any of these.
    """

    ids: Sequence[str] = ()
    types: Sequence[str] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    states: Sequence[State] = ()

    def condition(self) -> tuple[str, list[object]]:
        """As an SQL condition with its values."""
        parts, values = ["seq > 0"], list[object]()
        for column, chosen in (("id", self.ids), ("type", self.types), ("state", self.states)):
            if chosen:
                parts.append(f"{column} IN ({', '.join('?' * len(chosen))})")
                values += chosen
        if self.since_ms is not None:
            parts.append("created_ms >= ?")
            values.append(self.since_ms)
        if self.until_ms is not None:
            parts.append("created_ms < ?")
            values.append(self.until_ms)
        return " AND ".join(parts), values


def resend(path: Path, selection: Selection) -> int:
    """Have sent and parked events wait again; a running station sends them at once.

    What was sent before is marked as a replay; what was parked never arrived, and is not.

    Returns:
        How many events wait again.

    Raises:
        EventsError: the file cannot be written.
    """
    condition, values = selection.condition()
    total = 0
    try:
        db = connect(path)
        try:
            after = 0
            while True:
                rows = db.execute(
                    f"SELECT seq FROM events WHERE {condition} AND state IN (1, 2) AND seq > ?"  # noqa: S608
                    " ORDER BY seq LIMIT ?",
                    (*values, after, CHUNK),
                ).fetchall()
                if not rows:
                    return total
                after = rows[-1][0]
                db.execute("BEGIN IMMEDIATE")
                total += db.executemany(
                    "UPDATE events SET replay = replay OR state = 1, state = 0, reason = NULL,"
                    " changed_ms = NULL WHERE seq = ? AND state IN (1, 2)",
                    rows,
                ).rowcount
                db.execute("UPDATE meta SET value = value + 1 WHERE name = 'resends'")
                db.execute("COMMIT")
        finally:
            db.close()
    except sqlite3.Error as error:
        msg = f"the outbox {path} cannot be changed: {error}"
        raise EventsError(msg) from error
