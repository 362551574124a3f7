"""Workers that are killed, hang or crash: the other cameras and the books do not notice."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from inspector.capture.asks import NoFramesError
from inspector.capture.backoff import Pace
from inspector.capture.counters import CounterPage
from inspector.capture.process import WorkerProcess
from inspector.capture.status import DROP_CAUSES
from inspector.config.cameras import Camera
from inspector.slots import Ring
from tests.capture.conftest import QUICK, Rig
from tests.descriptors import large_descriptors

PATTERN = {"kind": "pattern", "width": 128, "height": 96, "fps": 40}


def pattern(**more):
    return {"source": PATTERN, **more}


def test_kill_9_restarts_one_camera_and_leaves_the_other_alone(rig):
    rig = rig({"a": pattern(), "b": pattern()}, first_epochs={"a": 3}).start()
    rig.until_frames(5, "a")
    rig.until_frames(5, "b")
    os.kill(rig.pid("a"), signal.SIGKILL)
    rig.until(lambda: ("a", 4) in rig.epochs, "the next epoch")
    rig.until(lambda: any(f.stream_epoch == 4 for f in rig.good("a")), "a frame of it")
    assert rig.status("a").restarts == {"crashed": 1}
    assert "signal 9" in next(s.detail for s in rig.changes if s.cause == "crashed")
    assert rig.status("b").restarts == {}
    gaps = [f.sequence for f in rig.good("b")]
    assert gaps == sorted(gaps)
    assert {e for n, e in rig.epochs if n == "b"} == {0}


def test_a_signal_to_the_whole_group_is_left_to_the_station(rig):
    """A service manager signals every process at once: no camera may be told as lost by that."""
    rig = rig({"a": pattern()}).start()
    rig.until_frames(1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(rig.pid("a"), number)
    rig.until_frames(len(rig.good("a")) + 5)
    assert rig.status("a").restarts == {}


def test_a_stopped_worker_is_killed_and_replaced_whatever_its_source_may_take(rig):
    """A pattern may be silent for half a minute; stopped, it is gone long before that."""
    rig = rig({"a": pattern(), "b": pattern()}).start()
    rig.until_frames(5, "a")
    pid = rig.pid("a")
    os.kill(pid, signal.SIGSTOP)
    rig.until(lambda: rig.status("a").restarts.get("stalled"), "the hang to be noticed")
    rig.until(lambda: any(f.stream_epoch == 1 for f in rig.good("a")), "frames again")
    assert not Path(f"/proc/{pid}").exists()
    stalled = next(change for change in rig.changes if change.cause == "stalled")
    assert "was stopped by a signal for 3 s and was killed" in stalled.detail
    assert rig.status("b").restarts == {}


def test_a_worker_that_was_stopped_for_a_moment_goes_on(rig, monkeypatch):
    monkeypatch.setattr("inspector.capture.hang.STOPPED_S", 30.0)  # what a moment is here
    rig = rig({"a": pattern()}).start()
    rig.until_frames(5, "a")
    for _ in range(3):
        os.kill(rig.pid("a"), signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(rig.pid("a"), signal.SIGCONT)
        rig.until_frames(len(rig.good("a")) + 5, "a")
    assert rig.status("a").restarts == {}


def test_a_worker_that_no_kill_ends_is_told_of_and_replaced_when_it_has_ended(rig, monkeypatch):
    """A call into a driver that never comes back keeps its process, whatever signal it got."""
    rig = rig({"a": pattern(), "b": pattern()}).start()
    rig.until_frames(5, "a")
    pid = rig.pid("a")
    with monkeypatch.context() as patches:
        patches.setattr(WorkerProcess, "kill", lambda _: None)
        os.kill(pid, signal.SIGSTOP)
        status = rig.until_state("stalled", "a", "stalled")
        assert "does not end, since it hangs in the kernel; see dmesg" in status.detail
        with pytest.raises(NoFramesError, match="camera a gives no pictures") as refused:
            rig.capture.ask("a", "t1", None)
        assert refused.value.cause == "camera_away"
        rig.until_frames(len(rig.good("b")) + 5, "b")
        assert rig.pid("a") == pid
    os.kill(pid, signal.SIGKILL)
    rig.until(lambda: any(f.stream_epoch == 1 for f in rig.good("a")), "frames again")
    assert rig.status("a").restarts == {"stalled": 1}
    told = [s.state for s in rig.changes if s.name == "a"]
    assert told == ["running", "stalled", "running"], "told once"
    assert rig.status("b").restarts == {}


def test_a_hung_worker_is_killed_and_replaced(rig, monkeypatch, tmp_path):
    """One that waits for a pipe to which nobody writes."""
    os.mkfifo(tmp_path / "pipe.mp4")
    source = {"kind": "video", "path": str(tmp_path / "pipe.mp4")}
    rig = rig({"b": pattern()}).start()
    rig.until_frames(5, "b")
    monkeypatch.setattr("inspector.capture.patience.LOCAL_OPEN_S", 0.5)  # b is open
    cameras = {"a": {"source": source}, "b": pattern()}
    models = {name: Camera.model_validate(camera) for name, camera in cameras.items()}
    rig.capture.apply(models, first_epochs={}, anew=())
    rig.until(lambda: sum(rig.status("a").restarts.values()) > 1, "the hang to be noticed twice")
    hung = next(change for change in rig.changes if change.cause in {"timeout", "stalled"})
    assert "gave no sign of life for 1.5 s and was killed" in hung.detail
    assert rig.status("b").restarts == {}


def test_a_worker_that_hangs_before_it_says_hello_is_killed(rig, monkeypatch):
    monkeypatch.setattr("inspector.capture.patience.START_S", 0.01)
    # No worker starts within this, on however quick a machine.
    monkeypatch.setattr("inspector.capture.supervisor.TURN_S", 0.005)
    rig = rig({"a": pattern()}, pace=QUICK)
    rig.start()
    rig.until(lambda: sum(rig.status().restarts.values()) >= 1, "the hang to be noticed")
    monkeypatch.undo()
    rig.until(rig.good, "frames")


def test_a_worker_that_sends_garbage_is_replaced(rig):
    rig = rig({"a": pattern(), "b": pattern()}).start()
    rig.until_frames(3, "a")
    folder = Path(f"/proc/{rig.pid('a')}/fd")
    number = next(int(fd.name) for fd in folder.iterdir() if "socket:" in str(fd.readlink()))
    # As the worker's own end cannot be opened from outside, its descriptor is duplicated.
    pidfd = os.pidfd_open(rig.pid("a"))
    stolen = _getfd(pidfd, number)
    os.close(pidfd)
    os.write(stolen, b"\x00\xff not a message")
    os.close(stolen)
    rig.until(lambda: rig.status("a").restarts.get("crashed"), "the worker to be replaced")
    rig.until(lambda: any(f.stream_epoch == 1 for f in rig.good("a")), "frames again")
    assert rig.status("b").restarts == {}


def test_a_worker_that_lies_about_its_frames_is_replaced(rig):
    """A slot or number that is out already would be handed back twice: the judge's end."""
    rig = rig({"a": pattern()}).start(judge=False)
    assert rig.capture.wait(30)
    (frame,) = rig.capture.take(1)
    folder = Path(f"/proc/{rig.pid()}/fd")
    number = next(int(fd.name) for fd in folder.iterdir() if "socket:" in str(fd.readlink()))
    pidfd = os.pidfd_open(rig.pid())
    stolen = _getfd(pidfd, number)
    os.close(pidfd)
    lie = {"t": "frame", "slot": frame.slot, "seq": 10**6, "h": 96, "w": 128, "at": 1, "utc": 1}
    os.write(stolen, json.dumps(lie | {"dec": 1, "pts": 0, "damage": None, "origin": None,
                                       "fifo": False, "part": 0}).encode())  # fmt: skip
    os.close(stolen)
    rig.until(lambda: rig.status().restarts.get("crashed"), "the worker to be replaced")
    rig.capture.release(frame, "judged")
    assert rig.capture.wait(30)
    for frame in rig.capture.take(8):
        assert frame.sequence != 10**6
        rig.capture.release(frame, "judged")


