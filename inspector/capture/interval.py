"""Which frames are due, where one in so many seconds is judged. Pure."""

from __future__ import annotations

from inspector.capture.barrier import DUE_SLACK_S

STEP_BACK_S = 0.1
"""Time stamps that go back by more than this belong to a stream that began anew."""


class Interval:
    """One connection's frames.

    Args:
        every_s: one frame in this time; 0: each.

    Example:
        >>> interval = Interval(2.0)
        >>> [at for at in (0.0, 1.0, 2.0, 3.0, 0.0, 1.0) if interval.due(at)]
        [0.0, 2.0, 0.0]
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due_s: float | None = None
        self._seen_s: float | None = None

    def due(self, at_s: float) -> bool:
        """Whether the frame of this time is one; times are of the stream or of the clock."""
        if self._every_s <= 0:
            return True
        seen_s, self._seen_s = self._seen_s, at_s
        if seen_s is not None and at_s < seen_s - STEP_BACK_S:
            self._due_s = None  # a clip that is played again, or a clock that was set back
        if self._due_s is not None and at_s < self._due_s - DUE_SLACK_S:
            return False
        self._due_s = at_s + self._every_s
        return True
