"""The right to write to a PLC that another process may take over: its registers have one writer.

Whoever shares the right out (Kafka's group) hands it on once it has not heard its holder for a
while, and the holder need not learn of it: its network may be cut, or it may be frozen. So the
holder counts for itself, from the last time that it was certainly heard, and is gone before.

    since it was heard       the holder
    up to LEAVE_AT           writes
    from then on             says its last words, and leaves
    from END_AT on           writes nothing, whatever it was about to say
    the whole time           the right may be another's
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LEAVE_AT = 0.7
END_AT = 0.8
"""Of the time after which the right is handed on."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ns() -> int:
    """Monotonic time that goes on while the machine sleeps, as it does for everybody else."""
    return time.clock_gettime_ns(_CLOCK)


class Lease:
    """The right to write, until it lapses. By any thread.

    Args:
        lasts_s: the right is handed on no sooner after its holder was heard.
        heard_ns: when that was: what proves it was sent then, or later; by `clock_ns`.
    """

    def __init__(self, lasts_s: float, heard_ns: int, clock_ns: Callable[[], int] = now_ns) -> None:
        self._leave_ns = round(LEAVE_AT * lasts_s * 1e9)
        self._end_ns = round(END_AT * lasts_s * 1e9)
        self._heard_ns = heard_ns
        self._clock_ns = clock_ns
        self._over = False
        self._lock = threading.Lock()

    def renew(self, heard_ns: int) -> None:
        """The holder was heard again. Once it was told to leave, it does: nothing is renewed."""
        with self._lock:
            if not self._over:
                self._heard_ns = heard_ns

    def due(self) -> bool:
        """Whether the holder has to leave; once so, always so."""
        with self._lock:
            self._over = self._over or self._clock_ns() >= self._heard_ns + self._leave_ns
            return self._over

    def holds(self) -> bool:
        """Whether a register may be written now."""
        return self._clock_ns() < self._heard_ns + self._end_ns

    def end(self) -> None:
        """The holder has left: nothing more is written."""
        with self._lock:
            self._over, self._end_ns = True, 0
