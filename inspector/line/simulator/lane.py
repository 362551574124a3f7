"""The PLC program of one camera: announce a part, wait for its answer, acknowledge, eject. Pure.

Written as a PLC runs it: `scan` looks at the station's registers, takes one step, and gives the
registers that the PLC writes. The clock comes from outside.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from inspector.line.registers import LABELS, Answer, Control, Result
from inspector.line.simulator.faults import Kind
from inspector.line.simulator.parts import Fate, Tally

if TYPE_CHECKING:
    from inspector.line.registers import Status
    from inspector.line.simulator.faults import Plan
    from inspector.line.simulator.parts import Belt, Part


class Tell(Protocol):
    """Writes down what happens."""

    def __call__(self, what: str, **details: object) -> None:
        """A word for it, and the part and figures that belong to it."""


class Mode(StrEnum):
    """What the program does with parts."""

    RUN = "run"
    """Announce them, and do as the answers say."""
    REJECT = "reject"
    """Announce none; all go out."""
    STOP = "stop"
    """The belt stands."""
    OBSERVE = "observe"
    """Announce none; all pass: the station only looks on."""


class Step(StrEnum):
    """Where the handshake is, as the program sees it."""

    WAITING = "waiting"
    """For a part, or for `ready`."""
    ASKED = "asked"
    """Trigger is up; waiting for `valid`."""
    READING = "reading"
    """`valid` is there and not acknowledged yet: a fault that was asked for holds it back."""
    ACKNOWLEDGED = "acknowledged"
    """Acknowledge is up; waiting until `valid` goes down."""


class Lane:
    """The program of one camera.

    Args:
        belt: its parts.
        announces: whether the program announces parts to the station; without it, each new answer
            is acted on as it comes.
        plan: faults to be made on purpose.
        late_ack_s: how long `late-ack` holds an acknowledgement back.
        tell: writes down what happens.
    """

    def __init__(
        self, belt: Belt, *, announces: bool, plan: Plan, late_ack_s: float, tell: Tell
    ) -> None:
        self.belt = belt
        self.tally = Tally()
        self.last_sequence = 0
        self.announces = announces
        self._plan = plan
        self._late_ack_s = late_ack_s
        self._tell = tell
        self._present: Part | None = None
        """Before the camera, not announced yet."""
        self._asked: Part | None = None
        self._acknowledge = False
        self._acknowledged = 0
        self._number = 0
        self._held_until_s: float | None = None
        """When `valid` may be acknowledged; infinity: never."""
        self._held = False

    @property
    def step(self) -> Step:
        """Where the handshake is."""
        if self._acknowledge:
            return Step.ACKNOWLEDGED
        if self._held:
            return Step.READING
        return Step.ASKED if self._asked is not None else Step.WAITING

    @property
    def held_up(self) -> bool:
        """Whether a part is before the camera and cannot be announced yet."""
        return self._present is not None

    @property
    def asked(self) -> int | None:
        """Number of the part that is announced."""
        return None if self._asked is None else self._asked.number

    def scan(
        self, now_s: float, mode: Mode, status: Status, answer: Answer, *, heard: bool
    ) -> Control:
        """Take one step.

        Args:
            now_s: the clock.
            mode: what to do with parts.
            status, answer: what the station says.
            heard: whether it is there and serves; else nothing is waited for.

        Returns:
            What the PLC says.
        """
        self._acknowledging(now_s, status, answer)
        if not heard:
            self._give_up("the station has gone")
        if mode is not Mode.RUN and self._present is not None:
            self._pass_by(self._present, mode)
            self._present = None
        self._arrivals(mode)
        self._departures(mode)
        self._announcing(now_s, mode, status)
        return Control(
            trigger=self._asked is not None,
            acknowledge=self._acknowledge,
            part=self._number,
            sequence=self._acknowledged,
        )

    def spoil(self) -> None:
        """A fault is made on purpose: what becomes of these parts is not the station's doing."""
        for part in self.belt.on_it:
            part.spoilt = True

    # --- the answer ------------------------------------------------------------------------------

    def _acknowledging(self, now_s: float, status: Status, answer: Answer) -> None:
        if not status.valid:
            if self._held and not self._acknowledge:
                self._tell("valid_withdrawn", part=self.asked)
                self._give_up("its answer was never read")
            if self._acknowledge:
                self._tell("acknowledge_lowered", sequence=self._acknowledged)
            self._acknowledge = self._held = False
            self._held_until_s = None
            return
        if self._acknowledge:
            return
        if self._held_until_s is None:
            self._held_until_s = self._hold(now_s)
            self._tell("valid_seen", part=answer.part, sequence=answer.sequence)
        if now_s >= self._held_until_s:
            self._read(now_s, answer)
            self._acknowledge, self._held, self._acknowledged = True, False, answer.sequence
            self._tell("acknowledged", part=answer.part, sequence=answer.sequence)
        else:
            self._held = True

    def _hold(self, now_s: float) -> float:
        """When the answer may be acknowledged: now, but for faults on purpose."""
        asked = self.asked or 0
        if self._plan.due(Kind.NO_ACK, asked):
            self._fault(Kind.NO_ACK)
            return float("inf")
        if self._plan.due(Kind.LATE_ACK, asked):
            self._fault(Kind.LATE_ACK)
            return now_s + self._late_ack_s
        return now_s

    def _fault(self, kind: Kind) -> None:
        self._tell("fault", kind=kind.value, part=self.asked)

    def _read(self, now_s: float, answer: Answer) -> None:
        word = answer.result.word
        if answer.sequence == self.last_sequence:
            self.tally.repeats += 1
            self._tell("repeat_dropped", part=answer.part, sequence=answer.sequence)
            return
        self.last_sequence = answer.sequence
        self.tally.answers[word] += 1
        details = {
            "part": answer.part,
            "sequence": answer.sequence,
            "result": word,
            "label": LABELS.get(answer.label),
            "confidence": answer.confidence / 1000,
            "elapsed_ms": answer.elapsed_ms,
        }
        known = answer.result is not Result.NONE and (not answer.label or answer.label in LABELS)
        if not self.announces:
            self._act(answer, details, known=known)
            return
        part = self._asked
        if part is None:
            self._stray(answer, details)
            return
        self._asked = None
        part.answer = answer
        if answer.part != part.number or not known:
            part.fate = Fate.WRONG
            self.tally.wrong += 1
            self._tell("wrong_answer", asked=part.number, **details)
            return
        waited_ms = (now_s - part.asked_s) * 1000
        self.tally.answered_ms.append(waited_ms)
        if part.fate is Fate.ASKED:
            part.fate = Fate.ANSWERED
            self._tell("answer", waited_ms=round(waited_ms, 2), **details)
        else:
            self._late(answer, details, spoilt=part.spoilt)

    def _act(self, answer: Answer, details: dict[str, object], *, known: bool) -> None:
        """Do as a part that was not announced wants it."""
        if not known:
            self.tally.wrong += 1
            self._tell("wrong_answer", **details)
        elif answer.result is Result.NO_RESULT:
            self._late(answer, details)
        else:
            self.tally.acted += 1
            self._tell("acted", **details)

    def _stray(self, answer: Answer, details: dict[str, object]) -> None:
        """An answer to a part that was given up, or to none."""
        if (part := self.belt.part(answer.part)) is None:
            self._late(answer, details)
            return
        part.answer = answer
        self._tell("answer_not_waited_for", **details)

    def _late(self, answer: Answer, details: dict[str, object], *, spoilt: bool = False) -> None:
        """The part has passed the ejector: a reject comes to nothing."""
        self.tally.late += 1
        self.tally.late_rejects += answer.result is Result.REJECT and not spoilt
        self._tell("answer_too_late", **details)

    # --- the parts -------------------------------------------------------------------------------

    def _arrivals(self, mode: Mode) -> None:
        for part in self.belt.arriving():
            self.tally.parts += 1
            if self._present is not None:
                self._drop(self._present, Fate.MISSED, "the station was not ready in time")
                self._present = None
            if mode is not Mode.RUN:
                self._pass_by(part, mode)
            else:
                self._present = part
                self._tell("part_in_position", part=part.number)

    def _announcing(self, now_s: float, mode: Mode, status: Status) -> None:
        part = self._present
        free = self._asked is None and not self._acknowledge and not status.valid
        if mode is not Mode.RUN or part is None or not (free and status.ready):
            return
        for kind in (Kind.DROP_CONNECTION, Kind.SILENT, Kind.EXCEPTION):
            if self._plan.due(kind, part.number):
                self._fault(kind)
        self._present, self._asked = None, part
        part.fate, part.asked_s, self._number = Fate.ASKED, now_s, part.number
        self.tally.asked += 1
        self._tell("trigger", part=part.number)

    def _pass_by(self, part: Part, mode: Mode) -> None:
        part.fate, part.passes = Fate.NOT_ASKED, mode is Mode.OBSERVE
        self.tally.not_asked += 1
        self._tell("not_asked", part=part.number, mode=mode.value)

    def _departures(self, mode: Mode) -> None:
        for part in self.belt.leaving():
            if part is self._present:
                self._present = None
            if part.fate in {Fate.ASKED, Fate.IN_POSITION}:
                self._drop(part, Fate.GIVEN_UP, "it came to the ejector without an answer")
            out = part.ejected or mode is Mode.REJECT
            self.tally.ejected += out
            self.tally.passed += not out
            self._tell("ejected" if out else "passed", part=part.number, why=part.fate.value)

    def _give_up(self, why: str) -> None:
        """Wait no longer for the answer to the part that was announced."""
        if self._asked is not None and self._asked.fate is Fate.ASKED:
            self._drop(self._asked, Fate.GIVEN_UP, why)
        self._asked = None

    def _drop(self, part: Part, fate: Fate, why: str) -> None:
        part.fate = fate
        if part.spoilt:
            self.tally.spoilt += 1
        else:
            self.tally.missing += 1
        self._tell("no_answer", part=part.number, why=why, spoilt=part.spoilt)
