"""The seat: engines replaced, lost and brought back, while frames come without a pause."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import threading
import time
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from inspector.engine.judge import Judge
from inspector.engine.load import load_engine
from inspector.engine.manifest import read_manifest
from inspector.engine.occupant import Occupant
from inspector.engine.process.opening import open_engine
from inspector.engine.process.spec import OpenVinoSpec
from inspector.engine.recovery import Patience
from inspector.engine.seat import MOST_FAILURES, Seat
from inspector.errors import EngineError, EngineLostError
from inspector.verdict import Cause
from tests.engine import tiny_engine
from tests.engine.fakes import WAIT_S, FakeFeed, FakeRuntime, engine_of
from tests.engine.faulty import Faulty
from tests.engine.test_process import alive, until
from tests.engine.tiny_engine import CLASSES

SOON = Patience(first_s=0.01, most_s=0.05)
OTHER = (*CLASSES[1:], CLASSES[0])
"""Labels of another engine: what one calls `gblur` is `jp2k` to the other."""


class LosableRuntime(FakeRuntime):
    """A fake that can be lost, as a process can."""

    def __init__(self, name, **options):
        super().__init__(name, **options)
        self.lost = None
        self._calls = []

    def when_lost(self, call):
        if self.lost:
            call(self.lost)
        else:
            self._calls.append(call)

    def submit(self, tiles):
        future = super().submit(tiles)
        if self.lost:
            self.lose(self.lost)
        return future

    def lose(self, why="it was killed"):
        self.lost = why
        for call in self._calls:
            call(why)
        while self._waiting:
            self._waiting.popleft()[1].set_exception(EngineLostError(why))


class Bench:
    """A judge whose screen sits in a seat."""

    feed_of = FakeFeed

    def __init__(self, occupant, *, confirm=None, slots=6):
        self.changes = []
        self.feed = self.feed_of(CLASSES, slots=slots)
        self.seat = Seat(occupant, on_change=self.changes.append, patience=SOON)
        self.confirm = Seat(confirm, "confirm", on_change=self.changes.append) if confirm else None
        self.judge = Judge(
            self.feed,
            self.seat,
            self.confirm,
            max_batch=4,
            max_delay_s=0.0,
            confirm_within_s=3600,
            on_verdict=self.feed.on_verdict,
        )
        self.judge.map_ring(self.feed.ring("a"))
        self.judge.start()

    def put(self, count=1, label="gblur"):
        for _ in range(count):
            until(lambda: self.feed.put("a", label, fifo=True) is not None)

    def wait(self, count):
        verdicts = self.feed.wait_verdicts(count)
        judged = [f.sequence for f, _ in verdicts]
        assert judged == [number for _, number in self.feed.taken[: len(judged)]], "once, in order"
        return [v for _, v in verdicts]

    def words(self):
        return [change.word for change in self.changes]

    def close(self):
        self.judge.stop(WAIT_S)
        self.seat.close()
        if self.confirm:
            self.confirm.close()
        self.feed.close()


@pytest.fixture
def bench():
    made = []

    def make(occupant, **options):
        made.append(Bench(occupant, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Two engines that say other labels of the same picture."""
    folder = tmp_path_factory.mktemp("seats")
    return (
        tiny_engine.make(folder, "first", sampling={"count": 1}),
        tiny_engine.make(
            folder, "second", classes=OTHER, sampling={"count": 1}, thresholds={"accept": 0.6}
        ),
    )


@pytest.fixture
def fake(homes):
    def make(name="first", kind=LosableRuntime, home=0, **options):
        return engine_of(homes[home], kind(name, max_batch=2, **options), count=1)

    return make


def test_each_frame_is_judged_by_one_engine_with_that_engines_labels(bench, fake):
    first, second = fake(held=True), fake("second", home=1)
    b = bench(Occupant(first))
    b.put(1)
    first.runtime.wait_submitted(1)
    swap = threading.Thread(
        target=partial(b.seat.replace, Occupant(second), "asked", word="activated")
    )
    swap.start()
    until(lambda: b.seat.engine is second)
    b.put(2)
    second.runtime.wait_submitted(1)
    assert not first.runtime._closed, "its last batches are still with it"
    first.runtime.let_go()
    verdicts = b.wait(3)
    swap.join(WAIT_S)
    assert first.runtime._closed
    assert not second.runtime._closed
    by = [(v.engine.name, v.label) for v in verdicts]
    assert by == [("first", "gblur"), ("second", "jp2k"), ("second", "jp2k")]


