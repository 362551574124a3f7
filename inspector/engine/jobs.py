"""Jobs: the tiles of frames on their way into a runtime and back.

A batch may hold several frames, and a frame may take several batches; either way each job is
answered exactly once, with its own rows or with its own error.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from inspector.engine.load import Engine
    from inspector.engine.ordering import Entry
    from inspector.engine.runtime import Runtime, TileRef


class Job:
    """One frame's tiles for one engine.

    Attributes:
        entry: the frame.
        engine: the one that the tiles are for, and that the answer is from.
        tiles: what to judge, at least one.
        rows: (tiles, C) float32 once answered; garbage after an error.
        error: why there is no answer, or None.
        submitted_ns, answered_ns: monotonic times of handing over and of the last answer.
    """

    def __init__(
        self, entry: Entry, engine: Engine, tiles: Sequence[TileRef], *, submitted_ns: int
    ) -> None:
        self.entry = entry
        self.engine = engine
        self.tiles = tiles
        self.rows: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self.error: Exception | None = None
        self.submitted_ns = submitted_ns
        self.answered_ns = 0
        self._missing = len(tiles)
        self._lock = threading.Lock()

    def take(
        self, start: int, rows: NDArray[np.float32] | None, error: Exception | None, count: int
    ) -> bool:
        """Take the answer for `count` tiles from `start` on; True when it was the last missing."""
        with self._lock:
            if rows is None:
                self.error = self.error or error
            else:
                if not self.rows.size:
                    self.rows = np.empty((len(self.tiles), rows.shape[1]), np.float32)
                self.rows[start : start + count] = rows
            self.answered_ns = time.monotonic_ns()
            self._missing -= count
            return self._missing == 0


class _Piece:
    """Consecutive tiles of one job within a batch."""

    def __init__(self, job: Job, start: int, count: int) -> None:
        self.job = job
        self.start = start
        self.count = count

    @property
    def tiles(self) -> Sequence[TileRef]:
        return self.job.tiles[self.start : self.start + self.count]


def submit_jobs(
    runtime: Runtime, jobs: Sequence[Job], classes: int, on_done: Callable[[Job], None]
) -> None:
    """Hand jobs to a runtime; blocks as long as its `submit` does.

    Args:
        runtime: takes the tiles, at most `max_batch` at once.
        jobs: frames; those of one batch are torn only where a single one exceeds a batch.
        classes: columns that an answer must have.
        on_done: called exactly once a job, from any thread, also from this call.
    """
    room = runtime.max_batch
    batch: list[_Piece] = []
    free = room
    for job in jobs:
        start = 0
        while start < len(job.tiles):
            # A frame that fits into a batch of its own is never torn.
            if free < min(len(job.tiles) - start, room):
                _submit(runtime, batch, classes, on_done)
                batch, free = [], room
            count = min(len(job.tiles) - start, free)
            batch.append(_Piece(job, start, count))
            start += count
            free -= count
    _submit(runtime, batch, classes, on_done)


def _submit(
    runtime: Runtime, pieces: list[_Piece], classes: int, on_done: Callable[[Job], None]
) -> None:
    if not pieces:
        return
    try:
        future = runtime.submit([tile for piece in pieces for tile in piece.tiles])
    except Exception as error:  # noqa: BLE001 - whatever a runtime fails with, frames go on
        if len(pieces) > 1:
            # One camera's ring may just have gone; that must not cost the others their frames.
            for piece in pieces:
                _submit(runtime, [piece], classes, on_done)
        else:
            _answer(pieces, None, error, on_done)
        return

    def answered(future: Future[NDArray[np.float32]]) -> None:
        try:
            rows = _sound(runtime, future.result(), sum(p.count for p in pieces), classes)
        except Exception as error:  # noqa: BLE001 - as above
            _answer(pieces, None, error, on_done)
        else:
            _answer(pieces, rows, None, on_done)

    future.add_done_callback(answered)


def _sound(
    runtime: Runtime, rows: NDArray[np.float32], tiles: int, classes: int
) -> NDArray[np.float32]:
    """Refuse answers that are no probabilities: they would become verdicts."""
    info = runtime.info
    if rows.shape != (tiles, classes):
        msg = (
            f"engine {info.name} on {info.runtime} answered {rows.shape}, "
            f"expected {(tiles, classes)}"
        )
        raise EngineError(msg)
    if not np.isfinite(rows).all():
        msg = (
            f"engine {info.name} on {info.runtime} ({info.precision}) answered values "
            "that are no numbers"
        )
        raise EngineError(msg)
    return rows


def _answer(
    pieces: list[_Piece],
    rows: NDArray[np.float32] | None,
    error: Exception | None,
    on_done: Callable[[Job], None],
) -> None:
    row = 0
    for piece in pieces:
        own = None if rows is None else rows[row : row + piece.count]
        row += piece.count
        if piece.job.take(piece.start, own, error, piece.count):
            on_done(piece.job)


def frames_a_batch(engine: Engine, max_batch: int) -> int:
    """How many frames fit into one batch; one, in several batches, where none does."""
    return max(min(max_batch, engine.runtime.max_batch) // engine.manifest.sampling.count, 1)
