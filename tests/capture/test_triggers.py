"""How a trigger finds its frame: over the worker's socket, in time, once, and past every fault."""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import pytest

from inspector.capture import wire, worker
from inspector.capture.asks import MOST_WAITING, Asks, NoFramesError
from inspector.capture.backoff import Pace
from inspector.capture.counters import NOT_DUE, CounterPage
from inspector.capture.mailbox import Mailbox
from inspector.capture.sources.base import Picture
from inspector.config.cameras import Camera
from inspector.frame import Frame, Trigger
from inspector.slots import Ring

PATTERN = {"kind": "pattern", "width": 128, "height": 96, "fps": 40}
ON_TRIGGER = {"on_trigger": True, "deadline_ms": 20_000}


def triggered(**more):
    return {"source": PATTERN, "inspect": ON_TRIGGER, **more}


def trigger(number, from_ns, until_ns):
    return Trigger(str(number), "a", None, 0, 0, from_ns, until_ns)


def answered(rig):
    """Trigger ids to the frames that bear them."""
    frames = {}
    for frame in list(rig.frames):
        for one in frame.triggers:
            assert one.id not in frames, "a trigger has one frame"
            frames[one.id] = frame
    return frames


# -- the rule ------------------------------------------------------------------------------------


def test_a_frame_answers_all_that_asked_for_its_time_and_each_once():
    asks = Asks()
    for number, span in enumerate([(10, 50), (20, 50), (30, 50)]):
        asks.add(trigger(number, *span))
    assert not asks.want(9)
    assert asks.take(9) == ()
    assert asks.want(20)
    assert [t.id for t in asks.take(20)] == ["0", "1"]
    assert not asks.want(20)
    assert [t.id for t in asks.take(31)] == ["2"]


def test_what_arrives_after_the_deadline_is_not_asked_for():
    asks = Asks()
    asks.add(trigger(0, 10, 50))
    assert asks.want(50)
    assert not asks.want(51)
    assert asks.take(51) == ()
    assert asks.clear() == ()


def test_triggers_that_nobody_answers_do_not_gather():
    asks = Asks()
    for number in range(10 * MOST_WAITING):
        asks.add(trigger(number, 10, 50))
    left = asks.clear()
    assert len(left) == 2 * MOST_WAITING
    assert left[-1].id == str(10 * MOST_WAITING - 1)


def test_a_frame_that_was_asked_for_or_alone_shows_a_part_is_never_superseded():
    def frame(sequence, *triggers, part=0):
        return Frame("a", 0, sequence, 4, 4, 0, 0, 0, triggers=triggers, part=part)

    box = Mailbox()
    box.put(frame(0, trigger(0, 0, 9)))
    assert box.put(frame(1)) == []
    assert [f.sequence for f in box.put(frame(2))] == [1]
    assert [f.sequence for f in box.put(frame(3, trigger(1, 0, 9)))] == [2]
    assert box.put(frame(4, part=1)) == box.put(frame(5, part=2)) == []
    assert [box.take().sequence for _ in range(4)] == [0, 3, 4, 5]


# -- the worker ----------------------------------------------------------------------------------


class Scripted:
    """A live source whose frames the test lets out one by one."""

    live, one_size, fps = True, True, None

    def __init__(self):
        self.next = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)
        self.decoded = threading.Semaphore(0)
        self.arrivals = []

    def open(self):
        pass

    def close(self):
        pass

    def pictures(self, intake):
        while True:
            self.next.acquire()
            self.arrivals.append(intake.arrive(float(len(self.arrivals))))
            self.arrived.release()
            self.decoded.acquire()
            yield Picture(self.arrivals[-1], 8, 8, lambda out, y, x: out.fill(1))


@pytest.fixture
def inner(monkeypatch):
    """A worker in a thread of this process, its source, the supervisor's end and its counters."""
    source = Scripted()
    monkeypatch.setattr(worker, "make_source", lambda *_: source)
    ours, theirs = wire.pair()
    page = CounterPage.create()

    def run():
        try:
            worker.Worker(theirs, page).run()
        except worker.Stopped:
            theirs.close()

    thread = threading.Thread(target=run)
    thread.start()
    ring = Ring.create("a/0", slots=2, max_pixels=64)
    camera = Camera.model_validate(triggered(slots=2)).model_dump(mode="json")
    settings = camera | {"name": "a", "counted": False}
    wire.send(ours, {"t": "settings", "camera": settings, "username": None, "password": None})
    go = {"t": "go", "epoch": 0, "slot_bytes": ring.slot_bytes}
    wire.send(ours, go, (os.dup(ring.fd),))
    source.next.release()
    source.decoded.release()  # a picture that nobody asked for: with it the camera runs
    assert [wire.receive(ours)[0]["t"] for _ in range(2)] == ["hello", "opened"]
    yield source, ours, page
    wire.send(ours, {"t": "stop"})
    source.next.release()
    source.decoded.release()
    thread.join(60)
    for thing in (ours, page, ring):
        thing.close()


