"""Folders of pictures and video files: first in, first out, nothing lost, damage named."""

from __future__ import annotations

import os
import time

import av
import cv2
import numpy as np
import pytest

from tests.capture.test_pictures import png_of_zeros


def images(folder, **more):
    source = {"kind": "images", "folder": str(folder)}
    for key in ("watch", "loop", "every_s"):
        if key in more:
            source[key] = more.pop(key)
    return {"source": source, **more}


def tone(value, height=48, width=64):
    return np.full((height, width, 3), value, np.uint8)


def fill(folder, count, start=0):
    for i in range(start, start + count):
        cv2.imwrite(str(folder / f"{i:03}.png"), tone(i))


def test_a_folder_is_judged_in_order_and_ends(tmp_path, rig):
    fill(tmp_path, 20)
    rig = rig({"a": images(tmp_path, slots=3)})
    rig.look = lambda frame: int(frame.picture()[0, 0, 0])
    rig.start()
    rig.until(lambda: rig.capture.ended, "the end")
    rig.until(lambda: len(rig.notes) == 20, "all pictures")
    assert rig.notes == list(range(20))
    assert [f.origin for f in rig.frames] == [f"{i:03}.png" for i in range(20)]
    assert [f.sequence for f in rig.frames] == list(range(20))
    assert rig.frames[0].fifo
    assert rig.status().state == "ended"
    counters = rig.status().counters
    assert counters.judged == counters.frames_in == 20


def test_a_slow_judge_loses_no_picture(tmp_path, rig):
    fill(tmp_path, 12)
    rig = rig({"a": images(tmp_path, slots=2)}).start(judge=False)
    seen = []
    while len(seen) < 12:
        assert rig.capture.wait(30)
        held = rig.capture.take(2)
        seen += [f.origin for f in held]
        for frame in held:
            rig.capture.release(frame, "judged")
    assert seen == [f"{i:03}.png" for i in range(12)]
    rig.until(lambda: rig.capture.ended, "the end")


def test_pictures_of_any_size_share_an_epoch(tmp_path, rig):
    for i, (height, width) in enumerate([(48, 64), (1, 1), (300, 200), (48, 64)]):
        cv2.imwrite(str(tmp_path / f"{i}.png"), tone(9, height, width))
    rig = rig({"a": images(tmp_path)}).start()
    rig.until_frames(4)
    assert [(f.height, f.width) for f in rig.frames] == [(48, 64), (1, 1), (300, 200), (48, 64)]
    assert rig.epochs == [("a", 0)]


