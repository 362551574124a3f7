"""Simple measures of a tile: sharpness, light, noise, blocks."""

import cv2
import numpy as np
from numpy.typing import NDArray

FEATURES = 6
_BLOCK = 8
_TINY = 1e-3
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def simple_measures(tile_bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(6,) measures of one (H, W, 3) uint8 BGR tile.

    Logarithms of the variance of the Laplacian and of the noise (Immerkaer, "Fast noise variance
    estimation", CVIU 64(2), 1996); mean and deviation of grey; share of black and white pixels;
    and blockiness: the step across the strongest 8-pixel grid relative to the mean step.
    """
    grey = cv2.cvtColor(tile_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    sharpness = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    noise = float(np.abs(cv2.filter2D(grey, -1, _IMMERKAER)).mean() * np.sqrt(np.pi / 2) / 6)
    clipped = float(((grey < 3) | (grey > 252)).mean())
    return np.array(
        [
            np.log(sharpness + _TINY),
            np.log(noise + _TINY),
            float(grey.mean()),
            float(grey.std()),
            clipped,
            (_blockiness(grey) + _blockiness(grey.T)) / 2,
        ]
    )


def _blockiness(grey: NDArray[np.float32]) -> float:
    step = np.abs(np.diff(grey, axis=1)).mean(axis=0)
    grids = [step[offset::_BLOCK].mean() for offset in range(_BLOCK)]
    return float(max(grids) / (step.mean() + _TINY))
