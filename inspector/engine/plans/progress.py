"""How far a build is, from what TensorRT says of its phases, and how long it may still take.

Pure, apart from a lock.

TensorRT says of each phase how many steps it has and below which other phase it runs, and then
which step is done. Phases that run below another one are parts of its step in hand.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

_TELLING_S, _TELLING_PERCENT = 10.0, 5.0
"""Before that a build's rate says nothing: its first steps are over in no time."""
_SHORT_S = 50.0


def left_s(gone_s: float, percent: float, last_s: float | None) -> float | None:
    """About how many seconds a build will still take; None where nothing is known of that.

    TensorRT's steps take different times, so at first it goes by how long the last build like it
    took, and the further it is, the more by its own rate.

    Args:
        gone_s: since the build began.
        percent: how far it is.
        last_s: time of the last build like it; None: there was none.

    >>> left_s(60.0, 0, 240.0), left_s(60.0, 50, None), left_s(60.0, 50, 240.0)
    (180.0, 60.0, 120.0)
    >>> left_s(3, 4, None) is None
    True
    """
    telling = gone_s >= _TELLING_S and percent >= _TELLING_PERCENT
    by_rate = gone_s * (100.0 - percent) / percent if telling else None
    by_last = last_s - gone_s if last_s is not None and last_s > gone_s else None
    if by_rate is None or by_last is None:
        return by_last if by_rate is None else by_rate
    part = percent / 100.0
    return part * by_rate + (1.0 - part) * by_last


def about(seconds: float) -> str:
    """A time that is not known well, for people.

    >>> about(3), about(52), about(140)
    ('about 10 s', 'about 1 min', 'about 3 min')
    """
    if seconds <= _SHORT_S:
        return f"about {max(10, 10 * math.ceil(seconds / 10))} s"
    return f"about {math.ceil(seconds / 60)} min"


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0
    finished: bool = False
    below: dict[str, _Phase] = field(default_factory=dict)

    def fraction(self) -> float:
        if self.finished:
            return 1.0
        part = max((phase.fraction() for phase in self.below.values()), default=0.0)
        return min(1.0, (self.done + part) / self.steps)


class BuildProgress:
    """The phases of one build. Any thread: TensorRT reports from several.

    >>> progress = BuildProgress()
    >>> progress.phase_start("Building Engine", None, 2)
    >>> progress.step_complete("Building Engine", 0)
    >>> progress.phase_start("Timing graph nodes", "Building Engine", 4)
    >>> progress.step_complete("Timing graph nodes", 1)
    >>> progress.percent, progress.stage
    (75.0, 'Timing graph nodes')
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._open: list[str] = []
        self._percent = 0.0

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        with self._lock:
            phase = _Phase(parent, max(1, steps))
            self._phases[name] = phase
            self._open.append(name)
            if (above := self._above(phase)) is not None:
                above.below[name] = phase
            self._measure()

    def step_complete(self, name: str, step: int) -> None:
        """The step with this number, from 0, is done; what ran below it is part of it."""
        with self._lock:
            phase = self._phases.get(name)
            if phase is None:
                return
            phase.done = max(phase.done, min(step + 1, phase.steps))
            phase.below = {n: below for n, below in phase.below.items() if not below.finished}
            self._measure()

    def phase_finish(self, name: str) -> None:
        """A phase has come to its end, with all its steps or without."""
        with self._lock:
            phase = self._phases.pop(name, None)
            if phase is None:
                return
            phase.finished = True
            self._open.remove(name)
            if phase.parent is None:
                self._percent = max(self._percent, 100.0 * phase.fraction())
            self._measure()

    @property
    def percent(self) -> float:
        """0 to 100; never goes back."""
        with self._lock:
            return self._percent

    @property
    def stage(self) -> str:
        """The phase that began last and has not ended."""
        with self._lock:
            return self._open[-1] if self._open else ""

    def _above(self, phase: _Phase) -> _Phase | None:
        return self._phases.get(phase.parent) if phase.parent is not None else None

    def _measure(self) -> None:
        tops = [phase.fraction() for phase in self._phases.values() if self._above(phase) is None]
        self._percent = max(self._percent, round(100.0 * max(tops, default=0.0), 1))