def test_damaged_files_are_unjudgeable_and_the_rest_goes_on(tmp_path, rig):
    fill(tmp_path, 1)
    whole = (tmp_path / "000.png").read_bytes()
    (tmp_path / "001.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "002.png").write_bytes(b"")
    (tmp_path / "003.jpg").write_bytes(b"not a picture")
    (tmp_path / "004.png").write_bytes(png_of_zeros(2000, 2000))
    fill(tmp_path, 1, start=5)
    rig = rig({"a": images(tmp_path, max_megapixels=1.0)}).start()
    rig.until_frames(6)
    damage = {f.origin: (f.damage or "whole").split(":")[0] for f in rig.frames}
    assert damage == {
        "000.png": "whole",
        "001.png": "decode",
        "002.png": "decode",
        "003.jpg": "decode",
        "004.png": "too_large",
        "005.png": "whole",
    }
    assert all(f.slot == -1 and f.height == 0 for f in rig.frames if f.damage)
    assert rig.status().counters.judged == 6


def test_a_bound_of_exactly_the_pictures_size_is_none_too_few(tmp_path, rig):
    (tmp_path / "a.png").write_bytes(png_of_zeros(1520, 2688))  # 4.08576 * 1e6 is a little less
    rig = rig({"a": images(tmp_path, max_megapixels=4.08576)}).start()
    rig.until_frames(1)
    assert (rig.frames[0].height, rig.frames[0].damage) == (1520, None)


def test_the_name_of_a_file_need_not_be_utf8(tmp_path, rig):
    """Folders are filled from other systems; events, status and pages tell the name in UTF-8."""
    fill(tmp_path, 1)
    whole = (tmp_path / "000.png").read_bytes()
    folder = os.fsencode(tmp_path)
    for name, content in ((b"Geh\xe4use.png", whole), (b"l\xfccke.png", b"")):
        with open(folder + b"/" + name, "wb") as file:  # noqa: PTH123 - no Path holds such bytes
            file.write(content)
    rig = rig({"a": images(tmp_path)}).start()
    rig.until_frames(3)
    found = {f.origin: f.damage for f in rig.frames}
    assert found.keys() == {"000.png", r"Geh\xe4use.png", r"l\xfccke.png"}
    assert found[r"Geh\xe4use.png"] is None
    assert (found[r"l\xfccke.png"] or "").encode()


def test_a_region_of_a_large_picture(tmp_path, rig):
    (tmp_path / "a.png").write_bytes(png_of_zeros(2000, 2000))
    region = {"x": 1900, "y": 1950, "width": 100, "height": 50}
    rig = rig({"a": images(tmp_path, max_megapixels=1.0, region=region)}).start()
    rig.until_frames(1)
    assert (rig.frames[0].height, rig.frames[0].width, rig.frames[0].damage) == (50, 100, None)


def test_a_picture_that_does_not_hold_the_region_is_too_small_and_the_rest_goes_on(tmp_path, rig):
    for i, (height, width) in enumerate([(48, 64), (1, 1), (48, 40), (60, 64)]):
        cv2.imwrite(str(tmp_path / f"{i}.png"), tone(9, height, width))
    region = {"x": 4, "y": 8, "width": 60, "height": 40}
    rig = rig({"a": images(tmp_path, region=region)}).start()
    rig.until(lambda: rig.capture.ended, "the end")
    rig.until_frames(4)
    assert [(f.height, (f.damage or "")[:9]) for f in rig.frames] == [
        (40, ""), (0, "too_small"), (0, "too_small"), (40, ""),
    ]  # fmt: skip
    assert "lies outside the picture of 1x1 pixels" in rig.frames[1].damage
    assert rig.status().restarts == {}


def test_a_watched_folder_waits_until_files_are_complete(tmp_path, rig):
    fill(tmp_path, 1)
    rig = rig({"a": images(tmp_path, watch=True)})
    rig.look = lambda frame: int(frame.picture()[0, 0, 0]) if frame.slot >= 0 else frame.damage
    rig.start()
    rig.until(lambda: rig.notes == [0], "the picture that was there")
    whole = cv2.imencode(".png", np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8))[
        1
    ]
    data = whole.tobytes()
    with (tmp_path / "001.png").open("wb") as file:
        for at in range(0, len(data), 1500):  # slower than the folder is looked at
            file.write(data[at : at + 1500])
            file.flush()
            time.sleep(0.1)
    rig.until_frames(2)
    fill(tmp_path, 1, start=2)
    (tmp_path / ".003.png").write_bytes(data[:100])  # a temporary name
    (tmp_path / "003.txt").write_text("not a picture")
    hidden = tmp_path / ".004.part"
    hidden.write_bytes((tmp_path / "002.png").read_bytes())
    rig.until_frames(3)
    hidden.rename(tmp_path / "004.png")
    rig.until_frames(4)
    assert [f.origin for f in rig.frames] == ["000.png", "001.png", "002.png", "004.png"]
    assert all(f.damage is None for f in rig.frames)
    assert rig.status().state == "running"


