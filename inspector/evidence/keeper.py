"""The keeper of the evidence folder: opens it, sweeps it, counts it, and removes what must go."""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import structlog

from inspector.errors import EvidenceError
from inspector.evidence.holdings import Held, Holdings
from inspector.evidence.naming import day_of, time_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inspector.evidence.folder import Batch, Folder
    from inspector.evidence.holdings import Limits, Removal
    from inspector.evidence.naming import Name

TURN_S = 1.0
"""The disk is looked at this often: whoever fills 2 GB faster than that fills the disk."""
AGE_EVERY_S = 60.0
DAY_MS = 86_400_000
LOG_EVERY_S = 60.0
NEXT_PICTURES = 4
"""Room is made for this many pictures of the newest one's size."""
MOST_STUCK = 100
"""More files that cannot be read or removed than these are no odd ones, but a bad disk."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_log = structlog.get_logger("inspector.evidence")


class Keeper:
    """Owns folder and tally. Its own thread calls `turn`; the rest may be called by any.

    Args:
        folder: not opened yet.
        stored: asks the outbox for the documents of events by their ids; of those it knows.
        stored_ms: how long it knows an event for certain.
        newest_id: id of the newest event that it knows, if any: it is no earlier now.
        clock: monotonic seconds.
        utc_ms: the wall clock; pictures are as old as the time in their names says.
    """

    def __init__(
        self,
        folder: Folder,
        limits: Limits,
        *,
        stored: Callable[[Sequence[str]], Mapping[str, Mapping[str, Any]]],
        stored_ms: int = DAY_MS,
        newest_id: Callable[[], str | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        utc_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.folder = folder
        self.limits = limits
        self._stored, self._stored_ms, self._newest_id = stored, stored_ms, newest_id
        self._clock, self._utc_ms = clock, utc_ms
        self._lock = threading.Lock()
        """Guards what is counted and told."""
        self._holdings = Holdings()
        self._removed: Counter[tuple[str, Removal]] = Counter()
        self._free_bytes: int | None = None
        self._newest_bytes = 0
        self._fault: str | None = None
        self._told = ""
        self._open = False
        self._swept = False
        self._next_log = -LOG_EVERY_S
        self._next_age = -AGE_EVERY_S
        self._oldest: dict[tuple[str, str], deque[Name]] = {}
        self._stuck: set[Name] = set()
        """Could not be read or removed, and were told of; the others go on without them."""
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="evidence-keeper", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own; the folder may hold a great many files."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """End the thread and let the folder go."""
        self._closing = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self.folder.close()

    @property
    def open(self) -> bool:
        """Whether pictures can be written; if not, `fault` says why, or the start is not over."""
        return self._open

    @property
    def fault(self) -> str | None:
        """Why the folder takes no pictures at the moment, else None."""
        return self._fault

    @property
    def free_bytes(self) -> int | None:
        """Free space of the folder's disk at the last turn."""
        return self._free_bytes

    def want_of_room(self) -> str | None:
        """Why the disk is too full for the next picture, else None."""
        free, least = self._free_bytes, self.limits.min_free_bytes
        if free is None or free - self._newest_bytes >= least:
            return None
        return (
            f"no room for evidence: the disk has {free / 1e6:.1f} MB left, and "
            f"evidence.min_free_mb is {least // 1_000_000}"
        )

    def held(self, cameras: Sequence[str]) -> dict[str, Held]:
        """What each camera has: of those named, and of others that still have some."""
        with self._lock:
            return {
                name: self._holdings.of(name)
                for name in sorted({*cameras, *self._holdings.cameras()})
            }

    def removed(self) -> Counter[tuple[str, Removal]]:
        """How many pictures were removed, by camera and cause."""
        with self._lock:
            return self._removed.copy()

    def forget(self, camera: str) -> None:
        """Count anew what is removed of a camera."""
        with self._lock:
            for key in [key for key in self._removed if key[0] == camera]:
                del self._removed[key]

    def fits(self, size: int) -> bool:
        """Whether a picture of `size` bytes may be written now. Raises OSError."""
        free = self.folder.free_bytes()
        with self._lock:
            fits = self.limits.fits(size, self._holdings.total.bytes, free)
            self._newest_bytes, self._free_bytes = size, free
        if not fits:
            self._wake.set()
        return fits

    def wrote(self, name: Name, size: int, *, files: int = 1) -> None:
        """A picture was written (or with `files=0` the event beside it)."""
        with self._lock:
            self._holdings.add(name, size, files=files)
            room = min(NEXT_PICTURES * self._newest_bytes, self.limits.max_bytes // 2)
            full = self._holdings.total.bytes + room > self.limits.max_bytes
        self._recover()
        if full:
            self._wake.set()

    def remove(self, name: Name, cause: Removal | None = None) -> int:
        """Remove a picture; the bytes that became free. Raises OSError."""
        freed = self.folder.remove(name)
        with self._lock:
            if freed:
                self._holdings.remove(name, freed)
            if freed and cause is not None:
                self._removed[name.camera, cause] += 1
        return freed

    def failed(self, error: OSError | EvidenceError) -> None:
        """Note that the folder did not do what was asked; told at once, then at intervals."""
        text = str(error)
        if isinstance(error, OSError):
            if error.errno in FULL:
                what, remedy = "the disk is full", "make room, or raise evidence.min_free_mb"
            else:
                what = error.strerror or str(error)
                remedy = "look at the disk, and at the right to write there"
            text = f"the evidence folder {self.folder.path} cannot be used: {what}; {remedy}"
        with self._lock:
            self._fault = text
            now = self._clock()
            if text == self._told and now < self._next_log:
                return
            self._told, self._next_log = text, now + LOG_EVERY_S
        _log.error("no evidence can be kept", fault=text)

    def _recover(self) -> None:
        with self._lock:
            recovered, self._fault = self._fault, None
        if recovered:
            _log.info("evidence is kept again", folder=str(self.folder.path))

    def turn(self) -> None:
        """Look at the folder once, and do what is due."""
        try:
            if not (self._open and self.folder.present()):
                self._take_hold()
            self._free_bytes = self.folder.free_bytes()
            now = self._clock()
            if now >= self._next_age:
                self._next_age = now + AGE_EVERY_S
                self._remove_old()
            self._make_room()
            if (
                self._fault
                and self.folder.writable()
                and self._free_bytes > self.limits.min_free_bytes
            ):
                self._recover()
        except (OSError, EvidenceError) as error:
            self._open = self._open and self.folder.present()
            self.failed(error)

    def make_room(self) -> int:
        """Open the folder, remove what is due, and nothing else: for a start on a full disk.

        Returns:
            The bytes that became free; none where the folder cannot be used, which is logged.
        """
        try:
            self.folder.open()
            for batch in self.folder.batches():
                for name, size in batch.held():
                    self._holdings.add(name, size)
            held = self._holdings.total.bytes
            self._remove_old()
            self._make_room()
        except (OSError, EvidenceError) as error:
            self.failed(error)
            return 0
        freed = held - self._holdings.total.bytes
        _log.warning("the outbox cannot be opened: old evidence was removed", mb=freed // 1_000_000)
        return freed

    def _run(self) -> None:
        while not self._closing:
            self._wake.clear()
            try:
                self.turn()
            except Exception:  # noqa: BLE001 - the thread outlives any error; it is logged
                _log.exception("evidence.fault")
            self._wake.wait(TURN_S)

    def _take_hold(self) -> None:
        """Open the folder and count what lies there; the first time, sweep it too."""
        self._open = False
        self.folder.open()
        self.folder.probe()
        holdings = Holdings()
        for batch in self.folder.batches():
            if self._closing:
                return
            if not self._swept:
                self._sweep(batch)
            for name, size in batch.held():
                holdings.add(name, size)
        with self._lock:
            self._holdings = holdings
        self._next_age = -AGE_EVERY_S
        self._swept = self._open = True
        self._recover()
        held = holdings.total
        _log.info("evidence counted", pictures=held.files, mb=held.bytes // 1_000_000)

    def _sweep(self, batch: Batch) -> None:
        """Put right what a kill or a power cut left half done.

        A picture comes first, then its event goes to the outbox, then the event is written beside
        the picture. So where that is missing, the outbox knows whether the picture is evidence: as
        long as it knows its events for certain. Older ones stay, without their event, and so do
        those of a time that is yet to come: a box may start with its clock behind by days, and
        then nobody knows how old they are.
        """
        for part in batch.parts:
            part.unlink(missing_ok=True)
        notes = {note.event_id for note in batch.notes}
        pictures = {name.event_id for name in batch.pictures}
        for note in [note for note in batch.notes if note.event_id not in pictures]:
            self.folder.place(note).unlink(missing_ok=True)
            del batch.notes[note]
        bare = [name for name in batch.pictures if name.event_id not in notes]
        if not bare:
            return
        documents = self._stored([name.event_id for name in bare])
        newest = self._newest_id()
        now_ms = max(self._utc_ms(), time_ms(newest) if newest else 0)
        removed = 0
        for name in bare:
            document = documents.get(name.event_id)
            try:
                if document is not None and self._is_whole(name, document):
                    batch.notes[name.note] = self.folder.add_note(name, document)
                elif document is not None or 0 <= now_ms - time_ms(name.event_id) < self._stored_ms:
                    self.folder.remove(name)
                    del batch.pictures[name]
                    removed += 1
            except OSError as error:
                self._leave(name, error)
        _log.info("evidence swept", unfinished=len(bare), removed=removed)

    def _remove_or_leave(self, name: Name, cause: Removal) -> int:
        """Remove a picture, or leave it alone; the bytes that became free. Raises as `_leave`."""
        try:
            return self.remove(name, cause)
        except OSError as error:
            self._leave(name, error)
            return 0

    def _leave(self, name: Name, error: OSError) -> None:
        """Leave a file alone that cannot be read or removed; raises where it is not the only one.

        Raises:
            OSError: `error`, if the disk or the folder is to blame.
        """
        one = self.folder.present() and self.folder.writable() and len(self._stuck) < MOST_STUCK
        if error.errno in FULL or not one:
            raise error
        if name not in self._stuck:
            self._stuck.add(name)
            path = self.folder.place(name)
            _log.warning("evidence that is left alone", path=str(path), fault=error.strerror)

    def _is_whole(self, name: Name, document: Mapping[str, Any]) -> bool:
        said = document.get("data", {}).get("evidence") or {}
        return hashlib.sha256(self.folder.read(name)).hexdigest() == said.get("sha256")

    def _remove_old(self) -> None:
        limit_ms = self._utc_ms() - self.limits.keep_ms
        limit_day = day_of(max(0, limit_ms))
        with self._lock:
            days = list(self._holdings.up_to(limit_day))
        for camera, day in days:
            for name in self.folder.names(camera, day):
                if time_ms(name.event_id) >= limit_ms:
                    break
                self._remove_or_leave(name, "age")
            # Nothing more is written of such a day: what is counted and does not lie there any more
            # was removed by somebody else.
            if day < limit_day and not self.folder.names(camera, day):
                with self._lock:
                    self._holdings.forget(camera, day)

    def _make_room(self) -> None:
        """Remove the oldest pictures of the camera that takes most, until the next ones fit.

        Free space is asked once a turn: some file systems tell of what was freed only later.
        """
        freed = 0
        free_bytes = self.folder.free_bytes()
        tomorrow = day_of(self._utc_ms() + DAY_MS)
        self._oldest.clear()
        while not self._closing:
            with self._lock:
                due = self.limits.excess(
                    self._holdings.total.bytes,
                    free_bytes + freed,
                    NEXT_PICTURES * self._newest_bytes,
                )
                first = self._holdings.first_to_go(tomorrow)
            if due is None or first is None:
                return
            name = self._next_of(*first)
            if name is None:  # somebody else has removed them, or they cannot be
                with self._lock:
                    self._holdings.forget(*first)
                continue
            freed += self._remove_or_leave(name, due[0])

    def _next_of(self, camera: str, day: str) -> Name | None:
        """The oldest picture of a camera's day; the folder is read once for many."""
        waiting = self._oldest.setdefault((camera, day), deque())
        if not waiting:
            names = self.folder.names(camera, day)
            waiting.extend(name for name in names if name not in self._stuck)
        if not waiting:
            del self._oldest[camera, day]
            return None
        return waiting.popleft()