def test_a_lost_engine_s_frames_are_judged_by_the_standby_and_a_fresh_one_takes_over(bench, fake):
    lost, standby, fresh = fake(held=True), fake("standby"), fake("fresh")
    gate = threading.Event()

    def revive():
        if not gate.is_set():
            raise EngineError("not yet")
        return fresh

    b = bench(Occupant(lost, standby, revive))
    b.put(2)
    lost.runtime.wait_submitted(1)
    lost.runtime.lose("it was killed by signal 9")
    b.put(3)
    verdicts = b.wait(5)
    assert {v.cause for v in verdicts} == {None}
    assert {v.label for v in verdicts} == {"gblur"}
    assert all(v.engine == replace(standby.runtime.info, degraded=True) for v in verdicts)
    assert b.seat.engine.degraded == "first on fake: it was killed by signal 9; fake stands in"
    gate.set()
    until(lambda: b.seat.engine is fresh)
    b.put(1)
    assert b.wait(6)[-1].engine == fresh.runtime.info
    assert b.seat.engine.degraded is None
    until(lambda: b.words() == ["lost", "restored"])
    until(lambda: lost.runtime._closed)
    assert not standby.runtime._closed


def test_what_comes_back_is_no_better_than_what_was_lost(bench, fake):
    """OpenVINO in a process of its own, where TensorRT was asked for and cannot be had."""
    lost, standby, fresh = fake(), fake("standby"), fake("fresh")
    second_best = replace(lost, degraded="fake judges, not tensorrt")
    b = bench(Occupant(second_best, standby, lambda: fresh))
    lost.runtime.lose()
    until(lambda: b.words() == ["lost", "restored"])
    assert b.seat.engine.runtime is fresh.runtime
    assert b.seat.engine.degraded == "fake judges, not tensorrt"


def test_who_has_the_seat_instead_of_another_says_so_until_he_leaves(bench, fake):
    lost, standby, fresh = fake(), fake("standby"), fake("fresh")
    b = bench(Occupant(lost, standby, lambda: fresh, instead="another was activated"))
    assert b.seat.engine.degraded == "another was activated"
    lost.runtime.lose()
    until(lambda: b.words() == ["lost", "restored"])
    assert b.seat.engine.degraded == "another was activated"
    b.seat.replace(Occupant(fake("other")), "asked", word="activated")
    assert b.seat.engine.degraded is None


def test_an_engine_that_cannot_be_opened_at_first_is_stood_in_for_and_comes(bench, fake):
    standby, fresh = fake("standby", kind=FakeRuntime), fake("fresh")
    gate = threading.Event()

    def revive():
        if not gate.is_set():
            raise EngineError("not yet")
        return fresh

    b = bench(Occupant(standby, standby, revive, lost="no sign of life"))
    assert b.seat.engine.degraded == "standby on fake: no sign of life; fake stands in"
    b.put(2)
    assert {v.label for v in b.wait(2)} == {"gblur"}
    gate.set()
    until(lambda: b.seat.engine is fresh)
    assert not standby.runtime._closed
    fresh.runtime.lose()
    b.put(1)
    assert b.wait(3)[-1].label == "gblur"


def test_without_a_standby_lost_frames_are_counted_until_a_fresh_engine_is_there(bench, fake):
    lost, fresh = fake(held=True), fake("fresh")
    gate = threading.Event()

    def revive():
        gate.wait(WAIT_S)
        return fresh

    b = bench(Occupant(lost, revive=revive))
    b.put(2)
    lost.runtime.wait_submitted(1)
    lost.runtime.lose()
    b.put(2)
    verdicts = b.wait(4)
    assert {v.cause for v in verdicts} == {Cause.ENGINE_ERROR}
    assert {v.reasons for v in verdicts} == {("it was killed",)}
    assert b.seat.engine.degraded == "it was killed"
    gate.set()
    until(lambda: b.seat.engine is fresh)
    b.put(1)
    assert b.wait(5)[-1].label == "gblur"


