"""The judge on a runtime and a feed whose behaviour the test commands."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from inspector.engine.judge import Judge
from inspector.errors import EngineError
from inspector.frame import Trigger
from inspector.verdict import Cause, Outcome
from tests.engine.fakes import WAIT_S, FakeFeed, FakeRuntime, engine_of
from tests.engine.tiny_engine import CLASSES

GOOD, BAD = "refimgs", "gblur"
LONG_S = 3600.0


class Bench:
    """A judge with fakes around it."""

    def __init__(
        self, home, *, confirm=False, count=1, max_batch=4, within_s=LONG_S, delay_s=0.0, slots=6
    ):
        self.feed = FakeFeed(CLASSES, slots=slots)
        self.screen = FakeRuntime("screen", max_batch=max_batch)
        self.confirm = FakeRuntime("confirm", max_batch=max_batch) if confirm else None
        self.judge = Judge(
            self.feed,
            engine_of(home, self.screen, count=count),
            engine_of(home, self.confirm, count=count) if self.confirm else None,
            max_batch=16,
            max_delay_s=delay_s,
            confirm_within_s=within_s,
            on_verdict=self.feed.on_verdict,
        )

    def start(self, *cameras):
        for camera in cameras:
            self.judge.map_ring(self.feed.ring(camera))
        self.judge.start()

    def verdicts(self, count):
        return [
            (f.camera, f.sequence, v.outcome.value, v.label)
            for f, v in self.feed.wait_verdicts(count)
        ]

    def close(self):
        for runtime in (self.screen, self.confirm):
            if runtime:
                runtime.close()
        self.judge.stop(WAIT_S)
        self.feed.close()


@pytest.fixture
def bench(engines):
    made = []

    def make(**options):
        made.append(Bench(engines / "tiny", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def in_order(verdicts):
    """Exactly once each, in order per camera."""
    seen = {}
    for frame, _ in verdicts:
        assert frame.sequence > seen.get(frame.camera, -1)
        seen[frame.camera] = frame.sequence
    return True


def test_frames_get_the_verdict_of_the_screen(bench):
    b = bench()
    b.start("a")
    for label, percent in ((GOOD, 95), (BAD, 95), (BAD, 70), ("wn", 90), (GOOD, 40)):
        b.feed.put("a", label, percent, fifo=True)
    assert b.verdicts(5) == [
        ("a", 0, "accepted", GOOD),
        ("a", 1, "rejected", BAD),
        ("a", 2, "uncertain", BAD),
        ("a", 3, "rejected", "wn"),
        ("a", 4, "uncertain", GOOD),
    ]
    verdict = b.feed.verdicts[1][1]
    assert verdict.engine == b.screen.info
    assert verdict.confirmed is None
    assert verdict.probabilities[BAD] == pytest.approx(0.95)
    assert list(verdict.probabilities) == list(CLASSES)
    assert 0 < verdict.submitted_ns <= verdict.judged_ns


def test_tiles_are_joined_over_several_batches(bench):
    b = bench(count=9, max_batch=4)
    b.start("a")
    b.feed.put("a", BAD)
    assert b.verdicts(1) == [("a", 0, "rejected", BAD)]
    assert b.screen.submitted == [4, 4, 1]


def test_frames_of_several_cameras_share_a_batch(bench):
    b = bench(count=2, max_batch=4)
    b.screen.hold()
    b.start("a", "b", "c")
    b.feed.put("a", GOOD)
    b.screen.wait_submitted(1)
    b.feed.put("a", BAD)
    b.screen.wait_submitted(2)
    for camera, label in (("a", GOOD), ("b", BAD), ("c", "wn")):
        b.feed.put(camera, label)
    b.screen.let_go()
    assert sorted(b.verdicts(5)[2:]) == [
        ("a", 2, "accepted", GOOD), ("b", 0, "rejected", BAD), ("c", 0, "rejected", "wn"),
    ]  # fmt: skip
    assert b.screen.submitted == [2, 2, 4, 2]


def test_two_batches_are_in_flight_and_the_newest_frame_wins(bench):
    b = bench(slots=20)
    b.screen.hold()
    b.start("a")
    for batches in (1, 2):
        b.feed.put("a", GOOD)
        b.screen.wait_submitted(batches)
    for _ in range(7):
        b.feed.put("a", BAD)
    b.screen.let_go()
    assert [row[1] for row in b.verdicts(3)] == [0, 1, 8]
    assert b.feed.superseded == [("a", n) for n in range(2, 8)]


def test_files_wait_and_none_is_passed_over(bench):
    b = bench(slots=20)
    b.screen.hold()
    b.start("a")
    for _ in range(12):
        b.feed.put("a", GOOD, fifo=True)
    b.screen.let_go()
    assert [row[1] for row in b.verdicts(12)] == list(range(12))


def test_damaged_and_small_frames_keep_their_place(bench):
    b = bench()
    b.screen.hold()
    b.start("a")
    b.feed.put("a", GOOD, fifo=True)
    b.screen.wait_submitted(1)
    b.feed.put("a", GOOD, fifo=True, damage="decode: a slice is missing")
    b.feed.put("a", GOOD, fifo=True, damage="too_large: 100 megapixels")
    b.feed.put("a", GOOD, fifo=True, damage="something else")
    b.feed.put("a", GOOD, fifo=True, side=63)
    b.feed.put("a", BAD, fifo=True)
    b.screen.wait_submitted(2)
    assert b.feed.verdicts == []
    b.screen.let_go()
    came = [(f.sequence, v.outcome, v.cause, v.reasons) for f, v in b.feed.wait_verdicts(6)]
    assert in_order(b.feed.verdicts)
    assert came[1:5] == [
        (1, Outcome.UNJUDGEABLE, Cause.DECODE, ("a slice is missing",)),
        (2, Outcome.UNJUDGEABLE, Cause.TOO_LARGE, ("100 megapixels",)),
        (3, Outcome.UNJUDGEABLE, Cause.DECODE, ("something else",)),
        (
            4, Outcome.UNJUDGEABLE, Cause.TOO_SMALL,
            ("a picture of 63x63 pixels is smaller than one tile of 64x64",),
        ),
    ]  # fmt: skip
    assert [(n, o) for n, o, *_ in (came[0], came[5])] == [
        (0, Outcome.ACCEPTED), (5, Outcome.REJECTED),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (EngineError("the engine broke"), "the engine broke"),
        (RuntimeError("something unforeseen"), "something unforeseen"),
        (lambda rows: rows * np.nan, "values that are no numbers"),
        (lambda rows: rows[:, :5], r"answered \(1, 5\), expected \(1, 8\)"),
    ],
)
def test_a_failed_batch_costs_its_frames_and_no_others(bench, fault, says):
    b = bench()
    b.screen.faults.extend([None, fault, None])
    b.start("a")
    for count in (1, 2, 3):
        b.feed.put("a", BAD)
        b.feed.wait_verdicts(count)
    good, failed, after = (v for _, v in b.feed.verdicts)
    assert good.outcome == after.outcome == Outcome.REJECTED
    assert (failed.outcome, failed.cause) == (Outcome.UNJUDGEABLE, Cause.ENGINE_ERROR)
    assert failed.engine == b.screen.info
    import re

    assert re.search(says, failed.reasons[0])


def test_a_failed_piece_fails_the_whole_frame_but_only_once_all_pieces_are_back(bench):
    b = bench(count=9, max_batch=4)
    b.screen.hold()
    b.screen.faults.extend([EngineError("broke"), None, None])
    b.start("a")
    b.feed.put("a", BAD)
    b.screen.wait_submitted(3)
    b.screen.answer()
    b.screen.answer()
    b.feed.put("b", BAD, damage="decode: the judge has come past those answers")
    assert b.verdicts(1) == [("b", 0, "unjudgeable", None)]  # the third piece still reads the slot
    b.screen.answer()
    assert b.feed.wait_verdicts(2)[1][1].cause is Cause.ENGINE_ERROR


def test_a_ring_that_has_gone_costs_its_own_frames_only(bench):
    b = bench(max_batch=4, slots=20)
    b.screen.hold()
    b.start("a", "b")
    for batches in (1, 2):
        b.feed.put("a", GOOD)
        b.screen.wait_submitted(batches)
    b.feed.put("a", BAD)
    b.feed.put("b", BAD)
    b.judge.unmap_ring("b/1")
    b.screen.let_go()
    came = {(f.camera, f.sequence): v for f, v in b.feed.wait_verdicts(4)}
    assert came["a", 2].outcome is Outcome.REJECTED
    assert came["b", 0].cause is Cause.ENGINE_ERROR
    assert "ring b/1 was not mapped" in came["b", 0].reasons[0]


def test_what_the_screen_accepts_is_not_confirmed(bench):
    b = bench(confirm=True)
    b.start("a")
    b.feed.put("a", GOOD)
    verdict = b.feed.wait_verdicts(1)[0][1]
    assert verdict.confirmed is None
    assert verdict.engine.name == "screen"
    assert b.confirm.submitted == []


def test_a_confirming_engine_that_takes_few_tiles_at_once_holds_nobody_up(bench, monkeypatch):
    """With two lanes the third batch of a frame waits at the door for the first one's answer."""
    b = bench(confirm=True, count=4, max_batch=1)
    lanes, submit = threading.Semaphore(2), b.confirm.submit

    def waits_for_a_lane(tiles):
        assert lanes.acquire(timeout=WAIT_S)
        future = submit(tiles)
        future.add_done_callback(lambda _: lanes.release())
        return future

    monkeypatch.setattr(b.confirm, "submit", waits_for_a_lane)
    b.confirm.hold()
    b.start("a", "b")
    b.feed.put("a", BAD)
    b.confirm.wait_submitted(2)
    b.feed.put("b", GOOD)
    assert b.verdicts(1) == [("b", 0, "accepted", GOOD)]
    b.confirm.let_go()
    confirmed = b.feed.wait_verdicts(2)[1][1]
    assert (confirmed.label, confirmed.confirmed) == (BAD, True)


