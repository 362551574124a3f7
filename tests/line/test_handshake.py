from __future__ import annotations

from dataclasses import replace

import pytest

from inspector.line.parts import Faulted, Finding, Part, Restored
from inspector.line.registers import Answer, Control, Result, Status
from tests.line.world import ACCEPT, MS, REJECT, RULES, World


@pytest.fixture
def world() -> World:
    world = World()
    world.connect()
    return world


@pytest.fixture
def frames() -> World:
    world = World(replace(RULES, trigger="frames"))
    world.connect()
    return world


def causes(world: World, kind: type) -> list[str]:
    return [event.cause for event in world.events if isinstance(event, kind)]


def test_a_part_goes_through_all_four_phases(world: World) -> None:
    assert world.status == Status(ready=True)
    part = world.trigger(4711)
    assert world.status == Status(busy=True)
    assert (part.number, world.handshake.phase) == (4711, "busy")
    world.pass_ms(20)
    world.resolve(part, REJECT)
    assert world.status == Status(valid=True)
    assert world.answer == Answer(1, Result.REJECT, 3, 990, part=4711, elapsed_ms=20)
    world.pass_ms(30)
    assert world.status == Status(valid=True), "until it is acknowledged"
    world.says(acknowledge=True, trigger=True, part=4711)
    assert world.status == Status()
    world.says(trigger=True, part=4711)
    world.pass_ms(50)
    assert world.status == Status(), "the old trigger is no new part"
    world.says()
    assert world.status == Status(ready=True)
    (end,) = world.ended()
    assert (end.done.end, end.done.acknowledged_ms) == ("acknowledged", 30.0)
    assert world.handshake.counters.reject == 1


def test_without_a_verdict_no_result_is_there_before_the_deadline(world: World) -> None:
    part = world.trigger(7)
    world.pass_ms(600)
    ((at, answer),) = world.shown
    assert part.from_ns + 380 * MS <= at <= part.deadline_ns
    assert (answer.result, answer.part, answer.label, answer.confidence) == (5, 7, 0, 0)
    world.resolve(part, REJECT)
    world.says(acknowledge=True)
    world.says()
    world.pass_ms(50)
    assert len(world.shown) == 1, "a late verdict is never told"
    assert world.handshake.counters.late == 1
    assert world.handshake.counters.no_result == 1


def test_when_no_verdict_can_come_no_result_comes_at_once(world: World) -> None:
    world.resolve(world.trigger(7), None)
    ((at, answer),) = world.shown
    assert (at, answer.result) == (world.now, Result.NO_RESULT)
    assert world.handshake.counters.late == 0


def test_a_verdict_that_is_overtaken_by_its_deadline_on_the_way_is_not_told(world: World) -> None:
    part = world.trigger(7)
    world.handshake.resolve(part, REJECT, world.now)
    world.handshake.turn(world.now)
    assert world.handshake.output(world.now)[0].result is Result.REJECT
    world.now = part.deadline_ns - 1
    assert world.handshake.output(world.now)[0].result is Result.NO_RESULT


def test_no_result_is_the_same_however_long_it_takes_to_write(world: World) -> None:
    part = world.trigger(7)
    world.now = part.deadline_ns
    world.handshake.turn(world.now)
    first = world.handshake.output(world.now)
    assert world.handshake.output(world.now + 50 * MS) == first


def test_an_answer_that_stands_does_not_change_when_its_deadline_passes(world: World) -> None:
    world.resolve(world.trigger(7), REJECT)
    world.pass_ms(450)
    assert world.answer.result is Result.REJECT
    assert world.status.valid


def test_a_trigger_while_not_ready_is_answered_with_no_result(world: World) -> None:
    world.handshake.accepting = False
    world.poll()
    assert world.status == Status()
    world.says(trigger=True, part=9)
    assert (world.answer.result, world.answer.part) == (Result.NO_RESULT, 9)
    assert world.status == Status(valid=True)
    assert not world.triggered()


def test_a_trigger_that_stood_before_the_session_is_answered_with_no_result() -> None:
    world = World(control=Control(trigger=True, part=9))
    world.connect()
    assert (world.answer.result, world.answer.part) == (Result.NO_RESULT, 9)
    assert world.status == Status(valid=True)


def test_the_deadline_counts_from_when_the_trigger_was_not_there_yet(world: World) -> None:
    before = world.now
    world.now += 80 * MS  # a slow PLC: the reading took so long
    part = world.trigger(1)
    assert (part.from_ns, part.deadline_ns) == (before, before + 400 * MS)


def test_observing_no_trigger_is_heard_and_nothing_told() -> None:
    world = World(silent=True)
    world.connect()
    world.says(trigger=True, part=1)
    world.signal(REJECT)
    world.handshake.expect(Part(1, world.now, world.now + MS))
    world.pass_ms(1000)
    assert world.status == Status()
    assert world.answer == Answer()
    assert not world.events


