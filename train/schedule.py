"""Learning rate by progress, which is counted in steps or minutes, whichever ends first."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi


@dataclass(slots=True)
class Budget:
    """How long to fit: a number of steps, or minutes of wall time, or the first of both.

    Minutes count over all runs: what a killed run had spent is in its checkpoint, up to that
    checkpoint.
    """

    steps: int | None = None
    minutes: float | None = None
    spent_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _since: float | None = None

    def __post_init__(self) -> None:
        """Refuse a budget without an end."""
        if self.steps is None and self.minutes is None:
            raise ValueError("a budget needs steps or minutes")

    def start(self) -> None:
        """Begin to count time."""
        self._since = self.clock()

    def elapsed_s(self) -> float:
        """Seconds spent, those of earlier runs included."""
        return self.spent_s + (0.0 if self._since is None else self.clock() - self._since)

    def progress(self, step: int) -> float:
        """Share of the budget that is spent, 0 to 1."""
        shares = [0.0]
        if self.steps is not None:
            shares.append(step / max(self.steps, 1))
        if self.minutes is not None:
            shares.append(self.elapsed_s() / (60 * self.minutes))
        return min(1.0, max(shares))


def rate_at(step: int, progress: float, peak: float, warm_up_steps: int) -> float:
    """Learning rate: a linear rise over the first steps, then half a cosine down to zero.

    Example:
        >>> rate_at(1000, 0.5, 2.0, 100)
        1.0
    """
    rise = min(1.0, (step + 1) / max(warm_up_steps, 1))
    return peak * rise * 0.5 * (1 + cos(pi * min(progress, 1.0)))