def test_a_fresh_engine_that_is_lost_at_once_is_replaced_again(bench, fake):
    standby = fake("standby")
    opened = []

    def revive():
        opened.append(fake(f"fresh-{len(opened)}"))
        if len(opened) < 4:
            opened[-1].runtime.lose("again")
        return opened[-1]

    b = bench(Occupant(fake(), standby, revive))
    b.seat.occupant.engine.runtime.lose()
    until(lambda: len(opened) == 4 and b.seat.engine is opened[3])
    b.put(1)
    assert b.wait(1)[0].engine.name == "fresh-3"
    until(lambda: all(one.runtime._closed for one in opened[:3]))


def test_a_single_batch_that_fails_is_judged_again_and_the_engine_stays(bench, fake):
    engine, standby = fake(), fake("standby")
    b = bench(Occupant(engine, standby))
    engine.runtime.faults.append(EngineError("out of memory"))
    b.put(1)
    b.wait(1)
    b.put(1)
    assert [v.engine.name for v in b.wait(2)] == ["standby", "first"]
    assert b.wait(2)[0].engine.degraded
    assert b.changes == []


@pytest.mark.parametrize("kind", ["an error", "no numbers", "another shape"])
def test_an_engine_that_goes_on_failing_leaves_the_seat_to_its_standby(bench, fake, kind):
    fault = {
        "an error": EngineError("out of memory"),
        "no numbers": lambda rows: np.full_like(rows, np.nan),
        "another shape": lambda rows: rows[:, :3],
    }[kind]
    engine, standby = fake(), fake("standby")
    b = bench(Occupant(engine, standby))
    engine.runtime.faults.extend([fault] * MOST_FAILURES)
    for n in range(MOST_FAILURES + 2):
        b.put(1)
        b.wait(n + 1)
    assert {v.engine.name for v in b.wait(MOST_FAILURES + 2)} == {"standby"}
    assert b.words() == ["lost"]
    assert f"{MOST_FAILURES} batches in a row failed" in b.seat.engine.degraded


def test_an_engine_that_nothing_can_stand_in_for_stays(bench, fake):
    engine = fake(kind=FakeRuntime)
    b = bench(engine)
    engine.runtime.faults.extend([EngineError("out of memory")] * 5)
    for n in range(6):
        b.put(1)
        b.wait(n + 1)
    assert [v.cause for v in b.wait(6)] == [Cause.ENGINE_ERROR] * 5 + [None]
    assert b.seat.engine is engine
    assert b.changes == []


@pytest.mark.parametrize("how", ["fails", "is lost"])
def test_an_activated_engine_that_goes_wrong_makes_room_for_the_one_before(bench, fake, how):
    first, second = fake(), fake("second", home=1)
    standby = fake("standby", home=1)
    b = bench(Occupant(first))
    b.seat.replace(Occupant(second, standby), "asked", word="activated", keep=True)
    assert b.seat.before is first
    b.put(1)
    assert b.wait(1)[0].label == "jp2k"
    if how == "fails":
        second.runtime.faults.extend([EngineError("out of memory")] * MOST_FAILURES)
        for n in range(MOST_FAILURES):
            b.put(1)
            b.wait(n + 2)
    else:
        second.runtime.hold()
        b.put(1)
        second.runtime.wait_submitted(2)
        second.runtime.lose()
    until(lambda: b.seat.engine is first)
    count = len(b.feed.verdicts)
    b.put(1)
    last = b.wait(count + 1)[-1]
    assert (last.engine.name, last.label) == ("first", "gblur")
    assert {v.cause for v in b.wait(count + 1)} == {None}
    until(lambda: second.runtime._closed and standby.runtime._closed)
    assert b.words() == ["activated", "rolled back"]
    assert [change.asked for change in b.changes] == [True, False]
    assert b.seat.before is None


