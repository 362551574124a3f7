"""What a camera does to every picture, good or bad: grid, colour filter, noise, link.

A network that sees only untouched references as good learns that "pristine" means "never
touched". So a slight change of scale, demosaicing and faint sensor noise come before the
distortion, on all labels alike; after it comes high-quality H.264 as cameras send it, on half of
the pictures whose own damage is not a codec's.
"""

import io

import av
import cv2
import numpy as np

from train.distortions.base import Picture

AFTER_H264 = frozenset({"refimgs", "gblur", "motion_blur", "wn", "bad_lighting"})
"""Labels that may pass through H.264; the others are codec damage themselves."""

_DEMOSAICED = 0.25
_NOISY = 0.4
_MOST_NOISE = 0.006
"""Largest standard deviation of sensor noise, of full scale: half of `wn` at its mildest."""
_SENT_AS_H264 = 0.5
_BEST_CRF, _WORST_CRF = 12, 21
SMALLEST_SCALE = 0.7
_RESCALED = 0.5


def draw_scale(rng: np.random.Generator) -> float:
    """Factor by which a reference is made smaller before anything else, 0.7 to 1."""
    return float(rng.uniform(SMALLEST_SCALE, 1)) if rng.random() < _RESCALED else 1.0


def rescale(picture: Picture, side_h: int, side_w: int) -> Picture:
    """The picture on another grid, averaged over area so that nothing aliases."""
    if picture.shape[:2] == (side_h, side_w):
        return picture
    small = cv2.resize(picture, (side_w, side_h), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def before_distortion(picture: Picture, rng: np.random.Generator) -> Picture:
    """Demosaicing on a quarter of the pictures, faint noise on two in five."""
    if rng.random() < _DEMOSAICED:
        picture = demosaic(picture)
    if rng.random() < _NOISY:
        sigma = np.float32(255 * rng.uniform(0.001, _MOST_NOISE))
        noise = sigma * rng.standard_normal(picture.shape, dtype=np.float32)
        picture = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
    return picture


def after_distortion(picture: Picture, label: str, rng: np.random.Generator) -> Picture:
    """H.264 on half of the pictures of the labels that may have it."""
    if label in AFTER_H264 and rng.random() < _SENT_AS_H264:
        return through_h264(picture, int(rng.integers(_BEST_CRF, _WORST_CRF + 1)))
    return picture


def demosaic(picture: Picture) -> Picture:
    """The picture as a colour sensor with a Bayer filter and an edge-aware converter gives it."""
    mosaic = picture[:, :, 1].copy()
    mosaic[0::2, 0::2] = picture[0::2, 0::2, 2]
    mosaic[1::2, 1::2] = picture[1::2, 1::2, 0]
    return np.asarray(cv2.cvtColor(mosaic, cv2.COLOR_BayerRGGB2BGR_EA), dtype=np.uint8)


def through_h264(picture: Picture, crf: int) -> Picture:
    """Encode as one intra frame and decode again; odd sides lose nothing, they are padded."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    stream = io.BytesIO()
    with av.open(stream, "w", format="h264") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = padded.shape[1], padded.shape[0], "yuv420p"
        video.thread_count = 1
        video.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}
        # FFmpeg's own conversion rounds down: grey 128 would come back as (123, 126, 124).
        planes = cv2.cvtColor(padded, cv2.COLOR_BGR2YUV_I420)
        for packet in video.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")):
            container.mux(packet)
        for packet in video.encode():
            container.mux(packet)
    stream.seek(0)
    with av.open(stream, "r", format="h264") as container:
        for frame in container.decode(video=0):
            return np.ascontiguousarray(frame.to_ndarray(format="bgr24")[:height, :width])
    raise RuntimeError("the H.264 decoder gave no frame back")