@pytest.mark.parametrize(("label", "percent"), [(BAD, 95), (BAD, 60), (GOOD, 40)])
def test_the_confirming_engine_has_the_last_word(bench, label, percent):
    b = bench(confirm=True, count=2)

    def otherwise(rows):
        rows = np.zeros_like(rows)
        rows[:, CLASSES.index("jpeg")] = 1
        return rows

    b.confirm.faults.append(otherwise)
    b.start("a")
    b.feed.put("a", label, percent)
    verdict = b.feed.wait_verdicts(1)[0][1]
    assert (verdict.outcome, verdict.label) == (Outcome.REJECTED, "jpeg")
    assert verdict.confirmed is True
    assert verdict.engine.name == "confirm"
    assert verdict.reasons[0].startswith("jpeg 1.000")
    assert verdict.reasons[1].startswith(f"screen: {label} 0.{percent}")
    assert b.confirm.submitted == [2]


def test_an_answer_too_late_changes_nothing_and_reads_no_slot(bench):
    b = bench(confirm=True, within_s=0.01)
    b.confirm.hold()
    b.start("a")
    b.feed.put("a", BAD)
    verdict = b.feed.wait_verdicts(1)[0][1]
    assert verdict.outcome is Outcome.REJECTED
    assert verdict.engine.name == "screen"
    assert verdict.confirmed is False
    assert verdict.reasons[-1] == "not confirmed: no answer of confirm within 10 ms"
    # The slot is overwritten now; the late answer must come from the copy, and be ignored.
    late = []
    b.confirm.faults.append(lambda rows: late.append(rows) or rows)
    b.confirm.let_go()
    b.feed.put("a", GOOD)
    b.feed.wait_verdicts(2)
    assert late[0][0].argmax() == CLASSES.index(BAD)
    assert in_order(b.feed.verdicts)


