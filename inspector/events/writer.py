"""The thread that writes the outbox: group commit, and patience with a disk that takes nothing."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from inspector.errors import EventsError
from inspector.events.kinds import EVENTS_DROPPED
from inspector.events.opening import is_broken
from inspector.events.records import Gap
from inspector.events.store import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from inspector.events.pending import Item, Pending
    from inspector.events.reading import Row
    from inspector.events.store import Store, Tally

MAX_COMMIT = 1000
"""Events of one transaction: bounds its time, and what a failed one repeats."""
LAZY_S = 0.1
"""Longest wait of what nobody waits for: states without events, acknowledgements."""
RETRY_S = (0.2, 2.0)
"""First and longest pause after a failed write."""
LOG_EVERY_S = 60.0
PURGE_EVERY_S = 10.0
TURN_S = 1.0
"""The thread turns at least this often, for the watchdog."""

_log = structlog.get_logger("inspector.events")


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction that held events, for metrics.

    Attributes:
        events: how many it made durable.
        waited_s: from the oldest of their `append` calls until they were durable.
        commit_s: the transaction itself.
    """

    events: int
    waited_s: float
    commit_s: float


class Handing:
    """Which rows the publisher has on its way.

    Its lock is held while rows are handed out and while rows may be deleted: an event is either on
    its way or shed, never both.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: set[int] = set()
        self.newest_gap = 0
        """The event of a gap that went last, or tried to; one behind it nobody has seen."""
        self.life = 0
        """Files that were begun anew; what was on its way then counts no more."""

    def begin_anew(self) -> None:
        """With the lock held: a new file counts its rows from 1."""
        self.rows.clear()
        self.newest_gap = 0
        self.life += 1

    def out(self, rows: Iterable[Row], most: int) -> list[Row]:
        """With the lock held: take rows that are not out already."""
        chosen = [row for row in rows if row.seq not in self.rows][:most]
        self.rows.update(row.seq for row in chosen)
        gaps = (row.seq for row in chosen if row.type == EVENTS_DROPPED)
        self.newest_gap = max([self.newest_gap, *gaps])
        return chosen


class Writer:
    """Owns the store while it runs.

    Args:
        store: open; the writer closes it.
        begin_anew: replaces a file that turned out to be broken.
        on_durable: called after every transaction.
    """

    def __init__(
        self,
        store: Store,
        *,
        begin_anew: Callable[[str], Store],
        pending: Pending,
        keep_s: float,
        handing: Handing,
        on_durable: Callable[[], None],
        on_commit: Callable[[Commit], None] | None,
        on_step: Callable[[str], None] | None,
    ) -> None:
        self._store = store
        self._begin_anew = begin_anew
        self._pending = pending
        self._keep_s = keep_s
        self._handing = handing
        self._on_durable = on_durable
        self._on_commit = on_commit
        self._on_step = on_step

        self.changed = threading.Condition()
        """Guards everything below."""
        self.tally: Tally = store.tally()
        self.fault: str | None = None
        self.shed_total = 0
        self._gaps: dict[str, Gap] = {}
        self._marks = Work()
        self._since: float | None = None
        self._urgent = False
        self._stop_by: float | None = None

        self._broken: str | None = None
        """What is wrong with a file that is closed, and to be begun anew; the thread's own."""

        self.progress_ns = time.monotonic_ns()
        self._last_purge = time.monotonic()
        self._last_log = -LOG_EVERY_S
        self.thread = threading.Thread(target=self._run, name="outbox-writer", daemon=True)
        self.thread.start()

    def put(self, item: Item) -> None:
        """Queue an item; never waits.

        Raises:
            EventsError: the writer is stopping.
        """
        with self.changed:
            if self._stop_by is not None:
                msg = "the outbox is closed: no more events are taken"
                raise EventsError(msg)
            given_up = self._pending.put(item)
            if given_up:
                self.shed_total += len(given_up)
                gap = self._gaps.setdefault("memory_full", Gap("memory_full"))
                gap.add((r.id, r.type, r.key) for r in given_up)
            self._wake(urgent=bool(item.records))

    def mark(self, sent: Sequence[int] = (), parked: Sequence[tuple[int, str]] = ()) -> None:
        """Note what became of rows; written with the next events, or a little later."""
        with self.changed:
            self._marks.sent.extend(sent)
            self._marks.parked.extend(parked)
            self._wake(urgent=False)

    def in_memory(self) -> int:
        """Events that are not on disk yet."""
        with self.changed:
            return self._pending.records

    def stop(self, deadline_s: float) -> bool:
        """Write what is left and end the thread; False if the disk did not take it in time."""
        with self.changed:
            self._stop_by = time.monotonic() + deadline_s
            self.changed.notify_all()
        self.thread.join(deadline_s + 1.0)
        left = self.in_memory()
        if left:
            _log.error("events were lost at the stop", events=left, fault=self.fault)
        return left == 0 and not self.thread.is_alive()

    def _wake(self, *, urgent: bool) -> None:
        self._urgent = self._urgent or urgent
        if self._since is None:
            self._since = time.monotonic()
            self.changed.notify_all()
        elif urgent:
            self.changed.notify_all()

    def _run(self) -> None:
        pause_s = RETRY_S[0]
        while True:
            self.progress_ns = time.monotonic_ns()
            self._purge_sometimes()
            with self.changed:
                if not self._wait():
                    continue
                items = self._pending.take(MAX_COMMIT)
                work = self._gather(items)
                stop_by = self._stop_by
                if stop_by is not None and not (items or work.sent or work.parked or work.gaps):
                    break
            try:
                self._commit(items, work)
                pause_s = RETRY_S[0]
            except Exception as error:  # noqa: BLE001 - the edge of a thread that must live
                self._failed(items, work, error)
                if stop_by is not None and time.monotonic() + pause_s > stop_by:
                    break
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_S[1])
        self._store.close()

    def _wait(self) -> bool:
        """Until there is something to write: at once for events, lazily for the rest.

        Returns:
            False where there is nothing for a turn.
        """
        until = time.monotonic() + TURN_S
        while self._stop_by is None and not self._urgent:
            if self._since is not None:
                until = self._since + LAZY_S
            left_s = until - time.monotonic()
            if left_s <= 0:
                return self._since is not None
            self.changed.wait(left_s)
        return True

    def _gather(self, items: Sequence[Item]) -> Work:
        """With the lock held: everything that the next transaction does."""
        work = Work(
            records=[record for item in items for record in item.records if not record.shed],
            sent=self._marks.sent,
            parked=self._marks.parked,
            gaps=list(self._gaps.values()),
        )
        for item in items:
            work.states.update(item.states)
        self._marks = Work()
        self._gaps = {}
        self._urgent = len(self._pending) > 0
        self._since = time.monotonic() if self._urgent else None
        return work

    def _commit(self, items: Sequence[Item], work: Work) -> None:
        began = time.monotonic_ns()
        if self._broken is not None:
            self._replace(self._broken, work)
        self._step("before_commit")
        with self._handing.lock:
            tally, shed = self._store.write(
                work,
                handed=self._handing.rows,
                newest_gap_handed=self._handing.newest_gap,
                before_commit=lambda: self._step("in_transaction"),
            )
            self._handing.rows.difference_update(work.sent)
            self._handing.rows.difference_update(row for row, _ in work.parked)
        ended = time.monotonic_ns()
        self._step("after_commit")
        with self.changed:
            self._pending.done(items)
            self.tally = tally
            self.shed_total += shed
            healed, self.fault = self.fault is not None, None
        if healed:
            _log.info("the outbox can be written again")
        self._on_durable()
        for item in items:
            item.settle()
        if work.records and self._on_commit is not None:
            oldest = min(item.asked_ns for item in items if item.records)
            commit = Commit(len(work.records), (ended - oldest) / 1e9, (ended - began) / 1e9)
            with contextlib.suppress(Exception):  # a metric; what is written is written
                self._on_commit(commit)

    def _failed(self, items: Sequence[Item], work: Work, error: Exception) -> None:
        """Keep everything for another try, and make the next try more likely to succeed."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        with self.changed:
            self._pending.put_back(items)
            self._marks.sent[:0] = work.sent
            self._marks.parked[:0] = work.parked
            for gap in work.gaps:
                later = self._gaps.get(gap.cause)
                if later is not None:
                    gap.join(later)
                self._gaps[gap.cause] = gap
            self._urgent = True
            full = code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
            word = "the disk is full or fails" if full else "the outbox cannot be written"
            self.fault = f"{word}: {error}"
        now = time.monotonic()
        if now - self._last_log >= LOG_EVERY_S:
            self._last_log = now
            _log.error(
                "events wait in memory: the outbox cannot be written",
                fault=str(error),
                waiting=self._pending.records,
            )
        if is_broken(error):
            self._store.close()
            self._broken = str(error)
        elif full and self._broken is None:
            with contextlib.suppress(sqlite3.DatabaseError):  # the next try says what is wrong now
                self._store.relieve()

    def _replace(self, fault: str, work: Work) -> None:
        """Begin a broken file anew; what was to be noted of the old one's rows is forgotten.

        Raises:
            sqlite3.Error, OSError: the disk takes no new one (yet).
        """
        with self._handing.lock:
            self._store = self._begin_anew(fault)
            self._handing.begin_anew()
            # Only now, not while the disk works: whoever hands events over never waits for it.
            with self.changed:
                self._marks = Work()
        work.sent.clear()
        work.parked.clear()
        self._broken = None

    def _purge_sometimes(self) -> None:
        if time.monotonic() - self._last_purge < PURGE_EVERY_S:
            return
        self._last_purge = time.monotonic()
        try:
            self._store.purge(int((time.time() - self._keep_s) * 1000))
        except sqlite3.DatabaseError as error:
            _log.warning("old events could not be deleted", fault=str(error))

    def _step(self, name: str) -> None:
        if self._on_step is not None:
            self._on_step(name)
