"""The judge: frames in, exactly one verdict each out, in order per camera.

Two threads. *Intake* takes frames, finds their tiles and hands batches to the screen, two at most
at a time, the second just before the first is answered; it may block in the runtime. *Judge* owns
everything else (order, cascade, verdicts): whatever happens elsewhere reaches it as a function in
its mailbox, so that nothing but the pace needs a lock.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from inspector.engine.batcher import Batcher
from inspector.engine.cascade import Cascade
from inspector.engine.jobs import Job, frames_a_batch
from inspector.engine.ordering import Entry, Ordering
from inspector.engine.pace import Pace
from inspector.engine.runtime import TileRef
from inspector.engine.seat import Seat
from inspector.engine.tiling import TooSmallError
from inspector.engine.verdicts import judged, unjudgeable
from inspector.verdict import Cause, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inspector.engine.batcher import FrameFeed
    from inspector.engine.load import Engine
    from inspector.frame import Frame
    from inspector.slots import Ring
    from inspector.verdict import Verdict

_TURN_S = 0.1
"""Both threads turn at least this often, for the watchdog and for `stop`."""

_BATCHES_IN_FLIGHT = 2
_SPARE_SLOTS = 2
"""Slots of a camera that confirmation may not hold: one to decode into, one ready."""


class Judge:
    """Judges frames with a screen, and with a confirming engine what the screen does not accept.

    The seats (or engines, where none is ever replaced) stay the caller's: `stop` closes none.

    Args:
        max_batch: most tiles judged at once; a runtime may take fewer.
        max_delay_s: longest wait for more frames to fill a batch.
        confirm_within_s: longest wait for the confirming engine.
        on_verdict: called on the judge's thread exactly once for each frame taken, in order per
            camera. Until then the frame's slot is read; from then on it may be handed back. It must
            not raise: that ends the judge's thread, and with it the progress.
    """

    def __init__(
        self,
        feed: FrameFeed,
        screen: Seat | Engine,
        confirm: Seat | Engine | None,
        *,
        max_batch: int,
        max_delay_s: float,
        confirm_within_s: float,
        on_verdict: Callable[[Frame, Verdict], None],
    ) -> None:
        self._screen = screen if isinstance(screen, Seat) else Seat(screen)
        self._max_batch = max_batch
        self._on_verdict = on_verdict
        self._batcher = Batcher(feed, max_delay_s=max_delay_s)
        self._mailbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._permits = threading.Semaphore(_BATCHES_IN_FLIGHT)
        self._answered = threading.Condition()  # guards the pace; told of every answered batch
        self._pace = Pace()
        self._ordering = Ordering()
        self._in_flight: list[_Batch] = []
        self._cascade: Cascade | None = None
        if confirm is not None:
            self._cascade = Cascade(
                confirm if isinstance(confirm, Seat) else Seat(confirm, "confirm"),
                within_s=confirm_within_s,
                max_batch=max_batch,
                post=self._mailbox.put,
                resolve=self._resolve,
                clock_ns=time.monotonic_ns,
            )
        self._stopping = threading.Event()
        self._finish_by_ns: int | None = None
        self._intake_turn_ns = self._judge_turn_ns = time.monotonic_ns()
        self._intake = threading.Thread(target=self._take, name="intake", daemon=True)
        self._judge = threading.Thread(target=self._run, name="judge", daemon=True)

    def start(self) -> None:
        """Begin to take frames; returns at once."""
        self._intake_turn_ns = self._judge_turn_ns = time.monotonic_ns()
        self._judge.start()
        self._intake.start()

    def stop(self, deadline_s: float) -> None:
        """Take no more frames, finish those taken, return. Idempotent.

        Frames that are not judged after `deadline_s` seconds become unjudgeable (engine_error), so
        that every frame taken has its verdict when this returns.
        """
        by_ns = time.monotonic_ns() + round(deadline_s * 1e9)
        self._stopping.set()
        if self._intake.ident is None:
            if self._cascade:
                self._cascade.close()
            return
        self._intake.join(deadline_s)
        self._finish_by_ns = by_ns
        self._mailbox.put(lambda: None)
        self._judge.join()

    def map_ring(self, ring: Ring) -> None:
        """A camera's new ring, before its first frame can be taken. Any thread.

        The confirming engine reads copies and needs no ring but the cascade's own.
        """
        self._screen.map_ring(ring)

    def unmap_ring(self, key: str) -> None:
        """A ring that gives no frames any more. Any thread."""
        self._screen.unmap_ring(key)

    def progress_ns(self) -> int:
        """Monotonic time of the last progress, for the watchdog. Any thread.

        The older of both threads' last turns; while the screen owes an answer, not after that
        batch was submitted: an engine that hangs stops the progress.
        """
        turns = [self._intake_turn_ns, self._judge_turn_ns]
        if self._stopping.is_set():
            turns = [self._judge_turn_ns]
        return min(turns + [batch.submitted_ns for batch in tuple(self._in_flight)])

    # Intake's thread.

    def _take(self) -> None:
        while not self._stopping.is_set():
            self._intake_turn_ns = time.monotonic_ns()
            if not self._permits.acquire(timeout=_TURN_S):
                continue
            frames = self._next_frames() if self._is_time() else []
            if not frames:
                self._permits.release()
                continue
            self._hand_over(frames)

    def _is_time(self) -> bool:
        """Wait until the engine is nearly free; False if that takes longer than a turn."""
        until_s = time.monotonic() + _TURN_S
        with self._answered:
            while (left_s := self._pace.left_s(now_s := time.monotonic())) > 0:
                if now_s >= until_s:
                    return False
                self._answered.wait(min(left_s, until_s - now_s))
        return True

    def _next_frames(self) -> list[Frame]:
        return self._batcher.next(_TURN_S, frames_a_batch(self._screen.engine, self._max_batch))

    def _hand_over(self, frames: Sequence[Frame]) -> None:
        now = time.monotonic_ns()
        batch = _Batch(now)
        turn = self._screen.turn()
        for frame in frames:
            entry = Entry(frame)
            tiles = _tiles(turn.engine, frame, now)
            if isinstance(tiles, tuple):
                batch.jobs.append(Job(entry, turn.engine, tiles, submitted_ns=now))
                batch.entries.append((entry, None))
            else:
                batch.entries.append((entry, tiles))
        batch.missing = len(batch.jobs)
        batch.tiles = sum(len(job.tiles) for job in batch.jobs)
        with self._answered:
            self._pace.submitted(time.monotonic(), batch.tiles)
        self._mailbox.put(lambda: self._taken(batch))
        turn.submit(
            batch.jobs,
            lambda job: self._mailbox.put(lambda: self._screened(batch, job)),
            again=_tiles_again,
        )

    # The judge's thread.

    def _run(self) -> None:
        while not self._finished():
            self._judge_turn_ns = time.monotonic_ns()
            with suppress(Empty):
                task = self._mailbox.get(timeout=self._patience_s())
                task()
            if self._cascade:
                self._cascade.turn()
        self._give_up()
        if self._cascade:
            self._cascade.close()

    def _patience_s(self) -> float:
        due = self._cascade.deadline_ns() if self._cascade else None
        if due is None:
            return _TURN_S
        return min(max((due - time.monotonic_ns()) / 1e9, 0.0), _TURN_S)

    def _finished(self) -> bool:
        """Whether all that was taken is delivered, or the time for it is over."""
        if self._finish_by_ns is None:
            return False
        drained = not len(self._ordering) and self._mailbox.empty() and not self._intake.is_alive()
        return drained or time.monotonic_ns() >= self._finish_by_ns

    def _give_up(self) -> None:
        """Deliver what is left at the end: what was screened stands, the rest is unjudgeable."""
        while not self._mailbox.empty():
            self._mailbox.get()()
        if self._cascade:
            self._cascade.give_up()
        why = "the engine gave no answer before the station stopped"
        for entry in self._ordering.unresolved():
            now = time.monotonic_ns()
            self._resolve(
                entry,
                unjudgeable(Cause.ENGINE_ERROR, why, now_ns=now, engine=self._screen.engine.info),
            )

    def _taken(self, batch: _Batch) -> None:
        self._in_flight.append(batch)
        for entry, verdict in batch.entries:
            self._ordering.add(entry)
            if verdict:
                self._resolve(entry, verdict)
            else:
                self._keep_slots_free(entry.frame)
        self._release_if_done(batch)

    def _keep_slots_free(self, frame: Frame) -> None:
        if self._cascade and frame.ring and not frame.fifo:
            most = max(frame.ring.slots - _SPARE_SLOTS, 1)
            if self._ordering.depth(frame.camera) >= most:
                self._cascade.give_up(frame.camera)

    def _screened(self, batch: _Batch, job: Job) -> None:
        batch.missing -= 1
        self._release_if_done(batch)
        entry = job.entry
        if entry.verdict:
            return
        if job.error is not None:
            self._resolve(
                entry,
                unjudgeable(
                    Cause.ENGINE_ERROR,
                    str(job.error),
                    now_ns=job.answered_ns,
                    engine=job.engine.info,
                    submitted_ns=job.submitted_ns,
                ),
            )
            return
        verdict = judged(job)
        if self._cascade and verdict.outcome is not Outcome.ACCEPTED:
            self._cascade.ask(entry, verdict)
        else:
            self._resolve(entry, verdict)

    def _release_if_done(self, batch: _Batch) -> None:
        if not batch.missing:
            self._in_flight.remove(batch)
            if batch.tiles:
                with self._answered:
                    self._pace.answered(time.monotonic())
                    self._answered.notify()
            self._permits.release()

    def _resolve(self, entry: Entry, verdict: Verdict) -> None:
        for frame, final in self._ordering.resolve(entry, verdict):
            self._on_verdict(frame, final)


class _Batch:
    """Frames taken together; their permit goes back when the screen has answered all of them."""

    def __init__(self, submitted_ns: int) -> None:
        self.submitted_ns = submitted_ns
        self.entries: list[tuple[Entry, Verdict | None]] = []
        self.jobs: list[Job] = []
        self.tiles = self.missing = 0


def _damage(frame: Frame) -> tuple[Cause, str]:
    """Cause and reason of a frame without a picture; `damage` is written `CAUSE: reason`."""
    damage = frame.damage or "the frame has no picture"
    word, colon, reason = damage.partition(": ")
    if colon and word in set(Cause):
        return Cause(word), reason
    return Cause.DECODE, damage


def _tiles(engine: Engine, frame: Frame, now: int) -> tuple[TileRef, ...] | Verdict:
    """Where the frame's tiles lie, or why it cannot be judged."""
    if frame.damage is not None or frame.ring is None:
        return unjudgeable(*_damage(frame), now_ns=now)
    ring = frame.ring
    try:
        tiles = engine.manifest.sampling.tiles(frame)
    except TooSmallError as error:
        return unjudgeable(Cause.TOO_SMALL, str(error), now_ns=now)
    except ValueError as error:
        return unjudgeable(Cause.ENGINE_ERROR, str(error), now_ns=now, engine=engine.info)
    return tuple(TileRef(ring.key, frame.slot, frame.height, frame.width, t) for t in tiles)


def _tiles_again(engine: Engine, job: Job) -> tuple[TileRef, ...] | None:
    """The tiles of a job's frame, whose slot is held until its verdict, for another engine."""
    tiles = _tiles(engine, job.entry.frame, time.monotonic_ns())
    return tiles if isinstance(tiles, tuple) else None
