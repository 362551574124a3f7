"""Another set of cameras while capture runs: who stays notices nothing, who goes owes nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

import pytest

from inspector.config.cameras import Camera
from inspector.errors import CaptureError
from tests.capture.conftest import LONG_S
from tests.servers.rtsp import number_in

PATTERN = {"kind": "pattern", "width": 128, "height": 96, "fps": 30}


def pattern(**more):
    source = PATTERN | {key: more.pop(key) for key in ("fps", "width", "seed") if key in more}
    return {"source": source, **more}


def apply(rig, cameras, *, anew=(), first_epochs=None):
    """What the station does at a reload: all cameras, and which of them begin anew."""
    models = {name: Camera.model_validate(camera) for name, camera in cameras.items()}
    return rig.capture.apply(models, first_epochs=first_epochs or {}, anew=anew)


def _take_one(rig, held):
    """Take a frame and keep it; the cameras of which there is one by now."""
    held.extend(rig.capture.take(1))
    return {frame.camera for frame in held}


def until_epoch(rig, name, epoch):
    rig.until(lambda: any(f.stream_epoch == epoch for f in rig.good(name)), f"{name}/{epoch}")


def test_a_camera_that_comes_is_captured_from_its_epoch_on(rig):
    rig = rig({"a": pattern()}).start()
    rig.until_frames(3, "a")
    assert apply(rig, {"a": pattern(), "b": pattern()}, first_epochs={"b": 7}) == {}
    until_epoch(rig, "b", 7)
    assert list(rig.status("b").restarts) == []
    assert [e for n, e in rig.epochs if n == "a"] == [0]


def test_a_removed_camera_finishes_what_is_taken_and_closes_its_books(rig):
    rig = rig({"a": pattern(), "b": pattern()}).start(judge=False)
    rig.until(lambda: rig.status("b").counters.frames_in > 3, "frames of b")
    held = []
    rig.until(lambda: _take_one(rig, held) == {"a", "b"}, "a frame of each")
    pid = rig.pid("b")
    last = apply(rig, {"a": pattern()})["b"]
    assert list(rig.capture.status()) == ["a"]
    rig.until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the worker")
    assert not last.done(), "a frame of it is still held"
    assert not any(key.startswith("b/") for key in rig.rings_ended)
    for frame in held:
        if frame.camera == "b":
            assert rig.capture.counters("b").in_flight
            assert frame.picture().any(), "its pixels are there until it is released"
        rig.capture.release(frame, "judged")
    books = last.result(LONG_S)
    mine = sum(frame.camera == "b" for frame in held)
    assert (books.judged, books.in_flight) == (mine, 0)
    assert books.frames_in == mine + sum(books.dropped.values())
    assert books.dropped["worker_lost"] == 0
    assert "b/0" in rig.rings_ended
    del frame
    with pytest.raises(ValueError, match="camera b was handed back before"):
        rig.capture.release(next(f for f in held if f.camera == "b"), "judged")


def test_a_camera_that_starts_anew_has_the_new_settings_and_the_next_epoch(rig):
    rig = rig({"a": pattern(), "b": pattern()}, first_epochs={"a": 3}).start()
    rig.until_frames(3, "a")
    rig.until_frames(3, "b")
    region = {"x": 8, "y": 8, "width": 80, "height": 64}
    apply(rig, {"a": pattern(region=region, slots=3), "b": pattern()}, anew={"a"})
    until_epoch(rig, "a", 4)
    assert {(f.width, f.height) for f in rig.good("a") if f.stream_epoch == 4} == {(80, 64)}
    assert rig.status("a").restarts == {}, "this is no loss"
    assert not [s for s in rig.changes if s.name == "a" and s.cause]
    assert rig.status("a").counters.dropped["worker_lost"] == 0
    assert [e for n, e in rig.epochs if n == "b"] == [0]


def test_settings_without_a_new_worker_disturb_nothing(rig):
    rig = rig({"a": pattern()}).start()
    rig.until_frames(3, "a")
    pid = rig.pid("a")
    apply(rig, {"a": pattern(policy="strict")})
    rig.until_frames(len(rig.good("a")) + 3, "a")
    assert rig.pid("a") == pid
    assert rig.epochs == [("a", 0)]


def test_a_camera_that_waits_for_its_next_try_is_tried_at_once(rig, tmp_path):
    from inspector.capture.backoff import Pace

    away = {"source": {"kind": "video", "path": str(tmp_path / "away.mp4")}}
    pace = Pace(first_s=60, most_s=60, slow_s=60)
    rig = rig({"a": away}, pace=pace).start()
    rig.until_state("lost", "a")
    apply(rig, {"a": pattern()}, anew={"a"})
    rig.until_frames(1, "a")


def test_a_camera_that_has_ended_begins_anew(rig, tmp_path, scene):
    import cv2

    cv2.imwrite(str(tmp_path / "0.png"), scene)
    folder = {"source": {"kind": "images", "folder": str(tmp_path)}}
    rig = rig({"a": folder}).start()
    rig.until_state("ended", "a")
    apply(rig, {"a": pattern()}, anew={"a"})
    assert not rig.capture.ended
    until_epoch(rig, "a", 1)


def test_a_worker_that_does_not_leave_is_killed(rig):
    rig = rig({"a": pattern(), "b": pattern()}).start()
    rig.until_frames(3, "b")
    pid = rig.pid("b")
    os.kill(pid, signal.SIGSTOP)
    last = apply(rig, {"a": pattern()})["b"]
    assert last.result(LONG_S).in_flight == 0
    assert not Path(f"/proc/{pid}").exists()


def _kill(pid):
    """Kill a worker that may have ended by itself just before."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("anew", [True, False])
