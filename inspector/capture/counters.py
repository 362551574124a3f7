"""Counters a worker shares with the main process: they outlive it, and a killed one breaks no sum.

One memfd page of 64-bit words with one writer, the worker. A frame is counted in `ARRIVED` before
anything else happens to it, and in one of the drop words when the worker lets it go; the frames it
sends are counted by the receiver. What is in neither when the worker is gone died with it.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

ARRIVED, NOT_DUE, STALE, NO_SLOT, LOST, BEAT_NS, PHASE, LAST_ARRIVAL_NS, KEY_EVERY = range(9)
"""Words of the page. LOST: arrived, but the connection ended before a picture came. KEY_EVERY:
frames from the last key frame but one to the last; 0 while not known."""

PARTS, COVERED_PERMILLE = 9, 10
"""Of a camera with a barrier in its picture: parts that reached it; what of it is covered now, -1
while it learns how the empty belt looks."""

DROP_WORDS = {"not_due": NOT_DUE, "stale": STALE, "no_slot": NO_SLOT, "worker_lost": LOST}

IDLE, OPENING, READING, WAITING = range(4)
"""Phases: nothing to do; opening its source; reading it; pausing or waiting for a free slot."""


class CounterPage:
    """The page, mapped into this process.

    Args:
        fd: memfd of the page; owned, closed by `close`.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, mmap.PAGESIZE)
        self.words = np.frombuffer(self._map, dtype=np.int64)

    @classmethod
    def create(cls) -> CounterPage:
        """Make a page of zeros. Raises OSError when no descriptor is left."""
        fd = os.memfd_create("inspector-counters", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, mmap.PAGESIZE)
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    def drops(self) -> dict[str, int]:
        """Frames the worker has let go, by cause."""
        return {cause: int(self.words[word]) for cause, word in DROP_WORDS.items()}

    def read(self, word: int) -> int:
        """One word as an int."""
        return int(self.words[word])

    def close(self) -> None:
        """Give the descriptor back. Idempotent; the words stay readable."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
