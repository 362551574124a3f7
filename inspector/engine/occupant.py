"""Who sits in a seat: an engine, and what is there for the case that it fails. Values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from inspector.engine.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inspector.engine.load import Engine
    from inspector.engine.plans.engine_plans import EnginePlans
    from inspector.engine.plans.later import LaterPlans
    from inspector.verdict import EngineInfo


@runtime_checkable
class Losable(Runtime, Protocol):
    """A runtime that may be lost, with its process or its device, and says so by itself."""

    def when_lost(self, call: Callable[[str], None]) -> None:
        """Have `call` told why, once, from any thread; at once if it is lost already."""


@dataclass(frozen=True, slots=True, eq=False)
class Occupant:
    """An engine with what stands in for it.

    Attributes:
        engine: judges as long as it can.
        standby: a warm engine of the same folder that judges while `engine` cannot; None: none.
        revive: opens a fresh engine in the place of a lost one. Takes seconds, raises EngineError.
            None: there is nothing to open anew, as in the station's own process.
        pending: plans of which one is to be built and to judge in its place then: where it is not
            on TensorRT yet, perhaps since the GPU failed, or may be faster there in another
            precision; None: nothing is to come.
        lost: why `engine` could not be opened; it is the standby's then, which judges until
            `revive` gives another.
        folder: name of the engine folder, for who keeps it.
        instead: why it has the seat, and not who was asked for; None: it was.
    """

    engine: Engine
    standby: Engine | None = None
    revive: Callable[[], Engine] | None = None
    pending: EnginePlans | LaterPlans | None = None
    lost: str | None = None
    folder: str = ""
    instead: str | None = None

    def runtimes(self) -> Iterator[Runtime]:
        """The runtimes that it needs to keep."""
        yield self.engine.runtime
        if self.standby is not None and self.standby.runtime is not self.engine.runtime:
            yield self.standby.runtime

    def stand_in(self, why: str) -> Engine | None:
        """The standby as it serves: marked as degraded, with the reason."""
        if self.standby is None:
            return None
        info, instead = self.engine.info, self.standby.info.runtime
        said = f"{info.name} on {info.runtime}: {why}; {instead} stands in"
        return replace(self.standby, degraded=said)


Word = Literal["activated", "rolled back", "lost", "restored", "upgraded"]


@dataclass(frozen=True, slots=True)
class Change:
    """Another engine judges now, or the same one anew.

    Attributes:
        stage: `screen` or `confirm`.
        word: `activated`: asked for; `rolled back`: to the one before, asked for or after a
            failure; `lost`: the standby judges, or nothing does; `restored`: a fresh one judges;
            `upgraded`: the same engine judges by its plan, on TensorRT.
        why: a sentence for a person.
        before, now: which engine judged, and which one judges.
        asked: somebody asked for it; else the station did it by itself.
    """

    stage: str
    word: Word
    why: str
    before: EngineInfo
    now: EngineInfo
    asked: bool = False