def test_no_frame_from_after_a_triggers_moment_goes_while_the_ask_is_on_its_way(inner):
    source, end, page = inner
    while not page.read(NOT_DUE):
        time.sleep(0.001)
    wire.send(end, {"t": "hold"})
    moment = time.monotonic_ns()
    source.next.release()
    assert source.arrived.acquire(timeout=60)
    assert source.arrived.acquire(timeout=60)
    source.decoded.release()  # the worker decides on it from now on, and does not know the moment
    one = trigger(7, moment, moment + 10**11)
    time.sleep(0.05)  # the instant is the experiment
    wire.send(end, {"t": "ask", "trigger": {name: getattr(one, name) for name in one.__slots__}})
    said = [wire.receive(end)[0] for _ in range(2)]
    assert [message["t"] for message in said] == ["size", "frame"]
    assert said[1]["at"] == source.arrivals[1].arrived_ns >= moment
    assert page.read(NOT_DUE) == 1


# -- real workers --------------------------------------------------------------------------------


def test_without_a_trigger_nothing_is_judged(rig):
    rig = rig({"a": triggered()}).start()
    rig.until(lambda: rig.status().counters.dropped["not_due"] > 10, "frames")
    assert rig.frames == []
    assert rig.status().on_trigger


def test_each_trigger_gets_the_first_frame_that_arrives_after_its_delay(rig):
    rig = rig({"a": triggered(camera_delay_ms=120)}).start()
    rig.until_state("running")
    asked = rig.capture.ask("a", "t1", "part-1")
    assert rig.capture.awaits_frame(asked) or time.monotonic_ns() > asked.from_ns
    rig.until(lambda: rig.frames, "its frame")
    (frame,) = rig.frames
    assert frame.triggers == (asked,)
    assert asked.from_ns == asked.asked_ns + 120_000_000
    assert frame.arrived_ns >= asked.from_ns
    assert not rig.capture.awaits_frame(asked)
    assert not frame.fifo
    rig.until(lambda: rig.status().counters.judged == 1, "it to be counted")


def test_many_triggers_of_several_cameras_each_get_one_frame(rig):
    always = {"source": PATTERN, "inspect": {"deadline_ms": 20_000}}
    cameras = {"a": triggered(), "b": triggered(slots=2), "c": always}
    rig = rig(cameras).start()
    for name in cameras:
        rig.until_state("running", name)
    chance = random.Random(3)
    asked = {}
    for number in range(90):
        name = "abc"[number % 3]
        asked[str(number)] = rig.capture.ask(name, str(number), None)
        time.sleep(chance.uniform(0, 0.02))  # the instants are the experiment
        rig.check_books()
    rig.until(lambda: len(answered(rig)) == 90, "90 answers")
    for number, frame in answered(rig).items():
        assert frame.camera == asked[number].camera
        assert frame.arrived_ns >= asked[number].from_ns
    judged = [f for f in list(rig.frames) if f.camera in "ab"]
    assert all(f.triggers for f in judged), "nothing else is judged where a trigger is waited for"
    assert rig.missed == []


def test_on_a_camera_that_judges_all_the_time_the_first_due_frame_answers_and_stays(rig):
    rig = rig({"a": {"source": PATTERN, "inspect": {"deadline_ms": 20_000}}}).start(judge=False)
    rig.until_state("running")
    asked = rig.capture.ask("a", "t1", None)
    rig.until(lambda: not rig.capture.awaits_frame(asked), "its frame")
    before = rig.status().counters.dropped["superseded"]
    rig.until(lambda: rig.status().counters.dropped["superseded"] > before + 5, "newer frames")
    taken = rig.capture.take(8)
    assert [bool(frame.triggers) for frame in taken] == [True, False]
    assert taken[0].arrived_ns >= asked.from_ns
    assert taken[0].sequence < taken[1].sequence
    for frame in taken:
        rig.capture.release(frame, "judged")


