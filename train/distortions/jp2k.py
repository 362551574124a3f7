"""JPEG 2000 at a given bit rate, by OpenJPEG with the irreversible 9/7 wavelet.

Source of protocol and range: Sheikh et al., LIVE release 2: 0.028 to 3.15 bit a pixel.
"""

import io

import numpy as np
from PIL import Image

from train.distortions.base import Distortion, Picture, on_log_scale, visibly

MILDEST_BITS_A_PIXEL = 3.15
WORST_BITS_A_PIXEL = 0.028
_RAW_BITS_A_PIXEL = 24


def encode_at(picture: Picture, bits_a_pixel: float, **options: object) -> bytes:
    """JP2 file at the given rate; `options` go to the encoder as they are.

    Pillow is used since OpenCV's writer offers neither the 9/7 wavelet nor precincts. It has to be
    told to take the colours apart (ITU-T T.800, Annex G), which other encoders do unasked: without
    that a picture costs about half as much again at the same quality.
    """
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1])).save(
        stream,
        "JPEG2000",
        irreversible=True,
        mct=1,
        quality_mode="rates",
        quality_layers=[_RAW_BITS_A_PIXEL / bits_a_pixel],
        **options,
    )
    return stream.getvalue()


def decode(data: bytes) -> Picture:
    """BGR picture of an undamaged JP2 file."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _apply(picture: Picture, severity: float, rng: np.random.Generator) -> Picture:
    del rng
    return visibly(
        picture,
        severity,
        lambda at: decode(
            encode_at(picture, on_log_scale(at, MILDEST_BITS_A_PIXEL, WORST_BITS_A_PIXEL))
        ),
    )


DISTORTION = Distortion("jp2k", "bits_a_pixel", MILDEST_BITS_A_PIXEL, WORST_BITS_A_PIXEL, _apply)