@pytest.mark.parametrize("standby", [True, False])
def test_an_engine_that_has_proved_itself_is_lost_and_not_rolled_back(
    bench, fake, monkeypatch, standby
):
    """Where nothing could stand in for it, the one before is still better than none."""
    monkeypatch.setattr("inspector.engine.seat.PROVEN_S", 0.0)
    first, second = fake(), fake("second", home=1)
    b = bench(Occupant(first))
    stand_in = fake("standby", home=1) if standby else None
    b.seat.replace(Occupant(second, stand_in), "asked", word="activated", keep=True)
    second.runtime.lose()
    b.put(1)
    (verdict,) = b.wait(1)
    assert verdict.engine.name == ("standby" if standby else "first")
    assert b.words() == ["activated", "lost" if standby else "rolled back"]
    assert (b.seat.before is first) is standby


def test_an_upgrade_keeps_the_way_back(bench, fake):
    first, second, third = fake(), fake("second"), fake("third")
    b = bench(Occupant(first))
    b.seat.replace(Occupant(second), "asked", word="activated", keep=True)
    b.seat.replace(Occupant(third, standby=second), "its plan is ready", word="activated")
    assert b.seat.before is first
    b.seat.roll_back("asked")
    assert b.seat.engine is first
    assert second.runtime._closed
    assert third.runtime._closed


def test_rolling_back_by_command(bench, fake):
    first, second = fake(), fake("second", home=1)
    b = bench(Occupant(first))
    with pytest.raises(EngineError, match="screen: there is no engine to go back to"):
        b.seat.roll_back("asked")
    b.seat.replace(Occupant(second), "asked", word="activated", keep=True)
    b.seat.roll_back("asked")
    b.put(1)
    assert b.wait(1)[0].engine.name == "first"
    assert second.runtime._closed
    with pytest.raises(EngineError, match="no engine to go back to"):
        b.seat.roll_back("asked")


def test_one_engine_before_is_kept_and_no_more(bench, fake):
    engines = [fake(str(n)) for n in range(4)]
    b = bench(Occupant(engines[0]))
    for engine in engines[1:]:
        b.seat.replace(Occupant(engine), "asked", word="activated", keep=True)
    assert [one.runtime._closed for one in engines] == [True, True, False, False]
    b.seat.close()
    assert all(one.runtime._closed for one in engines)
    with pytest.raises(EngineError, match="the station stops"):
        b.seat.replace(Occupant(fake()), "asked", word="activated")


def test_what_served_becomes_the_standby_of_what_replaces_it(bench, fake):
    """As when a plan is ready: what judged meanwhile stands in for it from then on."""
    first, second = fake(), fake("second")
    b = bench(Occupant(first))
    b.seat.note("the plan is being built: 40 %")
    assert b.seat.engine.info.degraded
    b.put(1)
    assert b.wait(1)[0].engine.degraded
    b.seat.replace(Occupant(second, standby=first), "the plan is ready", word="activated")
    assert b.seat.engine.degraded is None
    assert not first.runtime._closed
    second.runtime.lose()
    b.put(1)
    assert b.wait(2)[1].engine == replace(first.runtime.info, degraded=True)


def test_an_engine_that_never_answers_holds_nobody_up(bench, fake, monkeypatch):
    monkeypatch.setattr("inspector.engine.seat.LEAVE_S", 0.05)
    stuck, second = fake(kind=FakeRuntime, held=True), fake("second")
    b = bench(Occupant(stuck))
    b.put(1)
    stuck.runtime.wait_submitted(1)
    b.seat.replace(Occupant(second), "asked", word="activated")
    assert not stuck.runtime._closed
    stuck.runtime.let_go()
    assert b.wait(1)[0].engine.name == "first"


def test_rings_that_come_and_go_are_known_to_whoever_judges(bench, fake):
    first, standby, second = fake(), fake("standby"), fake("second")
    b = bench(Occupant(first, standby))
    b.judge.map_ring(b.feed.ring("b"))
    b.seat.replace(Occupant(second, standby), "asked", word="activated", keep=True)
    for engine in (first, standby, second):
        assert set(engine.runtime._rings) == {"a/1", "b/1"}
    b.judge.unmap_ring("b/1")
    for engine in (first, standby, second):
        assert set(engine.runtime._rings) == {"a/1"}