@pytest.mark.parametrize("what", ["create", "picture memory"])
def test_a_box_without_descriptors_for_a_while(rig, monkeypatch, what):
    fails = iter([True] * 3)
    owner, name = (Ring, "create") if what == "picture memory" else (CounterPage, "create")
    make = getattr(owner, name)

    def sometimes(*args, **kwargs):
        if next(fails, False):
            raise OSError(24, "Too many open files")
        return make(*args, **kwargs)

    monkeypatch.setattr(owner, name, sometimes)
    rig = rig({"a": pattern(), "b": pattern()}).start()
    rig.until_frames(3, "a")
    rig.until_frames(3, "b")
    assert sum(s.restarts.get("crashed", 0) for s in rig.capture.status().values()) == 3
    assert any("Too many open files" in s.detail for s in rig.changes)


def _getfd(pidfd: int, number: int) -> int:
    import ctypes

    fd = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, number, 0)  # pidfd_getfd
    if fd < 0:
        pytest.skip("this kernel lets nobody duplicate another process's descriptors")
    return fd


def test_cameras_start_where_descriptors_have_large_numbers(rig):
    with large_descriptors():
        rig = rig({"a": pattern()}).start()
        rig.until_frames(3)


def test_books_balance_after_kills_at_random_instants(rig):
    rig = rig(
        {"a": pattern(slots=2), "b": pattern()}, pace=Pace(first_s=0.01, most_s=0.02, slow_s=0.05)
    )
    rig.start()
    chance = random.Random(5)
    for kill in range(8):
        rig.until(lambda: rig.status("a").state == "running", "running")
        rig.until_frames(len([f for f in list(rig.frames) if f.camera == "a"]) + 1, "a")
        time.sleep(chance.uniform(0, 0.05))  # the instant is the experiment
        rig.check_books()
        os.kill(rig.pid("a"), signal.SIGKILL)
        rig.until(lambda n=kill: sum(rig.status("a").restarts.values()) > n, "the loss")
        rig.check_books()
    assert set(rig.status("a").counters.dropped) == set(DROP_CAUSES)
    rig.until(
        lambda: rig.status("a").counters.judged == sum(f.camera == "a" for f in list(rig.frames)),
        "each that was judged, and no other, to be counted",
    )


