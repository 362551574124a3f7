"""White Gaussian noise, as in the LIVE database.

Source of protocol and range: Sheikh et al., LIVE release 2: the same standard deviation for the
three channels, noise independent in each, 0.012 to 2.0 of full scale, cut at black and white.
"""

import numpy as np

from train.distortions.base import Distortion, Picture, on_log_scale

MILDEST_SIGMA = 0.012
WORST_SIGMA = 2.0


def add_noise(picture: Picture, sigma: float, rng: np.random.Generator) -> Picture:
    """Add white noise of standard deviation `sigma` (1 = full scale) to each channel."""
    noise = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(255 * sigma)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def _apply(picture: Picture, severity: float, rng: np.random.Generator) -> Picture:
    return add_noise(picture, on_log_scale(severity, MILDEST_SIGMA, WORST_SIGMA), rng)


DISTORTION = Distortion("wn", "sigma", MILDEST_SIGMA, WORST_SIGMA, _apply)
