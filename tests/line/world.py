"""A handshake with its registers and its time, without a network: what a session does, in steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from inspector.line.handshake import Handshake, Rules
from inspector.line.parts import Ended, Event, Finding, Part, Raised, Triggered
from inspector.line.registers import Answer, Control, Result, Status

MS = 1_000_000
RULES = Rules(
    trigger="plc",
    deadline_ns=400 * MS,
    reserve_ns=15 * MS,
    acknowledge_ns=500 * MS,
    by_sequence=False,
    queue=3,
)
REJECT, ACCEPT = Finding(Result.REJECT, 3, 990), Finding(Result.ACCEPT, 7, 999)


@dataclass
class World:
    """Time, the PLC's bits, and what was written to its registers.

    Attributes:
        answer, status: the registers, as the PLC reads them.
        shown: each (time, answer) that `valid` was raised over.
    """

    rules: Rules = RULES
    silent: bool = False
    now: int = 1_000 * MS
    control: Control = field(default_factory=Control)
    answer: Answer = field(default_factory=Answer)
    status: Status = field(default_factory=Status)
    connected: bool = False
    events: list[Event] = field(default_factory=list)
    shown: list[tuple[int, Answer]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.handshake = Handshake(self.rules, silent=self.silent)
        self.handshake.accepting = True
        self._heard = self.now

    def connect(self) -> None:
        """The session begins (again): `valid` is lowered first, then all is written."""
        self.connected = True
        self.status = Status()
        self._heard = self.now
        self.handshake.connect(self.control, self.answer, self.now)
        self.write(anew=True)
        self.poll()

    def lose(self) -> None:
        self.connected = False
        self.handshake.lose()

    def restart(self) -> None:
        """The station was killed: a new one on the same registers."""
        self.handshake = Handshake(self.rules, silent=self.silent)
        self.handshake.accepting = True
        self.connected = False

    def pass_ms(self, ms: float) -> None:
        """Let time go by, in polls of 5 ms."""
        until = self.now + round(ms * MS)
        while self.now < until:
            self.now = min(until, self.now + 5 * MS)
            self.poll()

    def poll(self) -> None:
        if self.connected:
            self.handshake.hear(self.control, self._heard, self.now)
            self._heard = self.now
        else:
            self.handshake.turn(self.now)
        self.write()

    def says(self, **bits: int | bool) -> None:
        """The PLC changes its bits, and the station reads them."""
        self.control = Control(**bits)  # type: ignore[arg-type]  # by name, as given
        self.poll()

    def write(self, *, anew: bool = False, only_answer: bool = False) -> None:
        """As `Session._write_camera`; `only_answer`: the connection breaks in the middle."""
        self.events += self.handshake.take()
        if not self.connected:
            return
        answer, status = self.handshake.output(self.now)
        if anew or answer != self.answer:
            if self.status.valid:
                over = [end.done.answer for end in self.ended()]
                assert self.answer in over, "an answer changed before its part had ended"
                self.status = Status(fault=status.fault)
            self.answer = answer
            if only_answer:
                self.lose()
                return
            answer, status = self.handshake.output(self.now)
            assert answer == self.answer
        if status.valid and not self.status.valid:
            self.shown.append((self.now, self.answer))
        self.status = status
        if status.valid:
            self.handshake.raised(self.now)
        self.events += self.handshake.take()

    # -- parts ------------------------------------------------------------------------------------

    def signal(self, finding: Finding, number: int = 0, deadline_ms: float = 400) -> Part:
        part = Part(number, self.now, self.now + round(deadline_ms * MS), finding)
        self.handshake.signal(part, self.now)
        self.poll()
        return part

    def trigger(self, number: int) -> Part:
        """The PLC announces a part, and the station takes it."""
        self.says(trigger=True, part=number)
        return self.triggered()[-1]

    def resolve(self, part: Part, finding: Finding | None) -> None:
        self.handshake.resolve(part, finding, self.now)
        self.poll()

    def triggered(self) -> list[Part]:
        return [event.part for event in self.events if isinstance(event, Triggered)]

    def ended(self) -> list[Ended]:
        return [event for event in self.events if isinstance(event, Ended)]

    def counted(self) -> list[Answer]:
        return [event.answer for event in self.events if isinstance(event, Raised)]

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]
