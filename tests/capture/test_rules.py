"""What needs no process: lateness, back-off, books, mailbox, leases, sources by themselves."""

from __future__ import annotations

import itertools
import random
import time

import numpy as np
import pytest

from inspector.addresses import without_passwords
from inspector.capture.audit import Audit
from inspector.capture.backoff import Backoff, Pace
from inspector.capture.counters import ARRIVED, NOT_DUE, CounterPage
from inspector.capture.lateness import Freshness, GapRule, LagRule
from inspector.capture.leases import Lease, Leases
from inspector.capture.mailbox import Mailbox
from inspector.capture.sources.base import Arrival, DamagedPicture, SourceError
from inspector.capture.sources.device import DeviceSource
from inspector.capture.sources.pattern import GBLUR_SIGMA_PX, PatternSource, paint_belt, spoil
from inspector.capture.sources.rtsp import RtspSource, with_credentials
from inspector.frame import Frame
from inspector.slots import Ring


class TakeAll:
    """An intake without a worker: counts, and never waits."""

    def __init__(self) -> None:
        self.arrivals = []
        self.paused = []
        self.lost = 0

    def arrive(self, pts_s=None, read_s=0.0):
        self.arrivals.append(Arrival(len(self.arrivals), time.monotonic_ns(), 0, pts_s, read_s))
        return self.arrivals[-1]

    def lose(self, frames):
        self.lost += frames

    def pause(self, seconds):
        self.paused.append(seconds)


# -- lateness ------------------------------------------------------------------------------------


def test_lag_beyond_the_least_is_stale():
    rule = LagRule(0.5)
    late = [rule.stale(100 + k * 0.1, k * 0.1) for k in range(50)]
    assert not any(late)
    assert rule.stale(105.0 + 0.6, 5.0)
    assert not rule.stale(105.1 + 0.4, 5.1)


def test_slow_clock_drift_is_no_lag():
    rule = LagRule(0.5)
    # 0.5 % too slow: 9 s of drift in half an hour.
    assert not any(rule.stale(k * 0.1, k * 0.1 * 0.995) for k in range(18_000))


def test_a_camera_that_sets_its_clock_is_not_stale_for_ever():
    rule = LagRule(0.5)
    assert not any(rule.stale(k * 0.1, 1000 + k * 0.1) for k in range(100))
    assert not any(rule.stale(10 + k * 0.1, k * 0.1) for k in range(100))


def test_least_lag_is_forgotten_after_the_window():
    rule = LagRule(0.5, window_s=60)
    rule.stale(0.0, 0.0)
    assert rule.stale(30.0, 29.0), "one second more lag than at first"
    assert not rule.stale(61.5, 60.5), "for a minute that is how it has been"


def test_without_time_stamps_what_a_long_read_gives_is_stale_and_its_queue():
    rule = GapRule(timeout_s=2.0)
    now = 100.0
    for _ in range(20):
        now += 0.1
        assert not rule.stale(now, 0.09)
    now += 1.5
    assert rule.stale(now, 1.5), "longer than half the deadline"
    for _ in range(4):
        now += 0.001
        assert rule.stale(now, 0.001), "what had queued up behind it"
    now += 0.1
    assert not rule.stale(now, 0.1), "one interval passed normally"


def test_a_slow_source_is_not_stalled():
    rule = GapRule(timeout_s=2.0)
    assert [rule.stale(100 + 1.2 * k, 0.9) for k in range(10)] == [False] * 10
    rule = GapRule(timeout_s=2.0)
    assert [rule.stale(100 + 1.3 * k, 1.25) for k in range(10)] == [False] * 10


@pytest.mark.parametrize("every_s", [1 / 60, 1 / 30, 0.2])
def test_a_device_that_takes_its_time_to_begin_is_not_stalled(every_s):
    """To switch a camera's stream on and set its exposure may take a second."""
    fresh = Freshness(max_age_s=0.5, timeout_s=2.0)
    assert not fresh.stale(100.0, None, 1.3)
    later = [100 + every_s * k for k in range(1, 100)]
    assert [fresh.stale(now, None, every_s * 0.9) for now in later] == [False] * 99


def test_a_delay_that_stays_is_hopeless_and_one_that_passes_is_not():
    fresh = Freshness(max_age_s=0.5, timeout_s=2.0)
    for k in range(100):
        assert not fresh.stale(k * 0.1, k * 0.1, 0.09)
    for k in range(100, 140):
        assert fresh.stale(k * 0.1 + 3, k * 0.1, 0.09)
    assert not fresh.hopeless
    assert not fresh.stale(17.0, 16.9, 0.01)
    late = [fresh.stale(k * 0.1 + 3, k * 0.1, 0.09) for k in range(170, 271)]
    assert all(late)
    assert fresh.hopeless


