"""The cascade: what the screen does not accept is judged again by the confirming engine.

It may never hold the station up. One batch is with the engine at a time; of a live camera only the
newest frame and those of triggers wait for it, and every frame waits `within_s` at most. A frame
that is passed over keeps the screen's verdict, marked `confirmed: False`.

The tiles of a frame are copied when they are submitted, so that the frame may leave while the
engine still reads: an answer that comes too late touches nobody's slot.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from inspector.engine.jobs import Job, frames_a_batch
from inspector.engine.tile_ring import TileRing
from inspector.engine.tiling import TooSmallError, cut
from inspector.engine.verdicts import judged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from inspector.engine.load import Engine
    from inspector.engine.ordering import Entry
    from inspector.engine.runtime import TileRef
    from inspector.engine.seat import Seat
    from inspector.engine.tiling import Tile
    from inspector.frame import Frame
    from inspector.verdict import Verdict

_NS = 1_000_000_000


@dataclass(slots=True, eq=False)
class _Asked:
    """A frame that waits for its confirmation.

    A frame of files or folders waits its turn however long that takes; its time counts from the
    submission, since nothing falls behind where the source waits.
    """

    entry: Entry
    screened: Verdict
    deadline_ns: int | None
    done: bool = False


class _Copies:
    """Tiles of the frames that are with the engine, so that those may leave meanwhile."""

    def __init__(self, frames: int, count: int, size: int) -> None:
        self.shape = frames, count, size
        self.frames = frames
        self.ring = TileRing("confirm", slots=1, tiles=frames * count, size=size)

    def keep(self, number: int, frame: Frame, tiles: Sequence[Tile]) -> tuple[TileRef, ...]:
        """Copy the tiles of the `number`th frame of a batch, and say where they lie."""
        frames, count, _ = self.shape
        first, end = number * count, (number + 1) * count
        cut(frame.picture(), tiles, self.ring.column(0, frames * count)[first:end])
        return self.ring.refs(0, frames * count)[first:end]

    def again(self, engine: Engine, job: Job) -> Sequence[TileRef] | None:
        """The same copies for another engine, where it looks at the same tiles. Any thread."""
        sampling = engine.manifest.sampling
        same = (sampling.count, sampling.tile) == self.shape[1:]
        return job.tiles if same else None


class Cascade:
    """Asks the confirming engine. All methods belong to the judge's thread.

    Args:
        max_batch: most tiles that go to the engine at once; it may take fewer.
        post: runs a function on the judge's thread; callable from any thread.
        resolve: receives each asked frame's verdict, exactly once, on the judge's thread.
        clock_ns: monotonic nanoseconds.
    """

    def __init__(
        self,
        seat: Seat,
        *,
        within_s: float,
        max_batch: int,
        post: Callable[[Callable[[], None]], None],
        resolve: Callable[[Entry, Verdict], None],
        clock_ns: Callable[[], int],
    ) -> None:
        self._seat = seat
        self._within_s = within_s
        self._max_batch = max_batch
        self._post = post
        self._resolve = resolve
        self._clock_ns = clock_ns
        self._copies: _Copies | None = None
        self._waiting: dict[str, deque[_Asked]] = {}
        self._submitted: list[_Asked] = []
        self._unanswered = 0

    def ask(self, entry: Entry, screened: Verdict) -> None:
        """Have a frame judged again; `screened` stands if no answer comes in time."""
        frame = entry.frame
        deadline = None if frame.fifo else self._clock_ns() + round(self._within_s * _NS)
        queue = self._waiting.setdefault(frame.camera, deque())
        if not frame.fifo:
            for older in [asked for asked in queue if not asked.entry.frame.needed]:
                queue.remove(older)
                self._stands(older, "a newer frame of this camera took its place")
        queue.append(_Asked(entry, screened, deadline))
        self.turn()

    def turn(self) -> None:
        """Give up what is overdue and submit what waits, if the engine is free."""
        now = self._clock_ns()
        late = f"no answer of {self._name} within {self._within_s * 1e3:.0f} ms"
        for asked in self._all():
            if asked.deadline_ns is not None and asked.deadline_ns <= now:
                self._stands(asked, late)
        self._forget_done()
        while not self._unanswered and self._waiting:
            self._submit()

    def give_up(self, camera: str | None = None) -> None:
        """Let what was asked stand as screened, of one camera or of all: its slots are needed."""
        for asked in self._all():
            if camera in {None, asked.entry.frame.camera}:
                self._stands(asked, "the frame could not wait for it")
        self._forget_done()

    def _all(self) -> list[_Asked]:
        return [*self._submitted, *(a for queue in self._waiting.values() for a in queue)]

    def deadline_ns(self) -> int | None:
        """When `turn` is due next at the latest; None while nothing waits."""
        return min((a.deadline_ns for a in self._all() if a.deadline_ns), default=None)

    def close(self) -> None:
        """Give the copies' memory back. The seat stays the caller's."""
        if self._copies is not None:
            self._seat.unmap_ring(self._copies.ring.ring.key)
            self._copies.ring.close()

    @property
    def _name(self) -> str:
        return self._seat.engine.info.name

    def _stands(self, asked: _Asked, why: str) -> None:
        if asked.done:
            return
        asked.done = True
        reasons = (*asked.screened.reasons, f"not confirmed: {why}")
        self._resolve(asked.entry, replace(asked.screened, confirmed=False, reasons=reasons))

    def _forget_done(self) -> None:
        self._submitted = [a for a in self._submitted if not a.done]
        for camera in list(self._waiting):
            self._waiting[camera] = deque(a for a in self._waiting[camera] if not a.done)
            if not self._waiting[camera]:
                del self._waiting[camera]

    def _next(self, most: int) -> Iterable[_Asked]:
        """Up to `most` waiting frames, the cameras in turn."""
        for _ in range(most):
            if not self._waiting:
                return
            camera = next(iter(self._waiting))
            queue = self._waiting.pop(camera)
            yield queue.popleft()
            if queue:
                self._waiting[camera] = queue

    def _submit(self) -> None:
        turn = self._seat.turn()
        engine = turn.engine
        copies = self._copies_for(engine)
        jobs: list[Job] = []
        by_entry: dict[Entry, _Asked] = {}
        for asked in self._next(copies.frames):
            try:
                tiles = engine.manifest.sampling.tiles(asked.entry.frame)
            except TooSmallError as error:
                self._stands(asked, f"{engine.info.name} cannot judge it: {error}")
                continue
            refs = copies.keep(len(jobs), asked.entry.frame, tiles)
            now = self._clock_ns()
            jobs.append(Job(asked.entry, engine, refs, submitted_ns=now))
            by_entry[asked.entry] = asked
            if asked.deadline_ns is None:
                asked.deadline_ns = now + round(self._within_s * _NS)
        self._submitted += by_entry.values()
        self._unanswered += len(jobs)

        def answered(job: Job) -> None:
            self._post(lambda: self._answered(job, by_entry[job.entry]))

        submit = partial(turn.submit, jobs, answered, again=copies.again)
        if engine.runtime.max_batch < engine.manifest.sampling.count:
            # A frame takes several batches, and to hand them over waits for the first of them.
            threading.Thread(target=submit, name="confirm", daemon=True).start()
        else:
            submit()

    def _copies_for(self, engine: Engine) -> _Copies:
        """Room for a batch of this engine's tiles; made anew where another engine judges now."""
        frames, sampling = frames_a_batch(engine, self._max_batch), engine.manifest.sampling
        shape = frames, sampling.count, sampling.tile
        if self._copies is None or self._copies.shape != shape:
            self.close()
            self._copies = _Copies(*shape)
            self._seat.map_ring(self._copies.ring.ring)
        return self._copies

    def _answered(self, job: Job, asked: _Asked) -> None:
        self._unanswered -= 1
        if job.error is not None:
            self._stands(asked, str(job.error))
        elif not asked.done:
            asked.done = True
            verdict = judged(job)
            screened = asked.screened
            said = screened.engine.name if screened.engine else "the screen"
            reasons = (*verdict.reasons, *(f"{said}: {reason}" for reason in screened.reasons))
            self._resolve(
                asked.entry,
                replace(
                    verdict, reasons=reasons, confirmed=True, submitted_ns=screened.submitted_ns
                ),
            )
        self._forget_done()
        self.turn()
