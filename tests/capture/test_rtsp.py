"""Cameras over RTSP, from a real server and from faulty ones."""

from __future__ import annotations

import itertools
import logging
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from inspector.camera_events import CameraEvents
from inspector.capture.asks import NoFramesError
from inspector.capture.backoff import Pace
from inspector.config.events import Topics
from inspector.events.documents import Documents
from tests.capture.conftest import QUICK
from tests.servers.ports import free_port
from tests.servers.rtsp import number_in


def camera(url, **more):
    # So long that a busy machine is no fault of the camera.
    source = {"kind": "rtsp", "url": url, "open_timeout_s": 20.0, "read_timeout_s": 20.0}
    source["frozen_after_s"] = 0  # what the server shows is mostly one picture
    for key in ("transport", "tls", "open_timeout_s", "read_timeout_s", "frozen_after_s"):
        if key in more:
            source[key] = more.pop(key)
    return {"source": source, **more}


def watch_numbers(rig):
    rig.look = lambda frame: number_in(frame.picture()) if frame.slot >= 0 else None


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_arrive_in_order_with_their_own_pixels(rtsp_server, rig, scene, transport):
    server = rtsp_server({"good": scene}, numbered=True)
    rig = rig({"a": camera(server.url(), transport=transport)}, first_epochs={"a": 7})
    seen = []

    def look(frame):
        if frame.slot < 0:
            return None
        picture = frame.picture()
        if not seen:
            seen.append(picture.copy())
        return number_in(picture)

    rig.look = look
    rig.start()
    rig.until(lambda: len(rig.good()) >= 15, "15 whole frames")
    numbers = [note for note in rig.notes if note is not None]
    assert numbers == sorted(set(numbers)), "in order, none twice"
    gaps = [
        (b.sequence - a.sequence, n - m)
        for (a, m), (b, n) in itertools.pairwise(zip(rig.good(), numbers, strict=False))
    ]
    # What a busy machine loses of UDP is of no frame that came.
    assert all(ours <= theirs if transport == "udp" else ours == theirs for ours, theirs in gaps), (
        "sequence numbers leave the gaps of the frames that were not taken"
    )
    below = slice(32, None)
    difference = np.abs(seen[0][below].astype(int) - scene[below].astype(int)).mean()
    assert difference < 8, "the server's own pixels, up to its coding"
    status = rig.status()
    assert status.state == "running"
    assert status.size == (320, 256)
    assert status.stream_epoch == 7, rig.changes
    assert rig.epochs == [("a", 7)]


def test_no_frame_waits_longer_than_for_the_next_one(rtsp_server, rig, scene):
    server = rtsp_server({"good": scene}, numbered=True)
    # FFmpeg gives what it holds when the deadline is over; the frame is to come long before.
    rig = rig({"a": camera(server.url(), read_timeout_s=60.0)})
    watch_numbers(rig)
    rig.start()
    rig.until(lambda: len(rig.good()) >= 5, "frames")
    last = server.tell("stall")["number"] - 1
    rig.until(lambda: rig.notes and (rig.notes[-1] or 0) >= last - 1, f"frame {last - 1}", 40.0)


def test_reordered_frames_come_out_in_order(rtsp_server, rig, scene):
    server = rtsp_server({"good": scene}, numbered=True, codec="h264-bframes")
    rig = rig({"a": camera(server.url())})
    watch_numbers(rig)
    rig.start()
    rig.until(lambda: len(rig.good()) >= 25, "25 whole frames")
    numbers = [note for note in rig.notes if note is not None]
    assert numbers == sorted(set(numbers))


def test_motion_jpeg(rtsp_server, rig, scene):
    server = rtsp_server({"good": scene}, codec="jpeg")
    rig = rig({"a": camera(server.url())}).start()
    rig.until(lambda: len(rig.good()) >= 5, "frames")


def test_region_is_cut_out(rtsp_server, rig, scene):
    server = rtsp_server({"good": scene})
    region = {"x": 33, "y": 65, "width": 100, "height": 80}
    rig = rig({"a": camera(server.url(), region=region)})
    rig.look = lambda frame: frame.picture().copy() if frame.slot >= 0 else None
    rig.start()
    rig.until(rig.good, "a frame")
    picture = next(note for note in rig.notes if note is not None)
    assert picture.shape == (80, 100, 3)
    part = scene[65:145, 33:133]
    assert np.abs(picture.astype(int) - part.astype(int)).mean() < 8


