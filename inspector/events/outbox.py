"""The outbox: every event is durable here before anyone may send it.

`append` hands events to a writer thread and never waits for the disk. The writer commits at once
when it is idle; what arrives meanwhile shares the next commit, so the busier the station, the more
events one fsync carries.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from inspector.errors import EventsError
from inspector.events.documents import Documents
from inspector.events.opening import FolderLock, begin_anew, open_store
from inspector.events.pending import Item, Pending
from inspector.events.reading import Reader
from inspector.events.records import CameraState, Rank, Record, State
from inspector.events.store import CHUNK, FILE
from inspector.events.writer import Commit, Handing, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from inspector.config.events import Topics
    from inspector.events.documents import Document, Event, Mode
    from inspector.events.reading import Row
    from inspector.events.store import Store

SHARE = 0.75
"""Part of max_bytes for events; the rest is for half-filled pages and the log of changes."""

__all__ = ["CameraState", "Commit", "Outbox", "OutboxStats"]


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """Figures of the outbox.

    Attributes:
        waiting: events that the broker has not acknowledged, those in memory included.
        oldest_s: age of the oldest of them on disk, 0 without any.
        bytes: space that all events take, sent ones included.
        max_bytes: the bound of `bytes`.
        parked: events kept that the broker refused for good.
        in_memory: events that wait for the disk.
        fault: why the disk takes nothing at the moment, else None.
        appended_total, sent_total, parked_total, shed_total: since the outbox was opened.
    """

    waiting: int
    oldest_s: float
    bytes: int
    max_bytes: int
    parked: int
    in_memory: int
    fault: str | None
    appended_total: int
    sent_total: int
    parked_total: int
    shed_total: int

    def to_json(self) -> dict[str, object]:
        """As plain values, for the station's status event."""
        return asdict(self)


