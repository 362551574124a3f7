"""Gaussian blur, as in the LIVE database: one circular kernel on all three channels.

Source of protocol and range: Sheikh, Wang, Cormack, Bovik, "LIVE Image Quality Assessment
Database Release 2": standard deviations from 0.42 to 15 pixels.
"""

import cv2
import numpy as np

from train.distortions.base import Distortion, Picture, on_log_scale, visibly

MILDEST_SIGMA_PX = 0.42
WORST_SIGMA_PX = 15.0


def blur(picture: Picture, sigma_px: float) -> Picture:
    """Blur with a Gaussian kernel of the given standard deviation, cut off at 4 sigma."""
    side = 2 * int(np.ceil(4 * sigma_px)) + 1
    blurred = cv2.GaussianBlur(
        picture.astype(np.float32),
        (side, side),
        sigma_px,
        borderType=cv2.BORDER_REFLECT_101,
    )
    return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)


def _apply(picture: Picture, severity: float, rng: np.random.Generator) -> Picture:
    del rng
    return visibly(
        picture,
        severity,
        lambda at: blur(picture, on_log_scale(at, MILDEST_SIGMA_PX, WORST_SIGMA_PX)),
    )


DISTORTION = Distortion("gblur", "sigma_px", MILDEST_SIGMA_PX, WORST_SIGMA_PX, _apply)