def test_a_damaged_frame_answers_too(rig, tmp_path):
    (tmp_path / "0.jpg").write_bytes(b"\xff\xd8\xff nothing")
    source = {"kind": "images", "folder": str(tmp_path), "loop": True, "every_s": 0.02}
    rig = rig({"a": {"source": source, "inspect": ON_TRIGGER}}).start()
    rig.until_state("running")
    rig.capture.ask("a", "t1", None)
    rig.until(lambda: rig.frames, "its frame")
    assert rig.frames[0].damage.startswith("decode: ")
    assert [t.id for t in rig.frames[0].triggers] == ["t1"]


def test_triggers_of_a_camera_that_is_lost_are_told_at_once(rig):
    rig = rig({"a": triggered(camera_delay_ms=10_000)}).start()
    rig.until_state("running")
    for number in range(3):
        rig.capture.ask("a", str(number), None)
    os.kill(rig.pid(), signal.SIGKILL)
    rig.until(lambda: len(rig.missed) == 3, "the loss to be told")
    assert {cause for _, cause, _ in rig.missed} == {"camera_away"}
    assert "camera a gives no more pictures: it is lost; the worker" in rig.missed[0][2]
    rig.until(lambda: rig.status().stream_epoch == 1 and rig.status().state == "running", "return")
    assert rig.frames == []


def test_a_camera_without_frames_says_so(rig):
    pace = Pace(first_s=600, most_s=600, slow_s=600)  # it stays lost while we look
    rig = rig({"a": {"source": {"kind": "device", "path": "/dev/none"}}}, pace=pace).start()
    rig.until_state("lost")
    with pytest.raises(NoFramesError, match="camera a gives no pictures: it is lost; no camera at"):
        rig.capture.ask("a", "t1", None)
    with pytest.raises(KeyError):
        rig.capture.ask("b", "t1", None)


def test_a_stop_tells_of_all_that_wait_and_takes_no_more(rig):
    rig = rig({"a": triggered(camera_delay_ms=10_000), "b": triggered()}).start(judge=False)
    rig.until_state("running", "a")
    rig.until_state("running", "b")
    rig.capture.ask("a", "no frame yet", None)
    asked = rig.capture.ask("b", "not taken", None)
    rig.until(lambda: not rig.capture.awaits_frame(asked), "its frame")
    rig.capture.stop()
    assert {(t.id, cause) for t, cause, _ in rig.missed} == {
        ("no frame yet", "shutdown"),
        ("not taken", "shutdown"),
    }
    with pytest.raises(NoFramesError, match="the station is stopping"):
        rig.capture.ask("a", "t1", None)


@pytest.mark.parametrize("change", ["removed", "anew"])
def test_triggers_of_a_camera_that_is_changed_or_removed_are_told(rig, change):
    settings = {"a": triggered(camera_delay_ms=10_000), "b": triggered()}
    rig = rig(settings).start(judge=False)
    rig.until_state("running", "a")
    rig.until_state("running", "b")
    rig.capture.ask("a", "no frame yet", None)
    cameras = {name: Camera.model_validate(camera) for name, camera in settings.items()}
    if change == "removed":
        del cameras["a"]
        rig.capture.apply(cameras, first_epochs={}, anew=[])
    else:
        rig.capture.apply(cameras, first_epochs={}, anew=["a"])
    rig.until(lambda: rig.missed, "its trigger to be told")
    assert [(t.id, cause) for t, cause, _ in rig.missed] == [("no frame yet", "camera_away")]
    assert {"removed": "was removed", "anew": "connecting"}[change] in rig.missed[0][2]
    if change == "removed":
        with pytest.raises(KeyError):
            rig.capture.ask("a", "t2", None)
    else:
        rig.until_state("running", "a")
        rig.capture.ask("a", "t2", None)
    asked = rig.capture.ask("b", "t3", None)
    rig.until(lambda: not rig.capture.awaits_frame(asked), "the other camera's frame")


def test_killed_at_any_moment_no_trigger_is_answered_twice_and_the_books_hold(rig):
    rig = rig({"a": triggered(slots=2)}).start()
    chance = random.Random(5)
    asked, refused = {}, 0
    for kill in range(4):
        rig.until(lambda k=kill: rig.status().stream_epoch >= k, "the next epoch")
        rig.until_state("running")
        for _ in range(8):
            try:
                one = rig.capture.ask("a", str(len(asked)), None)
            except NoFramesError:
                refused += 1
                continue
            asked[one.id] = one
            time.sleep(chance.uniform(0, 0.02))  # the instant is the experiment
        rig.check_books()
        if kill < 3:
            os.kill(rig.pid(), signal.SIGKILL)
    rig.until(lambda: len(answered(rig)) + len(rig.missed) == len(asked), "all to be told")
    assert not {t.id for t, *_ in rig.missed} & set(answered(rig))
    assert len(asked) + refused == 32
