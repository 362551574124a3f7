"""At most so many pictures a minute. Pure: the time comes as an argument."""

from __future__ import annotations

from collections import deque

MINUTE_S = 60.0


class PerMinute:
    """A sliding minute of one camera and kind. Not thread-safe.

    >>> budget = PerMinute(2)
    >>> [budget.take(t) for t in (0.0, 1.0, 2.0, 60.0, 60.5, 61.0)]
    [True, True, False, True, False, True]
    """

    def __init__(self, most: int) -> None:
        self._taken: deque[float] = deque(maxlen=most)

    def take(self, now_s: float) -> bool:
        """Whether one more is allowed now; if so, it counts.

        Args:
            now_s: monotonic seconds.
        """
        taken = self._taken
        if len(taken) == taken.maxlen and now_s - taken[0] < MINUTE_S:
            return False
        taken.append(now_s)
        return True
