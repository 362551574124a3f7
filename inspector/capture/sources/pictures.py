"""Picture files: every kind that people have, as 8-bit BGR, or a named reason why not.

Conversions: 16 bits a channel are divided by 257 and rounded, and where the file states a full
scale of its own (portable anymaps, JPEG 2000, AVIF), that becomes 255; grey becomes three equal
channels; alpha is dropped, so that the pixels are judged as they were stored; CMYK and other JPEG
colours are converted by the JPEG library. Orientation tags are ignored: the sensor's pixels are
judged. Several pictures in one file, and numbers that are no integers, are refused.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np

from inspector.capture.sources.endings import missing_bytes
from inspector.capture.sources.headers import (
    JPEG,
    PNG,
    TIFF,
    anymap_is_cut,
    full_scale,
    jpeg_is_cut,
    stated_size,
    tiff_is_cut,
)
from inspector.errors import CaptureError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = frozenset(
    {
        ".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
        ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
"""Names that are taken for pictures."""

MOST_PIXELS = 200_000_000
"""Pictures beyond this are never decoded: 600 MB as BGR."""

SHORTEST = 8
"""No picture has fewer bytes: `P1 1 1 0`."""

MOST_BYTES = 2_000_000_000
"""Files beyond this are never read: the largest picture at 16 bits and four channels has less."""

Version = tuple[int, int, int]
"""What tells whether a file has changed: size, time of the last change in ns, inode."""

BROKEN_SCAN = re.compile(r"^(error y=|overread|error dc|.*bad vlc)", re.ASCII)
"""What FFmpeg says of coded data that is none."""


class PictureError(CaptureError):
    """A file that gives no picture.

    Attributes:
        cause: `decode` (unreadable, truncated, not a picture, of an unsupported kind) or
            `too_large`.
    """

    def __init__(self, detail: str, cause: str = "decode") -> None:
        super().__init__(detail)
        self.cause = cause


class FileChangedError(PictureError):
    """A file that changes while it is read, or has changed since it was looked at."""


def version_of(stat: os.stat_result) -> Version:
    """The version of a file that the system tells of."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def is_picture(name: str) -> bool:
    """Whether a file of that name is to be read as a picture.

    >>> is_picture("part-7.PNG"), is_picture(".part-7.png"), is_picture("notes.txt")
    (True, False, False)
    """
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in SUFFIXES and not name.startswith(".")


def read_picture(path: Path, *, most_pixels: int = MOST_PIXELS) -> NDArray[np.uint8]:
    """Read one picture file.

    Args:
        most_pixels: larger pictures are refused; where the header says their size, undecoded.

    Returns:
        (height, width, 3) uint8 BGR, the caller's own.

    Raises:
        PictureError: with its cause and what is wrong with the file.
    """
    return decode_picture(path, file_bytes(path), most_pixels=most_pixels)


def file_bytes(path: Path, version: Version | None = None) -> bytes:
    """The content of a file that may be a picture.

    Args:
        version: what the file must be, as it was looked at; None: any.

    Raises:
        PictureError: it cannot be read, or is larger than any picture.
        FileChangedError: it is of another version, or changed while it was read.
    """
    try:
        with path.open("rb") as file:
            # Of what is open: by its name it may be another file already.
            found = version_of(os.fstat(file.fileno()))
            if version not in {None, found}:
                msg = f"{path.name} has changed since it was looked at"
                raise FileChangedError(msg)
            if found[0] > MOST_BYTES:
                msg = f"{path.name} has {found[0] / 1e9:.1f} GB; this is no picture"
                raise PictureError(msg, "too_large")
            content = file.read(MOST_BYTES)
            if found != version_of(os.fstat(file.fileno())):
                msg = f"{path.name} changed while it was read"
                raise FileChangedError(msg)
            return content
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "not enough memory"
        msg = f"{path.name} cannot be read: {reason}"
        raise PictureError(msg) from error


def decode_picture(path: Path, data: bytes, *, most_pixels: int = MOST_PIXELS) -> NDArray[np.uint8]:
    """As `read_picture`, of a file whose content is there already."""
    if not data:
        msg = f"{path.name} is empty"
        raise PictureError(msg)
    size = stated_size(data)
    if size is not None:
        _check_size(path.name, *size, most_pixels)
    if is_cut(data):
        msg = f"{path.name} is truncated: it ends after {len(data)} bytes, within the picture"
        raise PictureError(msg)
    _check_single(path, data)
    # Unchanged, OpenCV takes every bitmap of OS/2 for a grey one; with 8 bits all others are alike.
    form = cv2.IMREAD_COLOR if data.startswith(b"BM") else cv2.IMREAD_UNCHANGED
    try:
        raw = cv2.imdecode(np.frombuffer(data, np.uint8), form)
    except (cv2.error, MemoryError) as error:
        msg = f"{path.name} cannot be decoded: {type(error).__name__}"
        raise PictureError(msg) from error
    if raw is None:
        msg = f"{path.name} is no picture that can be decoded ({len(data)} bytes)"
        raise PictureError(msg)
    _check_size(path.name, raw.shape[0], raw.shape[1], most_pixels)
    if data.startswith(JPEG):
        _check_scan(path.name, data)
    try:
        return to_bgr8(path.name, raw, data)
    except (cv2.error, MemoryError) as error:
        msg = f"{path.name} is too large for the memory of this box"
        raise PictureError(msg, "too_large") from error


