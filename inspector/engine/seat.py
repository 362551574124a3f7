"""The seat of a stage: the engine that judges there, and how another one takes its place.

Batches hold the engine that judges them (`Turn`), so a replacement waits for nobody: the next batch
goes to the new engine, those before it are answered by the old one, and only then is that closed.
A frame whose engine fails is judged again, by the engine that stands in; so each frame has one
verdict, from the engine that judged it, with that engine's own labels and thresholds.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from inspector.engine.jobs import Job, submit_jobs
from inspector.engine.occupant import Change, Losable, Occupant
from inspector.engine.recovery import Patience, Recovery
from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.engine.load import Engine
    from inspector.engine.occupant import Word
    from inspector.engine.runtime import Runtime, TileRef
    from inspector.slots import Ring

OnDone = Callable[[Job], None]
Again = Callable[["Engine", Job], "Sequence[TileRef] | None"]

_log = structlog.get_logger("inspector.engine")

MOST_FAILURES = 3
"""Batches in a row that may fail before the engine counts as failed; a lost one fails at once."""

PROVEN_S = 600.0
"""An engine that served so long after its activation is not rolled back if it has a standby."""

LEAVE_S, END_S = 10.0, 1.0
"""Longest wait for the last batches of an engine that leaves, and at the end of the station."""


class Seat:
    """The engines of one stage. All methods may be called from any thread.

    Args:
        occupant: who judges; an `Engine` that nothing stands in for may be given as it is.
        stage: `screen` or `confirm`, for changes and log.
        on_change: told when another engine judges; by the thread that brought it about.
        patience: between tries to bring a lost engine back.
    """

    def __init__(
        self,
        occupant: Occupant | Engine,
        stage: str = "screen",
        *,
        on_change: Callable[[Change], None] = lambda _: None,
        patience: Patience | None = None,
    ) -> None:
        self._stage = stage
        self._on_change = on_change
        self._lock = threading.RLock()  # guards all below
        self._left = threading.Condition(self._lock)  # told when an engine's last batch is answered
        self._rings: dict[str, Ring] = {}
        self._members: list[Runtime] = []  # that have all rings
        self._holds: Counter[Runtime] = Counter()  # batches with each
        self._failures: Counter[Runtime] = Counter()  # in a row
        self._failed: str | None = None  # why the occupant's own engine does not judge
        self._occupant = occupant if isinstance(occupant, Occupant) else Occupant(occupant)
        self._before: Occupant | None = None
        self._activated_s = 0.0
        self._serving = self._occupant.engine
        self._again = ThreadPoolExecutor(1, thread_name_prefix=f"seat-{stage}")
        self._recovery = Recovery(stage, patience or Patience(), self._accept)
        self._closed = False
        self._seat(self._occupant)

    @property
    def engine(self) -> Engine:
        """The engine that the next batch goes to. `degraded` says whether it only stands in."""
        return self._serving

    @property
    def occupant(self) -> Occupant:
        """Who has the seat, whether it serves or its standby does."""
        return self._occupant

    @property
    def kept(self) -> Occupant | None:
        """Who `roll_back` would give the seat to."""
        return self._before

    @property
    def before(self) -> Engine | None:
        """The engine that `roll_back` would go back to."""
        before = self._before
        return before.engine if before is not None else None

    def map_ring(self, ring: Ring) -> None:
        """A ring whose tiles will be judged."""
        with self._lock:
            self._rings[ring.key] = ring
            for runtime in self._members:
                runtime.map_ring(ring)

    def unmap_ring(self, key: str) -> None:
        """A ring that is not judged from any more. Unknown keys are ignored."""
        with self._lock:
            self._rings.pop(key, None)
            for runtime in self._members:
                runtime.unmap_ring(key)

    def turn(self) -> Turn:
        """Take the engine for one batch; it stays until `Turn.submit` is answered."""
        with self._lock:
            return Turn(self, self._hold(self._serving))

    def note(self, degraded: str | None) -> None:
        """Say why another runtime than the one asked for serves, or that it does not any more."""
        with self._lock:
            self._serving = replace(self._serving, degraded=degraded)
            if self._failed is None:
                self._occupant = replace(self._occupant, engine=self._serving)

    # Another occupant.

    def replace(self, occupant: Occupant, why: str, *, word: Word, keep: bool = False) -> None:
        """Give the seat to somebody else, between two batches.

        Returns when the last batches of those who leave are answered, `LEAVE_S` at most.

        Args:
            occupant: warm and proved, and the seat's from now on. What it shares with the present
                one (a standby) stays.
            why: for the change that is told.
            word: for the same.
            keep: make the present one, if it works, the one that `roll_back` goes back to; else
                that stays who it is.

        Raises:
            EngineError: the seat is closed; the occupant stays the caller's.
        """
        with self._lock:
            if self._closed:
                msg = f"{self._stage}: the station stops, no other engine is taken"
                raise EngineError(msg)
            left, served = [self._occupant, self._before], self._serving
            if keep:
                self._before = self._occupant if self._failed is None else None
                self._activated_s = time.monotonic()
            self._seat(occupant)
            change = self._change(word, why, served, asked=True)
        self._on_change(change)
        self._dismiss(left)

    def roll_back(self, why: str) -> None:
        """Go back to the engine before the last `replace(…, keep=True)`.

        Raises:
            EngineError: there is none.
        """
        with self._lock:
            before, left, served = self._before, self._occupant, self._serving
            if before is None or self._closed:
                msg = f"{self._stage}: there is no engine to go back to"
                raise EngineError(msg)
            self._before = None
            self._seat(before)
            change = self._change("rolled back", why, served, asked=True)
        self._on_change(change)
        self._dismiss([left])

    def close(self) -> None:
        """Close all engines. Idempotent."""
        with self._lock:
            first, self._closed = not self._closed, True
        if not first:
            return
        self._recovery.close()
        self._again.shutdown(wait=False)
        self._dismiss([self._occupant, self._before])

    def _seat(self, occupant: Occupant) -> None:
        """Under the lock: from the next batch on it judges. First it is told of every ring."""
        for runtime in occupant.runtimes():
            if runtime not in self._members:
                for ring in self._rings.values():
                    runtime.map_ring(ring)
                self._members.append(runtime)
        self._recovery.forget()
        self._occupant, self._failed = occupant, occupant.lost
        self._serving = occupant.engine
        if occupant.instead is not None:
            self._serving = replace(occupant.engine, degraded=occupant.instead)
        if occupant.lost is not None:
            self._serving = occupant.stand_in(occupant.lost) or self._serving
            if occupant.revive is not None:
                self._recovery.begin(occupant.revive)
        self._failures.clear()
        runtime = occupant.engine.runtime
        if isinstance(runtime, Losable):
            runtime.when_lost(partial(self._fail, runtime))

    def _change(self, word: Word, why: str, before: Engine, *, asked: bool = False) -> Change:
        return Change(self._stage, word, why, before.info, self._serving.info, asked)

    def _dismiss(self, left: Sequence[Occupant | None]) -> None:
        """Close what nobody needs any more, each once its last batch is answered."""
        gone: list[Runtime] = []
        with self._lock:
            wait_s = END_S if self._closed else LEAVE_S
            stay: set[Runtime] = set()
            for occupant in () if self._closed else (self._occupant, self._before):
                stay |= set(occupant.runtimes()) if occupant is not None else set()
            for occupant in left:
                for runtime in occupant.runtimes() if occupant is not None else ():
                    if runtime not in stay and runtime not in gone:
                        gone.append(runtime)
            self._left.wait_for(lambda: not any(self._holds[one] for one in gone), wait_s)
            self._members = [one for one in self._members if one not in gone]
            for runtime in gone:
                self._failures.pop(runtime, None)
            stuck = [one for one in gone if self._holds[one] and not isinstance(one, Losable)]
        for runtime in gone:
            if runtime in stuck:  # its close would wait for its batches, however long
                _log.error("an engine does not answer, and is left behind", stage=self._stage)
            else:
                runtime.close()

    # Batches, and engines that fail.

    def _hold(self, engine: Engine) -> Engine:
        with self._lock:
            self._holds[engine.runtime] += 1
        return engine

    def _let_go(self, engine: Engine) -> None:
        with self._lock:
            self._holds[engine.runtime] -= 1
            if not self._holds[engine.runtime]:
                del self._holds[engine.runtime]
                self._left.notify_all()

    def _heard(self, engine: Engine, error: Exception | None) -> None:
        """What became of a batch."""
        runtime = engine.runtime
        with self._lock:
            if error is None:
                self._failures.pop(runtime, None)
                return
            self._failures[runtime] += 1
            failures = self._failures[runtime]
        if failures >= MOST_FAILURES:
            self._fail(runtime, f"{failures} batches in a row failed: {error}")

    def _fail(self, runtime: Runtime, why: str) -> None:
        """An engine is no good any more: the one before takes over, or the standby, or nobody."""
        with self._lock:
            ours = runtime is self._occupant.engine.runtime
            if not ours or self._failed is not None or self._closed:
                return
            left, served = self._occupant, self._serving
            comes_back = left.standby is not None or left.revive is not None
            proven = comes_back and time.monotonic() - self._activated_s >= PROVEN_S
            if self._before is not None and not proven:
                before, self._before = self._before, None
                self._seat(before)
                change = self._change("rolled back", why, served)
            elif not comes_back:
                return  # nothing is there to judge in its place, and it may get well by itself
            else:
                self._failed = why
                self._serving = left.stand_in(why) or replace(left.engine, degraded=why)
                if left.revive is not None:
                    self._recovery.begin(left.revive)
                change = self._change("lost", why, served)
        self._on_change(change)
        if change.word == "rolled back":
            # Not by this thread: it may be the one that the failed runtime waits for at its close.
            threading.Thread(target=self._dismiss, args=([left],), daemon=True).start()

    def _accept(self, engine: Engine) -> bool:
        """A fresh engine in the place of the lost one; False if that is not waited for."""
        with self._lock:
            if self._failed is None or self._closed:
                return False
            left, served = self._occupant, self._serving
            # It is as good as the lost one was; that one may have been second best already.
            if left.engine.degraded is not None:
                engine = replace(engine, degraded=left.engine.degraded)
            self._seat(replace(left, engine=engine, lost=None))
            change = self._change("restored", "a fresh one reproduces its golden tiles", served)
        self._on_change(change)
        self._dismiss([left])
        return True

    def _judge_again(self, job: Job, on_done: OnDone, again: Again) -> bool:
        """Have a frame whose engine failed judged by another one, if there is one."""
        # What was wrong with the question stays wrong.
        if job.error is None or isinstance(job.error, ValueError):
            return False
        with self._lock:
            other = self._other(job)
            if other is None or self._closed:
                return False
            self._hold(other)
            self._again.submit(self._judge_by, other, job, on_done, again)
        return True

    def _other(self, job: Job) -> Engine | None:
        """Under the lock: who judges what the job's engine has failed to judge."""
        candidates = [self._serving, self._occupant.stand_in(str(job.error)), self.before]
        own = job.engine.runtime
        return next((one for one in candidates if one is not None and one.runtime is not own), None)

    def _judge_by(self, other: Engine, job: Job, on_done: OnDone, again: Again) -> None:
        tiles = again(other, job)
        turn = Turn(self, other)
        if tiles is None:
            turn.submit([], on_done)
            on_done(job)
        else:
            second = Job(job.entry, other, tiles, submitted_ns=job.submitted_ns)
            turn.submit([second], on_done)


