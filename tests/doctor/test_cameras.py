"""The doctor's look at cameras: real streams, real refusals."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.config.cameras import Camera
from inspector.config.secrets import Secrets
from inspector.doctor.cameras import check_cameras
from inspector.doctor.finding import Grade
from inspector.doctor.state import RunningStation
from tests.servers.ports import free_port

PASSWORD = "s3cret-of-the-camera"


def rtsp(url, **more):
    source = {"kind": "rtsp", "url": url, "open_timeout_s": 30.0, "read_timeout_s": 30.0}
    return {"source": source, **more}


@pytest.fixture
def look(station):
    def check(cameras, secrets=None, running=None, seconds=1.0):
        findings = check_cameras(
            station(cameras=cameras), Secrets(secrets or {}), running, seconds=seconds
        )
        found = list(findings)
        assert PASSWORD not in repr(found)
        return found

    return check


def test_a_camera_that_sends_is_measured(look, rtsp_server, scene):
    server = rtsp_server({"good": scene}, user="op", password=PASSWORD)
    login = {"username": "CAM_USER", "password": "CAM_PASSWORD"}
    found, *_ = look(  # on a busy machine more may be said: frames came late
        {"infeed": rtsp(server.url(), credentials=login, inspect={"every_s": 600})},
        {"CAM_USER": "op", "CAM_PASSWORD": PASSWORD},
        seconds=5.0,
    )
    assert (found.subject, found.name, found.grade) == ("camera", "infeed", Grade.GOOD), found
    assert found.facts["width"] == 320
    assert found.facts["height"] == 256
    assert found.facts["key_frame_every"] == 10
    assert found.facts["fps"] > 0
    assert found.found.startswith("320x256, ")
    assert found.found.endswith("a key frame every 10 pictures")


def test_cameras_that_cannot_be_used_each_with_its_cause(look, rtsp_server, rtsp_fault, scene):
    server = rtsp_server({"good": scene}, user="op", password=PASSWORD)
    silent = rtsp_fault("silent")
    login = {"username": "CAM_USER", "password": "CAM_PASSWORD"}
    found = look(
        {
            "wrong-password": rtsp(server.url(), credentials=login),
            "closed-port": rtsp(f"rtsp://127.0.0.1:{free_port()}/stream1"),
            "silent": {
                "source": {"kind": "rtsp", "url": silent.url(), "open_timeout_s": 3.0},
            },
            "no-file": {"source": {"kind": "video", "path": "nothing.mp4"}},
            "no-device": {"source": {"kind": "device", "path": "/dev/video93"}},
        },
        {"CAM_USER": "op", "CAM_PASSWORD": PASSWORD + "x"},
    )
    told = {f.name: (f.grade, f.facts["cause"]) for f in found}
    assert told == {
        "wrong-password": (Grade.MISTAKE, "authentication"),
        "closed-port": (Grade.MEND, "refused"),
        "silent": (Grade.MEND, "timeout"),
        "no-file": (Grade.MISTAKE, "not_found"),
        "no-device": (Grade.MEND, "not_found"),
    }
    by_name = {f.name: f for f in found}
    assert by_name["wrong-password"].remedy == (
        "check user name and password, named under credentials"
    )
    assert by_name["closed-port"].remedy == "check address, port and network of the camera"
    assert all(f.found and f.expected and f.remedy for f in found)


def test_a_region_outside_the_picture_and_a_picture_below_a_tile(look, rtsp_server, scene):
    server = rtsp_server({"good": scene})
    region = {"x": 300, "y": 0, "width": 64, "height": 64}
    small = {"x": 0, "y": 0, "width": 48, "height": 48}
    outside, good, below, *_ = look(
        {"outside": rtsp(server.url(), region=region), "below": rtsp(server.url(), region=small)}
    )
    assert outside.grade is Grade.MISTAKE
    assert "outside the picture of 320x256" in outside.found
    assert (good.name, good.grade) == ("below", Grade.GOOD)
    assert below.grade is Grade.MISTAKE
    assert below.expected == "at least 64x64"


def test_a_folder_to_its_end_an_empty_one_and_a_damaged_file(look, tmp_path, scene):
    import cv2

    (tmp_path / "some").mkdir()
    (tmp_path / "none").mkdir()
    (tmp_path / "bad").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "some" / f"{number}.png"), scene)
    cv2.imwrite(str(tmp_path / "bad" / "0.png"), scene)
    (tmp_path / "bad" / "1.png").write_bytes(b"no picture")
    source = {"kind": "images", "folder": ""}
    cameras = {name: {"source": source | {"folder": name}} for name in ("some", "none", "bad")}
    some, of_some, none, bad, of_bad, damage = look(cameras, seconds=30.0)
    for seen in (of_some, of_bad):
        assert (seen.grade, seen.facts["seen_share"]) == (Grade.NOTE, 0.1)
    assert (some.grade, some.found) == (Grade.GOOD, "320x256, 3 pictures to its end")
    assert (none.grade, none.facts["cause"]) == (Grade.MISTAKE, "not_found")
    assert bad.grade is Grade.GOOD
    assert damage.grade is Grade.MEND
    assert damage.found.startswith("1 of 2 frames were damaged: decode: ")


def test_a_watched_folder_without_a_picture_yet(look, tmp_path):
    (tmp_path / "none").mkdir()
    (found,) = look({"a": {"source": {"kind": "images", "folder": "none", "watch": True}}})
    assert (found.grade, found.found) == (Grade.NOTE, "the folder holds no picture yet")


def test_a_device_of_the_running_station_is_left_alone(look):
    (found,) = look(
        {"usb": {"source": {"kind": "device", "path": "/dev/video93"}}},
        running=RunningStation(4711),
    )
    assert found.grade is Grade.NOTE
    assert "process 4711" in found.found


def test_a_camera_that_gives_fewer_pictures_than_asked_is_too_slow():
    from inspector.doctor.cameras import Seen, judge
    from inspector.frame import Frame

    camera = Camera.model_validate(
        {"source": {"kind": "device", "path": "/dev/video0", "fps": 50.0}}
    )
    seen = Seen()
    for number in range(20):
        at = 10**12 + number * 10**8  # ten a second
        seen.note(Frame("usb", 0, number, 480, 640, at, at, at))
    assert seen.fps == pytest.approx(10.0)
    seen.last = _status()
    _, slow = judge("usb", camera, seen, None)
    assert (slow.grade, slow.found) == (Grade.MEND, "10.0 pictures a second")
    assert slow.expected == "50, as the file asks"


@pytest.mark.parametrize(
    ("place", "more", "grades"),
    [
        ({"x": 632, "y": 0}, {}, [Grade.GOOD]),
        ({"x": 633, "y": 0}, {}, [Grade.GOOD, Grade.MISTAKE]),
        ({"x": 0, "y": 471}, {}, [Grade.GOOD, Grade.MISTAKE]),
        # The source's own size is not known then.
        (
            {"x": 900, "y": 0},
            {"region": {"x": 0, "y": 0, "width": 640, "height": 480}},
            [Grade.GOOD],
        ),
    ],
)
def test_a_barrier_must_lie_in_the_picture(place, more, grades):
    from inspector.config.cameras import Camera
    from inspector.doctor.cameras import Seen, judge
    from inspector.frame import Frame

    inspect = {"on_motion": {"width": 8, "height": 10, **place}}
    camera = Camera.model_validate(
        {"source": {"kind": "device", "path": "/dev/video0"}, "inspect": inspect, **more}
    )
    seen = Seen()
    seen.note(Frame("usb", 0, 0, 480, 640, 1, 1, 1))
    seen.last = _status()
    found = list(judge("usb", camera, seen, None))
    assert [each.grade for each in found] == grades
    assert all(each.expected == "within the picture of 640x480" for each in found[1:])


@pytest.mark.parametrize(
    ("size_wh", "found"),
    [
        ((1920, 1080), "4 tiles of 256 px see 13% of the picture"),
        ((640, 480), None),
        ((640, 240), "pictures of 640x240 are smaller than one tile: none would be judged"),
    ],
)
def test_what_the_tiles_see_of_a_large_picture_is_told(size_wh, found):
    from inspector.config.cameras import Camera
    from inspector.doctor.cameras import Seen, judge
    from inspector.engine.manifest import Sampling
    from inspector.frame import Frame

    camera = Camera.model_validate({"source": {"kind": "device", "path": "/dev/video0"}})
    seen = Seen()
    seen.note(Frame("usb", 0, 0, size_wh[1], size_wh[0], 1, 1, 1))
    seen.last = _status()
    sampling = Sampling(tile=256, count=4, where="spread", join="mean")
    _, *more = judge("usb", camera, seen, sampling)
    assert [each.found for each in more] == ([] if found is None else [found])


def _status():
    from datetime import UTC, datetime

    from inspector.capture.status import DROP_CAUSES, CameraStatus, Counters

    counters = Counters(20, 20, dict.fromkeys(DROP_CAUSES, 0), 0)
    return CameraStatus(
        name="usb", kind="device", state="running", cause=None, detail="", stream_epoch=0,
        since_utc=datetime.now(UTC), size=(640, 480), fps=10.0, key_every=None,
        last_frame_age_s=0.0, restarts={}, counters=counters,
    )  # fmt: skip


def test_frames_of_another_connection_do_not_count_into_the_rate():
    from inspector.doctor.cameras import Seen
    from inspector.frame import Frame

    seen = Seen()
    for epoch, start in ((0, 10**12), (1, 10**12 + 10**11)):
        for number in range(15):
            at = start + number * 10**8
            seen.note(Frame("a", epoch, number, 48, 64, at, at, at))
    assert seen.fps == pytest.approx(10.0)
    assert seen.frames == 30
    assert np.isfinite(seen.began)