def test_a_device_that_slows_down_for_good_after_a_pause_is_hopeless():
    """In the dark some cameras give a quarter of their rate: no interval is usual any more."""
    fresh = Freshness(max_age_s=0.5, timeout_s=2.0)
    now = 0.0
    for _ in range(50):
        now += 0.03
        assert not fresh.stale(now, None, 0.02)
    now += 1.2
    assert fresh.stale(now, None, 1.2)
    while now < 12.0:
        assert not fresh.hopeless
        now += 0.15
        assert fresh.stale(now, None, 0.14)
    while now < 13.0:
        now += 0.15
        fresh.stale(now, None, 0.14)
    assert fresh.hopeless


def test_a_read_at_its_deadline_gives_nothing_new():
    fresh = Freshness(max_age_s=100.0, timeout_s=2.0)
    assert not fresh.stale(1.0, 1.0, 1.7)
    assert fresh.stale(3.0, 3.0, 1.8)


# -- back-off ------------------------------------------------------------------------------------


def test_backoff_doubles_to_its_bound_and_never_ends():
    class Most(random.Random):
        def uniform(self, a, b):
            return b

    backoff = Backoff(Pace(), Most())
    delays = [backoff.next_s() for _ in range(100)]
    assert delays[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert set(delays[6:]) == {10.0}
    backoff.ran(1.0)
    assert backoff.next_s() == 10.0, "a short connection is no success"
    backoff.ran(20.0)
    assert backoff.next_s() == 0.5
    assert backoff.next_s(slow=True) == pytest.approx(36.0)


def test_jitter_spreads_cameras():
    delays = {round(Backoff(Pace(), random.Random(k)).next_s(), 3) for k in range(32)}
    assert len(delays) > 25
    assert all(0 <= d <= 0.5 for d in delays)


def test_restart_budget():
    backoff = Backoff(Pace(crashes=3, crashes_within_s=60), random.Random(1))
    assert [backoff.crashed(t) for t in (0, 100, 130, 150, 155)] == [
        False,
        False,
        False,
        True,
        True,
    ]


# -- books ---------------------------------------------------------------------------------------


def test_audit_over_two_workers():
    audit = Audit()
    page = CounterPage.create()
    audit.open(page)
    page.words[ARRIVED] += 5
    page.words[NOT_DUE] += 1
    audit.received()
    audit.received()
    audit.released("judged")
    counters = audit.counters()
    assert (counters.frames_in, counters.judged, counters.in_flight) == (5, 1, 3)
    assert audit.close("worker_lost") == 2
    page.close()
    second = CounterPage.create()
    audit.open(second)
    second.words[ARRIVED] += 1
    audit.released("superseded")
    counters = audit.counters()
    assert counters.frames_in == 6
    assert counters.dropped["worker_lost"] == 2
    assert counters.dropped["superseded"] == 1
    assert counters.in_flight == 1
    assert counters.frames_in == counters.judged + sum(counters.dropped.values()) + 1
    second.close()


def frame(sequence, *, fifo=False):
    return Frame("a", 0, sequence, 1, 1, 0, 0, 0, fifo=fifo)


def test_mailbox_of_a_live_camera_keeps_the_newest():
    box = Mailbox()
    assert box.put(frame(1)) == []
    assert [f.sequence for f in box.put(frame(2))] == [1]
    assert box.take().sequence == 2
    assert box.take() is None


def test_mailbox_of_files_keeps_all_in_order():
    box = Mailbox()
    for k in range(3):
        assert box.put(frame(k, fifo=True)) == []
    assert [box.take().sequence for _ in range(3)] == [0, 1, 2]


def test_leases_are_kept_while_frames_are_out():
    leases = Leases()
    ring = Ring.create("a/0", slots=2, max_pixels=100)
    leases.add(Lease(0, ring))
    leases.current.out[5] = 0
    leases.retire()
    assert leases.sweep() == []
    leases.get(0).out.pop(5)
    assert [lease.epoch for lease in leases.sweep()] == [0]
    assert len(leases) == 0
    ring.close()


# -- pattern -------------------------------------------------------------------------------------


def pattern(**more):
    source = {"fps": 10, "height": 96, "width": 128, "seed": 1, "period_s": 60, "faults": []}
    return PatternSource(source | more)


def test_pattern_is_the_same_for_the_same_seed():
    one, two, other = pattern(), pattern(), pattern(seed=2)
    for number in (0, 1, 57):
        assert (one.frame(number) == two.frame(number)).all()
    assert (one.frame(0) != other.frame(0)).any()


def test_pattern_moves_without_a_seam():
    source = pattern()
    frames = [source.frame(k).astype(int) for k in range(200)]
    for a, b in itertools.pairwise(frames):
        assert (a[:, 8:] == b[:, :-8]).all(), "the belt moves by 8 pixels"


def test_pattern_faults_come_and_go():
    faults = [{"label": "gblur", "severity": 4, "from_s": 2, "to_s": 3}]
    source, clean = pattern(faults=faults, period_s=10), pattern()
    for number, faulty in ((19, False), (20, True), (29, True), (30, False), (120, True)):
        same = (source.frame(number) == clean.frame(number)).all()
        assert bool(same) != faulty, number


@pytest.mark.parametrize("label", ["gblur", "motion_blur", "wn", "jpeg", "bad_lighting"])
def test_pattern_faults_grow_with_severity(label):
    belt = paint_belt(96, 128, 1)
    errors = [
        np.abs(
            spoil(belt, label, s, np.random.default_rng(1)).astype(float) - belt.astype(float)
        ).mean()
        for s in range(1, len(GBLUR_SIGMA_PX) + 1)
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0.5


def test_pattern_has_a_natural_spectrum():
    """Amplitude falls about as one over the frequency (Field, 1987), and detail goes to the end."""
    picture = paint_belt(256, 512, 1)[:, :256].mean(axis=2)
    power = np.abs(np.fft.fft2(picture - picture.mean())) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    edges = np.geomspace(0.02, 0.45, 12)
    mean = [power[(radius >= a) & (radius < b)].mean() for a, b in itertools.pairwise(edges)]
    slope = np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(mean), 1)[0]
    assert -3.0 < slope < -1.2


# -- device --------------------------------------------------------------------------------------


class FakeDevice:
    """What a V4L2 device does, as far as OpenCV shows it."""

    def __init__(self, size=(64, 48), frames=3, opens=True) -> None:
        self.size = size
        self.frames = frames
        self.opens = opens
        self.asked = {}
        self.released = False

    def isOpened(self):  # noqa: N802
        return self.opens

    def set(self, key, value):
        self.asked[key] = value
        return True

    def get(self, key):
        return {3: self.size[0], 4: self.size[1], 5: 30.0}[key]

    def grab(self):
        self.frames -= 1
        return self.frames >= 0

    def retrieve(self):
        if self.frames == 1:
            return False, None
        return True, np.full((self.size[1], self.size[0], 3), self.frames, np.uint8)

    def release(self):
        self.released = True


def device(fake, **more):
    source = {"kind": "device", "path": "/dev/null", "read_timeout_s": 2.0, **more}
    return DeviceSource({"source": source}, lambda _path: fake)


def test_device_gives_frames_and_says_when_it_ends():
    fake = FakeDevice()
    source = device(fake, fourcc="MJPG", width=64, height=48, fps=30)
    source.open()
    assert fake.asked[6] == 1196444237.0
    assert source.fps == 30.0
    taken = TakeAll()
    pictures = source.pictures(taken)
    out = np.zeros((10, 20, 3), np.uint8)
    next(pictures).write(out, 5, 5)
    assert (out == 2).all()
    with pytest.raises(DamagedPicture, match="cannot be decoded"):
        next(pictures).write(out, 0, 0)
    next(pictures)
    with pytest.raises(SourceError, match="gave no picture") as failure:
        next(pictures)
    assert failure.value.cause == "ended"
    assert len(taken.arrivals) == 3
    source.close()
    assert fake.released


@pytest.mark.parametrize(
    ("fake", "more", "cause", "text"),
    [
        (FakeDevice(opens=False), {}, "refused", "cannot be opened"),
        (FakeDevice(size=(640, 480)), {"width": 1920}, "codec", "gives 640x480"),
        (FakeDevice(), {"path": "/dev/no-such-camera"}, "not_found", "plugged in"),
        (FakeDevice(), {"path": "/etc/hostname"}, "codec", "is not a device"),
    ],
)
def test_device_that_cannot_be_opened(fake, more, cause, text):
    source = device(fake, **more)
    with pytest.raises(SourceError, match=text) as failure:
        source.open()
    assert failure.value.cause == cause


def test_real_opencv_refuses_what_is_no_camera():
    source = DeviceSource({"source": {"path": "/dev/null", "read_timeout_s": 1.0}})
    with pytest.raises(SourceError) as failure:
        source.open()
    assert failure.value.cause == "refused"


def test_missing_device_is_named_and_tried_again(rig):
    rig = rig({"a": {"source": {"kind": "device", "path": "/dev/video-none"}}}).start()
    status = rig.until_state("lost", cause="not_found")
    assert "/dev/video-none" in status.detail
    rig.until(lambda: sum(rig.status().restarts.values()) >= 2, "another try")


def test_credentials_in_addresses_are_quoted():
    assert with_credentials("rtsp://h:554/a", "u:1", "p@/") == "rtsp://u%3A1:p%40%2F@h:554/a"
    assert with_credentials("rtsp://h/a", None, None) == "rtsp://h/a"


def test_a_password_in_the_path_is_shown_to_nobody():
    url = "rtsp://10.0.0.21/user=op_password=s3cret_channel=1?PWD=s3cret&x=1#token=s3cret"
    assert "s3cret" not in without_passwords(url)
    assert without_passwords(url).startswith("rtsp://10.0.0.21/user=op_password=***_channel=1")
    assert without_passwords("rtsp://h/passage=1") == "rtsp://h/passage=1"
    source = {"url": "rtsp://127.0.0.1:9/password=s3cret", "transport": "tcp"}
    settings = {"source": {**source, "open_timeout_s": 1, "read_timeout_s": 1}}
    with pytest.raises(SourceError, match=r"password=\*\*\* cannot be reached"):
        RtspSource(settings, None, None).open()