class Turn:
    """One batch's hold on the engine that judges it.

    Attributes:
        engine: who judges; tiles are chosen by its manifest.
    """

    def __init__(self, seat: Seat, engine: Engine) -> None:
        self.engine = engine
        self._seat = seat
        self._lock = threading.Lock()
        self._missing = 0
        self._error: Exception | None = None

    def submit(self, jobs: Sequence[Job], on_done: OnDone, again: Again | None = None) -> None:
        """Judge; to be called once, with no jobs too. Blocks as long as the runtime does.

        Args:
            jobs: of this turn's engine.
            on_done: called exactly once a frame, from any thread, with the job that was answered:
                its engine is not this one where this one failed.
            again: gives the tiles of a job's frame for another engine, or None if it cannot be
                judged again. Called at most once a job, by a thread of the seat; must not raise.
        """
        self._missing = len(jobs)

        def answered(job: Job) -> None:
            with self._lock:
                self._missing -= 1
                last = not self._missing
                if job.error is not None and not isinstance(job.error, ValueError):
                    self._error = job.error
            if last:
                self._seat._heard(self.engine, self._error)  # noqa: SLF001 - a part of the seat
            if again is None or not self._seat._judge_again(job, on_done, again):  # noqa: SLF001
                on_done(job)
            if last:
                self._seat._let_go(self.engine)  # noqa: SLF001

        if jobs:
            submit_jobs(self.engine.runtime, jobs, len(self.engine.manifest.classes), answered)
        else:
            self._seat._let_go(self.engine)  # noqa: SLF001
