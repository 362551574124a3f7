"""Counts of all cameras over the last days, a quarter of an hour a step. Pure: no clock, no I/O."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP_S = 900
"""What is counted together. Shifts begin on a step, and so do the hours of every time zone."""
STEPS_AN_HOUR = 3600 // STEP_S

Counts = NDArray[np.uint32]
_MOST = int(np.iinfo(np.uint32).max)


def step_of(utc_s: float) -> int:
    """Number of the step that a moment lies in."""
    return int(utc_s // STEP_S)


class Ledger:
    """A ring of steps for each row; what falls out of it is forgotten, and so memory is bounded.

    It takes `rows * steps * columns * 4` bytes. Belongs to whoever holds the lock around it.

    Args:
        steps: how many are kept.
        columns: what is counted in each.
    """

    def __init__(self, steps: int, columns: int) -> None:
        self._steps = steps
        self._counts: Counts = np.zeros((16, steps, columns), np.uint32)
        self._rows = 0
        self._free: list[int] = []
        self._newest = 0

    @property
    def oldest(self) -> int:
        """The oldest step that is kept."""
        return self._newest - self._steps + 1

    def row(self) -> int:
        """A row for a new camera, all zero."""
        if self._free:
            return self._free.pop()
        if self._rows == len(self._counts):
            more = np.zeros_like(self._counts)
            self._counts = np.concatenate([self._counts, more])
        self._rows += 1
        return self._rows - 1

    def release(self, row: int) -> None:
        """A camera is forgotten; its row may be given to another."""
        self._counts[row] = 0
        self._free.append(row)

    def advance(self, step: int) -> None:
        """The present step; what is older than the ring is forgotten."""
        if step <= self._newest:
            return
        if step - self._newest >= self._steps:
            self._counts[:] = 0
        else:
            gone = np.arange(self._newest + 1, step + 1) % self._steps
            self._counts[:, gone] = 0
        self._newest = step

    def add(self, row: int, step: int, column: int, count: int = 1) -> bool:
        """Count something, up to what a cell holds.

        Returns:
            False where the step is older than the ring, or later than the present one.
        """
        if not self.oldest <= step <= self._newest:
            return False
        cell = row, step % self._steps, column
        self._counts[cell] = min(int(self._counts[cell]) + count, _MOST)
        return True

    def window(self, begin: int, end: int) -> Counts:
        """Each step from `begin` up to, not including, `end`: rows x steps x columns, a copy.

        Steps that are not kept, or not there yet, are zero.
        """
        steps = np.arange(begin, end)
        window = self._counts[: self._rows, steps % self._steps]
        window[:, (steps < self.oldest) | (steps > self._newest)] = 0
        return window

    def total(self, begin: int, end: int) -> NDArray[np.int64]:
        """The sum of the steps from `begin` up to, not including, `end`: rows x columns."""
        total: NDArray[np.int64] = self.window(begin, end).sum(axis=1, dtype=np.int64)
        return total