def test_a_worker_is_killed_while_its_camera_changes(rig, anew):
    """The kernel's news of the end comes before, during or after the change."""
    rig = rig({"a": pattern(), "b": pattern()}).start()
    epoch = 0
    for pause_s in (0.0, 0.002, 0.01, 0.03):
        until_epoch(rig, "b", epoch)
        killer = threading.Timer(pause_s, _kill, (rig.pid("b"),))
        killer.start()
        if anew:
            apply(rig, {"a": pattern(), "b": pattern(seed=epoch)}, anew={"b"})
            killer.join()
        else:
            last = apply(rig, {"a": pattern()})["b"]
            killer.join()
            assert last.result(LONG_S).in_flight == 0
            apply(rig, {"a": pattern(), "b": pattern()}, first_epochs={"b": epoch + 1})
        rig.until(lambda e=epoch: max(x for n, x in rig.epochs if n == "b") > e, "the next epoch")
        epoch = max(e for n, e in rig.epochs if n == "b")
    assert [e for n, e in rig.epochs if n == "a"] == [0]
    assert rig.status("a").restarts == {}


def test_a_camera_comes_back_before_its_last_frame_is_released(rig):
    rig = rig({"a": pattern(), "b": pattern()}).start(judge=False)
    held = []
    rig.until(lambda: "b" in _take_one(rig, held), "a frame of b")
    last = apply(rig, {"a": pattern()})["b"]
    apply(rig, {"a": pattern(), "b": pattern()}, first_epochs={"b": 1})
    rig.until(lambda: rig.status("b").counters.frames_in, "frames of the new b")
    assert not last.done()
    for frame in held:
        rig.capture.release(frame, "judged")
    assert last.result(LONG_S).judged == sum(f.camera == "b" for f in held)
    assert rig.status("b").counters.judged == 0


def test_other_secrets_are_noticed(rig):
    secrets = {"U": "operator", "P": "old"}
    # Nobody listens there: the camera is lost, and has been given its log-in by then.
    source = {"kind": "rtsp", "url": "rtsp://127.0.0.1:1/x", "open_timeout_s": 1}
    camera = {"source": source, "credentials": {"username": "U", "password": "P"}}
    rig = rig({"a": camera, "b": pattern()}, secrets=secrets).start()
    rig.until_state("lost", "a")
    assert rig.capture.stale_logins() == frozenset()
    secrets["P"] = "new"
    assert rig.capture.stale_logins() == {"a"}
    before = sum(rig.status("a").restarts.values())
    apply(rig, {"a": camera, "b": pattern()}, anew={"a"})
    rig.until(lambda: sum(rig.status("a").restarts.values()) > before, "another try")
    assert rig.capture.stale_logins() == frozenset()
    del secrets["P"]
    assert rig.capture.stale_logins() == frozenset(), "nothing better is known"