class Outbox:
    """The durable queue of one station.

    Args:
        folder: where the file lies; it is made, and held for this process alone.
        max_bytes: bound of the file. When it is reached, sent events go first, then parked ones,
            then waiting frame.judged, then the oldest waiting frame.rejected; an
            `inspector.events.dropped.v1` event tells of every gap.
        keep_s: how long sent events stay, within the bound.
        topics: names of the topics.
        source: CloudEvents source of the station, `/stations/STATION`.
        mode: of the station, for the events that the outbox itself adds.
        on_commit: called in the writer's thread after every transaction that held events.
        on_step: called at named points of an event's way; for tests that end the process there.
        pending: the queue in memory, where its bounds are to differ from the usual.

    Raises:
        OutboxInUseError: another process writes to this folder.
        OutboxUnusableError: the folder or its file cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        keep_s: float,
        topics: Topics,
        source: str,
        mode: Mode = "inspect",
        on_commit: Callable[[Commit], None] | None = None,
        on_step: Callable[[str], None] | None = None,
        pending: Pending | None = None,
    ) -> None:
        self.folder = folder
        self._path = folder / FILE
        self._limit = int(max_bytes * SHARE)
        self._documents = Documents(source.removeprefix("/stations/"), mode, topics)
        self._lock = FolderLock(folder)
        try:
            store = open_store(folder, limit=self._limit, documents=self._documents)
            self._first_states = store.states()
            self._reader = Reader(self._path)
        except BaseException:
            self._lock.release()
            raise
        self._totals_lock = threading.Lock()
        self._appended_total = self._sent_total = self._parked_total = 0
        self._handing = Handing()
        self.arrived = threading.Event()
        """Set when something has become durable; the publisher waits for it and clears it."""
        self._writer = Writer(
            store,
            begin_anew=self._begin_anew,
            pending=Pending() if pending is None else pending,
            keep_s=keep_s,
            handing=self._handing,
            on_durable=self.arrived.set,
            on_commit=on_commit,
            on_step=on_step,
        )

    def append(
        self, events: Sequence[Event], states: Mapping[str, CameraState] | None = None
    ) -> Future[None]:
        """Have events and cameras' states written in one transaction. Never waits; any thread.

        States without events may lie in memory for a tenth of a second, so that a busy camera does
        not cost an fsync a frame.

        Returns:
            Done when all of it is on disk. It fails with EventsError where the disk was away for so
            long that events were given up; the gap is published.

        Raises:
            EventsError: the outbox is closed, or a document cannot be written as JSON.
        """
        try:
            records = [Record.of(event) for event in events]
        except (TypeError, ValueError) as error:
            msg = f"events {[e.type for e in events]} cannot be written as JSON: {error}"
            raise EventsError(msg) from error
        item = Item(records, dict(states or {}), Future(), time.monotonic_ns())
        item.future.set_running_or_notify_cancel()  # what is asked for cannot be taken back
        self._writer.put(item)
        with self._totals_lock:
            self._appended_total += len(records)
        return item.future

    def states(self) -> dict[str, CameraState]:
        """The cameras' states as they were when the outbox was opened."""
        return dict(self._first_states)

    def stats(self) -> OutboxStats:
        """Figures of this moment; any thread. The disk is not asked: it may hang."""
        with self._writer.changed:
            tally, fault = self._writer.tally, self._writer.fault
            shed_total = self._writer.shed_total
        in_memory = self._writer.in_memory()
        oldest_ms = tally.oldest_waiting_ms
        return OutboxStats(
            waiting=tally.count(State.WAITING) + in_memory,
            oldest_s=0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000),
            bytes=tally.size(),
            max_bytes=self._limit,
            parked=tally.count(State.PARKED),
            in_memory=in_memory,
            fault=fault,
            appended_total=self._appended_total,
            sent_total=self._sent_total,
            parked_total=self._parked_total,
            shed_total=shed_total,
        )

    def newest(self, most: int, *, heartbeats: bool = True) -> list[Document]:
        """The documents of the newest events, newest first, sent or not; any thread.

        Args:
            heartbeats: whether the station's own are among them; soon there is nothing else.
        """
        try:
            rows = self._reader.newest(most, heartbeats=heartbeats)
            return [json.loads(row.body) for row in rows]
        except sqlite3.DatabaseError:
            return []  # a broken file: the writer sees to it

    def since(self, after: int, most: int) -> tuple[int, list[Document]]:
        """The documents of what became durable after a row, sent or not; any thread.

        Args:
            after: row number; 0 at first.
            most: of more than so many the older ones are left out.

        Returns:
            The newest row number, to go on from, and the documents, oldest first.
        """
        try:
            rows = self._reader.rows("seq > ? ORDER BY seq DESC LIMIT ?", (after, most))
            # A file that was begun anew counts from 1 again.
            last = rows[:1] or self._reader.newest(1)
        except sqlite3.DatabaseError:
            return after, []  # a broken file: the writer sees to it
        return last[0].seq if last else 0, [json.loads(row.body) for row in reversed(rows)]

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """The documents of those events that are on disk, by their ids; any thread."""
        found: dict[str, Document] = {}
        for first in range(0, len(ids), CHUNK):
            some = ids[first : first + CHUNK]
            try:
                rows = self._reader.rows(f"id IN ({', '.join('?' * len(some))})", some)
            except sqlite3.DatabaseError:
                break  # a broken file: the writer sees to it
            found.update((row.id, json.loads(row.body)) for row in rows)
        return found

    def newest_id(self) -> str | None:
        """The id of the event on disk of the latest time, sent or not; None without any.

        Any thread.
        """
        try:
            return self._reader.latest_id()
        except sqlite3.DatabaseError:
            return None  # a broken file: the writer sees to it

    def progress_ns(self) -> int:
        """Monotonic time of the writer's last turn, for the watchdog; it turns once a second."""
        return self._writer.progress_ns

    def close(self, deadline_s: float = 5.0) -> bool:
        """Write what is in memory, then let the folder go.

        Returns:
            False where the disk did not take everything in time; what was lost is logged.
        """
        clean = self._writer.stop(deadline_s)
        self._reader.close()
        self._lock.release()
        return clean

    @property
    def life(self) -> int:
        """A number that changes when a broken file was begun anew: its rows count from 1 again."""
        return self._handing.life

    def hand_out(
        self, after: int, most: int, blocked: Sequence[str] = (), *, life: int | None = None
    ) -> list[Row]:
        """Waiting events for the publisher, oldest first, without those it has already.

        Args:
            after: row number after which to look.
            blocked: topics to leave out.
            life: of the file that the publisher has rows of on its way: there are none of another.
                None: of whichever there is.
        """
        with self._handing.lock:
            if life not in {None, self._handing.life}:
                return []
            rows = self._reader.waiting(after, most + len(self._handing.rows), blocked)
            return self._handing.out(rows, most)

    def take_back(self, rows: Sequence[int]) -> None:
        """Rows that the publisher no longer has on its way, and that are not sent."""
        with self._handing.lock:
            self._handing.rows.difference_update(rows)

    def mark_sent(self, rows: Sequence[int]) -> None:
        """Rows that the broker has acknowledged."""
        with self._handing.lock:
            # Those of a file that broke meanwhile are gone, and others may have their numbers.
            self._writer.mark(sent=[row for row in rows if row in self._handing.rows])
        with self._totals_lock:
            self._sent_total += len(rows)

    def park(self, row: int, reason: str) -> None:
        """A row that the broker refuses for good."""
        with self._handing.lock:
            if row in self._handing.rows:
                self._writer.mark(parked=[(row, reason)])
        with self._totals_lock:
            self._parked_total += 1

    def verdicts_wait(self) -> bool:
        """Whether a frame.judged waits on disk."""
        with self._writer.changed:
            return self._writer.tally.events.get((State.WAITING, Rank.JUDGED), 0) > 0

    def resends(self) -> int:
        """A number that changes when someone asked for events to be sent again."""
        return self._reader.resends()

    def _begin_anew(self, fault: str) -> Store:
        """In the writer's thread, with the lock of what is handed out."""
        store = begin_anew(self._path, fault, limit=self._limit, documents=self._documents)
        try:
            self._reader.reopen()
        except BaseException:
            store.close()
            raise
        return store
