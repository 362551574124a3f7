"""The test pattern: synthetic parts on a moving belt, with scripted faults.

The belt is a picture wider than the camera's, painted once; a frame is a window of it that moves by
the same number of pixels each time. A fault is another belt, painted when its script first asks for
it. So a frame costs a copy, and the same seed gives the same frames.

The surface is made of what makes pictures look natural to a quality network: pieces of all sizes
that hide one another, sharp at their edges (the "dead leaves" model: Lee, Mumford, Huang,
"Occlusion models for natural images", 2001), with a fine grain whose amplitude falls as one over
the frequency.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from inspector.capture.sources.images import from_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from inspector.capture.sources.base import Intake, Picture, Settings

SPEED_PX = 8
"""Pixels that the belt moves between two frames: a JPEG block, so that blocks stay in place."""

KEPT_BELTS = 3
"""Painted belts that are kept: the clean one and the last faults."""

GBLUR_SIGMA_PX = (1.5, 2.5, 4.0, 6.0, 9.0)
MOTION_LENGTH_PX = (9, 15, 23, 35, 51)
NOISE_SIGMA = (12.0, 20.0, 32.0, 48.0, 70.0)
JPEG_QUALITY = (30, 20, 12, 8, 4)
DARK_STOPS = (1.5, 2.5, 3.5, 4.5, 5.5)
"""What severities 1 to 5 mean; levels lie within what the engines are trained for."""


class PatternSource:
    """Parts on a belt. Live."""

    live = True
    one_size = True

    def __init__(self, source: Settings) -> None:
        self.fps: float | None = float(source["fps"])
        self._height = int(source["height"])
        self._width = int(source["width"])
        self._seed = int(source["seed"])
        self._period_s = float(source["period_s"])
        self._faults = source["faults"]
        self._belts: dict[tuple[str, int], NDArray[np.uint8]] = {}

    def open(self) -> None:
        """Paint the clean belt."""
        self._belt("clean", 0)

    def pictures(self, intake: Intake) -> Iterator[Picture]:
        """Frames at their times. Late ones are left out, as a camera would."""
        assert self.fps is not None, "set at construction"  # noqa: S101
        start = time.monotonic()
        number = 0
        while True:
            intake.pause(max(0.0, start + number / self.fps - time.monotonic()))
            yield from_pixels(intake.arrive(number / self.fps), self.frame(number), None)
            number = max(number + 1, int((time.monotonic() - start) * self.fps))

    def frame(self, number: int) -> NDArray[np.uint8]:
        """Frame `number` as a view of a belt, (height, width, 3) uint8 BGR."""
        assert self.fps is not None, "set at construction"  # noqa: S101
        at_s = (number / self.fps) % self._period_s
        label, severity = "clean", 0
        for fault in self._faults:
            if fault["from_s"] <= at_s < fault["to_s"]:
                label, severity = fault["label"], int(fault["severity"])
        belt = self._belt(label, severity)
        left = number * SPEED_PX % (belt.shape[1] - self._width)
        return belt[:, left : left + self._width]

    def close(self) -> None:
        """Drop the belts."""
        self._belts.clear()

    def _belt(self, label: str, severity: int) -> NDArray[np.uint8]:
        key = (label, severity)
        if key not in self._belts:
            if label == "clean":
                belt = paint_belt(self._height, self._width, self._seed)
            else:
                rng = np.random.default_rng([self._seed, severity])
                belt = spoil(self._belt("clean", 0), label, severity, rng)
            if len(self._belts) >= KEPT_BELTS:
                self._belts.pop(next(old for old in self._belts if old != ("clean", 0)))
            self._belts[key] = belt
        return self._belts[key]

    def __repr__(self) -> str:
        return f"PatternSource({self._width}x{self._height})"


def paint_belt(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A belt with parts: (height, loop + width, 3) uint8 BGR; its end repeats its beginning."""
    rng = np.random.default_rng(seed)
    loop = -(-max(width, 640) // SPEED_PX) * SPEED_PX
    scene = np.full((height, loop, 3), 70, np.uint8)
    _leaves(scene, rng, 900, (0.004, 0.10), (35, 110))
    pitch = max(loop // 3, 64)
    for left in range(0, loop, pitch):
        _part(scene, left, pitch, rng)
    grain = _grain(height, loop, rng)
    light = np.linspace(0.92, 1.08, height, dtype=np.float32)[:, None, None]
    sharp = scene.astype(np.float32) * light + grain[:, :, None] * 14.0
    sharp += rng.standard_normal((height, loop, 1), dtype=np.float32) * 1.2
    belt = np.clip(np.rint(sharp), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.concatenate([belt, np.tile(belt, (1, 2, 1))[:, :width]], axis=1))


def _part(scene: NDArray[np.uint8], left: int, pitch: int, rng: np.random.Generator) -> None:
    """One part: a plate with its own surface, holes and a bright rim."""
    height = scene.shape[0]
    top, bottom = int(height * 0.16), int(height * 0.84)
    a, b = left + int(pitch * 0.12), min(left + int(pitch * 0.88), scene.shape[1])
    plate = scene[top:bottom, a:b]
    if plate.shape[1] < 16:  # noqa: PLR2004 - too narrow to be a part
        return
    plate[:] = rng.integers(120, 190, 3)
    _leaves(plate, rng, 700, (0.006, 0.14), (70, 235))
    size = min(plate.shape[:2])
    for _ in range(6):
        centre = (int(rng.integers(0, plate.shape[1])), int(rng.integers(0, plate.shape[0])))
        radius = max(2, int(size * rng.uniform(0.02, 0.07)))
        cv2.circle(plate, centre, radius, (225, 228, 230), -1, cv2.LINE_AA)
        cv2.circle(plate, centre, max(1, radius - 3), (28, 26, 24), -1, cv2.LINE_AA)
    cv2.rectangle(plate, (1, 1), (plate.shape[1] - 2, plate.shape[0] - 2), (215, 218, 220), 2)


def _leaves(
    area: NDArray[np.uint8],
    rng: np.random.Generator,
    count: int,
    radii: tuple[float, float],
    tones: tuple[int, int],
) -> None:
    """Cover the area with pieces; radii (shares of the shorter side) fall as 1/r³."""
    height, width = area.shape[:2]
    side = min(height, width)
    u = rng.random(count)
    least, most = radii[0] ** -2, radii[1] ** -2
    sizes = np.sort((least - u * (least - most)) ** -0.5)[::-1] * side
    for radius in sizes:
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        tone = float(rng.uniform(*tones))
        colour = tuple(float(np.clip(tone + c, 0, 255)) for c in rng.normal(0, 14, 3))
        r = max(1, int(radius))
        if rng.random() < 0.5:  # noqa: PLR2004 - as many round ones as angular ones
            cv2.circle(area, (x, y), r, colour, -1, cv2.LINE_AA)
        else:
            box = cv2.boxPoints(((x, y), (2.4 * r, 1.4 * r), float(rng.uniform(0, 180))))
            cv2.fillPoly(area, [box.astype(np.int32)], colour, cv2.LINE_AA)


def _grain(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise whose amplitude falls as 1/f, periodic, of unit deviation: (height, width) float32."""
    spectrum = np.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32))
    fy = np.fft.fftfreq(height)[:, None]
    fx = np.fft.rfftfreq(width)[None, :]
    spectrum /= np.maximum(np.hypot(fy, fx), 1 / 128)
    noise = np.fft.irfft2(spectrum, s=(height, width)).astype(np.float32)
    return np.asarray(noise / noise.std(), np.float32)


def spoil(
    belt: NDArray[np.uint8], label: str, severity: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The belt with one fault.

    Args:
        label: `gblur motion_blur wn jpeg bad_lighting`.
        severity: 1 to 5.
    """
    spoiled: NDArray[np.uint8] = _FAULTS[label](belt, severity - 1, rng)
    return spoiled


def _as_bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _gblur(belt: NDArray[np.uint8], level: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    del rng
    return np.asarray(cv2.GaussianBlur(belt, (0, 0), GBLUR_SIGMA_PX[level]), np.uint8)


def _motion_blur(
    belt: NDArray[np.uint8], level: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    del rng
    length = MOTION_LENGTH_PX[level]
    return np.asarray(cv2.blur(belt, (length, 1)), np.uint8)


def _wn(belt: NDArray[np.uint8], level: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    noise = rng.standard_normal(belt.shape, dtype=np.float32) * NOISE_SIGMA[level]
    return _as_bytes(belt + noise)


def _jpeg(belt: NDArray[np.uint8], level: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    del rng
    _, data = cv2.imencode(".jpg", belt, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY[level]])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _bad_lighting(
    belt: NDArray[np.uint8], level: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Too little light, and the photon noise that comes with it."""
    light = (belt.astype(np.float32) / 255) ** 2.2 * 2.0 ** -DARK_STOPS[level] * 10_000.0
    light += np.sqrt(light + 36.0) * rng.standard_normal(belt.shape, dtype=np.float32)
    coded = (np.maximum(light, 0) / 10_000.0) ** (1 / 2.2) * 255
    return _as_bytes(coded)


_FAULTS: dict[str, Callable[[NDArray[np.uint8], int, np.random.Generator], NDArray[np.uint8]]] = {
    "gblur": _gblur,
    "motion_blur": _motion_blur,
    "wn": _wn,
    "jpeg": _jpeg,
    "bad_lighting": _bad_lighting,
}


def make(settings: Settings, username: str | None, password: str | None) -> PatternSource:
    """The source of a camera of kind `pattern`."""
    del username, password
    return PatternSource(settings["source"])
