"""Files that break off are told from whole ones by their structure."""

from __future__ import annotations

import io

import av
import cv2
import numpy as np
import pytest

from inspector.capture.sources.endings import missing_bytes
from tests.capture.test_files import film

KINDS = {"a.mp4": "libx264", "a.mov": "libx264", "a.mkv": "libx264", "a.ts": "libx264",
         "a.webm": "libvpx", "a.avi": "mpeg4"}  # fmt: skip


def missing(data):
    return missing_bytes(io.BytesIO(data), len(data))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name, codec in KINDS.items():
        if codec == "libx264":
            film(folder / name, 12)
            continue
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for k in range(12):
                picture = np.full((64, 64, 3), k, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            container.mux(stream.encode(None))
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_video_lacks_nothing(clips, name):
    assert missing((clips / name).read_bytes()) == 0


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_cut_video_lacks_what_was_cut(clips, name, share):
    data = (clips / name).read_bytes()
    kept = int(len(data) * share) // 188 * 188 + 50  # of a stream of packets, within one
    assert 0 < missing(data[:kept]) <= len(data) - kept


@pytest.mark.parametrize("suffix", [".avif", ".webp"])
def test_cut_pictures(suffix):
    ok, data = cv2.imencode(suffix, np.random.default_rng(1).integers(0, 255, (64, 64, 3), "uint8"))
    assert ok
    assert missing(data.tobytes()) == 0
    assert missing(data.tobytes()[:-100]) == 100


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"not a video" * 50,
        b"\0\0\0\0mdat and so on to the end",
        b"\0\0\0\7ftyp no box is that small",
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x81\0\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff live",
        b"\x1a\x45\xdf\xa3\x81\0 no segment",
        b"\x1a\x45\xdf\xa3\0\0\0\0",
    ],
)
def test_what_does_not_tell_lacks_nothing(data):
    assert missing(data) == 0
