"""Reading an outbox file beside its writer: the publisher's view, and that of the command line."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.events.store import TOLD, connect

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

_COLUMNS = "seq, id, type, key, topic, document, state, created_ms, changed_ms, reason, replay"
# In the order of the fields of Row.


@dataclass(frozen=True, slots=True)
class Row:
    """One stored event.

    Attributes:
        seq: its place in the outbox, rising.
        body: the document as JSON.
        state: 0 waiting, 1 sent, 2 parked.
        created_ms: UTC milliseconds of its arrival.
        changed_ms: UTC milliseconds of its being sent or parked, else None.
        reason: why it is parked.
        replay: 1 if someone asked for it to be sent again, else 0.
    """

    seq: int
    id: str
    type: str
    key: str
    topic: str
    body: bytes
    state: int
    created_ms: int
    changed_ms: int | None
    reason: str | None
    replay: int


class Reader:
    """A read-only connection that several threads may share; it never blocks the writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = connect(path, read_only=True)

    def reopen(self) -> None:
        """After the file was begun anew."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = connect(self._path, read_only=True)

    def close(self) -> None:
        """End the connection; from now on there is nothing to be read."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = None

    def waiting(self, after: int, most: int, blocked: Sequence[str] = ()) -> list[Row]:
        """Waiting events after a row number, oldest first, without those of some topics."""
        without = f" AND topic NOT IN ({', '.join('?' * len(blocked))})" if blocked else ""
        return self.rows(
            f"state = 0 AND seq > ?{without} ORDER BY seq LIMIT ?", (after, *blocked, most)
        )

    def newest(self, most: int, *, heartbeats: bool = True) -> list[Row]:
        """The newest events in any state, newest first; with heartbeats among them or without."""
        which = "seq > 0" if heartbeats else TOLD
        return self.rows(f"{which} ORDER BY seq DESC LIMIT ?", (most,))

    def latest_id(self) -> str | None:
        """The id of the latest time, whenever it came; None without any event."""
        found = self._query("SELECT max(id) FROM events")  # of its index, so at once
        return found[0][0] if found else None

    def resends(self) -> int:
        """Counts the requests to send events again."""
        found = self._query("SELECT value FROM meta WHERE name = 'resends'")
        return int(found[0][0]) if found else 0

    def rows(self, condition: str, values: Sequence[object] = ()) -> list[Row]:
        """Events that fulfil an SQL condition of this package's own making."""
        found = self._query(f"SELECT {_COLUMNS} FROM events WHERE {condition}", values)  # noqa: S608
        return [Row(*row) for row in found]

    def _query(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        with self._lock:
            return [] if self._db is None else self._db.execute(query, values).fetchall()
