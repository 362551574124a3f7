"""The irreversible 9/7 wavelet of JPEG 2000, by lifting, on single planes.

Source: Daubechies, Sweldens, "Factoring wavelet transforms into lifting steps" (1998), and
ITU-T T.800 Annex F. The scaling makes the transform nearly orthonormal, so that a quantiser's
step means the same in every subband.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

_ALPHA = np.float32(-1.586134342059924)
_BETA = np.float32(-0.052980118572961)
_GAMMA = np.float32(0.882911075530934)
_DELTA = np.float32(0.443506852043971)
_SCALE = np.float32(1.149604398860241)


@dataclass(slots=True)
class Pyramid:
    """A transformed plane: the coarsest picture and, per level, the three detail subbands.

    `details[0]` is the finest level; each holds (along x, along y, diagonal), all of one shape.
    """

    coarse: Plane
    details: list[tuple[Plane, Plane, Plane]]


def forward(plane: Plane, levels: int) -> Pyramid:
    """Transform a plane whose sides are multiples of 2**levels."""
    if any(side % 2**levels for side in plane.shape):
        raise ValueError(f"sides {plane.shape} are not multiples of {2**levels}")
    details = []
    for _ in range(levels):
        low, high = _split(plane)
        coarse_t, down_t = _split(low.T)
        across_t, diagonal_t = _split(high.T)
        details.append((across_t.T, down_t.T, diagonal_t.T))
        plane = coarse_t.T
    return Pyramid(
        np.ascontiguousarray(plane), [tuple(map(np.ascontiguousarray, d)) for d in details]
    )


def inverse(pyramid: Pyramid) -> Plane:
    """The plane of a pyramid."""
    plane = pyramid.coarse
    for across, down, diagonal in reversed(pyramid.details):
        low = _merge(plane.T, down.T).T
        high = _merge(across.T, diagonal.T).T
        plane = _merge(low, high)
    return np.ascontiguousarray(plane)


def _split(plane: Plane) -> tuple[Plane, Plane]:
    """One level along the second axis: low and high half."""
    even, odd = plane[:, 0::2], plane[:, 1::2]
    odd = odd + _ALPHA * (even + _next(even))
    even = even + _BETA * (_previous(odd) + odd)
    odd = odd + _GAMMA * (even + _next(even))
    even = even + _DELTA * (_previous(odd) + odd)
    return even * _SCALE, odd / _SCALE


def _merge(low: Plane, high: Plane) -> Plane:
    even, odd = low / _SCALE, high * _SCALE
    even = even - _DELTA * (_previous(odd) + odd)
    odd = odd - _GAMMA * (even + _next(even))
    even = even - _BETA * (_previous(odd) + odd)
    odd = odd - _ALPHA * (even + _next(even))
    plane = np.empty((even.shape[0], even.shape[1] * 2), dtype=np.float32)
    plane[:, 0::2], plane[:, 1::2] = even, odd
    return plane


def _next(even: Plane) -> Plane:
    """Each even sample's right neighbour; mirrored at the edge."""
    return np.concatenate([even[:, 1:], even[:, -1:]], axis=1)


def _previous(odd: Plane) -> Plane:
    """Each odd sample's left neighbour; mirrored at the edge."""
    return np.concatenate([odd[:, :1], odd[:, :-1]], axis=1)
