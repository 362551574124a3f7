"""Calls that come a set time after they were asked for, whatever the disk does meanwhile."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadlines:
    """One thread, one span: what was asked first is due first.

    Args:
        after_s: the span.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._changed = threading.Condition()
        self._due: deque[tuple[float, Callable[[], None]]] = deque()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="evidence-clock", daemon=True)
        self._thread.start()

    def add(self, action: Callable[[], None]) -> None:
        """Have `action` called when the span is over, in the thread of this object."""
        with self._changed:
            self._due.append((time.monotonic() + self._after_s, action))
            if len(self._due) == 1:
                self._changed.notify()

    def close(self) -> None:
        """End; what was not due yet never comes."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closing:
                    left_s = self._due[0][0] - time.monotonic() if self._due else None
                    if left_s is not None and left_s <= 0:
                        break
                    self._changed.wait(left_s)
                if self._closing:
                    return
                _, action = self._due.popleft()
            action()
            del action
