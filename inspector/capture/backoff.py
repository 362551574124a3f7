"""When to try again: soon at first, then rarely, never not at all."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently cameras are tried again; seconds.

    Attributes:
        first_s, most_s: bounds of the back-off, which doubles from the one to the other.
        slow_s: after a refusal that trying cannot mend: cameras lock out who guesses passwords.
        steady_s: a connection that lasted this long begins the back-off anew.
        crashes, crashes_within_s: restart budget; a worker beyond it is tried every `slow_s`.
        spawns: workers that may be starting at the same time.
    """

    first_s: float = 0.5
    most_s: float = 10.0
    slow_s: float = 30.0
    steady_s: float = 10.0
    crashes: int = 5
    crashes_within_s: float = 60.0
    spawns: int = 4


class Backoff:
    """The delays of one camera.

    Full jitter, so that many cameras lost at once do not come back in step.

    Args:
        rng: source of the jitter.
    """

    def __init__(self, pace: Pace, rng: random.Random) -> None:
        self._pace = pace
        self._rng = rng
        self._failures = 0
        self._crashes: deque[float] = deque(maxlen=pace.crashes)

    def next_s(self, *, slow: bool = False) -> float:
        """Seconds to wait before the next try, after one more failure."""
        if slow:
            return self._pace.slow_s * self._rng.uniform(0.8, 1.2)
        most = min(self._pace.most_s, self._pace.first_s * 2.0**self._failures)
        self._failures = min(self._failures + 1, 32)
        return self._rng.uniform(0.0, most)

    def ran(self, seconds: float) -> None:
        """A connection lasted that long."""
        if seconds >= self._pace.steady_s:
            self._failures = 0

    def crashed(self, now_s: float) -> bool:
        """Count a crash of the worker. True if its restart budget is used up."""
        self._crashes.append(now_s)
        full = len(self._crashes) == self._pace.crashes
        return full and now_s - self._crashes[0] <= self._pace.crashes_within_s
