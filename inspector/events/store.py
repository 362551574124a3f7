"""The outbox on disk: one SQLite file, written by one thread of one process.

Every method that writes runs in one transaction and is durable when it returns (WAL with
synchronous=FULL). `tally` is kept by triggers, so that what waits is known without a scan, also
after another process (`inspector events resend`) has changed rows.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inspector.events.records import CameraState, Gap, Rank, Record, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from inspector.events.documents import Documents

FORMAT = 1
"""`user_version` of the file; a newer one is refused."""
FILE = "outbox.db"
PAGE_BYTES = 8192
BUSY_S = 5.0
"""Longest wait for another process's short write."""
CHUNK = 200
"""Rows looked at in one step of making room."""
GAP_BYTES = 4096
"""Room for the event that tells of a gap."""

TOLD = f"rank <> {Rank.HEARTBEAT:d}"
"""What is no heartbeat; in these words there is an index of it."""

_SCHEMA = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    topic TEXT NOT NULL,
    document BLOB NOT NULL,
    size INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER,
    reason TEXT,
    replay INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX waiting ON events (state) WHERE state = 0;
CREATE INDEX waiting_by_rank ON events (rank) WHERE state = 0;
CREATE INDEX sent ON events (changed_ms) WHERE state = 1;
CREATE INDEX parked ON events (changed_ms) WHERE state = 2;
CREATE TABLE cameras (
    camera TEXT PRIMARY KEY, stream_epoch INTEGER NOT NULL, policy TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE tally (
    state INTEGER, rank INTEGER, events INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (state, rank)
) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('resends', 0);
CREATE TRIGGER inserted AFTER INSERT ON events BEGIN
    INSERT INTO tally VALUES (new.state, new.rank, 1, new.size)
    ON CONFLICT DO UPDATE SET events = events + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER deleted AFTER DELETE ON events BEGIN
    UPDATE tally SET events = events - 1, bytes = bytes - old.size
    WHERE state = old.state AND rank = old.rank;
END;
CREATE TRIGGER changed AFTER UPDATE OF state, size ON events BEGIN
    UPDATE tally SET events = events - 1, bytes = bytes - old.size
    WHERE state = old.state AND rank = old.rank;
    INSERT INTO tally VALUES (new.state, new.rank, 1, new.size)
    ON CONFLICT DO UPDATE SET events = events + 1, bytes = bytes + excluded.bytes;
END;
"""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the file holds.

    Attributes:
        events, bytes: how many events, and how many bytes of them, by state and rank.
        oldest_waiting_ms: arrival of the oldest waiting event, UTC.
    """

    events: Mapping[tuple[int, int], int] = field(default_factory=dict)
    bytes: Mapping[tuple[int, int], int] = field(default_factory=dict)
    oldest_waiting_ms: int | None = None

    def count(self, state: State) -> int:
        """Events in a state."""
        return sum(n for (s, _), n in self.events.items() if s == state)

    def size(self) -> int:
        """Bytes of all events."""
        return sum(self.bytes.values())


@dataclass(slots=True)
class Work:
    """What goes into one transaction.

    Attributes:
        records: new events, in order.
        states: newest state of each camera.
        sent: rows that the broker has acknowledged.
        parked: rows that the broker refuses for good, with the reason.
        gaps: what was shed in memory.
    """

    records: list[Record] = field(default_factory=list)
    states: dict[str, CameraState] = field(default_factory=dict)
    sent: list[int] = field(default_factory=list)
    parked: list[tuple[int, str]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


class Store:
    """The open file. All methods belong to one thread, which need not be the one that opens it.

    Args:
        path: the file; it is made where it is not there.
        limit: bytes of events to keep at most (`Record.size`); events that are never shed may
            exceed it.
        documents: builds the events that tell of gaps.

    Raises:
        sqlite3.DatabaseError: the file cannot be opened; see `sqlite_errorcode`.
    """

    def __init__(self, path: Path, *, limit: int, documents: Documents) -> None:
        self._limit = limit
        self._documents = documents
        self._open_gaps: dict[str, tuple[int, Gap]] = {}
        self._db = connect(path)
        try:
            self._prepare(limit)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, limit: int) -> None:
        db = self._db
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA temp_store = MEMORY")
        # The log of changes counts as space too: with a small bound it is folded in early.
        pages = max(32, min(1000, limit // 8 // PAGE_BYTES))
        db.execute(f"PRAGMA wal_autocheckpoint = {pages}")
        db.execute(f"PRAGMA journal_size_limit = {pages * PAGE_BYTES}")
        fault = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            error = sqlite3.DatabaseError(f"integrity check: {fault}")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
        db.execute(f"CREATE INDEX IF NOT EXISTS told ON events (seq) WHERE {TOLD}")

    @property
    def version(self) -> int:
        """Format of the file."""
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Fold the log into the file, where the disk lets it, and close it."""
        with contextlib.suppress(sqlite3.DatabaseError):
            # SQLite does so by itself only where nobody else, such as a reader, has the file open.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    def states(self) -> dict[str, CameraState]:
        """The stored state of every camera."""
        return read_states(self._db)

    def tally(self) -> Tally:
        """What the file holds."""
        rows = self._db.execute("SELECT state, rank, events, bytes FROM tally").fetchall()
        oldest = self._db.execute(
            "SELECT created_ms FROM events WHERE state = 0 ORDER BY seq LIMIT 1"
        ).fetchone()
        return Tally(
            {(s, r): n for s, r, n, _ in rows},
            {(s, r): b for s, r, _, b in rows},
            oldest[0] if oldest is not None else None,
        )

    def write(
        self,
        work: Work,
        *,
        handed: Collection[int] = (),
        newest_gap_handed: int = 0,
        before_commit: Callable[[], None] | None = None,
    ) -> tuple[Tally, int]:
        """Do all of the work or none of it.

        Args:
            handed: rows that the publisher has on its way: they are not shed.
            newest_gap_handed: the last row of a gap that the publisher has seen.
            before_commit: called when all but the commit is done.

        Returns:
            What the file holds afterwards, and how many events had to be shed for it.
        """
        gaps = dict(self._open_gaps)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._insert(work.records, handed)
            self._set_states(work.states)
            self._mark(work.sent, work.parked)
            for gap in work.gaps:
                self._tell(gap, gaps, newest_gap_handed)
            shed = self._make_room(set(handed), gaps, newest_gap_handed)
            tally = self.tally()
            if before_commit is not None:
                before_commit()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._open_gaps = gaps
        return tally, shed

    def purge(self, before_ms: int, most: int = 1000) -> int:
        """Delete sent events that were sent before a time; returns how many."""
        with self._db:
            return self._db.execute(
                "DELETE FROM events WHERE seq IN (SELECT seq FROM events"
                " WHERE state = 1 AND changed_ms < ? ORDER BY changed_ms LIMIT ?)",
                (before_ms, most),
            ).rowcount

    def relieve(self) -> None:
        """On a full disk: give back the log's space and that of sent events, where that works."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.purge(1 << 62)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _insert(self, records: Sequence[Record], handed: Collection[int]) -> None:
        if any(record.rank is Rank.HEARTBEAT for record in records):
            rows = self._db.execute(
                "SELECT seq FROM events WHERE state = 0 AND rank = ?", (Rank.HEARTBEAT,)
            ).fetchall()
            self._delete(seq for (seq,) in rows if seq not in handed)
        self._db.executemany(
            "INSERT OR IGNORE INTO events (id, type, key, topic, document, size, rank, created_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((r.id, r.type, r.key, r.topic, r.body, r.size, r.rank, r.created_ms) for r in records),
        )

    def _set_states(self, states: Mapping[str, CameraState]) -> None:
        self._db.executemany(
            "INSERT INTO cameras VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
            " SET stream_epoch = max(stream_epoch, excluded.stream_epoch),"
            " policy = excluded.policy",
            (
                (camera, state.stream_epoch, json.dumps(state.policy))
                for camera, state in states.items()
            ),
        )

    def _mark(self, sent: Sequence[int], parked: Sequence[tuple[int, str]]) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._db.executemany(
            "UPDATE events SET state = 1, changed_ms = ?, reason = NULL WHERE seq = ?",
            ((now_ms, seq) for seq in sent),
        )
        self._db.executemany(
            "UPDATE events SET state = 2, changed_ms = ?, reason = ? WHERE seq = ?",
            ((now_ms, reason, seq) for seq, reason in parked),
        )

    def _make_room(
        self, handed: set[int], gaps: dict[str, tuple[int, Gap]], newest_gap_handed: int
    ) -> int:
        """Delete what goes first until the bound holds, and tell of what had not been sent."""
        excess = self.tally().size() - self._limit
        if excess <= 0:
            return 0
        excess += GAP_BYTES
        shed = Gap("outbox_full")
        sources = (
            ("state = 1", "changed_ms", False),
            ("state = 2", "changed_ms", True),
            (f"state = 0 AND rank = {Rank.JUDGED:d}", "seq", True),
            (f"state = 0 AND rank = {Rank.REJECTED:d}", "seq", True),
        )
        for where, order, lost in sources:
            while excess > 0:
                rows = self._db.execute(
                    f"SELECT seq, id, type, key, size FROM events WHERE {where}"  # noqa: S608
                    f" ORDER BY {order} LIMIT ?",
                    (CHUNK + len(handed),),
                ).fetchall()
                gone = []
                for row in rows:
                    if excess > 0 and row[0] not in handed:
                        gone.append(row)
                        excess -= row[4]
                if not gone:
                    break
                self._delete(row[0] for row in gone)
                if lost:
                    shed.add(row[1:4] for row in gone)
        if shed.count:
            self._tell(shed, gaps, newest_gap_handed)
        return shed.count

    def _tell(self, gap: Gap, gaps: dict[str, tuple[int, Gap]], newest_gap_handed: int) -> None:
        """Put the event of a gap in, or widen the last one while nobody has seen it."""
        seq, told = gaps.get(gap.cause, (0, None))
        if told is not None and seq > newest_gap_handed:
            # Whoever has seen it on the page sees it grow, and not another one each time.
            joined = Gap(told.cause, event_id=told.event_id)
            joined.join(told)
            joined.join(gap)
            self._delete([seq])
        else:
            joined = gap
        record = Record.of(joined.event(self._documents))
        self._insert([record], ())
        row = self._db.execute("SELECT seq FROM events WHERE id = ?", (record.id,)).fetchone()
        joined.event_id = record.id
        gaps[gap.cause] = (int(row[0]), joined)

    def _delete(self, rows: Iterable[int]) -> None:
        self._db.executemany("DELETE FROM events WHERE seq = ?", ((seq,) for seq in rows))


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open an outbox file, for one thread at a time."""
    mode = "ro" if read_only else "rwc"
    log = path.with_name(f"{path.name}-wal")
    if read_only and not log.exists() and not os.access(path.parent, os.W_OK):
        # Nobody writes to it, and SQLite would make the log's index even so, which we may not.
        mode = "ro&immutable=1"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(
        uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )


def read_states(db: sqlite3.Connection) -> dict[str, CameraState]:
    """The stored state of every camera."""
    rows = db.execute("SELECT camera, stream_epoch, policy FROM cameras").fetchall()
    return {camera: CameraState(epoch, json.loads(policy)) for camera, epoch, policy in rows}