def test_a_confirming_engine_with_other_tiles_takes_its_seat(bench, fake, homes, tmp_path):
    small = tiny_engine.make(tmp_path, "small", size=32, sampling={"count": 2})
    first, second = fake("first"), engine_of(small, LosableRuntime("small", max_batch=4))
    b = bench(Occupant(fake("screen")), confirm=Occupant(first))
    b.put(2)
    assert [(v.confirmed, v.engine.name) for v in b.wait(2)] == [(True, "first")] * 2
    b.confirm.replace(Occupant(second), "asked", word="activated", keep=True)
    b.put(2)
    assert [(v.confirmed, v.engine.name) for v in b.wait(4)[2:]] == [(True, "small")] * 2
    second.runtime.hold()
    b.put(1)
    second.runtime.wait_submitted(len(second.runtime.submitted) + 1)
    second.runtime.lose()  # its tiles are of another size than those that the first one looks at
    last = b.wait(5)[-1]
    assert (last.confirmed, last.engine.name) == (False, "screen")
    assert "not confirmed: it was killed" in last.reasons[-1]
    b.put(1)
    assert [(v.confirmed, v.engine.name) for v in b.wait(6)[5:]] == [(True, "first")]


# With real engines, in this process and in their own.


class Pictures(FakeFeed):
    """Pictures for the tiny engines; keeps little of each verdict, since memory is measured."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._kinds = {}

    def on_verdict(self, frame, verdict):
        kind = (verdict.engine, verdict.label, verdict.cause)
        kept = SimpleNamespace(engine=verdict.engine, label=verdict.label, cause=verdict.cause)
        with self._changed:
            assert self.taken.pop(0) == ("a", frame.sequence), "each once, in order"
            self.verdicts.append((None, self._kinds.setdefault(kind, kept)))
            self._give_back(frame)
            self._changed.notify_all()

    def paint(self, picture, label, percent):
        picture[:] = tiny_engine.colour_of(label)


class Load(Bench):
    """Frames without a pause; what came of them is held against what was put in."""

    feed_of = Pictures

    def __init__(self, occupant):
        super().__init__(occupant)
        self._ended = threading.Event()
        self._frames = 0
        self._feeder = threading.Thread(target=self._run, daemon=True)
        self._feeder.start()

    def _run(self):
        while not self._ended.is_set():
            if self.feed.put("a", "gblur", fifo=True) is None:
                time.sleep(0.001)
            else:
                self._frames += 1

    def more(self, count=2):
        """Wait for some more verdicts."""
        self.feed.wait_verdicts(len(self.feed.verdicts) + count)

    def finish(self):
        """All verdicts, once nothing comes any more: one a frame."""
        self._ended.set()
        self._feeder.join(WAIT_S)
        verdicts = self.feed.wait_verdicts(self._frames)
        assert len(verdicts) == self._frames
        assert self.feed.taken == []
        return [v for _, v in verdicts]

    def close(self):
        self._ended.set()
        self._feeder.join(WAIT_S)
        super().close()


@pytest.fixture
def load():
    made = []

    def make(occupant):
        made.append(Load(occupant))
        return made[-1]

    yield make
    for one in made:
        one.close()


def in_process(home):
    return load_engine(home, precision="fp32", threads=1)


def in_own_process(home, fault=None, flag=None):
    spec = Faulty(home, fault, flag) if fault else OpenVinoSpec(home, "fp32", 4, threads=1)
    return open_engine(read_manifest(home), spec)


SWAPS = 100
LEFT_MB = 0.3
"""Of each swap as much may stay in memory; the golden tiles of the tests' engine alone are more."""


def memory_mb(pid):
    """What a process has for itself; of this one without what the allocator merely holds back."""
    if pid == os.getpid():
        ctypes.CDLL(None).malloc_trim(0)
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def grown_mb(sizes):
    """From the twentieth to the fortieth of a hundred to the last twenty: sixty swaps later."""
    return np.median(sizes[80:], axis=0) - np.median(sizes[20:40], axis=0)


def agrees(verdicts):
    """Each verdict has the label that its engine has for the picture."""
    labels = {"first": "gblur", "second": "jp2k"}
    assert {(v.engine.name, v.label) for v in verdicts} <= set(labels.items())
    assert {v.cause for v in verdicts} == {None}
    return True