def to_bgr8(name: str, raw: NDArray[np.generic], data: bytes) -> NDArray[np.uint8]:
    """The stated conversions, from what OpenCV decoded unchanged out of `data`.

    Raises:
        PictureError: depth or number of channels is not supported, or no full scale can be told.
    """
    most = {"uint8": 255, "uint16": 65535}.get(raw.dtype.name)
    if most is None:
        msg = f"{name} has pixels of type {raw.dtype}, expected 8 or 16 bits a channel"
        raise PictureError(msg)
    scale = full_scale(data, most)
    if not scale:
        msg = (
            f"{name} has pixels of type {raw.dtype} and does not tell one full scale for them: "
            "nobody knows what is white in it; store it with 8 or 16 bits a channel"
        )
        raise PictureError(msg)
    as_it_is = scale == 255  # noqa: PLR2004 - 8 bits
    eight = np.asarray(raw if as_it_is else cv2.convertScaleAbs(raw, alpha=255 / scale), np.uint8)
    channels = 1 if eight.ndim == 2 else eight.shape[2]  # noqa: PLR2004 - rows and columns
    if channels <= 2:  # noqa: PLR2004 - grey, or grey and alpha
        grey = eight if eight.ndim == 2 else eight[:, :, 0]  # noqa: PLR2004
        return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))
    if channels in {3, 4}:
        return np.ascontiguousarray(eight[:, :, :3])
    msg = f"{name} has {channels} channels, expected 1 to 4"
    raise PictureError(msg)


def _check_size(name: str, height: int, width: int, most_pixels: int) -> None:
    if height * width > most_pixels:
        advice = "; raise max_megapixels" if most_pixels < MOST_PIXELS else ""
        msg = (
            f"{name} has {height * width / 1e6:.1f} megapixels ({width}x{height}), "
            f"at most {most_pixels / 1e6:g} are judged{advice}"
        )
        raise PictureError(msg, "too_large")


def is_cut(data: bytes) -> bool:
    """Whether a file ends too early, as far as its format tells without decoding it.

    Decoders fill such pictures up with grey instead of failing.
    """
    cut = False
    if data.startswith(JPEG):
        cut = jpeg_is_cut(data)
    elif data.startswith(PNG):
        cut = b"IEND" not in data[-64:] and b"IEND" not in data
    elif data.startswith((b"GIF87a", b"GIF89a")):
        cut = not data.rstrip(b"\0").endswith(b";")
    elif data.startswith(b"BM") and len(data) >= 6:  # noqa: PLR2004
        cut = len(data) < struct.unpack("<I", data[2:6])[0]
    elif data.startswith(TIFF):
        cut = tiff_is_cut(data)
    else:
        missing = missing_bytes(io.BytesIO(data), len(data)) > 0
        cut = len(data) < SHORTEST or missing or anymap_is_cut(data)
    return cut


def _check_scan(name: str, data: bytes) -> None:
    """Refuse JPEGs whose coded data breaks off within a block; OpenCV paints over it silently.

    Only what cannot be meant otherwise counts: FFmpeg does not know every kind of JPEG. A change
    that happens to read as valid code is found by nobody.
    """
    import av
    import av.logging
    from av.codec.context import ThreadType

    context = av.CodecContext.create("mjpeg", "r")
    context.thread_type = ThreadType.SLICE  # the log is kept by thread
    context.thread_count = 1
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=True) as log, contextlib.suppress(av.error.FFmpegError):
            context.decode(av.Packet(data))
    finally:
        av.logging.set_level(level)
    for _, _, text in log:
        if BROKEN_SCAN.search(text):
            msg = f"{name} is damaged inside its coded data ({text.strip()})"
            raise PictureError(msg)


def _check_single(path: Path, data: bytes) -> None:
    """Refuse animations and files of several pages: which picture was meant?"""
    several = False
    if data.startswith(PNG):
        several = b"acTL" in data[: data.find(b"IDAT")]
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        several = b"ANIM" in data[:64]
    elif data.startswith((b"GIF87a", b"GIF89a", *TIFF)):
        try:
            several = cv2.imcount(str(path)) > 1
        except cv2.error:
            several = False  # decoding will say what is wrong
    if several:
        msg = f"{path.name} holds several pictures (animation or pages), expected one"
        raise PictureError(msg)