def test_frames_behind_one_that_is_confirmed_wait_for_it(bench):
    b = bench(confirm=True)
    b.confirm.hold()
    b.start("a", "b")
    b.feed.put("a", BAD)
    b.confirm.wait_submitted(1)
    b.feed.put("a", GOOD)
    b.screen.wait_submitted(2)
    b.feed.put("b", GOOD)
    assert b.verdicts(1) == [("b", 0, "accepted", GOOD)]  # another camera does not wait
    b.confirm.let_go()
    assert b.verdicts(3)[1:] == [("a", 0, "rejected", BAD), ("a", 1, "accepted", GOOD)]


def test_of_a_live_camera_only_the_newest_waits_for_confirmation(bench):
    b = bench(confirm=True, slots=20)
    b.confirm.hold()
    b.start("a", "b", "c")
    b.feed.put("a", BAD)
    b.confirm.wait_submitted(1)
    for number in range(2, 5):  # one after the other, so that none is superseded
        b.feed.put("a", BAD)
        b.screen.wait_submitted(number)
        b.feed.wait_taken(number)
    b.feed.put("b", BAD)
    b.screen.wait_submitted(5)
    b.feed.put("c", GOOD)
    assert b.verdicts(1) == [("c", 0, "accepted", GOOD)]  # so all before it have been screened
    b.confirm.let_go()
    came = {(f.camera, f.sequence): v for f, v in b.feed.wait_verdicts(6)}
    assert [came["a", n].confirmed for n in range(4)] == [True, False, False, True]
    assert "a newer frame of this camera took its place" in came["a", 1].reasons[-1]
    assert came["b", 0].confirmed is True