def test_a_hundred_engines_take_the_seat_under_load(load, homes):
    """No frame is dropped or judged twice, and nothing is left behind."""
    one = load(Occupant(in_process(homes[0])))
    sizes = []
    for n in range(SWAPS):
        engine = in_process(homes[(n + 1) % 2])
        one.seat.replace(Occupant(engine), "asked", word="activated", keep=n % 3 > 0)
        one.more()
        sizes.append(memory_mb(os.getpid()))
    verdicts = one.finish()
    assert agrees(verdicts)
    assert len(verdicts) >= 200
    assert {v.engine.name for v in verdicts} == {"first", "second"}
    assert grown_mb(sizes) < 60 * LEFT_MB, sizes


def test_a_hundred_swaps_between_two_processes_under_load(load, homes):
    first, second = (in_own_process(home) for home in homes)
    pids = [os.getpid(), first.runtime.pid, second.runtime.pid]
    one = load(Occupant(first, standby=second))
    sizes = []
    for n in range(SWAPS):
        pair = (first, second) if n % 2 else (second, first)
        one.seat.replace(Occupant(pair[0], standby=pair[1]), "asked", word="activated")
        one.more()
        sizes.append([memory_mb(pid) for pid in pids])
    assert agrees(one.finish())
    assert (grown_mb(sizes) < 60 * LEFT_MB).all(), sizes
    one.close()
    until(lambda: not any(map(alive, pids[1:])))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_fresh_processes_take_the_seat_under_load(load, homes):
    one = load(Occupant(in_own_process(homes[0])))
    ours, theirs, threads, files, gone = [], [], [], [], []
    for n in range(SWAPS):
        gone.append(weakref.ref(one.seat.engine.runtime))
        engine = in_own_process(homes[(n + 1) % 2])
        one.seat.replace(Occupant(engine), "asked", word="activated")
        one.more(10)
        ours.append(memory_mb(os.getpid()))
        theirs.append(memory_mb(engine.runtime.pid))
        threads.append(threading.active_count())
        files.append(len(list(Path("/proc/self/fd").iterdir())))
    assert agrees(one.finish())
    for sizes in (ours, theirs):
        assert grown_mb(sizes) < 60 * LEFT_MB, sizes
    # What memory tells roughly is counted: of all that left, nothing is there any more.
    until(lambda: gc.collect() is not None and [ref for ref in gone if ref() is not None] == [])
    assert max(threads[80:]) <= max(threads[20:40]), threads
    assert max(files[80:]) <= max(files[20:40]), files


FAULTS = (
    "segfaults",
    "never answers",
    "keeps the interpreter's lock",
    "sends garbage",
    "answers too many rows",
    "answers no numbers",
    "fails",
    "is lost",
    "killed",
    "stopped",
)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_process_that_goes_wrong_under_load_costs_no_frame(load, homes, tmp_path, fault):
    flag, home = tmp_path / "flag", homes[0]
    number = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}.get(fault)
    revive = partial(in_own_process, home, "fails" if number else fault, flag)
    engine, standby = revive(), in_process(home)
    one = load(Occupant(engine, standby, revive))
    one.more()
    if number:
        os.kill(engine.runtime.pid, number)
    else:
        flag.touch()
    until(lambda: one.seat.engine.degraded)
    one.more(10)
    flag.unlink(missing_ok=True)
    until(lambda: one.seat.engine.degraded is None)
    one.more(10)
    fresh = one.seat.occupant.engine
    assert fresh.runtime.pid != engine.runtime.pid
    until(lambda: one.words()[:2] == ["lost", "restored"])
    verdicts = one.finish()
    assert agrees(verdicts)
    assert {v.engine.degraded for v in verdicts} == {True, False}
    assert verdicts[-1].engine == fresh.info
    until(lambda: not alive(engine.runtime.pid))


def test_a_slow_process_is_waited_for_as_long_as_was_agreed(load, homes, tmp_path):
    """A busy machine makes an engine slow; that is no fault of it."""
    flag = tmp_path / "flag"
    engine = in_own_process(homes[0], "takes half a second", flag)
    engine.runtime.expect_answers_within(WAIT_S)
    one = load(Occupant(engine, in_process(homes[0])))
    flag.touch()
    one.more(5)
    flag.unlink()
    verdicts = one.finish()
    assert agrees(verdicts)
    assert {v.engine.degraded for v in verdicts} == {False}
    assert one.changes == []
