"""What operators say of events: right, or wrong and what it was. Kept in the state folder.

One SQLite file, opened only while it is used; a mark is on disk when `put` returns, and no kill
leaves half of one. It keeps its event's document, since the outbox forgets events long before their
pictures are removed. Beyond `MOST_MARKS` the oldest go.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import structlog

from inspector.errors import MarkError
from inspector.events.opening import forget_old_copies, move_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

FILE = "marks.db"
FORMAT = 1
"""`user_version` of the file; a newer one is refused."""
MOST_MARKS = 20_000
BUSY_S = 5.0
"""Longest wait for another process's short write."""
_CHUNK = 200

Word = Literal["right", "wrong"]

_SCHEMA = """
CREATE TABLE marks (
    event TEXT PRIMARY KEY,
    word TEXT NOT NULL,
    label TEXT,
    marked_ms INTEGER NOT NULL,
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_time ON marks (marked_ms);
"""

_log = structlog.get_logger("inspector.marks")


@dataclass(frozen=True, slots=True)
class Mark:
    """What was said of one event.

    Attributes:
        word: whether the station's verdict is right.
        label: what the picture is in truth, where it is wrong and that was said.
        marked_ms: when, UTC milliseconds.
    """

    word: Word
    label: str | None
    marked_ms: int

    def document(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"mark": self.word, "label": self.label, "marked_ms": self.marked_ms}

    @staticmethod
    def nothing() -> dict[str, Any]:
        """The document where nothing is said."""
        return {"mark": None, "label": None, "marked_ms": None}


@dataclass(frozen=True, slots=True)
class Marked:
    """A mark and the CloudEvents document that it is about."""

    mark: Mark
    event: Mapping[str, Any]

    @property
    def label(self) -> str | None:
        """What the picture is in truth; None where nobody said."""
        label: str | None = self.event["data"]["label"]
        return label if self.mark.word == "right" else self.mark.label


class Marks:
    """The marks of one station. Any thread; every method waits for the disk.

    Args:
        folder: the state folder; made by whoever owns it.
        most: how many are kept.
        utc_ms: the wall clock.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most: int = MOST_MARKS,
        utc_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._path = folder / FILE
        self._most = most
        self._utc_ms = utc_ms
        self._lock = threading.Lock()

    def put(self, event: Mapping[str, Any], word: Word, label: str | None) -> Mark:
        """Mark an event, in place of what was said of it before; durable at the return.

        Args:
            event: its CloudEvents document.
            label: what it was in truth, if that is known.

        Raises:
            MarkError: the disk does not take it.
        """
        mark = Mark(word, label, self._utc_ms())
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        row = (event["id"], mark.word, mark.label, mark.marked_ms, text)
        with self._open() as db:
            db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)", row)
            db.execute(
                "DELETE FROM marks WHERE event IN (SELECT event FROM marks"
                " ORDER BY marked_ms DESC, event DESC LIMIT -1 OFFSET ?)",
                (self._most,),
            )
        return mark

    def take_back(self, event_id: str) -> bool:
        """Forget what was said of an event; False where nothing was. Raises MarkError."""
        if not self._path.exists():
            return False
        with self._open() as db:
            return db.execute("DELETE FROM marks WHERE event = ?", (event_id,)).rowcount > 0

    def find(self, event_id: str) -> Marked | None:
        """The mark of an event. Raises MarkError."""
        found = self._rows("WHERE event = ?", (event_id,))
        return found[0] if found else None

    def of(self, event_ids: Sequence[str]) -> dict[str, Mark]:
        """The marks of those events that have one. Raises MarkError."""
        found: dict[str, Mark] = {}
        for first in range(0, len(event_ids), _CHUNK):
            some = event_ids[first : first + _CHUNK]
            rows = self._rows(f"WHERE event IN ({', '.join('?' * len(some))})", some)
            found.update((str(each.event["id"]), each.mark) for each in rows)
        return found

    def all(self) -> list[Marked]:
        """Every mark, the oldest first. Raises MarkError."""
        return self._rows("ORDER BY marked_ms, event", ())

    def _rows(self, condition: str, values: Sequence[object]) -> list[Marked]:
        if not self._path.exists():
            return []
        query = f"SELECT word, label, marked_ms, document FROM marks {condition}"  # noqa: S608 - of our own making
        with self._open() as db:
            rows = db.execute(query, tuple(values)).fetchall()
        return [Marked(Mark(word, label, ms), json.loads(text)) for word, label, ms, text in rows]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A transaction."""
        with self._lock:
            try:
                with closing(self._connect()) as db, db:
                    yield db
            except (sqlite3.Error, OSError) as error:
                msg = f"the marks in {self._path} cannot be used: {error}"
                raise MarkError("unwritable", msg) from error

    def _connect(self) -> sqlite3.Connection:
        try:
            return _prepared(self._path)
        except sqlite3.OperationalError:
            raise  # a full disk, a missing right: the file itself may be whole
        except sqlite3.DatabaseError as error:
            aside = move_aside(self._path)
            forget_old_copies(self._path)
            _log.error("marks begin anew: their file is broken", fault=str(error), kept=aside.name)
            return _prepared(self._path)


def _prepared(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S)
    try:
        db.execute("PRAGMA synchronous = EXTRA")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            msg = f"written by a newer version (format {version}, this one knows {FORMAT})"
            raise sqlite3.OperationalError(msg)
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
    except BaseException:
        db.close()
        raise
    return db
