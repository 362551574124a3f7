"""Is the station alive, ready, started? One set of facts for every probe and for a person.

`live` asks whether the mandatory loops still turn: if not, only a restart helps. `ready` asks
whether frames are being judged and events kept: engine warm, outbox writable. Cameras and broker
are reported there but gate nothing: a station without them is ready for their return.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Phase(StrEnum):
    """Where the station is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is well or not.

    Attributes:
        gates: whether the probe fails when this fact is not well.
        detail: a sentence for a person; no secrets.
    """

    name: str
    ok: bool
    detail: str
    gates: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a probe answers."""

    ok: bool
    phase: Phase
    facts: tuple[Fact, ...]

    def document(self) -> dict[str, object]:
        """The report as the JSON that the probes serve."""
        facts = [
            {"name": f.name, "ok": f.ok, "gates": f.gates, "detail": f.detail} for f in self.facts
        ]
        return {"ok": self.ok, "phase": self.phase.value, "facts": facts}


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop that must keep turning.

    Attributes:
        progress_ns: monotonic time of its last turn; 0 before the first.
        limit_s: longest time between two turns of a healthy loop.
    """

    name: str
    progress_ns: Callable[[], int]
    limit_s: float


class Health:
    """Collects facts from the stages. All methods may be called from any thread."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._loops: tuple[Loop, ...] = ()
        self._facts: Callable[[], Iterable[Fact]] = tuple
        self.phase = Phase.STARTING
        self.step = "starting"

    def watch(self, loops: Iterable[Loop], facts: Callable[[], Iterable[Fact]]) -> None:
        """Say which loops must turn and how to learn the facts of readiness."""
        self._loops = tuple(loops)
        self._facts = facts

    def live(self) -> Report:
        """Do all mandatory loops turn?"""
        facts = []
        for loop, idle_s in zip(self._loops, self.idle_s().values(), strict=True):
            detail = f"last turn {idle_s:.1f} s ago, limit {loop.limit_s:.0f} s"
            facts.append(Fact(loop.name, idle_s <= loop.limit_s, detail, gates=True))
        return self._report(facts)

    def idle_s(self) -> dict[str, float]:
        """Seconds since each mandatory loop's last turn; 0 before its first."""
        now = self._clock_ns()
        turns = {loop.name: loop.progress_ns() for loop in self._loops}
        return {name: (now - turn) / 1e9 if turn else 0.0 for name, turn in turns.items()}

    def standing_since(self, then_ns: int) -> tuple[str, ...]:
        """Names of the mandatory loops that have not turned since a monotonic time."""
        return tuple(loop.name for loop in self._loops if loop.progress_ns() <= then_ns)

    def ready(self) -> Report:
        """Are frames judged and events kept? Not before the engine is warm, not while stopping."""
        serving = self.phase is Phase.SERVING
        return self._report([Fact("phase", serving, self.step, gates=True), *self._facts()])

    def started(self) -> Report:
        """Has the start come to its end?"""
        done = self.phase is not Phase.STARTING
        return self._report([Fact("start", done, self.step, gates=True)])

    def _report(self, facts: list[Fact]) -> Report:
        ok = all(fact.ok for fact in facts if fact.gates)
        return Report(ok, self.phase, tuple(facts))
