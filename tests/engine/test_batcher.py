"""How long a batch waits, on a clock that the test moves."""

from __future__ import annotations

from inspector.engine.batcher import Arrivals, Batcher
from inspector.frame import Frame


class ScriptedFeed:
    """Frames at given times (seconds); waiting moves the clock to the next one."""

    def __init__(self, *arrivals):
        self.now = 0.0
        self.waits = []
        self._coming = sorted(arrivals)

    def clock(self):
        return self.now

    def wait(self, timeout_s):
        self.waits.append(timeout_s)
        end = self.now + timeout_s
        due = self._coming[0][0] if self._coming else float("inf")
        self.now = min(max(self.now, due), end)
        return due <= end

    def take(self, most):
        ready = [a for a in self._coming if a[0] <= self.now][:most]
        self._coming = self._coming[len(ready) :]
        return [Frame(camera, 1, 0, 0, 0, 0, 0, 0) for _, camera in ready]


def batches(feed, count, *, most=4, max_delay_s=0.005):
    batcher = Batcher(feed, max_delay_s=max_delay_s, clock=feed.clock)
    came = []
    for _ in range(count):
        frames = batcher.next(1.0, most)
        came.append((round(feed.now, 4), "".join(f.camera for f in frames)))
    return came


def test_a_single_camera_is_never_kept_waiting():
    feed = ScriptedFeed(*((n * 0.04, "a") for n in range(5)))
    assert batches(feed, 5) == [(0.0, "a"), (0.04, "a"), (0.08, "a"), (0.12, "a"), (0.16, "a")]


def test_a_batch_waits_for_a_camera_that_is_due():
    a = [(n * 0.04, "a") for n in range(4)]
    b = [(n * 0.04 + 0.003, "b") for n in range(4)]
    came = batches(ScriptedFeed(*a, *b), 5)
    assert came[:2] == [(0.0, "a"), (0.003, "b")]  # nothing is known of them yet
    # b's interval is not known at the second a; from the third on they travel together.
    assert came[-1][1] == "ab"


def test_a_batch_does_not_wait_for_a_camera_that_is_not_due():
    a = [(n * 0.04, "a") for n in range(5)]
    b = [(n * 0.04 + 0.02, "b") for n in range(5)]
    came = batches(ScriptedFeed(*a, *b), 8)
    assert [frames for _, frames in came] == ["a", "b"] * 4
    assert [at for at, _ in came] == [round(n * 0.02, 4) for n in range(8)]


def test_a_batch_does_not_wait_longer_than_its_delay_or_for_a_camera_that_has_gone():
    a = [(n * 0.04, "a") for n in range(10)]
    b = [(n * 0.04 + 0.003, "b") for n in range(3)]  # then it dies
    came = batches(ScriptedFeed(*a, *b), 10)
    waited = [round(at - round(at / 0.04) * 0.04, 4) for at, frames in came if frames == "a"]
    assert max(waited) <= 0.005
    assert waited[-2:] == [0.0, 0.0]


def test_a_full_batch_goes_at_once():
    feed = ScriptedFeed(*((0.0, c) for c in "abcdef"), *((0.001, c) for c in "gh"))
    assert batches(feed, 2) == [(0.0, "abcd"), (0.0, "ef")]


def test_nothing_in_time_is_an_empty_batch():
    feed = ScriptedFeed((5.0, "a"))
    assert batches(feed, 1) == [(1.0, "")]


def test_no_delay_means_no_wait():
    a = [(n * 0.04, "a") for n in range(4)]
    b = [(n * 0.04 + 0.001, "b") for n in range(4)]
    came = batches(ScriptedFeed(*a, *b), 8, max_delay_s=0.0)
    assert [frames for _, frames in came] == ["a", "b"] * 4


def test_arrivals_follow_a_changing_rate():
    arrivals = Arrivals()
    for n in range(20):
        arrivals.saw("a", n * 1.0)
    assert not arrivals.expected(19.5, without=())
    assert arrivals.expected(20.0, without=())
    assert not arrivals.expected(20.0, without={"a"})
    for n in range(20):
        arrivals.saw("a", 19 + n * 0.1)
    assert arrivals.expected(21.0 + 0.15, without=())
    assert not arrivals.expected(60.0, without=())


def test_cameras_that_were_removed_are_not_remembered_for_ever():
    arrivals = Arrivals()
    for n in range(1000):
        arrivals.saw(f"renamed-{n}", n)
        arrivals.saw("stays", n + 0.5)
    assert len(arrivals._last) == len(arrivals._interval) + 255 == 256
    assert arrivals.expected(1000.6, without=())
