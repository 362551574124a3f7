"""Frames that wait to be taken: the newest one of a live camera, all of a file's in order.

A frame that a trigger asked for, or that alone shows a part, waits in any case: another one would
show another part.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.frame import Frame


class Mailbox:
    """Ready frames of one camera. Bounded by the ring: a frame in here holds a slot or a credit.

    Not thread-safe: its owner's lock guards it.
    """

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()

    def put(self, frame: Frame) -> list[Frame]:
        """Add a frame; returns those that it supersedes."""
        older = [] if frame.fifo else [other for other in self._frames if not other.needed]
        if older:
            self._frames = deque(other for other in self._frames if other.needed)
        self._frames.append(frame)
        return older

    def take(self) -> Frame | None:
        """The next frame, if any."""
        return self._frames.popleft() if self._frames else None

    def clear(self) -> list[Frame]:
        """Take all."""
        frames = list(self._frames)
        self._frames.clear()
        return frames

    def __len__(self) -> int:
        return len(self._frames)
