"""What a distortion is: a label, a continuous parameter, and a function of picture and chance."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8, BGR, sRGB-coded."""

MILDEST = 0.5
WORST = 5.5
"""Bounds of the continuous severity; 1 to 5 are the middles of five equal bins."""

MOST_PSNR_DB = 42.0
"""A picture that is nearer to its source than this is no example of damage; LIVE release 2 has none
better than about 40 dB."""
_BISECTIONS = 5


@dataclass(frozen=True, slots=True)
class Distortion:
    """One kind of damage.

    `mildest` and `worst` are the values of the parameter at severity 0.5 and 5.5. `apply` takes
    a picture, a severity in between, and the generator that is its only source of chance: the
    same three give the same picture. It never changes its argument. `base` is what it damages: the
    picture itself, or what a codec leaves of it before anything goes wrong.
    """

    label: str
    parameter: str
    mildest: float
    worst: float
    apply: Callable[[Picture, float, np.random.Generator], Picture]
    base: Callable[[Picture], Picture] = lambda picture: picture


def on_log_scale(severity: float, mildest: float, worst: float) -> float:
    """Parameter at a severity, equal steps of severity being equal ratios of the parameter.

    Raises:
        ValueError: The severity lies outside 0.5 to 5.5.

    Example:
        >>> round(on_log_scale(3.0, 1.0, 100.0), 3)
        10.0
    """
    place = place_of(severity)
    return exp(log(mildest) + place * (log(worst) - log(mildest)))


def on_linear_scale(severity: float, mildest: float, worst: float) -> float:
    """Parameter at a severity, equal steps of severity being equal steps of the parameter."""
    return mildest + place_of(severity) * (worst - mildest)


def place_of(severity: float) -> float:
    """Where a severity lies between the mildest (0) and the worst (1)."""
    if not MILDEST <= severity <= WORST:
        raise ValueError(f"severity must lie between {MILDEST} and {WORST}, not {severity}")
    return (severity - MILDEST) / (WORST - MILDEST)


def visibly(picture: Picture, severity: float, damage: Callable[[float], Picture]) -> Picture:
    """Damage a picture so that there is something to be seen.

    Plain pictures show nothing of what is mild. On these the severities are spread over what is
    left of the range above `MOST_PSNR_DB`, so that more is still worse.

    Args:
        picture: What is damaged.
        severity: 0.5 to 5.5.
        damage: The picture at a severity; it must not depend on chance.
    """
    place = place_of(severity)
    low, high = MILDEST, WORST
    if _is_seen(picture, damage(low)):
        return damage(severity)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if _is_seen(picture, damage(middle)) else (middle, high)
    return damage(high + place * (WORST - high))


def _is_seen(before: Picture, after: Picture) -> bool:
    return cv2.PSNR(before, after) <= MOST_PSNR_DB
