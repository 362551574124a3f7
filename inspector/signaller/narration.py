"""What a person reads in the log of records that are not signalled: a line a second, with a count.

A new group begins with the oldest records of the topic, and after an outage there may be many: each
is counted in the metrics, and that is the record of it.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S = 1.0

_log = structlog.get_logger("inspector.signaller")


class Thinned:
    """Warnings that are alike, one a second of each kind. Belongs to one thread."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._said_s: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def warn(self, message: str, **details: object) -> None:
        """Say it, or count it for the next time."""
        now_s = self._clock_s()
        if now_s - self._said_s.get(message, float("-inf")) < EVERY_S:
            self._unsaid[message] += 1
            return
        self._said_s[message] = now_s
        if more := self._unsaid.pop(message, 0):
            details["more_before"] = more
        _log.warning(message, **details)
