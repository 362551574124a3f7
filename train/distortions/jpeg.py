"""JPEG at a given bit rate, by a real encoder.

Source of protocol and range: Sheikh et al., LIVE release 2: 0.15 to 3.34 bit a pixel. Chroma is
halved both ways in three pictures of four, as encoders do by default, and kept in the rest.
"""

import cv2
import numpy as np

from train.distortions.base import Distortion, Picture, on_log_scale, visibly

MILDEST_BITS_A_PIXEL = 3.34
WORST_BITS_A_PIXEL = 0.15
_HALVED_CHROMA = 0.75
_HALVED = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
_KEPT = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444


def encode_at(picture: Picture, bits_a_pixel: float, *, halved_chroma: bool = True) -> bytes:
    """JPEG with the largest quality that needs no more than the given rate.

    Chroma that cannot be kept at that rate is halved; what then needs more has quality 1.
    """
    budget = bits_a_pixel * picture.shape[0] * picture.shape[1] / 8
    low, high = 1, 100
    sampling = _HALVED if halved_chroma else _KEPT
    best = _encode(picture, low, sampling)
    if len(best) > budget:
        sampling = _HALVED
        best = _encode(picture, low, sampling)
    while low < high:
        middle = (low + high + 1) // 2
        data = _encode(picture, middle, sampling)
        if len(data) <= budget:
            low, best = middle, data
        else:
            high = middle - 1
    return best


def _encode(picture: Picture, quality: int, sampling: int) -> bytes:
    # Tables of its own: of a small picture the usual ones are a third of the file.
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    settings += [cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    done, data = cv2.imencode(".jpg", picture, settings)
    if not done:
        raise RuntimeError(f"the JPEG encoder refused a picture of shape {picture.shape}")
    return data.tobytes()


def _apply(picture: Picture, severity: float, rng: np.random.Generator) -> Picture:
    halved = rng.random() < _HALVED_CHROMA

    def at(severity: float) -> Picture:
        rate = on_log_scale(severity, MILDEST_BITS_A_PIXEL, WORST_BITS_A_PIXEL)
        data = encode_at(picture, rate, halved_chroma=halved)
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return np.asarray(decoded, dtype=np.uint8)

    return visibly(picture, severity, at)


DISTORTION = Distortion("jpeg", "bits_a_pixel", MILDEST_BITS_A_PIXEL, WORST_BITS_A_PIXEL, _apply)
