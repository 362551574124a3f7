"""Feeds for the judge that can be opened and shut: two sides are measured in turn."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from inspector.frame import Frame
from inspector.slots import Ring

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.engine.batcher import FrameFeed


class MemoryFeed:
    """One camera whose frames lie in memory, as many as are wanted; follows `FrameFeed`.

    Args:
        pictures: (N, height, width, 3) uint8 BGR, one a slot.
    """

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        slots, self.height, self.width, _ = pictures.shape
        self.ring = Ring.create("bench/1", slots=slots, max_pixels=self.height * self.width)
        for slot in range(slots):
            np.copyto(self.ring.picture(slot, self.height, self.width), pictures[slot])
        self._changed = threading.Condition()
        self._free = deque(range(slots))
        self._next = 0
        self.open = False
        self.judged = 0

    def gate(self, *, is_open: bool) -> None:
        """Give frames, or none from now on."""
        with self._changed:
            self.open = is_open
            self._changed.notify_all()

    def idle(self, timeout_s: float) -> bool:
        """Wait until every frame given is judged."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._free) == self.ring.slots, timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """As `FrameFeed.wait`."""
        with self._changed:
            return self._changed.wait_for(lambda: self.open and bool(self._free), timeout_s)

    def take(self, most: int) -> list[Frame]:
        """As `FrameFeed.take`."""
        with self._changed:
            count = min(most, len(self._free)) if self.open else 0
            return [self._frame(self._free.popleft()) for _ in range(count)]

    def _frame(self, slot: int) -> Frame:
        now, self._next = time.monotonic_ns(), self._next + 1
        return Frame(
            camera="bench",
            stream_epoch=0,
            sequence=self._next - 1,
            height=self.height,
            width=self.width,
            arrived_ns=now,
            arrived_utc_ns=time.time_ns(),
            decoded_ns=now,
            ring=self.ring,
            slot=slot,
            fifo=True,
        )

    def give_back(self, frame: Frame) -> None:
        """A frame has its verdict."""
        with self._changed:
            self._free.append(frame.slot)
            self.judged += 1
            self._changed.notify_all()


class GatedFeed:
    """Another feed, behind a gate; follows `FrameFeed`."""

    def __init__(self, feed: FrameFeed) -> None:
        self._feed = feed
        self._open = threading.Event()
        self._lock = threading.Lock()
        self.out = 0
        """Frames that were taken, and are not told as returned."""

    def gate(self, *, is_open: bool) -> None:
        """Let frames through, or none from now on."""
        if is_open:
            self._open.set()
        else:
            self._open.clear()

    def wait(self, timeout_s: float) -> bool:
        """As `FrameFeed.wait`."""
        began = time.monotonic()
        if not self._open.wait(timeout_s):
            return False
        return self._feed.wait(max(0.0, began + timeout_s - time.monotonic()))

    def take(self, most: int) -> list[Frame]:
        """As `FrameFeed.take`."""
        frames = self._feed.take(most) if self._open.is_set() else []
        with self._lock:
            self.out += len(frames)
        return frames

    def returned(self) -> None:
        """A frame was handed back."""
        with self._lock:
            self.out -= 1
