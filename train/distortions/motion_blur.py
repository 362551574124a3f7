"""Motion blur: the picture averaged along the path that it takes during the exposure.

Model: a uniform linear filter of the light whose kernel is the path, rasterised with sub-pixel
weights (Potmesil, Chakravarty, "Modeling motion blur in computer-generated images", SIGGRAPH 1983).
Paths are straight, or bent as a shaking mount or a rotating part bends them; the speed along the
path varies a little. Lengths go from 3 to 60 pixels.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from train.distortions.base import Distortion, Picture, on_log_scale
from train.distortions.light import from_linear, to_linear

SHORTEST_PX = 3.0
LONGEST_PX = 60.0
_SAMPLES_A_PIXEL = 8
_STRAIGHT = 0.5
_LARGEST_BEND = 0.35
"""How far the middle of a bent path lies off the chord, in chords."""


def kernel_of(
    length_px: float, angle: float, bend: float = 0.0, acceleration: float = 0.0
) -> NDArray[np.float32]:
    """Kernel of one path.

    Args:
        length_px: Of the path, in pixels.
        angle: Direction of the chord in radians, from the x axis towards the y axis.
        bend: Distance of the middle from the chord, in chords; 0 is straight.
        acceleration: Change of speed along the path, -1 to 1; 0 is uniform.

    Returns:
        (K, K) float32, K odd, summing to 1.
    """
    count = max(int(length_px * _SAMPLES_A_PIXEL), 8)
    t = np.linspace(-0.5, 0.5, count)
    across = bend * (1 - 4 * t * t)
    chord = length_px / float(np.hypot(np.diff(t), np.diff(across)).sum())
    along, across = chord * t, chord * (across - across.mean())
    x = along * np.cos(angle) - across * np.sin(angle)
    y = along * np.sin(angle) + across * np.cos(angle)
    weight = 1 + acceleration * 2 * t
    radius = int(np.ceil(max(np.abs(x).max(), np.abs(y).max()))) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    _splat(kernel, x + radius, y + radius, weight)
    return (kernel / kernel.sum()).astype(np.float32)


def _splat(
    kernel: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> None:
    """Spread each sample over its four pixels, bilinearly."""
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    right, down = x - column, y - row
    for dx, wx in ((0, 1 - right), (1, right)):
        for dy, wy in ((0, 1 - down), (1, down)):
            np.add.at(kernel, (row + dy, column + dx), weight * wx * wy)


def _apply(picture: Picture, severity: float, rng: np.random.Generator) -> Picture:
    length = on_log_scale(severity, SHORTEST_PX, LONGEST_PX)
    bend = 0.0 if rng.random() < _STRAIGHT else float(rng.uniform(-_LARGEST_BEND, _LARGEST_BEND))
    kernel = kernel_of(length, float(rng.uniform(0, np.pi)), bend, float(rng.uniform(-0.5, 0.5)))
    light = to_linear(picture)  # a sensor adds up light, not codes: what is bright leaves streaks
    moved = cv2.filter2D(light, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return from_linear(np.asarray(moved, np.float32))


DISTORTION = Distortion("motion_blur", "length_px", SHORTEST_PX, LONGEST_PX, _apply)
