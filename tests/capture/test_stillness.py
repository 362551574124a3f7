"""A camera that shows the same picture over and over: frozen, and not taken for good."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from inspector.capture.stillness import Stillness
from tests.capture.test_rtsp import camera

NOISE = np.random.default_rng(1)


def picture():
    return NOISE.integers(0, 256, (16, 16, 3), dtype=np.uint8)


def show(still, pictures, *, step_s=1.0, from_s=100.0):
    """When the camera was first found frozen, by these key frames."""
    for number, pixels in enumerate(pictures):
        now_s = from_s + number * step_s
        if still.wants(now_s, key=True) and still.look(pixels, now_s):
            return now_s - from_s
    return None


def test_a_picture_that_stays_is_frozen_after_its_time():
    assert show(Stillness(5.0), [picture()] * 100) == 5.0


def test_live_pictures_are_never_frozen():
    assert show(Stillness(5.0), [picture() for _ in range(200)]) is None


def test_one_bit_in_the_last_pixel_is_a_change():
    same = picture()
    other = same.copy()
    other[-1, -1, -1] ^= 1
    assert show(Stillness(4.0), [same] * 4 + [other] + [same] * 4) is None


def test_it_takes_two_more_key_frames_whatever_the_time():
    assert show(Stillness(1.0), [picture()] * 3, step_s=30) == 60.0


def test_what_is_no_key_frame_says_nothing():
    assert not Stillness(1.0).wants(100.0, key=False)


def test_a_camera_that_sends_nothing_but_key_frames_is_looked_at_once_a_second():
    still = Stillness(5.0)
    assert still.wants(100.0, key=True)
    still.look(picture(), 100.0)
    assert not still.wants(100.9, key=True)
    assert still.wants(101.0, key=True)


def test_zero_is_never():
    assert not Stillness(0).wants(100.0, key=True)


def test_after_a_reconnect_the_same_picture_is_frozen_still_and_others_are_not():
    still, same = Stillness(5.0), picture()
    assert show(still, [same] * 100) == 5.0
    still.reopened()
    assert still.suspect
    assert show(still, [same] * 100, from_s=200) == 1.0, "at its second key frame"
    still.reopened()
    assert show(still, [picture() for _ in range(5)], from_s=300) is None
    assert still.suspect, "an encoder that starts anew codes the same picture differently"
    assert show(still, [picture()], from_s=305) is None
    assert not still.suspect


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_a_frozen_camera_is_stalled_until_its_picture_changes(rtsp_server, rig, scene, codec):
    server = rtsp_server({"good": scene, "other": scene[::-1]}, codec=codec)
    cameras = {
        "a": camera(server.url(), frozen_after_s=1.0),
        "viewer": camera(server.url(), frozen_after_s=0),  # the encoder goes on as in a camera
    }
    rig = rig(cameras).start()
    frozen = rig.until_state("stalled", cause="frozen")
    assert "has not changed by one bit for 1 s or more" in frozen.detail
    rig.until(lambda: rig.status().counters.in_flight == 0, "the frames before")
    judged = rig.status().counters.judged
    rig.until(lambda: rig.status().restarts["frozen"] >= 3, "it to be opened anew and anew")
    assert rig.status().counters.judged == judged, "nothing is judged meanwhile"
    assert [s.state for s in rig.changes if s.name == "a"] == ["running", "stalled"], "told once"

    pictures = itertools.cycle(["other", "good"])
    shown_s = time.monotonic()

    def lives():
        nonlocal shown_s
        if time.monotonic() - shown_s > 0.3:
            server.show(next(pictures))
            shown_s = time.monotonic()
        status = rig.status()
        return status.counters.judged > judged and status.state == "running"

    rig.until(lives, "frames of a picture that moves")


@pytest.mark.parametrize("inspect", [{}, {"every_s": 60}, {"on_trigger": True}])
def test_a_camera_whose_picture_moves_is_not_frozen(rtsp_server, rig, scene, inspect):
    server = rtsp_server({"good": scene}, numbered=True)
    rig = rig({"a": camera(server.url(), frozen_after_s=0.5, inspect=inspect)}).start()
    rig.until(lambda: rig.status().counters.frames_in > 60, "three seconds of frames")
    assert rig.status().restarts == {}


def test_a_frozen_camera_is_found_though_none_of_its_frames_is_due(rtsp_server, rig, scene):
    server = rtsp_server({"good": scene})
    inspect = {"on_trigger": True}
    rig = rig({"a": camera(server.url(), frozen_after_s=1.0, inspect=inspect)}).start()
    rig.until_state("stalled", cause="frozen")
    assert rig.frames == []
