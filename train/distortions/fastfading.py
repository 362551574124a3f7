"""A JPEG 2000 stream over a Rayleigh-fading channel, received without concealment.

Source of the protocol: Sheikh et al., LIVE release 2: JPEG 2000 at 2.5 bit a pixel, error
resilience on, 64x64 precincts, receiver signal-to-noise ratio 15.5 to 26.1 dB. The stream is a
real one, and what it shows without errors is as good as `jp2k` at that rate. The channel is not
published, so its effects are modelled, in three pictures of four on the wavelet coefficients:

* packets come in order of resolution, so an error in a packet's header loses all that follows:
  the finest level, often the next one too, wholly or from some precinct on, chroma before luma;
* an error in a packet's body hits one 32x32 code-block: its later bit-planes are dropped, or they
  decode to garbage.

In the remaining quarter, bits of the stream are flipped, and a decoder that reads on after damage
(OpenCV's) shows what becomes of it. Precincts are larger there: the encoder halves them from level
to level, and code-blocks with them.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from train.distortions import jp2k
from train.distortions.base import Distortion, Picture, on_linear_scale, on_log_scale, place_of
from train.distortions.wavelet import Pyramid, forward, inverse

MILDEST_SNR_DB = 26.1
WORST_SNR_DB = 15.5
RATE_BITS_A_PIXEL = 2.5

_LEVELS = 5
_BLOCK = 32
_PRECINCT_IN_SUBBAND = 32
_STREAM_SHARE = 0.25
_MOST_FLIPS = 60
_STREAM_PRECINCT = 256
_LEAST_CHANGE = 3.0
"""Codes, mean over the block of 32 pixels that changed most; with less a hit counts as missed, and
the channel is tried again."""
_TRIES = 4

Plane = NDArray[np.float32]


def _apply(picture: Picture, severity: float, rng: np.random.Generator) -> Picture:
    if rng.random() < _STREAM_SHARE:
        damaged = flip_stream_bits(picture, severity, rng)
        if damaged is not None:
            return damaged
    sent = as_sent(picture)
    for _ in range(_TRIES):
        damaged = lose_coefficients(sent, severity, rng)
        if _most_changed(sent, damaged) > _LEAST_CHANGE:
            break
    return damaged


def as_sent(picture: Picture) -> Picture:
    """What the stream shows where the channel does nothing to it."""
    return jp2k.decode(jp2k.encode_at(picture, RATE_BITS_A_PIXEL))


def _most_changed(before: Picture, after: Picture) -> float:
    """Codes by which the block of 32 pixels that changed most did, on average."""
    change = cv2.absdiff(before, after).max(axis=2).astype(np.float32)
    return float(cv2.blur(change, (_BLOCK, _BLOCK)).max())


def lose_coefficients(sent: Picture, severity: float, rng: np.random.Generator) -> Picture:
    """Damage a picture in the wavelet domain, as lost packets and hit code-blocks do."""
    height, width = sent.shape[:2]
    unit = 2**_LEVELS
    padded = np.pad(sent, ((0, -height % unit), (0, -width % unit), (0, 0)), mode="symmetric")
    ycc = cv2.cvtColor(padded.astype(np.float32), cv2.COLOR_BGR2YCrCb)
    pyramids = [forward(np.ascontiguousarray(ycc[:, :, i]), _LEVELS) for i in range(3)]
    _damage(pyramids, float(rng.uniform(5, 11)), severity, rng)
    for channel, pyramid in enumerate(pyramids):
        ycc[:, :, channel] = inverse(pyramid)
    bgr = cv2.cvtColor(ycc, cv2.COLOR_YCrCb2BGR)[:height, :width]
    return np.clip(np.rint(bgr), 0, 255).astype(np.uint8)


def _quantise(band: Plane, step: float) -> Plane:
    """Dead-zone quantiser of T.800 Annex E, reconstructed to the middle of each bin."""
    index = np.floor(np.abs(band) / step)
    return (np.sign(band) * np.where(index > 0, (index + 0.5) * step, 0)).astype(np.float32)


def _damage(
    pyramids: list[Pyramid], step: float, severity: float, rng: np.random.Generator
) -> None:
    """Lose levels and hit code-blocks; the chances are such that 60 % lose the finest level."""
    place = place_of(severity)
    lost = 0
    if rng.random() < 0.25 + 0.7 * place:
        lost = 1
        if rng.random() < 0.15 + 0.7 * place:
            lost = 2
            if rng.random() < 0.35 * place:
                lost = 3
    if lost:
        partly = rng.random() < 0.35
        _lose(pyramids[0], lost, partly, rng)
        for chroma in pyramids[1:]:
            _lose(chroma, lost + int(rng.random() < 0.4), False, rng)
    hits = int(rng.poisson(0.5 + 2 * place)) if lost else 1 + int(rng.poisson(1 + 8 * place))
    for _ in range(hits):
        channel = 0 if rng.random() < 0.75 else int(rng.integers(1, 3))
        _hit(pyramids[channel], step, lost, rng)


def _lose(pyramid: Pyramid, levels: int, partly: bool, rng: np.random.Generator) -> None:
    """Zero the finest levels; where `partly`, the coarsest of them only from some precinct on."""
    for level in range(min(levels, _LEVELS)):
        first = 0
        rows, columns = pyramid.details[level][0].shape
        across = -(-columns // _PRECINCT_IN_SUBBAND)
        if partly and level == levels - 1:
            down = -(-rows // _PRECINCT_IN_SUBBAND)
            first = int(rng.integers(0, max(1, int(0.8 * across * down))))
        top, left = divmod(first, across)
        for band in pyramid.details[level]:
            band[(top + 1) * _PRECINCT_IN_SUBBAND :] = 0
            band[
                top * _PRECINCT_IN_SUBBAND : (top + 1) * _PRECINCT_IN_SUBBAND,
                left * _PRECINCT_IN_SUBBAND :,
            ] = 0


def _hit(pyramid: Pyramid, step: float, lost: int, rng: np.random.Generator) -> None:
    """Drop later bit-planes of one code-block, or fill them with garbage."""
    level = int(rng.integers(min(lost, _LEVELS - 1), _LEVELS))
    band = pyramid.details[level][int(rng.integers(0, 3))]
    top = _BLOCK * int(rng.integers(0, -(-band.shape[0] // _BLOCK)))
    left = _BLOCK * int(rng.integers(0, -(-band.shape[1] // _BLOCK)))
    block = band[top : top + _BLOCK, left : left + _BLOCK]
    planes = int(rng.integers(2, 6))
    coarse_step = step * 2.0**planes
    if rng.random() < 0.5:
        block[...] = _quantise(block, coarse_step)
    else:
        kept = _quantise(block, coarse_step)
        garbage = rng.laplace(0, coarse_step / 4, block.shape).astype(np.float32)
        from_row = int(rng.integers(0, max(1, block.shape[0] // 2)))
        block[from_row:] = (kept + garbage)[from_row:]


def flip_stream_bits(picture: Picture, severity: float, rng: np.random.Generator) -> Picture | None:
    """Flip bits of a real stream; None where the decoder gives up or nothing is to be seen."""
    data = jp2k.encode_at(
        picture,
        RATE_BITS_A_PIXEL,
        precinct_size=(_STREAM_PRECINCT, _STREAM_PRECINCT),
        codeblock_size=(_BLOCK, _BLOCK),
        progression="RLCP",
    )
    body = data.find(b"\xff\x93") + 2
    clean = jp2k.decode(data)
    flips = round(on_log_scale(severity, 1, _MOST_FLIPS))
    for _ in range(_TRIES):
        damaged = bytearray(data)
        for _ in range(flips):
            place = body + int((len(data) - body - 2) * rng.random())
            damaged[place] ^= 1 << int(rng.integers(0, 8))
        seen = _read_on(bytes(damaged))
        if seen is None or seen.shape != picture.shape:
            flips = max(1, flips // 2)
        elif _most_changed(clean, seen) > _LEAST_CHANGE:
            return seen
    return None


def _read_on(data: bytes) -> Picture | None:
    """What a decoder shows that reads on after damage; its complaints are silenced."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    finally:
        cv2.utils.logging.setLogLevel(level)
    return None if seen is None else np.asarray(seen, dtype=np.uint8)


def snr_db(severity: float) -> float:
    """Receiver signal-to-noise ratio that a severity stands for."""
    return on_linear_scale(severity, MILDEST_SNR_DB, WORST_SNR_DB)


DISTORTION = Distortion("fastfading", "snr_db", MILDEST_SNR_DB, WORST_SNR_DB, _apply, as_sent)
