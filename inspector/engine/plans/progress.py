"""How far a build is, from what TensorRT says of its phases. Pure, apart from a lock.

TensorRT says of each phase how many steps it has and below which other phase it runs, and then
which step is done. Phases that run below another one are parts of its step in hand.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


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
