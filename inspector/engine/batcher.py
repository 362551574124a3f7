"""The batcher: which frames go to the engine together, and how long a batch waits for more.

Waiting pays only if something comes: a batch waits for the cameras that are expected within
`max_delay_s`, never for one that cannot come, and never when it is full.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from inspector.frame import Frame

_MOST_CAMERAS = 256
"""As many as a station may have. Beyond that some were removed: the most silent is forgotten."""

_FORGET_AFTER = 3
"""A camera that is more intervals late than this is not waited for."""


class FrameFeed(Protocol):
    """What the judge needs of the capture stage."""

    def wait(self, timeout_s: float) -> bool:
        """True as soon as a frame can be taken, False after `timeout_s` seconds."""

    def take(self, most: int) -> list[Frame]:
        """Up to `most` frames, the cameras in turn; of a live camera only the newest."""


class Arrivals:
    """When frames of each camera came, and when the next one is expected. Pure."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._interval: dict[str, float] = {}

    def saw(self, camera: str, now: float) -> None:
        """A frame of `camera` was taken at `now` (seconds)."""
        if camera in self._last:
            gap = now - self._last[camera]
            old = self._interval.get(camera, gap)
            self._interval[camera] = old + 0.25 * (gap - old)
        elif len(self._last) >= _MOST_CAMERAS:
            silent = min(self._last, key=lambda name: self._last[name])
            self._last.pop(silent)
            self._interval.pop(silent, None)
        self._last[camera] = now

    def expected(self, until: float, without: Container[str]) -> bool:
        """Whether a camera other than `without` is likely to give a frame before `until`.

        Nothing is expected of a camera of which one frame alone is known, nor of one that has
        gone silent.
        """
        return any(
            camera not in without
            and interval <= until - self._last[camera] <= _FORGET_AFTER * interval
            for camera, interval in self._interval.items()
        )


class Batcher:
    """Takes frames from the feed and makes batches of them. Used by one thread.

    Args:
        max_delay_s: longest wait for more frames after the first.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        feed: FrameFeed,
        *,
        max_delay_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._max_delay_s = max_delay_s
        self._clock = clock
        self._arrivals = Arrivals()

    def next(self, wait_s: float, most: int) -> list[Frame]:
        """Up to `most` frames in the order taken; empty if nothing came within `wait_s`."""
        if not self._feed.wait(wait_s):
            return []
        frames = self._take(most)
        deadline = self._clock() + self._max_delay_s
        while 0 < len(frames) < most:
            left = deadline - self._clock()
            if left <= 0 or not self._arrivals.expected(deadline, {f.camera for f in frames}):
                break
            if self._feed.wait(left):
                frames += self._take(most - len(frames))
        return frames

    def _take(self, most: int) -> list[Frame]:
        frames = self._feed.take(most)
        now = self._clock()
        for frame in frames:
            self._arrivals.saw(frame.camera, now)
        return frames