def test_region_outside_the_picture_is_said(rtsp_server, rig, scene):
    server = rtsp_server({"good": scene})
    region = {"x": 300, "y": 0, "width": 100, "height": 80}
    rig = rig({"a": camera(server.url(), region=region)}).start()
    status = rig.until_state("failed")
    assert "lies outside the picture of 320x256" in status.detail
    rig.until(lambda: rig.status().restarts["codec"] >= 2, "another try")
    seen = [change.state for change in rig.changes]
    assert seen[seen.index("failed") :] == ["failed"], "not two more events at every try"
    counters = rig.status().counters
    assert counters.dropped["worker_lost"] >= 2, "a frame that ends its connection is accounted for"


def test_digest_credentials(rtsp_server, rig, scene):
    server = rtsp_server({"good": scene}, user="operator", password="s3cr/t@:")
    names = {"username": "CAM_USER", "password": "CAM_PASSWORD"}
    secrets = {"CAM_USER": "operator", "CAM_PASSWORD": "s3cr/t@:"}
    rig = rig({"a": camera(server.url(), credentials=names)}, secrets).start()
    rig.until(rig.good, "a frame")


def test_wrong_password_is_named_and_never_shown(rtsp_server, rig, scene, caplog):
    caplog.set_level(logging.DEBUG)
    server = rtsp_server({"good": scene}, user="operator", password="right")
    names = {"username": "CAM_USER", "password": "CAM_PASSWORD"}
    secrets = {"CAM_USER": "operator", "CAM_PASSWORD": "hunter2-wrong"}
    rig = rig({"a": camera(server.url(), credentials=names)}, secrets).start()
    status = rig.until_state("lost", cause="authentication")
    assert "refused the credentials" in status.detail
    from pathlib import Path

    visible = [status.detail, caplog.text]
    visible += [Path(f"/proc/{rig.pid()}/{file}").read_text() for file in ("cmdline", "environ")]
    assert not any("hunter2" in text for text in visible)


def test_after_a_refused_password_tries_are_slow(rtsp_server, rig, scene):
    server = rtsp_server({"good": scene}, user="operator", password="right")
    rig = rig({"a": camera(server.url())}, pace=Pace(first_s=0.01, most_s=0.01, slow_s=60)).start()
    status = rig.until_state("lost", cause="authentication")
    assert "none are configured" in status.detail
    assert rig.capture._links["a"].due_s - time.monotonic() > 40


def test_rtsps_is_verified(rtsp_server, rig, scene, rtsp_certificates):
    server = rtsp_server({"good": scene}, tls=rtsp_certificates)
    trusting = camera(server.url(), tls={"ca_file": str(rtsp_certificates.ca)})
    doubting = camera(server.url(), tls={"ca_file": str(rtsp_certificates.other_ca)})
    system = camera(server.url())
    absent = camera(server.url(), tls={"ca_file": "/nowhere/ca.pem"})
    rig = rig({"a": trusting, "b": doubting, "c": system, "d": absent}).start()
    rig.until(lambda: rig.good("a"), "a frame over TLS")
    status = rig.until_state("lost", "d", "tls")
    assert status.detail == (
        "the certificate authorities in /nowhere/ca.pem cannot be read; correct tls.ca_file"
    )
    rig.until_state("lost", "b", "tls")
    rig.until_state("lost", "c", "tls")
    assert not rig.good("b")
    assert not rig.good("c")


def test_a_certificate_for_another_host_is_refused(rtsp_server, rig, scene, rtsp_certificates):
    wrong = replace(rtsp_certificates, certificate=rtsp_certificates.stranger)
    server = rtsp_server({"good": scene}, tls=wrong)
    rig = rig({"a": camera(server.url(), tls={"ca_file": str(rtsp_certificates.ca)})}).start()
    rig.until_state("lost", cause="tls")
    assert not rig.good()


def test_without_a_file_of_its_own_openssl_the_systems_bundle_is_taken(monkeypatch, tmp_path):
    from inspector.capture.sources import rtsp

    bundle = tmp_path / "bundle.crt"
    bundle.write_text("")
    monkeypatch.setattr(rtsp, "CA_BUNDLES", ("/nowhere/ca.crt", str(bundle)))
    monkeypatch.setattr(rtsp.ssl, "get_default_verify_paths", lambda: SimpleNamespace(cafile=None))
    assert rtsp.system_authorities() == str(bundle)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("silent", "timeout"),
        ("drips", "timeout"),
        ("closes", "ended"),
        ("unauthorized", "authentication"),
        ("forbidden", "authentication"),
        ("missing", "not_found"),
        ("garbage", "codec"),
    ],
)
def test_cause_of_a_failed_connection(rtsp_fault, rig, fault, cause):
    rig = rig({"a": camera(rtsp_fault(fault).url(), open_timeout_s=2.0)}).start()
    status = rig.until_state("lost", cause=cause)
    assert status.restarts[cause] >= 1
    assert "127.0.0.1" in status.detail or "worker" in status.detail
    rig.until(lambda: sum(rig.status().restarts.values()) >= 2, "another try")


