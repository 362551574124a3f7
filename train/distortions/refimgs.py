"""No distortion: the good picture as it is."""

import numpy as np

from train.distortions.base import Distortion, Picture


def _apply(picture: Picture, severity: float, rng: np.random.Generator) -> Picture:
    del severity, rng
    return picture.copy()


DISTORTION = Distortion("refimgs", "none", 0.0, 0.0, _apply)
