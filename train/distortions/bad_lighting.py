"""Bad lighting: too little, too much, uneven or flickering light, and the noise it brings.

Model: the sRGB picture is taken to linear light (IEC 61966-2-1), multiplied by a light field,
seen by a sensor with photon noise and read noise (EMVA 1288), amplified, cut at full scale, and
coded again. The continuous parameter is the error of the light in stops (factors of two):

* under-exposure by 0.8 to 6 stops. Half of the cameras win back up to half of it by gain, so that
  less light also means more noise. The other half stay dark;
* over-exposure by 0.8 to 3.5 stops;
* uneven light: a ramp or a spot that falls off by 1.5 to 7 stops across the picture;
* flicker: bands across the rows of a rolling shutter, 0.8 to 6 stops deep.

Cameras without gain may take noise away, by averaging frames of a scene that stands still: on half
of the pictures a share of the noise is left, from none to all of it. Otherwise a network tells
the dark by its noise, and takes the clean dark picture of a better camera for a good one. With gain
the noise stays: what is won back without noise is no longer wrong.
"""

import numpy as np
from numpy.typing import NDArray

from train.distortions.base import Distortion, Picture, on_linear_scale
from train.distortions.light import from_linear, to_linear

LEAST_STOPS = 0.8
MOST_STOPS = 6.0
_MOST_OVER_STOPS = 3.5
_UNEVEN_STOPS = (1.5, 7.0)
_FULL_WELL_ELECTRONS = 10_000.0
_READ_NOISE_ELECTRONS = 6.0
_GAIN_SHARE = 0.5
_WITH_GAIN = 0.5
_CLEANED = 0.5

Field = NDArray[np.float32]


def expose(
    picture: Picture,
    field: Field | float,
    rng: np.random.Generator,
    *,
    gain: float = 1.0,
    noise: float = 1.0,
) -> Picture:
    """See a picture under another light.

    Args:
        picture: What the sensor would see at the right light, at full scale for white.
        field: Light relative to the right one, a number or (H, W, 1) float32.
        rng: Chance of the noise.
        gain: Amplification after the sensor; noise is amplified with it.
        noise: Share of the sensor's noise that is left: 1 / sqrt(n) where n frames are averaged.

    Returns:
        (H, W, 3) uint8.
    """
    electrons = np.minimum(to_linear(picture) * field, 1.0) * np.float32(_FULL_WELL_ELECTRONS)
    sigma = np.float32(noise) * np.sqrt(electrons + np.float32(_READ_NOISE_ELECTRONS**2))
    electrons = electrons + sigma * rng.standard_normal(picture.shape, dtype=np.float32)
    return from_linear(electrons * np.float32(gain / _FULL_WELL_ELECTRONS))


def _apply(picture: Picture, severity: float, rng: np.random.Generator) -> Picture:
    kind = rng.choice(4, p=(0.4, 0.25, 0.2, 0.15))
    if kind == 0:
        stops = on_linear_scale(severity, LEAST_STOPS, MOST_STOPS)
        if rng.random() < _WITH_GAIN:
            gain = 2.0 ** (stops * float(rng.uniform(0, _GAIN_SHARE)))
            return expose(picture, 2.0**-stops, rng, gain=gain)
        return expose(picture, 2.0**-stops, rng, noise=_noise_left(rng))
    if kind == 1:
        stops = on_linear_scale(severity, LEAST_STOPS, _MOST_OVER_STOPS)
        return expose(picture, 2.0**stops, rng, noise=_noise_left(rng))
    if kind == 2:
        stops = on_linear_scale(severity, *_UNEVEN_STOPS)
        field = _uneven(picture.shape[0], picture.shape[1], stops, rng)
        return expose(picture, field, rng, noise=_noise_left(rng))
    stops = on_linear_scale(severity, LEAST_STOPS, MOST_STOPS)
    return expose(picture, _flicker(picture.shape[0], stops, rng), rng, noise=_noise_left(rng))


def _noise_left(rng: np.random.Generator) -> float:
    """All of the noise, or on the pictures that a camera cleans any share of it."""
    return float(rng.uniform(0, 1)) if rng.random() < _CLEANED else 1.0


def _uneven(height: int, width: int, stops: float, rng: np.random.Generator) -> Field:
    """A ramp or a spot, from a little too bright to `stops` darker than that."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / height - 0.5, x / width - 0.5
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        fall = x * np.cos(angle) + y * np.sin(angle)
    else:
        centre = rng.uniform(-0.5, 0.5, 2)
        fall = np.hypot(x - centre[0], y - centre[1]) ** rng.uniform(1, 2)
    fall = (fall - fall.min()) / (fall.max() - fall.min())
    brightest = rng.uniform(-0.3, 0.3) * stops
    return (2.0 ** (brightest - stops * fall))[:, :, None].astype(np.float32)


def _flicker(height: int, stops: float, rng: np.random.Generator) -> Field:
    """Light that swings sinusoidally while a rolling shutter runs over the rows."""
    period_px = np.exp(rng.uniform(np.log(24), np.log(320)))
    phase = rng.uniform(0, 2 * np.pi)
    swing = 0.5 + 0.5 * np.cos(2 * np.pi * np.arange(height) / period_px + phase)
    lowest = 2.0**-stops
    return (lowest + (1 - lowest) * swing)[:, None, None].astype(np.float32)


DISTORTION = Distortion("bad_lighting", "stops", LEAST_STOPS, MOST_STOPS, _apply)
