"""BRISQUE's 36 features of natural scene statistics.

Source: Mittal, Moorthy, Bovik, "No-Reference Image Quality Assessment in the Spatial Domain",
IEEE Transactions on Image Processing 21(12), 2012. At two scales: the shape and variance of the
contrast-normalised luminance, and for its products with four neighbours the shape, mean, left and
right variance of an asymmetric generalised Gaussian.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma

FEATURES = 36
_SCALES = 2
_WINDOW = (7, 7)
_WINDOW_SIGMA = 7 / 6
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
_TINY = 1e-9

_SHAPES = np.arange(0.2, 10.0, 0.001)
_SYMMETRIC = gamma(1 / _SHAPES) * gamma(3 / _SHAPES) / gamma(2 / _SHAPES) ** 2
_ASYMMETRIC = 1 / _SYMMETRIC


def brisque(tile_bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(36,) features of one (H, W, 3) uint8 BGR tile."""
    plane = cv2.cvtColor(tile_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    parts = []
    for scale in range(_SCALES):
        if scale:
            half = (plane.shape[1] // 2, plane.shape[0] // 2)
            plane = np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.float32)
        normal = contrast_normalised(plane)
        parts.append(np.array(symmetric_fit(normal)))
        parts += [np.array(asymmetric_fit(_products(normal, dy, dx))) for dy, dx in _NEIGHBOURS]
    return np.concatenate(parts)


def contrast_normalised(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """(I - mean) / (deviation + 1), both in a 7x7 Gaussian window (the paper's equation 1)."""
    mean = cv2.GaussianBlur(plane, _WINDOW, _WINDOW_SIGMA)
    square = cv2.GaussianBlur(plane * plane, _WINDOW, _WINDOW_SIGMA)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    return np.asarray((plane - mean) / (deviation + 1), dtype=np.float32)


def symmetric_fit(values: NDArray[np.float32]) -> tuple[float, float]:
    """Shape and variance of a generalised Gaussian, by moments."""
    variance = float(np.mean(values.astype(np.float64) ** 2))
    ratio = variance / max(float(np.mean(np.abs(values))) ** 2, _TINY)
    return float(_SHAPES[np.argmin(np.abs(_SYMMETRIC - ratio))]), variance


def asymmetric_fit(values: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Shape, mean, left and right variance of an asymmetric generalised Gaussian, by moments."""
    flat = values.astype(np.float64).ravel()
    left = float(np.sqrt(np.mean(flat[flat < 0] ** 2))) if (flat < 0).any() else 0.0
    right = float(np.sqrt(np.mean(flat[flat > 0] ** 2))) if (flat > 0).any() else 0.0
    balance = left / max(right, _TINY)
    ratio = float(np.mean(np.abs(flat))) ** 2 / max(float(np.mean(flat**2)), _TINY)
    ratio *= (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2
    shape = float(_SHAPES[np.argmin((_ASYMMETRIC - ratio) ** 2)])
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    mean = (right - left) * scale * gamma(2 / shape) / gamma(1 / shape)
    return shape, float(mean), left**2, right**2


def _products(normal: NDArray[np.float32], dy: int, dx: int) -> NDArray[np.float32]:
    return normal * np.roll(normal, (dy, dx), axis=(0, 1))
