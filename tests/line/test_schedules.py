"""Random schedules of triggers, verdicts, acknowledgements, outages and time.

Whatever their order: no result is told after its deadline, no reject is lost in silence, `valid`
never stands over another part's answer, no two parts in a row have one sequence, and every part
comes to one end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import event, given, settings
from hypothesis import strategies as st

from inspector.line.parts import Faulted, Finding, Part
from inspector.line.registers import Control, Result
from tests.line.world import RULES, World

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = [Result.ACCEPT, Result.REJECT, Result.UNCERTAIN, Result.UNJUDGEABLE]

times = st.floats(0, 700).map(lambda ms: ("pass", ms))
verdicts = st.sampled_from(RESULTS).map(lambda result: ("verdict", result))
signals = st.tuples(st.just("signal"), st.sampled_from(RESULTS))
bits = st.sampled_from(
    [("ack", True), ("ack", False), ("trigger", True), ("trigger", False), ("obey", None)]
)
outages = st.sampled_from([("lose", None), ("connect", None), ("break", None), ("none", None)])
resets = st.just(("reset", None))
steps = st.lists(st.one_of(times, verdicts, signals, bits, bits, outages, resets), max_size=60)


class Play:
    """One schedule: makes the parts, moves the PLC's bits, and watches the registers."""

    def __init__(self, trigger: str) -> None:
        self.world = World(replace(RULES, trigger=trigger))  # type: ignore[arg-type]
        self.world.connect()
        self.parts: dict[int, Part] = {}
        self.number = 0

    def step(self, what: str, value: object) -> None:
        getattr(self, f"_{what}")(value)
        world = self.world
        for part in world.triggered():
            self.parts[part.number] = part
        for at, answer in world.shown:
            part = self.parts.get(answer.part)
            if part is not None and answer.result is not Result.NO_RESULT:
                assert at < part.deadline_ns, "told after its deadline"
                assert part.finding is not None
                assert answer.result is part.finding.result

    def _pass(self, ms: float) -> None:
        self.world.pass_ms(ms)

    def _verdict(self, result: Result) -> None:
        open_ones = [part for part in self.parts.values() if part.finding is None]
        if open_ones:
            self.world.resolve(open_ones[0], Finding(result))

    def _signal(self, result: Result) -> None:
        self.number += 1
        rules = self.world.rules
        if rules.trigger == "frames":
            self.parts[self.number] = self.world.signal(Finding(result), self.number)
        elif rules.trigger == "api":
            part = Part(self.number, self.world.now, self.world.now + rules.deadline_ns)
            self.parts[self.number] = part
            self.world.handshake.expect(part)
            self.world.poll()

    def _ack(self, high: bool) -> None:
        self._bits(acknowledge=high)

    def _trigger(self, high: bool) -> None:
        if high and not self.world.control.trigger:
            self.number += 1
        self._bits(trigger=high, part=self.number)

    def _bits(self, **bits: int | bool) -> None:
        self.world.control = replace(self.world.control, **bits)
        self.world.poll()

    def _reset(self, _: object) -> None:
        self._bits(reset=True)
        self._bits(reset=False)

    def _obey(self, _: object) -> None:
        """The PLC does what the manual says, for a while."""
        for _ in range(6):
            self._pass(10)
            status, control = self.world.status, self.world.control
            if status.valid:
                self._bits(acknowledge=True, trigger=False)
            elif control.acknowledge:
                self._bits(acknowledge=False)

    def _lose(self, _: object) -> None:
        self.world.lose()

    def _connect(self, _: object) -> None:
        if not self.world.connected:
            self.world.connect()

    def _break(self, _: object) -> None:
        """The connection breaks between answer and status."""
        if self.world.connected:
            self.world.handshake.turn(self.world.now)
            self.world.write(only_answer=True)

    def _none(self, _: object) -> None:
        """It is known of a part that no verdict comes."""
        open_ones = [part for part in self.parts.values() if part.finding is None]
        if open_ones:
            self.world.resolve(open_ones[-1], None)

    def finish(self) -> None:
        """The PLC comes to its senses, and the station ends."""
        self._connect(None)
        self.world.control = Control()
        for _ in range(40):
            self._obey(None)
        assert self.world.handshake.idle
        self.world.handshake.close(self.world.now)
        self.world.write()


def check(trigger: str, schedule: list[tuple[str, object]]) -> None:
    play = Play(trigger)
    for what, value in schedule:
        play.step(what, value)
    play.finish()
    world = play.world
    ends = [(end.part, end.done) for end in world.ended()]
    assert len({id(part) for part, _ in ends}) == len(ends), "a part came to two ends"
    assert {id(part) for part in play.parts.values()} <= {id(part) for part, _ in ends}
    full = [e for e in world.events if isinstance(e, Faulted) and e.cause == "queue_full"]
    for part, done in ends:
        assert part.finding is not None or done.end == "abandoned"
        if done.end == "gave_way" and part.finding and part.finding.result is not Result.ACCEPT:
            assert full, "not accepted, and lost in silence"
        if done.end in {"acknowledged", "reset"}:
            shown = [answer for _, answer in world.shown if answer.sequence == done.answer.sequence]
            assert done.answer in shown
        event(f"{trigger}: {done.end}")
    numbers = [answer.sequence for answer in world.counted()]
    assert len(set(numbers)) == len(numbers), "two parts under one sequence"
    of_sequence: dict[int, set[int]] = {}
    for _, answer in world.shown:
        of_sequence.setdefault(answer.sequence, set()).add(answer.part)
    assert all(len(parts) == 1 for parts in of_sequence.values())


def _test(trigger: str) -> Callable[[], None]:
    @settings(max_examples=400, deadline=None)
    @given(steps)
    def run(schedule: list[tuple[str, object]]) -> None:
        check(trigger, schedule)

    return run


test_parts_that_the_plc_announces = _test("plc")
test_parts_that_the_api_announces = _test("api")
test_parts_that_are_frames = _test("frames")