def test_a_frame_that_a_trigger_asked_for_is_not_passed_over(bench):
    b = bench(confirm=True, slots=20)
    b.confirm.hold()
    b.start("a", "b")
    b.feed.put("a", BAD)
    b.confirm.wait_submitted(1)
    asked = Trigger("t1", "a", None, 0, 0, 0, 0)
    for number, triggers in ((2, (asked,)), (3, ()), (4, ())):
        b.feed.put("a", BAD, triggers=triggers)
        b.screen.wait_submitted(number)
        b.feed.wait_taken(number)
    b.feed.put("b", GOOD)
    assert b.verdicts(1) == [("b", 0, "accepted", GOOD)]  # so all before it have been screened
    b.confirm.let_go()
    came = {(f.camera, f.sequence): v for f, v in b.feed.wait_verdicts(5)}
    assert [came["a", n].confirmed for n in range(4)] == [True, True, False, True]


def test_frames_of_files_are_all_confirmed(bench):
    b = bench(confirm=True, slots=8, within_s=WAIT_S)
    b.start("a")
    for _ in range(8):
        b.feed.put("a", BAD, fifo=True)
    assert [v.confirmed for _, v in b.feed.wait_verdicts(8)] == [True] * 8


def test_when_everything_is_bad_the_station_does_not_fall_behind(bench):
    b = bench(confirm=True, slots=6)
    b.confirm.hold()  # it never answers, and the time for it is an hour
    b.start("a")
    for number in range(1, 31):
        while b.feed.put("a", BAD) is None:
            time.sleep(0.001)
        b.feed.wait_taken(number)
    # Every frame but the last few that may still wait has its verdict.
    came = b.feed.wait_verdicts(30 - 4)
    assert in_order(came)
    assert all(v.confirmed is False for _, v in came)
    assert len(b.confirm.submitted) == 1


def test_a_failure_of_the_confirming_engine_leaves_the_screens_verdict(bench):
    b = bench(confirm=True)
    b.confirm.faults.append(EngineError("the confirming engine broke"))
    b.start("a")
    b.feed.put("a", BAD)
    verdict = b.feed.wait_verdicts(1)[0][1]
    assert (verdict.outcome, verdict.confirmed) == (Outcome.REJECTED, False)
    assert "the confirming engine broke" in verdict.reasons[-1]