def test_a_stage_that_stops_takes_no_other_cameras(rig):
    rig = rig({"a": pattern()})
    with pytest.raises(CaptureError, match="not running"):
        apply(rig, {"b": pattern()})
    rig.start()
    rig.capture.stop()
    with pytest.raises(CaptureError, match="not running"):
        apply(rig, {"b": pattern()})
    assert list(rig.capture.status()) == ["a"]


def test_fifty_changes_in_a_row_leave_nothing_behind(rig):
    """Descriptors, processes, threads; and the books of the camera that stays are exact."""
    a = pattern(fps=10, slots=64)  # so many that a busy machine runs out of none
    rig = rig({"a": a}).start()
    rig.until_frames(3, "a")
    own = Path("/proc/self")

    def held() -> tuple[int, int]:
        children = (own / f"task/{os.getpid()}/children").read_text().split()
        return len(list((own / "fd").iterdir())), len(children)

    before, threads = held(), threading.active_count()
    for turn in range(25):
        b = {} if turn % 2 else {"b": pattern(slots=2 + turn)}
        epochs = {"b": max((e for n, e in rig.epochs if n == "b"), default=-1) + 1}
        apply(rig, {"a": a, **b}, first_epochs=epochs)
        left = apply(rig, {"a": a})
        for last in left.values():
            assert last.result(LONG_S).in_flight == 0
    rig.until(lambda: held() == before, f"{before}, not {held()}")
    rig.until(lambda: threading.active_count() == threads, f"{threads} threads")
    books = rig.status("a").counters
    assert [e for n, e in rig.epochs if n == "a"] == [0]
    assert (
        books.dropped["worker_lost"] == books.dropped["shutdown"] == books.dropped["no_slot"] == 0
    )
    assert rig.status("a").restarts == {}


@pytest.mark.rtsp
def test_a_real_camera_goes_on_without_missing_a_frame(rig, rtsp_server, scene):
    """The server numbers its pictures: none is missing and none comes twice."""
    server = rtsp_server({"good": scene}, fps=10, numbered=True)
    # A busy machine is no fault of the camera.
    source = {"kind": "rtsp", "url": server.url(), "open_timeout_s": 30, "read_timeout_s": 30}
    real = {"source": source, "max_age_s": 60, "slots": 64, "max_megapixels": 1}
    rig = rig({"real": real, "b": pattern(fps=5)})

    def look(frame):
        # A camera joined between two key frames begins with damaged ones.
        whole = frame.camera == "real" and frame.damage is None
        return number_in(frame.picture()) if whole else None

    rig.look = look
    rig.start()
    rig.until_frames(5, "real")
    for turn in range(6):
        cameras = {"real": real, "b": pattern(fps=5, seed=turn)}
        if turn % 3 == 2:
            del cameras["b"]
        apply(rig, cameras, anew={"b"} & cameras.keys(), first_epochs={"b": 100 * turn})
        least = len(rig.good("real")) + 4
        rig.until(lambda least=least: len(rig.good("real")) >= least, "more whole frames")
    seen = list(zip(rig.frames, rig.notes, strict=False))
    numbered = [(f.sequence, n) for f, n in seen if n is not None]
    assert len(numbered) > 20
    # Each picture that the server made has arrived, and was counted once.
    assert len({number - sequence for sequence, number in numbered}) == 1
    assert {f.stream_epoch for f, _ in seen if f.camera == "real"} == {0}
    dropped = rig.status("real").counters.dropped
    assert sum(dropped.values()) == dropped["superseded"], "what came first, while it connected"
    assert rig.status("real").restarts == {}
