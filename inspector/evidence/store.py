"""The evidence of a station: the door of this stage.

`keep` takes a judged frame over and never waits: a picture is encoded from the frame's slot in a
small pool, then the slot is free again, then the picture is written. Whoever asked gets a future
that is done within a set time, with the picture or with the cause why there is none. `seal` puts
the event beside its picture, once it is durable.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from inspector.errors import EvidenceError
from inspector.evidence import naming
from inspector.evidence.budget import PerMinute
from inspector.evidence.deadlines import Deadlines
from inspector.evidence.encoding import encode
from inspector.evidence.folder import Folder
from inspector.evidence.holdings import Limits
from inspector.evidence.keeper import DAY_MS, FULL, Keeper
from inspector.evidence.outcome import Kept, Kind, Outcome, Skip, Skipped
from inspector.evidence.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from inspector.config.evidence import Evidence as Settings
    from inspector.frame import Frame

THREADS = 2
MOST_JOBS = 16
"""Pictures that wait for an encoder; one more goes unkept (`busy`)."""
MOST_CHORES = 2000
"""Events that wait to be written beside their pictures; one more is written at the next start, if
the outbox still knows it."""
SLOTS_SHARE = 3
"""One in so many of a camera's slots may be held for evidence, one at least."""

__all__ = ["Evidence", "EvidenceStats", "Kept", "Kind", "Outcome", "Picture", "Skip", "Skipped"]

_log = structlog.get_logger("inspector.evidence")


@dataclass(frozen=True, slots=True)
class Picture:
    """A file of the evidence folder, read."""

    data: bytes
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class EvidenceStats:
    """Figures of this moment.

    Attributes:
        fault: why no picture can be kept at the moment, else None.
        files, bytes: what lies in the folder.
        free_bytes: of its disk; None before it was looked at.
        cameras: of each camera `files`, `bytes`, `written`, `skipped` and `removed` by cause.
    """

    fault: str | None
    files: int
    bytes: int
    max_bytes: int
    free_bytes: int | None
    cameras: dict[str, dict[str, Any]]


@dataclass(eq=False, slots=True)
class _Job:
    """One picture on its way.

    Whoever has the job (who made it, then the queue, then the thread that took it from there) hands
    its frame back, so that this happens once.
    """

    frame: Frame | None
    name: naming.Name
    release: Callable[[], None]
    future: Future[Outcome] = field(default_factory=Future)
    run: Callable[[], None] = field(default=lambda: None)
    admitted: bool = False


def make_room(folder: Path, settings: Settings) -> int:
    """Remove what is due of pictures kept before, while nothing else has the folder open.

    Returns:
        The bytes that became free: none where the folder cannot be used.
    """
    keeper = Keeper(Folder(folder), _limits(settings), stored=lambda _ids: {})
    try:
        return keeper.make_room()
    finally:
        keeper.close(0)


def _limits(settings: Settings) -> Limits:
    return Limits.of(
        keep_days=settings.keep_days,
        max_mb=settings.max_mb,
        min_free_mb=settings.min_free_mb,
    )