def test_a_camera_that_agrees_to_everything_and_sends_nothing_never_runs(rtsp_fault, rig):
    events = []
    told = CameraEvents(
        Documents("packing-07", "inspect", Topics()), lambda _, event, lost: events.append(event)
    )
    # FFmpeg looks for a packet before it says that the stream is open, until its deadline.
    quick = {"open_timeout_s": 2.0, "read_timeout_s": 0.5}
    rig = rig({"a": camera(rtsp_fault("mute").url(), **quick)}).start()
    rig.until(lambda: rig.status().restarts.get("stalled", 0) >= 3, "tries that stall")
    with pytest.raises(NoFramesError, match="camera a gives no pictures"):
        rig.capture.ask("a", "t1", None)
    assert "running" not in [status.state for status in rig.changes]
    assert rig.epochs == []
    for status in rig.changes:
        told.change(status)
    assert [event.type for event in events] == ["inspector.camera.lost.v1"]


def test_nobody_listens(rig):
    rig = rig({"a": camera(f"rtsp://127.0.0.1:{free_port()}/x")}).start()
    rig.until_state("lost", cause="refused")


def test_unknown_stream_of_a_real_server(rtsp_server, rig, scene):
    server = rtsp_server({"good": scene})
    rig = rig({"a": camera(server.url("/other"))}).start()
    rig.until_state("lost", cause="not_found")


def test_deadlines_hold_against_a_black_hole(rtsp_fault):
    """The self-test of PyAV's and FFmpeg's deadlines: a renamed option would be ignored."""
    from inspector.capture.sources.base import SourceError
    from inspector.capture.sources.rtsp import RtspSource

    settings = camera(rtsp_fault("silent").url(), open_timeout_s=0.7)
    settings["source"] |= {"transport": "tcp"}
    source = RtspSource(settings, None, None)
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"did not answer within 0\.7 s") as failure:
        source.open()
    took = time.monotonic() - began
    assert failure.value.cause == "timeout"
    assert 0.6 < took < 25, "FFmpeg's own default is 30 s"


def test_stall_is_noticed_and_overcome_without_a_stale_verdict(rtsp_server, rtsp_relay, rig, scene):
    server = rtsp_server({"good": scene}, numbered=True)
    relay = rtsp_relay(server.port)
    deadline_s = 6.0
    rig = rig({"a": camera(relay.url(), read_timeout_s=deadline_s, max_age_s=30.0)})
    watch_numbers(rig)
    rig.start()
    rig.until(lambda: len(rig.good()) >= 5, "frames")
    relay.mode = "stall"
    rig.until_state("stalled", cause="stalled")
    before = len(rig.frames)
    relay.mode = "pass"
    rig.until_state("running")
    rig.until(lambda: len(rig.good()) >= before + 5, "frames of the next connection")
    assert [epoch for _, epoch in rig.epochs] == [0, 1]
    # FFmpeg gives the last picture it holds when the deadline is over: old, so never judged.
    gaps = [b.arrived_ns - a.arrived_ns for a, b in zip(rig.frames, rig.frames[1:], strict=False)]
    assert rig.status().counters.dropped["stale"] >= 1
    long = [gap for gap in gaps if gap > 0.75e9 * deadline_s]
    assert len(long) == 1, "only between the connections"
    first = next(f for f in rig.frames if f.stream_epoch == 1)
    assert first.arrived_ns > max(f.arrived_ns for f in rig.frames if f.stream_epoch == 0)


def test_frames_that_waited_in_the_network_are_stale(rtsp_server, rtsp_relay, rig, scene):
    server = rtsp_server({"good": scene}, numbered=True)
    relay = rtsp_relay(server.port)
    rig = rig({"a": camera(relay.url(), max_age_s=0.4)})
    ages = []

    def look(frame):
        if frame.slot < 0:
            return None
        ages.append(frame.arrived_ns / 1e9 - frame.pts_s)
        return number_in(frame.picture())

    rig.look = look
    rig.start()
    rig.until(lambda: len(rig.good()) >= 10, "frames")
    relay.mode = "stall"
    time.sleep(1.5)  # the fault itself: what is sent meanwhile waits
    relay.mode = "pass"
    rig.until(lambda: rig.status().counters.dropped["stale"] >= 5, "stale frames")
    count = len(rig.good())
    rig.until(lambda: len(rig.good()) >= count + 10, "fresh frames")
    assert rig.status().restarts == {}
    # The server stamps each picture when it is shown: its age is the delay, plus a constant.
    assert max(ages) - min(ages) < 0.4 + 0.3