def test_without_an_acknowledgement_the_fault_stands_until_a_late_one(world: World) -> None:
    world.resolve(world.trigger(7), REJECT)
    world.pass_ms(495)
    assert not world.status.fault
    world.pass_ms(5)
    assert world.status == Status(valid=True, fault=True)
    assert causes(world, Faulted) == ["no_acknowledge"]
    world.pass_ms(2000)
    assert causes(world, Faulted) == ["no_acknowledge"], "told once"
    world.says(acknowledge=True)
    world.says()
    assert causes(world, Restored) == ["no_acknowledge"]
    assert world.status == Status(ready=True)
    (end,) = world.ended()
    assert (end.done.end, end.done.timed_out) == ("acknowledged", True)
    assert world.handshake.counters.ack_timeouts == 1


def test_a_reset_ends_the_fault_and_takes_the_answer_back(world: World) -> None:
    world.resolve(world.trigger(7), REJECT)
    world.pass_ms(600)
    world.says(reset=True, trigger=True, part=7)
    assert world.status == Status()
    assert [end.done.end for end in world.ended()] == ["reset"]
    world.says(reset=True)
    assert world.status == Status(), "while reset stands"
    world.says()
    assert world.status == Status(ready=True)
    world.resolve(world.trigger(8), ACCEPT)
    assert (world.answer.sequence, world.answer.part) == (2, 8)


def test_a_reset_takes_no_answer_that_is_not_overdue(world: World) -> None:
    world.resolve(world.trigger(7), REJECT)
    world.says(reset=True, trigger=True, part=7)
    assert world.status == Status(valid=True)


def test_a_late_acknowledgement_of_what_was_reset_is_not_the_next_ones(frames: World) -> None:
    frames.signal(ACCEPT, 1, deadline_ms=9000)
    frames.signal(REJECT, 2, deadline_ms=9000)
    frames.pass_ms(600)
    frames.says(reset=True)
    assert not frames.status.valid
    frames.says(reset=True, acknowledge=True)  # of part 1: its `valid` was in the PLC's image
    assert not frames.status.valid
    frames.says()
    assert (frames.answer.part, frames.status) == (2, Status(valid=True))
    assert [(end.part.number, end.done.end) for end in frames.ended()] == [(1, "reset")]


def test_a_reset_that_stays_high_is_a_fault_of_its_own(frames: World) -> None:
    frames.says(reset=True)
    frames.signal(REJECT, 1, deadline_ms=9000)
    frames.pass_ms(490)
    assert not frames.of(Faulted)
    frames.pass_ms(20)
    assert not frames.status.valid
    (fault,) = frames.of(Faulted)
    assert fault == Faulted("no_acknowledge", "reset did not fall within 500 ms (acknowledge_ms)")
    frames.says()
    assert causes(frames, Restored) == ["no_acknowledge"]
    assert frames.status == Status(valid=True)


def test_an_acknowledgement_by_sequence_must_name_it() -> None:
    world = World(replace(RULES, by_sequence=True))
    world.connect()
    world.resolve(world.trigger(7), REJECT)
    world.says(acknowledge=True, sequence=3)
    assert world.status == Status(valid=True)
    world.says(acknowledge=True, sequence=1)
    assert world.status == Status()


def test_what_waits_is_shown_one_after_the_other(frames: World) -> None:
    for number in (1, 2, 3):
        frames.signal(REJECT, number)
    assert frames.handshake.waiting == 2
    for number in (1, 2, 3):
        assert frames.answer.part == number
        frames.says(acknowledge=True)
        assert not frames.status.valid
        frames.pass_ms(20)
        assert not frames.status.valid, "before acknowledge is low again"
        frames.says()
    assert [answer.sequence for _, answer in frames.shown] == [1, 2, 3]


def test_an_acknowledge_that_stays_high_is_a_fault(frames: World) -> None:
    frames.signal(REJECT)
    frames.says(acknowledge=True)
    frames.signal(REJECT, deadline_ms=5000)
    frames.pass_ms(600)
    assert not frames.status.valid
    assert frames.status.fault
    assert causes(frames, Faulted) == ["no_acknowledge"]
    frames.says()
    assert frames.status == Status(valid=True)
    assert causes(frames, Restored) == ["no_acknowledge"]


def test_when_the_queue_is_full_accepted_ones_give_way(frames: World) -> None:
    shown = frames.signal(ACCEPT, 1)
    for number, finding in enumerate([REJECT, ACCEPT, REJECT, REJECT, ACCEPT], start=2):
        frames.signal(finding, number)
    assert [(end.part.number, end.done.end) for end in frames.ended()] == [
        (3, "gave_way"),
        (6, "gave_way"),
    ]
    assert shown.number == 1
    assert not frames.status.fault
    frames.signal(REJECT, 7)
    assert frames.status.fault, "no reject is lost in silence"
    assert causes(frames, Faulted) == ["queue_full"]
    for _ in range(4):
        frames.says(acknowledge=True)
        frames.says()
    assert causes(frames, Restored) == ["queue_full"]
    assert [answer.part for _, answer in frames.shown] == [1, 2, 4, 5]


