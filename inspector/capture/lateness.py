"""Which live frames are stale: too old to say anything about the part that is there now. Pure."""

from __future__ import annotations

from collections import deque
from statistics import median

MOST_STALE_S = 10.0
"""A connection that gives nothing but stale frames for so long will not mend by itself."""

DEADLINE_SHARE = 0.9
"""A read that took this share of its deadline came out of a stall."""

CLOCK_STEP_S = 1.0
"""A source whose time stamps go back by more than this has set its clock."""


class LagRule:
    """For sources with time stamps: the lag of a frame, less the least lag of late.

    The lag is arrival minus pts; both clocks have their own zero, so only the change counts. The
    least of the last `window_s` is taken as "no lag", since camera clocks drift.

    Args:
        max_age_s: a frame that lags more is stale.
    """

    def __init__(self, max_age_s: float, window_s: float = 60.0) -> None:
        self._max_age_s = max_age_s
        self._window_s = window_s
        self._least: deque[tuple[float, float]] = deque()  # (second, least lag in it), times rising
        self._last_pts_s: float | None = None

    def stale(self, arrived_s: float, pts_s: float) -> bool:
        """Whether the frame that arrived then (monotonic seconds) with that time stamp is stale."""
        if self._last_pts_s is not None and pts_s < self._last_pts_s - CLOCK_STEP_S:
            self._least.clear()
        self._last_pts_s = pts_s
        lag = arrived_s - pts_s
        while self._least and self._least[0][0] < arrived_s - self._window_s:
            self._least.popleft()
        second = float(int(arrived_s))
        if self._least and self._least[-1][0] == second:
            self._least[-1] = (second, min(lag, self._least[-1][1]))
        else:
            self._least.append((second, lag))
        return lag - min(least for _, least in self._least) > self._max_age_s


class GapRule:
    """For sources without time stamps: what a stalled read gives is old, and what follows it.

    Args:
        timeout_s: read deadline of the source.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._intervals: deque[float] = deque(maxlen=31)
        self._last_s: float | None = None
        self._stalled = False

    def stale(self, arrived_s: float, read_s: float) -> bool:
        """Whether the frame that arrived then, out of a read that took `read_s`, is stale."""
        usual = median(self._intervals) if self._intervals else 0.0
        interval = arrived_s - self._last_s if self._last_s is not None else usual
        self._last_s = arrived_s
        # Before an interval is known nothing is late: many a camera takes its time to begin.
        if self._intervals and read_s > max(self._timeout_s / 2, 3 * usual):
            self._stalled = True
        elif self._stalled:
            # What had queued up comes at once; the first one that comes at its time is fresh.
            self._stalled = not usual / 2 <= interval <= 3 * max(usual, 0.005)
        elif interval > 0:
            self._intervals.append(interval)
        return self._stalled


class Freshness:
    """Whether the frames of one connection are fresh, by whichever rule fits them.

    Args:
        max_age_s: a frame that lags more is stale.
        timeout_s: read deadline of the source.
    """

    def __init__(self, max_age_s: float, timeout_s: float) -> None:
        self._lag = LagRule(max_age_s)
        self._gap = GapRule(timeout_s)
        self._most_read_s = timeout_s * DEADLINE_SHARE
        self._stale_since_s: float | None = None
        self.hopeless = False
        """Nothing but stale frames came for `MOST_STALE_S`."""

    def stale(self, arrived_s: float, pts_s: float | None, read_s: float) -> bool:
        """Whether the frame that arrived then is stale; monotonic seconds."""
        if pts_s is None:
            late = self._gap.stale(arrived_s, read_s)
        else:
            late = self._lag.stale(arrived_s, pts_s)
        # Whatever the clocks say, nothing that comes out of a read at its deadline is new.
        late = late or read_s >= self._most_read_s
        if not late:
            self._stale_since_s = None
        elif self._stale_since_s is None:
            self._stale_since_s = arrived_s
        else:
            self.hopeless = arrived_s - self._stale_since_s >= MOST_STALE_S
        return late
