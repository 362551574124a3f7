"""The parts on their way to the PLC: what is said of each, until when, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from inspector.line.registers import Answer, Result

if TYPE_CHECKING:
    from collections.abc import Callable

Cause = Literal["no_acknowledge", "plc_away", "plc_silent", "queue_full", "bad_answer"]
"""Why the line is in its fail-safe, or will be as soon as the PLC notices the silence."""

CAUSES_IN_WORDS: dict[Cause, str] = {
    "no_acknowledge": "the PLC does not acknowledge",
    "plc_away": "the PLC cannot be reached",
    "plc_silent": "the PLC's heartbeat stands still",
    "queue_full": "parts come faster than the PLC acknowledges",
    "bad_answer": "the PLC refuses the station's registers",
}
"""The same for people; the dashboard says it in the same words."""

End = Literal["acknowledged", "reset", "gave_way", "abandoned"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said of a part.

    Attributes:
        label: a code of `registers.LABEL_CODES`, or 0.
        confidence: in permille.
    """

    result: Result
    label: int = 0
    confidence: int = 0


NO_RESULT = Finding(Result.NO_RESULT)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a part that was to be signalled; told once, when nothing more will come.

    Attributes:
        end: `acknowledged` by the PLC; `reset`: it stood unacknowledged until the PLC's reset;
            `gave_way`: never shown, the queue was full; `abandoned`: the PLC asked for another
            part meanwhile, or the session was closed.
        answer: what stood, or would have stood, in the registers: its `result` is `NO_RESULT`
            where the deadline had passed.
        timed_out: the acknowledgement did not come within `acknowledge_ms`, if it came.
        acknowledged_ms: from `valid` on the wire to the acknowledgement; None without one.
    """

    end: End
    answer: Answer
    timed_out: bool = False
    acknowledged_ms: float | None = None


@dataclass(eq=False, slots=True)
class Part:
    """One part; times are monotonic nanoseconds.

    Attributes:
        number: as the PLC knows it; 0 where parts have none.
        from_ns: its trigger, or its capture.
        deadline_ns: when the PLC must have its answer.
        finding: None while its verdict is awaited.
        found_ns: when the verdict was handed over; 0 without one.
        sequence: where it is given from outside (a repeat has that of the first time).
        on_done: told what became of it, by the session's thread; must return at once.
    """

    number: int
    from_ns: int
    deadline_ns: int
    finding: Finding | None = None
    found_ns: int = 0
    sequence: int | None = None
    on_done: Callable[[Done], None] | None = None


@dataclass(slots=True)
class Counters:
    """What was signalled of a camera since the start.

    Attributes:
        accept, reject, uncertain, unjudgeable, no_result: `valid` was raised with it.
        late: verdicts that came after their deadline; the PLC heard `no_result`.
        gave_way: parts that were never shown, since the queue was full.
        ack_timeouts: acknowledgements that did not come in time.
    """

    accept: int = 0
    reject: int = 0
    uncertain: int = 0
    unjudgeable: int = 0
    no_result: int = 0
    late: int = 0
    gave_way: int = 0
    ack_timeouts: int = 0

    def count(self, result: Result) -> None:
        """One more was signalled."""
        setattr(self, result.word, getattr(self, result.word) + 1)


@dataclass(frozen=True, slots=True)
class Triggered:
    """The PLC announced a part: its verdict is wanted."""

    part: Part


@dataclass(frozen=True, slots=True)
class Raised:
    """`valid` stands on the wire over this answer.

    Attributes:
        after_s: from handing the verdict over; None where there was none.
    """

    answer: Answer
    after_s: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will be done for a part."""

    part: Part
    done: Done


@dataclass(frozen=True, slots=True)
class Faulted:
    """A fault began."""

    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True)
class Restored:
    """A fault ended, after so many seconds."""

    cause: Cause
    after_s: float


@dataclass(frozen=True, slots=True)
class Connected:
    """The PLC hears the station."""


Event = Connected | Triggered | Raised | Ended | Faulted | Restored


@dataclass(slots=True)
class Faults:
    """Faults that hold now, each with the time of its beginning; says each change once."""

    open: dict[Cause, int] = field(default_factory=dict)

    def begin(self, cause: Cause, detail: str, now: int) -> list[Event]:
        """A fault holds from now on, if it did not before."""
        if cause in self.open:
            return []
        self.open[cause] = now
        return [Faulted(cause, detail)]

    def end(self, cause: Cause, now: int) -> list[Event]:
        """A fault holds no more, if it did."""
        began = self.open.pop(cause, None)
        return [] if began is None else [Restored(cause, (now - began) / 1e9)]

    def __bool__(self) -> bool:
        return bool(self.open)
