"""Linear light, in which lenses, motion and sensors work, and the code of pictures.

Source: IEC 61966-2-1 (sRGB).
"""

import numpy as np
from numpy.typing import NDArray

from train.distortions.base import Picture


def to_linear(picture: Picture) -> NDArray[np.float32]:
    """Linear light in [0, 1] of an sRGB-coded picture."""
    return _LINEAR[picture]


def from_linear(light: NDArray[np.float32]) -> Picture:
    """sRGB-coded 8-bit picture of linear light, cut to [0, 1]."""
    return _CODED[np.clip(np.rint(light * (len(_CODED) - 1)), 0, len(_CODED) - 1).astype(np.uint16)]


def _linear_table() -> NDArray[np.float32]:
    code = np.arange(256) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def _coded_table() -> Picture:
    light = np.arange(65536) / 65535
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(code * 255).astype(np.uint8)


_LINEAR = _linear_table()
_CODED = _coded_table()
