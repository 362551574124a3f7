"""The size of a picture by its header, so that one that is too large is never decoded."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
TIFF = (b"II*\0", b"MM\0*")

START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that are followed by the size."""

START_OF_SCAN = 0xDA

HEAD_BYTES = 4096
"""Where the boxes of JPEG 2000 and AVIF with the size lie, and the head of a portable anymap."""

ANYMAP = re.compile(rb"P[1-6]\s+(?:#[^\n]*\s+)*(\d{1,9})\s+(?:#[^\n]*\s+)*(\d{1,9})\s")


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Height and width as the file states them; None where it cannot be told.

    >>> stated_size(b"P5 640 480 255 and so on")
    (480, 640)
    """
    try:
        return _stated_size(data)
    except (struct.error, IndexError):
        return None  # ends within its header


def _stated_size(data: bytes) -> tuple[int, int] | None:
    size: tuple[int, int] | None = None  # width and height
    if data.startswith(PNG):
        size = struct.unpack(">II", data[16:24])
    elif data.startswith((b"GIF87a", b"GIF89a")):
        size = struct.unpack("<HH", data[6:10])
    elif data.startswith(b"BM"):
        width, height = struct.unpack("<ii", data[18:26])
        size = abs(width), abs(height)
    elif data.startswith(JPEG):
        size = _jpeg(data)
    elif data.startswith(TIFF):
        size = _tiff(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        size = _webp(data)
    elif data[4:8] in {b"ftyp", b"jP  "}:
        size = _boxed(data[:HEAD_BYTES])
    elif anymap := ANYMAP.match(data[:HEAD_BYTES]):
        size = int(anymap[1]), int(anymap[2])
    return None if size is None else (size[1], size[0])


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment of a JPEG before its first scan, that one included."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:  # noqa: PLR2004 - marker
        marker = data[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 - fill byte
            at += 1
            continue
        yield marker, at
        if marker == START_OF_SCAN:
            return
        at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """By the first start-of-frame segment (ITU T.81, B.2.2)."""
    for marker, at in _segments(data):
        if marker in START_OF_FRAME:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
    return None


def jpeg_is_cut(data: bytes) -> bool:
    """Whether a JPEG ends before the end of its picture.

    Its end marker occurs neither inside coded data nor between scans; in a thumbnail, and in what
    a camera hangs on behind the picture, it does.
    """
    scan = next((at for marker, at in _segments(data) if marker == START_OF_SCAN), -1)
    if scan < 0:  # bytes between segments, which decoders forgive
        scan = data.rfind(b"\xff\xda")
    return scan < 0 or data.find(b"\xff\xd9", scan) < 0


def _tiff(data: bytes) -> tuple[int, int] | None:
    """By tags 256 and 257 of the first directory (TIFF 6.0, section 2)."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[at : at + 2])
    found = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack(order + "HH", data[entry : entry + 4])
        if tag in {256, 257}:
            short = kind == 3  # noqa: PLR2004 - SHORT; else LONG
            value = data[entry + 8 : entry + (10 if short else 12)]
            (found[tag],) = struct.unpack(order + ("H" if short else "I"), value)
    return (found[256], found[257]) if len(found) == 2 else None  # noqa: PLR2004 - both


def _webp(data: bytes) -> tuple[int, int] | None:
    """By the first chunk (RFC 9649, 2.5 to 2.7)."""
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None


def _boxed(head: bytes) -> tuple[int, int] | None:
    """JPEG 2000 by its `ihdr` box, AVIF by the largest of its `ispe` boxes."""
    at = head.find(b"ihdr")
    if at >= 0:
        height, width = struct.unpack(">II", head[at + 4 : at + 12])
        return width, height
    sizes = [
        struct.unpack(">II", head[found.end() + 4 : found.end() + 12])
        for found in re.finditer(b"ispe", head)
    ]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)