def test_what_waited_too_long_is_told_as_no_result(frames: World) -> None:
    frames.signal(ACCEPT, 1)
    frames.signal(REJECT, 2, deadline_ms=100)
    frames.pass_ms(200)
    frames.says(acknowledge=True)
    frames.says()
    assert (frames.answer.part, frames.answer.result) == (2, Result.NO_RESULT)


def test_a_verdict_on_a_frame_that_is_too_old_is_late(frames: World) -> None:
    frames.signal(REJECT, 1, deadline_ms=10)
    assert (frames.answer.part, frames.answer.result) == (1, Result.NO_RESULT)
    assert frames.handshake.counters.late == 1


def test_a_result_that_stood_when_the_connection_was_lost_is_shown_again(world: World) -> None:
    world.resolve(world.trigger(7), REJECT)
    world.lose()
    world.pass_ms(50)
    world.connect()
    assert world.status == Status(valid=True)
    assert (world.answer.sequence, world.answer.result) == (1, Result.REJECT)
    assert len(world.counted()) == 1, "a repeat is counted once"
    world.lose()
    world.pass_ms(400)
    world.connect()
    assert (world.answer.sequence, world.answer.result) == (1, Result.NO_RESULT)


def test_an_acknowledgement_during_the_outage_counts(world: World) -> None:
    world.resolve(world.trigger(7), REJECT)
    world.lose()
    world.control = Control(acknowledge=True)
    world.pass_ms(50)
    world.connect()
    assert not world.status.valid
    assert [end.done.end for end in world.ended()] == ["acknowledged"]
    world.says()
    assert world.status == Status(ready=True)


def test_a_part_in_work_stays_in_work_over_an_outage(world: World) -> None:
    part = world.trigger(7)
    world.lose()
    world.pass_ms(100)
    world.connect()
    assert world.status == Status(busy=True)
    world.resolve(part, REJECT)
    assert (world.answer.part, world.answer.result) == (7, Result.REJECT)


def test_another_part_after_an_outage_is_not_given_the_first_ones_verdict(world: World) -> None:
    part = world.trigger(7)
    world.lose()
    world.control = Control(trigger=True, part=8)
    world.connect()
    assert (world.answer.part, world.answer.result) == (8, Result.NO_RESULT)
    world.resolve(part, REJECT)
    world.says(acknowledge=True)
    world.says()
    assert len(world.shown) == 1


def test_the_sequence_goes_on_over_a_restart_of_the_station(world: World) -> None:
    world.resolve(world.trigger(7), REJECT)
    world.restart()
    world.control = Control()
    world.connect()
    world.resolve(world.trigger(8), REJECT)
    assert [answer.sequence for _, answer in world.shown] == [1, 2]


@pytest.mark.parametrize("silent", [False, True])
def test_a_life_that_answers_nothing_hands_the_sequence_on(world: World, silent: bool) -> None:
    world.resolve(world.trigger(7), REJECT)
    world.control = Control()
    world.silent = silent
    world.restart()
    world.connect()
    world.silent = False
    world.restart()
    world.connect()
    world.resolve(world.trigger(8), REJECT)
    assert [answer.sequence for _, answer in world.shown] == [1, 2]


def test_a_given_sequence_is_taken(frames: World) -> None:
    part = Part(5, frames.now, frames.now + 400 * MS, REJECT, sequence=65535)
    frames.handshake.signal(part, frames.now)
    frames.poll()
    assert frames.answer.sequence == 65535
    frames.says(acknowledge=True)
    frames.says()
    frames.signal(REJECT)
    assert frames.answer.sequence == 1, "0 is left out"


def test_parts_of_the_api_may_be_judged_in_another_order() -> None:
    world = World(replace(RULES, trigger="api"))
    world.connect()
    parts = [Part(n, world.now, world.now + 400 * MS) for n in (1, 2)]
    for part in parts:
        world.handshake.expect(part)
    world.poll()
    assert world.status == Status(busy=True)
    world.resolve(parts[1], ACCEPT)
    assert world.answer.part == 2
    world.pass_ms(400)
    world.says(acknowledge=True)
    world.says()
    assert (world.answer.part, world.answer.result) == (1, Result.NO_RESULT)


def test_a_close_tells_of_every_part(frames: World) -> None:
    parts = [frames.signal(REJECT, number) for number in range(3)]
    frames.handshake.close(frames.now)
    frames.write()
    assert [end.part for end in frames.ended()] == [parts[1], parts[2], parts[0]]
    assert {end.done.end for end in frames.ended()} == {"abandoned"}


def test_an_unjudgeable_part_is_told_as_such(world: World) -> None:
    world.resolve(world.trigger(7), Finding(Result.UNJUDGEABLE))
    assert world.answer.result is Result.UNJUDGEABLE