def test_reconnects_leak_neither_descriptors_nor_rings():
    names = ["a", "b"]
    rig = Rig(
        {n: pattern() for n in names},
        pace=Pace(first_s=0.01, most_s=0.02, slow_s=0.02, crashes=1000),
    )
    try:
        rig.start()
        for name in names:
            rig.until_frames(1, name)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for cycle in range(22):
            name = names[cycle % 2]
            last = rig.status(name).stream_epoch
            os.kill(rig.pid(name), signal.SIGKILL)
            rig.until(lambda n=name, e=last: rig.status(n).stream_epoch > e, "the next epoch")
        for name in names:
            rig.until(
                lambda n=name: any(
                    f.camera == n and f.stream_epoch == rig.status(n).stream_epoch
                    for f in list(rig.frames)
                ),
                "its frames",
            )
        rig.until(lambda: len(rig.rings) - len(rig.rings_ended) == 2, "old rings to be given back")
        rig.until(
            lambda: len(list(Path("/proc/self/fd").iterdir())) <= before, f"{before} descriptors"
        )
        assert all(len(rig.capture._links[n].leases) == 1 for n in names)
    finally:
        rig.close()
    assert all(s.counters.in_flight == 0 for s in rig.capture.status().values())


def test_crash_loop_is_shown_as_failed_and_tried_on(rig):
    rig = rig(
        {"a": pattern()}, pace=Pace(0.01, 0.02, slow_s=0.3, crashes=3, crashes_within_s=600)
    ).start()
    for _ in range(3):
        rig.until(lambda: rig.status().state == "running", "running")
        count = sum(rig.status().restarts.values())
        os.kill(rig.pid(), signal.SIGKILL)
        rig.until(lambda c=count: sum(rig.status().restarts.values()) > c, "the crash")
    assert "failed" in [s.state for s in rig.changes]
    rig.until_state("running")


def test_a_ring_outlives_its_worker_until_its_frames_are_back(rig):
    rig = rig({"a": pattern()}).start(judge=False)
    assert rig.capture.wait(30)
    frame = rig.capture.take(1)[0]
    copy = frame.picture().copy()
    os.kill(rig.pid(), signal.SIGKILL)
    rig.until(lambda: ("a", 1) in rig.epochs, "the next epoch")
    rig.until(lambda: "a/1" in rig.rings, "its ring")
    assert rig.rings_ended == []
    assert (frame.picture() == copy).all(), "nobody writes into a slot that is held"
    rig.capture.release(frame, "judged")
    rig.until(lambda: rig.rings_ended == ["a/0"], "the old ring to be given back")
    with pytest.raises(ValueError, match="handed back before"):
        rig.capture.release(frame, "judged")


