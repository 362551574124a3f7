"""The handshake over the parts of one camera. Pure: the time comes in, registers come out.

What the station shows, and what moves it on (PLC bits in capitals):

    phase   ready busy valid   leaves when
    away      ?     ?    ?     the session stands: all registers are written anew, `valid` low first
    ready     1     0    0     TRIGGER (trigger: plc), a trigger by the API, a judged frame
    busy      0     1    0     the verdict, or the deadline less the reserve: `no result`
    valid     0     0    1     ACKNOWLEDGE: `valid` falls; RESET, once it is overdue
    waiting   0     0    0     ACKNOWLEDGE, RESET and TRIGGER are low again: `ready`

Next to these stands `fault`: while an acknowledgement is overdue, and from a full queue until it is
empty. RESET ends both. `ready` is low too while the station takes no parts (it starts or stops, the
camera is away, the PLC's heartbeat stands still).

What the PLC sees when something fails, and why that is safe:

    the verdict is late        `no result` with the part's number, in time; the verdict never
    no verdict can come        `no result` at once
    trigger while not ready    `no result` at once: two edges cannot agree on the same moment
    trigger from before        `no result` at once: the part may have left the camera's view
      a connection
    no acknowledgement         `valid` stays over the same answer, `fault`, and `safe` in the
                               station's block; a late one is taken
    acknowledge stays high     nothing new is shown, since it would pass for the next part's
                               acknowledgement; overdue, it is a fault as above
    reset stays high           the same: until it falls `valid` is low, so that the PLC has seen it
                               low, and a late acknowledgement does not pass for the next part's
    connection lost, station   the heartbeat stands still; what is in the registers is old, and a
      killed                   PLC that minds the heartbeat does not act on it
    connection is back         the answer that stood is shown again under its number, unless it was
                               acknowledged meanwhile; if its deadline is over, `no result`. The
                               PLC acknowledges it again, and acts on a number once
    parts come faster than     accepted ones give way; without any, `fault` and `safe`
      acknowledgements
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from inspector.line.parts import (
    NO_RESULT,
    Counters,
    Done,
    Ended,
    Faults,
    Finding,
    Part,
    Raised,
    Triggered,
)
from inspector.line.registers import Answer, Control, Result, Status, next_count

if TYPE_CHECKING:
    from inspector.line.parts import End, Event

Phase = Literal["away", "ready", "busy", "valid", "waiting", "fault"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the station file says of the handshake of a camera; times in nanoseconds."""

    trigger: Literal["plc", "api", "frames"]
    deadline_ns: int
    reserve_ns: int
    acknowledge_ns: int
    by_sequence: bool
    queue: int


