"""What a signal sets and the main thread waits for.

No `threading.Event`: a handler runs in the main thread, between any two of its steps, also while
that thread waits for the event and holds its lock. `Event.set` would then wait for that very lock,
for ever, and the signal that was to stop the process would have hung it.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

TURN_S = 0.2
"""A signal is noticed after so long at the latest."""


class Asked:
    """Whether something was asked for, by a signal or otherwise. Any thread; no lock."""

    def __init__(self) -> None:
        self._asked = False

    def set(self) -> None:
        """Ask for it."""
        self._asked = True

    def clear(self) -> None:
        """It was done."""
        self._asked = False

    def is_set(self) -> bool:
        """Whether it was asked for."""
        return self._asked

    def wait(self, seconds: float | None = None) -> bool:
        """Wait that long, or for ever; whether it was asked for."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self._asked:
            left = TURN_S if until is None else until - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, TURN_S))
        return self._asked


def asked_to_stop() -> Asked:
    """What SIGTERM and SIGINT set from now on. Main thread only."""
    stop = Asked()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop
