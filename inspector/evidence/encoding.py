"""From a slot's pixels to the bytes of a picture file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

from inspector.errors import EvidenceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOSSLESS_WEBP = 101
_FAST_PNG = 1
"""A higher level takes longer (1.5 times at 3) and saves some percent."""


def encode(picture: NDArray[np.uint8], suffix: str, quality: int) -> bytes:
    """The very pixels that were judged; png and webp lossless, jpg with `quality` 1 to 100.

    The interpreter is free for others meanwhile.

    Args:
        picture: (height, width, 3) uint8 BGR; only read.

    Raises:
        EvidenceError: the format cannot hold the picture.
    """
    options = {
        "jpg": (cv2.IMWRITE_JPEG_QUALITY, quality),
        "png": (cv2.IMWRITE_PNG_COMPRESSION, _FAST_PNG),
        "webp": (cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS_WEBP),
    }
    try:
        done, data = cv2.imencode(f".{suffix}", picture, options[suffix])
    except cv2.error as error:
        done, why = False, f": {error.err}"
    else:
        why = ""
    if not done:
        height, width = picture.shape[:2]
        msg = f"a picture of {width}x{height} cannot be kept as {suffix}{why}; try another format"
        raise EvidenceError(msg)
    encoded: bytes = data.tobytes()
    return encoded