@pytest.mark.parametrize("clock", [0.0, 0.5])
def test_a_camera_that_lies_about_its_time_is_told_of_and_can_be_judged(
    rtsp_server, rtsp_relay, rig, scene, clock
):
    server = rtsp_server({"good": scene}, numbered=True)
    relay = rtsp_relay(server.port)
    relay.clock = clock
    trusting, ignoring = camera(relay.url()), camera(relay.url())
    ignoring["source"]["time_stamps"] = "ignore"
    for each in (trusting, ignoring):
        each["inspect"] = {"every_s": 0.1}
    rig = rig({"a": trusting, "b": ignoring}).start()
    status = rig.until_state("stalled", "a", "stalled")
    assert "its clock runs wrong" in status.detail
    assert "time_stamps: ignore" in status.detail
    rig.until_frames(30, "b")

    def every_second_is_due() -> bool:
        counters = rig.status("b").counters
        return counters.judged > counters.frames_in / 4

    rig.until(every_second_is_due, "every second frame to be due")
    assert rig.status("b").counters.dropped["stale"] == 0
    assert rig.status("b").restarts == {}
    rig.until(lambda: ("a", 1) in rig.epochs, "another try")


def test_a_camera_whose_clock_runs_fast_is_judged(rtsp_server, rtsp_relay, rig, scene):
    server = rtsp_server({"good": scene}, numbered=True)
    relay = rtsp_relay(server.port)
    relay.clock = 3.0
    rig = rig({"a": camera(relay.url(), max_age_s=3.5)}).start()
    rig.until_frames(60)  # the clock is six seconds ahead by then
    assert rig.status().counters.dropped["stale"] == 0
    assert rig.status().restarts == {}


@pytest.mark.parametrize("mode", ["lose", "flip"])
def test_damaged_frames_are_never_judged(rtsp_server, rtsp_relay, rig, scene, mode):
    server = rtsp_server({"good": scene}, numbered=True, gop=20)
    relay = rtsp_relay(server.port)
    rig = rig({"a": camera(relay.url())})
    errors = []

    def look(frame):
        if frame.slot < 0:
            return frame.damage
        picture = frame.picture()[32:].astype(int)
        errors.append(float(np.abs(picture - scene[32:].astype(int)).mean()))
        return None

    rig.look = look
    rig.start()
    rig.until(lambda: len(errors) >= 10, "whole frames")
    whole = max(errors)
    relay.one_in = 15
    relay.mode = mode
    rig.until(lambda: relay.spoiled >= 8, "spoiled packets")
    relay.mode = "pass"
    count = len(errors)
    rig.until(lambda: len(errors) >= count + 10, "whole frames again")
    damages = [note for note in rig.notes if note]
    assert damages
    assert all(text.startswith("decode: ") for text in damages)
    assert max(errors) <= whole * 1.5 + 1, "no picture with concealed damage was judged"


def test_noise_in_the_stream_ends_in_a_reconnect(rtsp_server, rtsp_relay, rig, scene):
    server = rtsp_server({"good": scene})
    relay = rtsp_relay(server.port)
    other = camera(server.url())
    spoiled = camera(relay.url(), open_timeout_s=2.0, read_timeout_s=2.0)
    rig = rig({"a": spoiled, "b": other}).start()
    rig.until(lambda: rig.good("a") and rig.good("b"), "frames")
    relay.mode = "garbage"
    rig.until(lambda: sum(rig.status("a").restarts.values()) >= 1, "a reconnect")
    relay.mode = "pass"
    count = len(rig.good("a"))
    rig.until(lambda: len(rig.good("a")) > count + 3, "frames again")
    assert rig.status("b").restarts == {}


def test_all_cameras_lost_at_once_come_back(rtsp_server, rig, scene):
    server = rtsp_server({"good": scene})
    names = [f"c{i}" for i in range(4)]
    rig = rig({name: camera(server.url()) for name in names}, pace=QUICK).start()
    for name in names:
        rig.until_state("running", name)
    server.stop()
    for name in names:
        rig.until(lambda name=name: rig.status(name).state != "running", "the loss")
    server.start()
    for name in names:
        rig.until_state("running", name)
    assert {epoch for _, epoch in rig.epochs} == {0, 1}