def test_a_file_that_is_written_with_long_pauses_is_one_picture(tmp_path, rig):
    rig = rig({"a": images(tmp_path, watch=True)}).start()
    rig.until_state("running")
    whole = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8))[
        1
    ].tobytes()
    with (tmp_path / "000.jpg").open("wb") as file:
        for at in range(0, len(whole), len(whole) // 2 + 1):
            time.sleep(0.7)  # the pause is the experiment
            file.write(whole[at : at + len(whole) // 2 + 1])
            file.flush()
    fill(tmp_path, 1, start=1)
    rig.until_frames(2)
    assert [(f.origin, f.damage) for f in rig.frames] == [("000.jpg", None), ("001.png", None)]


def test_a_replaced_file_is_new(tmp_path, rig):
    fill(tmp_path, 1)
    rig = rig({"a": images(tmp_path, watch=True)})
    rig.look = lambda frame: int(frame.picture()[0, 0, 0])
    rig.start()
    rig.until(lambda: rig.notes == [0], "the first")
    rig.until(lambda: rig.status().fps == 0.0, "it to be measured that none comes")
    cv2.imwrite(str(tmp_path / ".new.png"), tone(77))
    (tmp_path / ".new.png").rename(tmp_path / "000.png")
    rig.until(lambda: rig.notes == [0, 77], "the one that replaced it")


def test_a_folder_loops(tmp_path, rig):
    fill(tmp_path, 3)
    rig = rig({"a": images(tmp_path, loop=True)}).start()
    rig.until_frames(8)
    assert [f.origin for f in rig.frames[:7]] == [f"{i % 3:03}.png" for i in range(7)]
    assert [f.sequence for f in rig.frames[:7]] == list(range(7))


def test_a_folder_that_is_missing_is_waited_for(tmp_path, rig):
    folder = tmp_path / "later"
    rig = rig({"a": images(folder, watch=True)}).start()
    status = rig.until_state("lost", cause="not_found")
    assert "later" in status.detail
    folder.mkdir()
    fill(folder, 1)
    rig.until_frames(1)


def test_a_watched_folder_that_was_away_goes_on_where_it_was(tmp_path, rig):
    folder, away = tmp_path / "share", tmp_path / "away"
    folder.mkdir()
    fill(folder, 4)
    rig = rig({"a": images(folder, watch=True)}).start()
    rig.until_frames(4)
    folder.rename(away)
    rig.until_state("lost", cause="not_found")
    fill(away, 1, start=4)
    away.rename(folder)
    rig.until_frames(5)
    rig.until(lambda: rig.status().state == "running", "the return")
    assert [f.origin for f in rig.frames] == [f"{i:03}.png" for i in range(5)]
    assert [f.stream_epoch for f in rig.frames] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("loop", [False, True])
def test_a_folder_without_a_picture_is_named_and_looked_at_again(tmp_path, rig, loop):
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken.png").symlink_to("nowhere")
    rig = rig({"a": images(tmp_path, loop=loop)}).start()
    status = rig.until_state("lost", cause="not_found")
    assert "holds no pictures" in status.detail
    fill(tmp_path, 1)
    rig.until_frames(1)


def film(path, frames, size=(96, 128), gop=10, codec="libx264", **options):
    """A clip whose frame k is a moving texture, brighter by k."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        stream.options = {"crf": "12", "bf": "0", "threads": "1"} | options
        texture = np.random.default_rng(2).integers(0, 80, (*size, 3), np.uint8)
        for k in range(frames):
            picture = np.roll(texture, 3 * k, axis=1) + np.uint8(k * 3)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def video(path, **more):
    source = {"kind": "video", "path": str(path), "pace": "fast"}
    for key in ("loop", "pace"):
        if key in more:
            source[key] = more.pop(key)
    return {"source": source, **more}


@pytest.mark.parametrize("bframes", ["0", "2"])
def test_a_clip_gives_each_frame_once_in_order(tmp_path, rig, bframes):
    path = film(tmp_path / "clip.mp4", 30, bf=bframes)
    rig = rig({"a": video(path)})
    rig.look = lambda frame: float(frame.picture().mean())
    rig.start()
    rig.until(lambda: rig.capture.ended, "the end")
    rig.until_frames(30)
    assert len(rig.frames) == 30
    steps = np.diff(rig.notes)
    assert (steps > 1).all(), "each a little brighter than the one before"
    assert [f.sequence for f in rig.frames] == list(range(30))
    assert np.allclose(np.diff([f.pts_s for f in rig.frames]), 0.04, atol=1e-3)


def test_a_clip_loops(tmp_path, rig):
    path = film(tmp_path / "clip.mp4", 6)
    rig = rig({"a": video(path, loop=True)})
    rig.look = lambda frame: float(frame.picture().mean())
    rig.start()
    rig.until_frames(15)
    assert np.allclose(rig.notes[0:6], rig.notes[6:12], atol=0.1)
    assert rig.epochs == [("a", 0)]


def test_a_clip_at_its_own_pace_takes_its_time(tmp_path, rig):
    path = film(tmp_path / "clip.mp4", 26)
    began_ns = time.monotonic_ns()
    rig = rig({"a": video(path, pace="own")}).start()
    rig.until_frames(26)
    assert rig.frames[-1].arrived_ns - began_ns >= 1e9, "26 frames of 25 a second"


def test_a_clip_that_loops_at_its_own_pace_has_no_seam(tmp_path, rig):
    path = film(tmp_path / "clip.mp4", 10)
    began_ns = time.monotonic_ns()
    rig = rig({"a": video(path, pace="own", loop=True)}).start()
    rig.until_frames(36)
    took = (rig.frames[35].arrived_ns - began_ns) / 1e9
    assert took >= 35 * 0.04, "three rounds and a half, none hurried"

    def a_round_in_its_time() -> bool:
        """A busy machine makes some rounds longer, and a seam would each."""
        times = [frame.arrived_ns / 1e9 for frame in list(rig.frames)]
        rounds = zip(times[5::10], times[15::10], strict=False)
        return any(until - since == pytest.approx(0.4, abs=0.03) for since, until in rounds)

    rig.until(a_round_in_its_time, "a round that takes no longer than its frames")
    assert [f.sequence for f in rig.frames[:36]] == list(range(36))


def test_a_lost_packet_damages_all_up_to_the_next_key_frame(tmp_path, rig):
    path = film(tmp_path / "clip.mp4", 30, gop=10)
    holed = tmp_path / "holed.mp4"
    with av.open(str(path)) as source, av.open(str(holed), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for k, packet in enumerate(p for p in source.demux(video=0) if p.size):
            if k != 13:
                packet.stream = stream
                target.mux(packet)
    rig = rig({"a": video(holed)}).start()
    rig.until(lambda: rig.capture.ended, "the end")
    rig.until_frames(29)
    damaged = [f.sequence for f in rig.frames if f.damage]
    assert damaged == list(range(13, 19)), "the rest of the second group of pictures"
    assert all(f.damage.startswith("decode: ") for f in rig.frames if f.damage)


def test_a_truncated_clip(tmp_path, rig):
    data = film(tmp_path / "clip.ts", 30).read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[: len(data) // 2])
    rig = rig({"a": video(tmp_path / "cut.ts")}).start()
    rig.until(lambda: rig.capture.ended, "the end")
    counters = rig.status().counters
    rig.until_frames(counters.frames_in)
    assert 5 < len(rig.good()) < 25
    assert "cut.ts is truncated" in rig.frames[-1].damage


def test_a_clip_that_breaks_off_unseen_by_its_reader_ends_in_a_damaged_frame(tmp_path, rig):
    data = film(tmp_path / "clip.mkv", 30).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    rig = rig({"a": video(tmp_path / "cut.mkv")}).start()
    rig.until(lambda: rig.capture.ended, "the end")
    rig.until_frames(rig.status().counters.frames_in)
    *pictures, last = rig.frames
    assert 5 < len(pictures) < 25
    assert not any(frame.damage for frame in pictures)
    assert last.damage.startswith("decode: ")
    assert "cut.mkv is truncated" in last.damage


def test_a_clip_without_its_index_says_that_it_is_truncated(tmp_path, rig):
    data = film(tmp_path / "clip.mp4", 30).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    rig = rig({"a": video(tmp_path / "cut.mp4")}).start()
    assert "it is truncated" in rig.until_state("lost", cause="codec").detail


def test_a_change_of_picture_size_begins_a_new_epoch_and_ring(tmp_path, rig):
    parts = [film(tmp_path / "a.ts", 6), film(tmp_path / "b.ts", 6, size=(64, 96))]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    rig = rig({"a": video(path)}).start()
    rig.until(lambda: rig.capture.ended, "the end")
    rig.until_frames(12)
    assert {(f.stream_epoch, f.height, f.width) for f in rig.good()} == {(0, 96, 128), (1, 64, 96)}
    assert next(f.sequence for f in rig.good() if f.stream_epoch == 1) == 0
    assert rig.epochs == [("a", 0), ("a", 1)]
    assert rig.rings == ["a/0", "a/1"]


@pytest.mark.parametrize(
    ("name", "data", "cause"),
    [("none.mp4", None, "not_found"), ("text.mp4", b"not a video" * 50, "codec")],
)
def test_what_is_no_clip(tmp_path, rig, name, data, cause):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    rig = rig({"a": video(tmp_path / name)}).start()
    status = rig.until_state("lost", cause=cause)
    assert name in status.detail


def test_capture_ends_only_when_all_cameras_have(tmp_path, rig):
    fill(tmp_path, 2)
    rig = rig(
        {"a": images(tmp_path), "b": {"source": {"kind": "pattern", "width": 64, "height": 64}}}
    )
    rig.start()
    rig.until_state("ended", "a")
    assert not rig.capture.ended