def test_of_a_live_camera_only_the_newest_waits(rig):
    rig = rig({"a": pattern()}).start(judge=False)
    rig.until(lambda: rig.status().counters.dropped["superseded"] >= 5, "superseded frames")
    frames = rig.capture.take(10)
    assert len(frames) == 1
    assert frames[0].sequence >= 5
    rig.capture.release(frames[0], "judged")


def test_without_a_free_slot_new_frames_are_dropped(rig):
    rig = rig({"a": pattern(slots=2)}).start(judge=False)
    held = []
    while len(held) < 2:
        assert rig.capture.wait(30)
        held += rig.capture.take(1)
    rig.until(lambda: rig.status().counters.dropped["no_slot"] >= 3, "frames without a slot")
    assert not rig.capture.take(1)
    for frame in held:
        rig.capture.release(frame, "judged")
    assert rig.capture.wait(30)


def test_cameras_take_turns(rig):
    rig = rig({name: pattern() for name in "abc"}).start(judge=False)
    rig.until(lambda: all(s.counters.in_flight for s in rig.capture.status().values()), "frames")
    rig.until(lambda: all(len(link.mailbox) for link in rig.capture._links.values()), "all")
    frames = rig.capture.take(3)
    assert sorted(f.camera for f in frames) == ["a", "b", "c"]
    for frame in frames:
        rig.capture.release(frame, "engine_error")
    assert sum(s.counters.dropped["engine_error"] for s in rig.capture.status().values()) == 3


def test_only_due_frames_are_given(rig):
    rig = rig({"a": pattern(inspect={"every_s": 0.2})}).start()
    rig.until_frames(5)
    times = [f.pts_s for f in rig.good()]
    assert all(b - a >= 0.19 for a, b in itertools.pairwise(times))
    assert rig.status().counters.dropped["not_due"] > 0


def test_stop_gives_no_new_frames_and_lets_taken_ones_be_finished(rig):
    rig = rig({"a": pattern()}).start(judge=False)
    assert rig.capture.wait(30)
    frame = rig.capture.take(1)[0]
    rig.capture.stop()
    assert not rig.capture.wait(0)
    assert rig.capture.take(10) == []
    assert frame.picture().shape == (96, 128, 3)
    rig.capture.release(frame, "judged")
    rig.until(lambda: rig.status().counters.in_flight == 0, "all to be accounted for")
    assert rig.capture.take(10) == []


def test_workers_end_with_their_parent(tmp_path):
    import subprocess
    import sys

    script = tmp_path / "station.py"
    script.write_text(
        "import os, time\n"
        "from tests.capture.conftest import Rig\n"
        "rig = Rig({'a': {'source': {'kind': 'pattern', 'width': 64, 'height': 64}}}).start()\n"
        "rig.until_frames(1)\n"
        "print(rig.pid(), flush=True)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    station = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    worker = int(station.stdout.readline())
    station.kill()
    station.wait()
    station.stdout.close()
    deadline = time.monotonic() + 50
    while time.monotonic() < deadline:
        status = Path(f"/proc/{worker}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.02)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")


def test_ctrl_c_is_left_to_the_station(rig):
    rig = rig({"a": pattern()}).start()
    rig.until_frames(1)
    os.kill(rig.pid(), signal.SIGINT)
    rig.until_frames(10)
    assert rig.status().restarts == {}


def test_workers_inherit_no_secrets(rig, monkeypatch):
    monkeypatch.setenv("CAM_PASSWORD", "hunter2")
    rig = rig({"a": pattern()}).start()
    rig.until_frames(1)
    assert "hunter2" not in Path(f"/proc/{rig.pid()}/environ").read_text()


def test_a_missing_secret_is_said(rig):
    source = {"kind": "rtsp", "url": "rtsp://127.0.0.1:9/x"}
    names = {"username": "CAM_USER", "password": "CAM_PASSWORD"}
    rig = rig({"a": {"source": source, "credentials": names}, "b": pattern()}).start()
    status = rig.until_state("lost", "a", "authentication")
    assert "CAM_USER" in status.detail
    rig.until_frames(3, "b")
