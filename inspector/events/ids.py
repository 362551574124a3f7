"""Event ids: UUID version 7 (RFC 9562), rising within a process as its clock does."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

_COUNTER_BITS = 12
_COUNTER_START_BITS = 11
"""The counter of a new millisecond starts in its lower half, so that it has room to rise."""
MOST_AHEAD_MS = 60_000


class Uuid7:
    """A source of rising ids: 48 bits of UTC milliseconds, a 12-bit counter, 62 random bits.

    The counter is the fixed-length dedicated counter of RFC 9562, section 6.2, method 1. A clock
    that is put right a little does not make the ids go back: the last millisecond is kept until it
    is past. They follow one that goes back by more than `MOST_AHEAD_MS`, which was wrong before:
    else all that is told and kept until the next start would be of that other time.

    Any thread may call it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._counter = 0

    def __call__(self) -> UUID:
        """The next id."""
        random = int.from_bytes(os.urandom(10), "big")
        with self._lock:
            now_ms = time.time_ns() // 1_000_000
            if now_ms > self._last_ms or now_ms < self._last_ms - MOST_AHEAD_MS:
                self._last_ms = now_ms
                self._counter = (random >> 62) & ((1 << _COUNTER_START_BITS) - 1)
            else:
                self._counter += 1
                if self._counter >> _COUNTER_BITS:
                    self._last_ms += 1
                    self._counter = 0
            ms, counter = self._last_ms, self._counter
        low = random & ((1 << 62) - 1)
        return UUID(int=ms << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | low)


new_id = Uuid7()
"""The process's own source of event ids."""
