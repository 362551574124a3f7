"""What a camera does to every picture, good or bad: grid, colour filter, noise, link.

A network that sees only untouched references as good learns that "pristine" means "never
touched". So a slight change of scale, faint sensor noise and demosaicing come before the
distortion, on all labels alike; after it comes high-quality H.264 as cameras send it, on half of
the pictures whose own damage is not a codec's. What the lens blurs, or a motion, is blurred before
there is a sensor: half of those pictures get noise and demosaicing after their distortion. Bad
light meets the sensor under its colour filter: demosaicing comes after it, and spreads its noise.
"""

import io
from collections.abc import Callable

import av
import cv2
import numpy as np

from train.distortions.bad_lighting import expose
from train.distortions.base import Picture

AFTER_H264 = frozenset({"refimgs", "gblur", "motion_blur", "wn", "bad_lighting"})
"""Labels that may pass through H.264; the others are codec damage themselves."""

BEFORE_SENSOR = frozenset({"gblur", "motion_blur"})
"""Labels whose damage may be done before the light meets the sensor."""

AT_SENSOR = frozenset({"bad_lighting"})
"""Labels whose damage happens in the sensor."""

_BLURRED_FIRST = 0.5
_DEMOSAICED = 0.25
_NOISY = 0.4
_MOST_NOISE = 0.006
"""Largest standard deviation of even noise, of full scale: half of `wn` at its mildest."""
_BY_LIGHT = 0.5
"""Share of the noisy pictures whose noise grows with the light, as in `bad_lighting`."""
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


def take(
    picture: Picture,
    label: str,
    distort: Callable[[Picture], Picture],
    rng: np.random.Generator,
) -> tuple[Picture, Picture, Picture]:
    """The picture as a camera gives it.

    Args:
        picture: A reference, at its scale.
        label: Of the distortion.
        distort: The distortion; it may draw from `rng`.
        rng: Chance of the camera.

    Returns:
        What is distorted, what becomes of it, and what is seen of that in the end.
    """
    if label in BEFORE_SENSOR and rng.random() < _BLURRED_FIRST:
        damaged = distort(picture)
        return picture, damaged, after_distortion(sense(damaged, rng), label, rng)
    if label in AT_SENSOR:
        clean = _with_noise(picture, rng)
        damaged = distort(clean)
        return clean, damaged, after_distortion(_as_converted(damaged, rng), label, rng)
    clean = sense(picture, rng)
    damaged = distort(clean)
    return clean, damaged, after_distortion(damaged, label, rng)


def sense(picture: Picture, rng: np.random.Generator) -> Picture:
    """Faint noise on two pictures in five, demosaicing on a quarter, which spreads the noise."""
    return _as_converted(_with_noise(picture, rng), rng)


def _as_converted(picture: Picture, rng: np.random.Generator) -> Picture:
    return demosaic(picture) if rng.random() < _DEMOSAICED else picture


def _with_noise(picture: Picture, rng: np.random.Generator) -> Picture:
    if rng.random() < _NOISY:
        if rng.random() < _BY_LIGHT:
            return expose(picture, 1.0, rng, noise=float(rng.uniform(0, 1)))
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
    margin = 2  # OpenCV copies the outermost rows and columns from their neighbours
    wide = cv2.copyMakeBorder(picture, *[margin] * 4, cv2.BORDER_REFLECT_101)
    mosaic = wide[:, :, 1].copy()
    mosaic[0::2, 0::2] = wide[0::2, 0::2, 2]
    mosaic[1::2, 1::2] = wide[1::2, 1::2, 0]
    seen = cv2.cvtColor(mosaic, cv2.COLOR_BayerRGGB2BGR_EA)
    return np.ascontiguousarray(seen[margin:-margin, margin:-margin])


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
        planes = _to_planes(padded)
        for packet in video.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")):
            container.mux(packet)
        for packet in video.encode():
            container.mux(packet)
    stream.seek(0)
    with av.open(stream, "r", format="h264") as container:
        for frame in container.decode(video=0):
            seen = cv2.cvtColor(frame.to_ndarray(format="yuv420p"), cv2.COLOR_YUV2BGR_I420)
            return np.ascontiguousarray(seen[:height, :width])
    raise RuntimeError("the H.264 decoder gave no frame back")


def _to_planes(picture: Picture) -> Picture:
    """YUV 4:2:0 (ITU-R BT.601) of a picture with even sides, colour averaged over two by two.

    FFmpeg's conversion rounds down, both ways: grey 128 would come back as (123, 126, 124).
    OpenCV's takes the colour of one pixel in four, so it is shown the mean of all four.
    """
    height, width = picture.shape[:2]
    mean = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
    colour = cv2.cvtColor(mean.repeat(2, axis=0).repeat(2, axis=1), cv2.COLOR_BGR2YUV_I420)
    planes[height:] = colour[height:]
    return np.asarray(planes, dtype=np.uint8)