def test_a_frame_too_small_for_the_confirming_engine_stands(bench, tmp_path):
    from tests.engine import tiny_engine

    b = bench(confirm=True)
    larger = tiny_engine.make(tmp_path, "larger", size=80)
    b.judge = Judge(
        b.feed,
        b.judge._screen,
        engine_of(larger, b.confirm),
        max_batch=16,
        max_delay_s=0,
        confirm_within_s=LONG_S,
        on_verdict=b.feed.on_verdict,
    )
    b.start("a")
    b.feed.put("a", BAD)
    verdict = b.feed.wait_verdicts(1)[0][1]
    assert verdict.confirmed is False
    assert "smaller than one tile of 80x80" in verdict.reasons[-1]


def test_stop_finishes_what_was_taken(bench):
    b = bench(confirm=True, slots=20)
    b.screen.hold()
    b.start("a")
    b.feed.put("a", BAD)
    b.feed.put("a", BAD, fifo=True)
    b.screen.wait_submitted(1)
    stopping = threading.Thread(target=b.judge.stop, args=(WAIT_S,))
    stopping.start()
    b.screen.let_go()
    stopping.join(WAIT_S)
    assert not stopping.is_alive()
    taken = len(b.feed.taken)
    assert len(b.feed.verdicts) == taken
    assert all(v.outcome is Outcome.REJECTED for _, v in b.feed.verdicts)
    b.feed.put("a", BAD)
    b.judge.stop(0)
    assert len(b.feed.taken) == taken


def test_stop_delivers_even_what_the_engine_never_answers(bench):
    b = bench(confirm=True, slots=20)
    b.confirm.hold()
    b.start("a", "b")
    b.feed.put("b", BAD)
    b.confirm.wait_submitted(1)
    b.screen.hold()
    b.feed.put("a", BAD)
    b.screen.wait_submitted(2)
    b.judge.stop(0.05)
    came = {f.camera: v for f, v in b.feed.verdicts}
    assert came["a"].cause is Cause.ENGINE_ERROR
    assert "no answer before the station stopped" in came["a"].reasons[0]
    assert (came["b"].outcome, came["b"].confirmed) == (Outcome.REJECTED, False)


def test_stop_before_start_returns(bench):
    bench().judge.stop(1)


def test_an_engine_that_hangs_stops_the_progress(bench):
    b = bench()
    b.screen.hold()
    b.start("a")
    b.feed.put("a", GOOD)
    b.screen.wait_submitted(1)
    since = time.monotonic_ns()
    turned = threading.Event()
    while not turned.wait(0.01):
        if min(b.judge._judge_turn_ns, b.judge._intake_turn_ns) > since:
            turned.set()
    assert b.judge.progress_ns() <= since
    b.screen.let_go()
    b.feed.wait_verdicts(1)
    for _ in range(int(WAIT_S / 0.01)):
        if b.judge.progress_ns() > since:
            break
        time.sleep(0.01)
    assert b.judge.progress_ns() > since


def test_many_cameras_under_load_lose_nothing(bench):
    b = bench(confirm=True, slots=4, within_s=0.02, count=2)
    cameras = [f"cam-{n}" for n in range(5)]
    b.start(*cameras)
    labels = [GOOD, BAD, "wn", GOOD, "jpeg"]
    wanted = {}
    for number in range(200):
        camera, label = cameras[number % 5], labels[number * 7 % 5]
        sequence = b.feed.put(camera, label, fifo=number % 5 == 0)
        wanted[camera, sequence] = label
    b.feed.wait_verdicts(1)
    b.judge.stop(WAIT_S)
    came = b.feed.verdicts
    assert sorted((f.camera, f.sequence) for f, _ in came) == sorted(b.feed.taken)
    assert in_order(came)
    for frame, verdict in came:
        assert verdict.label == wanted[frame.camera, frame.sequence]
