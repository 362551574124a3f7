"""What each camera's frames came to in the last minutes: for timelines and charts. In memory only.

Time is cut into steps of `STEP_S`; of each step and camera only sums are kept, so that the history
of a camera has one size, however many frames it judges.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_S = 2
"""Seconds that are told as one."""
STEPS = 300
"""So many are kept: ten minutes."""

_PLACES = {outcome: place for place, outcome in enumerate(Outcome)}


@dataclass(slots=True)
class _Step:
    """One step of one camera.

    Attributes:
        number: monotonic seconds // STEP_S.
        counts: frames by outcome, in the order of `Outcome`.
        aged: frames whose age at the verdict is known.
        age_ms: sum of those ages in milliseconds.
        worst_ms: the greatest of them.
    """

    number: int
    counts: list[int]
    aged: int = 0
    age_ms: float = 0.0
    worst_ms: float = 0.0

    def row(self) -> list[float | None]:
        """As JSON: number, the four counts, mean age and greatest age in milliseconds."""
        if not self.aged:
            return [self.number, *self.counts, None, None]
        mean = self.age_ms / self.aged
        return [self.number, *self.counts, round(mean, 1), round(self.worst_ms, 1)]


class History:
    """The last ten minutes of every camera. Any thread may call any method.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._cameras: dict[str, deque[_Step]] = {}

    def note(self, camera: str, outcome: Outcome, age_s: float | None) -> None:
        """A frame has its verdict.

        Args:
            age_s: from its arrival to its verdict; None where no engine was asked.
        """
        number = self._now()
        with self._lock:
            steps = self._cameras.setdefault(camera, deque(maxlen=STEPS))
            if not steps or steps[-1].number != number:
                steps.append(_Step(number, [0] * len(_PLACES)))
            step = steps[-1]
            step.counts[_PLACES[outcome]] += 1
            if age_s is not None:
                step.aged += 1
                step.age_ms += age_s * 1e3
                step.worst_ms = max(step.worst_ms, age_s * 1e3)

    def forget(self, camera: str) -> None:
        """A camera is gone."""
        with self._lock:
            self._cameras.pop(camera, None)

    def document(self, since: int = 0) -> dict[str, Any]:
        """The steps from number `since` on, as JSON-able data.

        Returns:
            `step_s`; `steps`, how many are kept; `now`, the number of the present step; and of each
            camera rows of [number, accepted, rejected, uncertain, unjudgeable, mean age in ms,
            greatest age in ms], oldest first; the ages are null where no engine was asked. Steps
            without frames have no row.
        """
        now = self._now()
        first = max(since, now - STEPS + 1)
        with self._lock:
            cameras = {
                name: [step.row() for step in _from(steps, first)]
                for name, steps in self._cameras.items()
            }
        return {"step_s": STEP_S, "steps": STEPS, "now": now, "cameras": cameras}

    def _now(self) -> int:
        return int(self._clock() // STEP_S)


def _from(steps: deque[_Step], first: int) -> list[_Step]:
    """The steps from a number on; looks at no more than it gives."""
    found: list[_Step] = []
    for step in reversed(steps):
        if step.number < first:
            break
        found.append(step)
    return found[::-1]