class Evidence:
    """Keeps pictures of judged frames.

    Args:
        folder: where; it need not be there yet, nor be usable.
        settings: of the station file.
        slots: of each camera how many slots its ring has; see `adopt`.
        stored: the documents of events in the outbox by their ids, for pictures that a kill left
            without their event.
        stored_ms: how long the outbox knows an event for certain.
        newest_id: id of the newest event in the outbox, if any.
        on_seconds: told how long a step (`encode`, `write`) took; any thread.
        clock: monotonic seconds, for `per_minute`.
        utc_ms: the wall clock, for `keep_days`.

    Any thread may call any method. Nothing but `settle` and `close` waits for the disk, and
    `picture`, which reads.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        *,
        slots: Mapping[str, int],
        stored: Callable[[Sequence[str]], Mapping[str, Mapping[str, Any]]],
        stored_ms: int = DAY_MS,
        newest_id: Callable[[], str | None] = lambda: None,
        on_seconds: Callable[[str, float], None] = lambda _step, _seconds: None,
        clock: Callable[[], float] = time.monotonic,
        utc_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._suffix = naming.SUFFIXES[settings.format]
        self._within_s = settings.within_ms / 1e3
        self._slots = dict(slots)
        self._on_seconds = on_seconds
        self._clock = clock
        self._folder = Folder(folder)
        self._keeper = Keeper(
            self._folder,
            _limits(settings),
            stored=stored,
            stored_ms=stored_ms,
            newest_id=newest_id,
            clock=clock,
            utc_ms=utc_ms,
        )
        self._lock = threading.Lock()
        """Guards what follows."""
        self._budgets: dict[tuple[str, Kind], PerMinute] = {}
        self._at_work: Counter[str] = Counter()
        self._live: set[_Job] = set()
        self._written: Counter[str] = Counter()
        self._skipped: Counter[tuple[str, Skip]] = Counter()
        self._stopping = False
        self._pool = Pool(threads=THREADS, most_jobs=MOST_JOBS, most_chores=MOST_CHORES)
        self._deadlines = Deadlines(self._within_s)

    def start(self) -> None:
        """Open the folder and look it through, in a thread; returns at once."""
        self._keeper.start()

    def adopt(self, slots: Mapping[str, int]) -> None:
        """Go on with these cameras, or with other rings: of each how many slots it has.

        What is known of others is kept until `forget`: frames of theirs may be on their way.
        """
        with self._lock:
            self._slots |= slots

    def forget(self, camera: str) -> None:
        """A camera is gone, and so are its frames. Its pictures stay, as long as others do."""
        self._keeper.forget(camera)
        with self._lock:
            self._slots.pop(camera, None)
            self._at_work.pop(camera, None)
            self._written.pop(camera, None)
            for kind in Kind:
                self._budgets.pop((camera, kind), None)
            for cause in Skip:
                self._skipped.pop((camera, cause), None)

    @property
    def keeps_uncertain(self) -> bool:
        """Whether uncertain frames are wanted."""
        return self._settings.keep_uncertain

    def keep(
        self, frame: Frame, event_id: str, kinds: Sequence[Kind], release: Callable[[], None]
    ) -> Future[Outcome]:
        """Take a frame over and keep its picture, if that is allowed and can be done in time.

        Args:
            frame: with a picture; its pixels are read until `release` is called.
            event_id: the event that the picture is named by.
            kinds: why it is wanted; the first with something left of its minute pays.
            release: called exactly once, when the pixels have been read; in any thread, or before
                the return.

        Returns:
            Done within `within_ms`; it never fails and cannot be cancelled.
        """
        name = naming.Name(frame.camera, event_id, self._suffix)
        job = _Job(frame, name, release)
        job.run = partial(self._work, job)
        job.future.set_running_or_notify_cancel()
        job.future.add_done_callback(partial(self._account, job))
        skip = self._admit(job, kinds)
        if skip is None:
            self._deadlines.add(partial(self._give_up, job, Skip.LATE))
            if not self._pool.put(job.run):
                skip = Skip.BUSY
        if skip is not None:
            self._free(job)
            self._finish(job, Skipped(skip))
        return job.future

    def seal(self, kept: Kept, document: Mapping[str, Any]) -> None:
        """Put an event that has become durable beside its picture, a little later."""
        if not self._pool.put_chore(partial(self._add_note, kept.name, document)):
            _log.warning(
                "an event is written beside its picture at the next start at the earliest",
                uri=kept.name.uri,
            )

    def discard(self, kept: Kept) -> None:
        """Remove a picture whose event was given up, a little later."""
        self._pool.put_chore(partial(self._drop, kept.name))

    def picture(self, uri: str) -> Picture | None:
        """A picture (or the event beside it) by the uri in its event; None if there is none."""
        name = naming.parse(uri)
        if name is None:
            return None
        try:
            data = self._folder.read(name)
        except OSError:
            return None
        return Picture(data, hashlib.sha256(data).hexdigest(), name.media_type)

    def stats(self) -> EvidenceStats:
        """Figures of this moment."""
        limits, free = self._keeper.limits, self._keeper.free_bytes
        with self._lock:
            cameras = list(self._slots)
            written, skipped = self._written.copy(), self._skipped.copy()
        held, removed = self._keeper.held(cameras), self._keeper.removed()
        return EvidenceStats(
            fault=self._keeper.fault or self._keeper.want_of_room(),
            files=sum(each.files for each in held.values()),
            bytes=sum(each.bytes for each in held.values()),
            max_bytes=limits.max_bytes,
            free_bytes=free,
            cameras={
                name: {
                    "files": each.files,
                    "bytes": each.bytes,
                    "written": written[name],
                    "skipped": {c.value: n for (who, c), n in skipped.items() if who == name},
                    "removed": {c: n for (who, c), n in removed.items() if who == name},
                }
                for name, each in held.items()
            },
        )

    def settle(self, timeout_s: float) -> bool:
        """No more pictures: finish those on their way, and resolve every future.

        Returns:
            False where some came too late; their frames are released and their events go without.
        """
        with self._lock:
            self._stopping = True
        clean = self._pool.wait_idle(timeout_s)
        with self._lock:
            late = list(self._live)
        for job in late:
            self._give_up(job, Skip.SHUTDOWN)
        return clean

    def close(self, timeout_s: float) -> None:
        """Write what is to be sealed, and end. Idempotent."""
        deadline = time.monotonic() + timeout_s
        self.settle(0)
        self._pool.close(timeout_s)
        self._keeper.close(max(0.0, deadline - time.monotonic()))
        self._deadlines.close()

    # -- a picture's way ------------------------------------------------------------------------

    def _admit(self, job: _Job, kinds: Sequence[Kind]) -> Skip | None:
        """Why a picture is not even tried, or None: then it counts as at work."""
        camera = job.name.camera
        with self._lock:
            if self._stopping:
                return Skip.SHUTDOWN
            if not self._keeper.open:
                return Skip.UNWRITABLE if self._keeper.fault else Skip.STARTING
            most = max(1, self._slots.get(camera, 1) // SLOTS_SHARE)
            if self._at_work[camera] >= most or self._pool.stuck(self._within_s):
                return Skip.BUSY
            now = self._clock()
            if not any(self._budget(camera, kind).take(now) for kind in kinds):
                return Skip.PER_MINUTE
            self._at_work[camera] += 1
            self._live.add(job)
            job.admitted = True
        return None

    def _budget(self, camera: str, kind: Kind) -> PerMinute:
        most = self._settings.per_minute
        return self._budgets.setdefault((camera, kind), PerMinute(most))

    def _work(self, job: _Job) -> None:
        """In the pool: encode, let the slot go, write."""
        try:
            data = self._encode(job)
        finally:
            self._free(job)
        if data is None or job.future.done():
            return
        try:
            outcome = self._write(job.name, data)
        except OSError as error:
            self._keeper.failed(error)
            full = error.errno in FULL
            outcome = Skipped(Skip.SPACE if full else Skip.UNWRITABLE)
        if not self._finish(job, outcome) and isinstance(outcome, Kept):
            self._drop(job.name)  # nobody waited for it any more

    def _encode(self, job: _Job) -> bytes | None:
        frame = job.frame
        if frame is None or job.future.done():
            return None
        began = time.monotonic()
        try:
            data = encode(frame.picture(), self._suffix, self._settings.quality)
        except (EvidenceError, ValueError) as error:
            _log.error("evidence cannot be encoded", camera=frame.camera, fault=str(error))
            self._finish(job, Skipped(Skip.FAILED))
            return None
        self._on_seconds("encode", time.monotonic() - began)
        return data

    def _write(self, name: naming.Name, data: bytes) -> Outcome:
        began = time.monotonic()
        if not self._keeper.open:
            return Skipped(Skip.UNWRITABLE)
        if not self._keeper.fits(len(data)):
            return Skipped(Skip.SPACE)
        sha256 = hashlib.sha256(data).hexdigest()
        self._keeper.wrote(name, self._folder.write(name, data))
        self._on_seconds("write", time.monotonic() - began)
        return Kept(name, sha256)

    def _give_up(self, job: _Job, cause: Skip) -> None:
        """Let the event go without its picture, and the frame if nobody reads it yet."""
        if self._finish(job, Skipped(cause)) and self._pool.withdraw(job.run):
            self._free(job)

    def _finish(self, job: _Job, outcome: Outcome) -> bool:
        """Resolve a picture's future; False if that was done before."""
        try:
            job.future.set_result(outcome)
        except InvalidStateError:
            return False
        return True

    def _account(self, job: _Job, future: Future[Outcome]) -> None:
        outcome = future.result()
        with self._lock:
            self._live.discard(job)
            if isinstance(outcome, Kept):
                self._written[job.name.camera] += 1
            else:
                self._skipped[job.name.camera, outcome.cause] += 1

    def _free(self, job: _Job) -> None:
        """Hand the frame back, whoever has the job."""
        if job.frame is None:
            return
        job.frame = None
        if job.admitted:
            with self._lock:
                self._at_work[job.name.camera] -= 1
        job.release()

    def _add_note(self, name: naming.Name, document: Mapping[str, Any]) -> None:
        try:
            self._keeper.wrote(name, self._folder.add_note(name, document), files=0)
        except FileNotFoundError:
            pass  # removed meanwhile, to make room
        except OSError as error:
            self._keeper.failed(error)

    def _drop(self, name: naming.Name) -> None:
        try:
            self._keeper.remove(name)
        except OSError as error:
            self._keeper.failed(error)