class Handshake:
    """The handshake of one camera. One thread.

    Inputs are `expect`, `resolve` and `signal` (parts), `hear` and `turn` (the PLC's word, and
    time), `connect` and `lose` (the session). After any of them `take` gives what happened, and
    `output` what the registers are to hold.

    Attributes:
        accepting: whether the station takes parts of this camera now.
        silent: never a result, and no trigger is heard (`mode: observe`).
        counters: what was signalled.
    """

    def __init__(self, rules: Rules, *, silent: bool = False) -> None:
        self.rules = rules
        self.accepting = False
        self.silent = silent
        self.counters = Counters()
        self.faults = Faults()
        self.answer = Answer()
        self.acknowledged_ms: float | None = None
        self._events: list[Event] = []
        self._open: list[Part] = []  # await their verdicts
        self._queue: deque[Part] = deque()  # await their turn to be shown
        self._shown: Part | None = None
        self._raised_ns = 0  # when `valid` was on the wire over what is shown; 0: not yet
        self._timed_out = False
        self._repeat = False  # what is shown was on the wire before the connection was lost
        self._control = Control()
        self._high_since_ns: int | None = None  # acknowledge or reset holds up what waits
        self._armed = False  # trigger was low since the last part: high means a new one
        self._stale = False  # trigger stood high over a gap, and nobody took it
        self._connected = False
        self._sequence: int | None = None

    # -- parts ------------------------------------------------------------------------------------

    def expect(self, part: Part) -> None:
        """A part was announced; its verdict is awaited, until its deadline at the latest."""
        if not self.silent:
            self._open.append(part)

    def resolve(self, part: Part, finding: Finding | None, now: int) -> None:
        """The verdict on an expected part; None: it is known that none will come."""
        if self.silent:
            return
        self._expire(now)
        if part not in self._open:
            self.counters.late += finding is not None
            return
        self._open.remove(part)
        part.finding, part.found_ns = finding or NO_RESULT, now
        self._enqueue(part, now)

    def signal(self, part: Part, now: int) -> None:
        """A part that was not expected, with its finding."""
        if self.silent:
            return
        part.found_ns = part.found_ns or now
        if self._over(part, now):
            self.counters.late += part.finding is not None and part.finding is not NO_RESULT
            part.finding = NO_RESULT
        self._enqueue(part, now)

    def overflow(self, now: int) -> None:
        """Parts of this camera were lost before they came here."""
        self._events += self.faults.begin("queue_full", "more parts than can be taken", now)

    # -- the PLC ----------------------------------------------------------------------------------

    def connect(self, control: Control, answer: Answer, now: int) -> None:
        """The session stands: `valid`, wherever it stood, is about to be lowered.

        Args:
            control: what the PLC says now; its reset is the camera's, or that of all.
            answer: what the PLC's registers hold of ours. The first of a station's life tells the
                sequence to go on from: the PLC may hold it against the next.
        """
        self._connected = True
        if self._sequence is None:
            self._sequence = answer.sequence
            # Written with the rest of the answer, though nothing is: it is the next life's, too.
            self.answer = replace(self.answer, sequence=answer.sequence)
        before, self._control = self._control, control
        self._armed = False
        if self._shown is not None and self._raised_ns and self._acknowledged(control):
            self._end(self._shown, "acknowledged", now)
        self._repeat = self._repeat or bool(self._raised_ns)
        self._raised_ns, self._high_since_ns = 0, None
        if self.rules.trigger == "plc" and not self.silent:
            self._meet_trigger(control, now)
        if control.reset and not before.reset:
            self._reset(now)
        self.turn(now)

    def lose(self) -> None:
        """The connection is lost: the PLC hears nothing until `connect`."""
        self._connected = False

    def hear(self, control: Control, since_ns: int, now: int) -> None:
        """What the PLC says now; its reset is the camera's, or that of all.

        Args:
            since_ns: when it was read the last time: what is new is no older.
        """
        reset = control.reset and not self._control.reset
        self._control = control
        if self._shown is not None and self._raised_ns and self._acknowledged(control):
            self._end(self._shown, "acknowledged", now)
        if reset:
            self._reset(now)
        if self.rules.trigger == "plc" and not self.silent:
            self._hear_trigger(control, since_ns, now)
        self.turn(now)

    def turn(self, now: int) -> None:
        """Time goes on."""
        self._expire(now)
        if not self._connected:
            return
        self._mind_acknowledgement(now)
        if self._shown is None and self._queue and not self._held:
            self._show(self._queue.popleft(), now)
        if self._shown is None and not self._queue:
            self._events += self.faults.end("queue_full", now)

    def close(self, now: int) -> None:
        """Nothing more will be shown."""
        for part in [*self._open, *self._queue, *([self._shown] if self._shown else [])]:
            self._end(part, "abandoned", now)
        self._open.clear()
        self._queue.clear()

    # -- what comes out ---------------------------------------------------------------------------

    def output(self, now: int) -> tuple[Answer, Status]:
        """What the registers are to hold: the answer first, then the status.

        An answer whose time has run out since it was chosen becomes `no result`: ask again between
        the two writes.
        """
        part = self._shown
        told = self.answer.result is Result.NO_RESULT  # and goes on telling the same
        if part is not None and not self._raised_ns and not told and self._over(part, now):
            self._say(part, NO_RESULT, now)
        return self.answer, Status(
            ready=self._ready,
            busy=bool(self._open) and part is None,
            valid=part is not None and (self._raised_ns > 0 or not self._held),
            fault=bool(self.faults),
        )

    def raised(self, now: int) -> None:
        """The status that `output` gave is on the wire."""
        part = self._shown
        if part is None or self._raised_ns:
            return
        self._raised_ns = now
        if not self._repeat:
            self.counters.count(self.answer.result)
            told = part.found_ns and self.answer.result is not Result.NO_RESULT
            self._events.append(Raised(self.answer, (now - part.found_ns) / 1e9 if told else None))
        self._repeat = False

    def take(self) -> list[Event]:
        """What happened since this was asked the last time."""
        events, self._events = self._events, []
        return events

    @property
    def phase(self) -> Phase:
        """Where the handshake is, in a word."""
        if not self._connected:
            return "away"
        if self.faults:
            return "fault"
        if self._shown is not None:
            return "valid"
        if self._open:
            return "busy"
        return "ready" if self._ready else "waiting"

    @property
    def part(self) -> int | None:
        """Number of the part in work, or shown."""
        part = self._shown or next(iter(self._open), None)
        return None if part is None else part.number

    @property
    def waiting(self) -> int:
        """Results that await their turn."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Nothing is in work, waits, or is shown."""
        return self._shown is None and not self._queue and not self._open

    @property
    def attentive(self) -> bool:
        """Whether the PLC's next word is awaited."""
        return self.rules.trigger == "plc" or not self.idle or self._control.acknowledge

    @property
    def sequence(self) -> int:
        """The last sequence; 0 before the first."""
        return self._sequence or 0

    @property
    def _ready(self) -> bool:
        if self.silent or not self.accepting or self.faults or not self.idle:
            return False
        return not self._held and (self.rules.trigger != "plc" or self._armed)

    @property
    def _held(self) -> bool:
        """Whether the PLC's bits hold up what is to be shown."""
        return self._control.acknowledge or self._control.reset

    # -- inside -----------------------------------------------------------------------------------

    def _over(self, part: Part, now: int) -> bool:
        return now >= part.deadline_ns - self.rules.reserve_ns

    def _expire(self, now: int) -> None:
        for part in [part for part in self._open if self._over(part, now)]:
            self._open.remove(part)
            part.finding = NO_RESULT
            self._enqueue(part, now)

    def _enqueue(self, part: Part, now: int) -> None:
        if len(self._queue) >= self.rules.queue:
            way = next((p for p in (*self._queue, part) if _accepts(p)), None)
            if way is None:
                detail = f"{len(self._queue)} results wait for acknowledgements, none of them good"
                self._events += self.faults.begin("queue_full", detail, now)
            self.counters.gave_way += 1
            if way is None or way is part:
                self._end(part, "gave_way", now)
                return
            self._queue.remove(way)
            self._end(way, "gave_way", now)
        self._queue.append(part)

    def _show(self, part: Part, now: int) -> None:
        sequence = part.sequence or next_count(self._sequence or 0)
        self._sequence = sequence
        self._shown, self._raised_ns, self._timed_out = part, 0, False
        self._repeat = False
        self.answer = replace(self.answer, sequence=sequence, part=part.number)
        assert part.finding is not None  # noqa: S101 - it was queued
        self._say(part, NO_RESULT if self._over(part, now) else part.finding, now)

    def _say(self, part: Part, finding: Finding, now: int) -> None:
        self.answer = replace(
            self.answer,
            result=finding.result,
            label=finding.label,
            confidence=finding.confidence,
            elapsed_ms=max(0, now - part.from_ns) // 1_000_000,
        )

    def _acknowledged(self, control: Control) -> bool:
        if not control.acknowledge:
            return False
        return not self.rules.by_sequence or control.sequence == self.answer.sequence

    def _mind_acknowledgement(self, now: int) -> None:
        """A fault, if what is shown is not acknowledged in time, or the next cannot be shown."""
        shown = self._shown
        held = self._held and not self._raised_ns and (shown or self._queue)
        self._high_since_ns = (self._high_since_ns or now) if held else None
        if shown is not None and self._raised_ns:
            since_ns, what = self._raised_ns, f"part {shown.number} was not acknowledged"
        elif self._high_since_ns is not None:
            bit = "acknowledge" if self._control.acknowledge else "reset"
            since_ns, what = self._high_since_ns, f"{bit} did not fall"
        else:
            if shown is None:
                self._events += self.faults.end("no_acknowledge", now)
            return
        if now - since_ns < self.rules.acknowledge_ns or "no_acknowledge" in self.faults.open:
            return
        self._timed_out = True
        self.counters.ack_timeouts += 1
        detail = f"{what} within {self.rules.acknowledge_ns / 1e6:g} ms (acknowledge_ms)"
        self._events += self.faults.begin("no_acknowledge", detail, now)

    def _reset(self, now: int) -> None:
        if self._shown is not None and "no_acknowledge" in self.faults.open:
            self._end(self._shown, "reset", now)
        self._high_since_ns = None
        for cause in list(self.faults.open):
            self._events += self.faults.end(cause, now)

    def _end(self, part: Part, end: End, now: int) -> None:
        if part is self._shown:
            took_ms = None
            if end == "acknowledged":
                took_ms = round((now - self._raised_ns) / 1e6, 3)
                self.acknowledged_ms = took_ms
            done = Done(end, self.answer, self._timed_out, took_ms)
            self._shown, self._raised_ns = None, 0
            if end != "abandoned":  # what nobody acknowledged is not mended by our leaving
                self._events += self.faults.end("no_acknowledge", now)
        else:
            finding = part.finding or NO_RESULT
            answer = Answer(part.sequence or 0, finding.result, finding.label, finding.confidence)
            done = Done(end, replace(answer, part=part.number))
        self._events.append(Ended(part, done))

    def _hear_trigger(self, control: Control, since_ns: int, now: int) -> None:
        if not control.trigger:
            self._stale = False
            self._armed = self._armed or (self.idle and not control.acknowledge)
            return
        if not self.idle or control.acknowledge:
            return
        if self._armed and self.accepting and not self.faults:
            part = self._announced(control, since_ns)
            self._open.append(part)
            self._events.append(Triggered(part))
        elif self._armed or self._stale:
            self._refuse(control, since_ns, now)
        self._armed = self._stale = False

    def _meet_trigger(self, control: Control, now: int) -> None:
        """The trigger as it stands when the session begins, or begins again."""
        mine = self._shown or next(iter([*self._open, *self._queue]), None)
        self._stale = control.trigger and not control.acknowledge
        if mine is not None and control.trigger and mine.number == control.part:
            self._stale = False
        elif mine is not None and control.trigger and mine in self._open:
            self._open.remove(mine)
            self._end(mine, "abandoned", now)
        if self._stale and self.idle:
            self._refuse(control, now, now)
            self._stale = False

    def _announced(self, control: Control, since_ns: int) -> Part:
        return Part(control.part, since_ns, since_ns + self.rules.deadline_ns)

    def _refuse(self, control: Control, since_ns: int, now: int) -> None:
        part = self._announced(control, since_ns)
        part.finding = NO_RESULT
        self._enqueue(part, now)


def _accepts(part: Part) -> bool:
    return part.finding is not None and part.finding.result is Result.ACCEPT
