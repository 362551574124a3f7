"""What the header of a picture states, read without decoding it: size, full scale, and its end.

The size, so that a picture that is too large is never decoded; the full scale, which some decoders
leave to their caller; the end, since decoders fill up with grey what is missing.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
TIFF = (b"II*\0", b"MM\0*")
CODESTREAM = b"\xff\x4f\xff\x51"
"""How JPEG 2000 begins, in its boxes and without them (ISO/IEC 15444-1, A.4.1 and A.5.1)."""

START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that are followed by the size."""

START_OF_SCAN = 0xDA

HEAD_BYTES = 4096
"""Where the boxes of JPEG 2000 and AVIF with the size lie, and the head of a portable anymap."""

# A comment ends with its line and nowhere else: were there two ways to read one, a file of a few
# dozen bytes would keep the search busy for years.
_NUMBER = rb"\s+(?:#[^\r\n]*[\r\n]\s*)*(\d{1,9})"
ANYMAP = re.compile(rb"P[1-6]" + 2 * _NUMBER + rb"\s")
SCALED_ANYMAP = re.compile(rb"P[2356]" + 3 * _NUMBER + rb"\s")
"""All but the bitmaps state their largest value too."""


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
        size = _bitmap(data)
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


def full_scale(data: bytes, most: int) -> int | None:
    """The value of full brightness in what OpenCV's decoder makes of a file.

    Most decoders spread their values over the whole type. Those of portable anymaps, JPEG 2000 and
    AVIF hand on the numbers of the file, of a scale that the file states.

    Args:
        most: the largest value of the decoded type, 255 or 65535.

    Returns:
        None where it cannot be told.

    >>> full_scale(b"P5 640 480 4095 and so on", 65535)
    4095
    """
    scale = most if most == 255 else None  # noqa: PLR2004 - 8 bits
    try:
        if data.startswith(PNG) or data[:2] in {b"II", b"MM"}:
            scale = most
        elif data[:2] in {b"P2", b"P3", b"P5", b"P6"}:
            scale = _anymap_scale(data, most)
        elif data[4:8] == b"ftyp":
            scale = _avif_scale(data)
        elif data[4:8] == b"jP  " or data.startswith(CODESTREAM):
            scale = _jpeg_2000_scale(data)
    except (struct.error, IndexError):
        return None  # ends within its header
    return scale


def _anymap_scale(data: bytes, most: int) -> int | None:
    if data[:2] in {b"P2", b"P3"} and most == 255:  # noqa: PLR2004 - 8 bits
        return most  # of numbers that are written out, small ones are spread by the decoder
    header = SCALED_ANYMAP.match(data[:HEAD_BYTES])
    return int(header[3]) if header else None


def _avif_scale(data: bytes) -> int | None:
    """By the depth in the `av1C` boxes (AV1-ISOBMFF, 2.3.3), if it is one for all."""
    meta = _box(data, b"meta")
    flags = {meta[found.end() + 2] & 0x60 for found in re.finditer(b"av1C", meta)}
    depth = {0x00: 8, 0x40: 10, 0x60: 12}.get(flags.pop()) if len(flags) == 1 else None
    return None if depth is None else (1 << depth) - 1


def _jpeg_2000_scale(data: bytes) -> int | None:
    """By the depth of the colours in the SIZ segment (ISO/IEC 15444-1, A.5.1), if it is one."""
    at = data.index(CODESTREAM) if CODESTREAM in data else len(data)
    (count,) = struct.unpack(">H", data[at + 40 : at + 42])
    colours = 3 if count >= 3 else 1  # noqa: PLR2004 - what follows them is alpha
    depths = {data[at + 42 + 3 * i] + 1 for i in range(colours)}
    return (1 << depths.pop()) - 1 if len(depths) == 1 else None


def _box(data: bytes, kind: bytes) -> bytes:
    """The first outermost box of a kind (ISO/IEC 14496-12, 4.2); empty where there is none."""
    at = 0
    while at + 8 <= len(data):
        length, found = struct.unpack(">I4s", data[at : at + 8])
        if length == 1:  # the size is too large for 4 bytes
            (length,) = struct.unpack(">Q", data[at + 8 : at + 16])
        end = at + length if length else len(data)
        if found == kind:
            return data[at:end]
        if end < at + 8:
            break
        at = end
    return b""


def _bitmap(data: bytes) -> tuple[int, int]:
    """By the second header: that of OS/2, of 12 bytes, has shorter numbers."""
    (length,) = struct.unpack("<I", data[14:18])
    if length == 12:  # noqa: PLR2004 - BITMAPCOREHEADER
        width, height = struct.unpack("<HH", data[18:22])
    else:
        width, height = struct.unpack("<ii", data[18:26])
    return abs(width), abs(height)


def anymap_is_cut(data: bytes) -> bool:
    """Whether a portable anymap of binary values ends before its last one.

    >>> anymap_is_cut(b"P5 2 2 255 abc"), anymap_is_cut(b"P5 2 2 255 abcd")
    (True, False)
    """
    head, form = data[:HEAD_BYTES], data[:2]
    header = ANYMAP.match(head) if form == b"P4" else SCALED_ANYMAP.match(head)
    if form not in {b"P4", b"P5", b"P6"} or header is None:
        return False
    width, height = int(header[1]), int(header[2])
    if form == b"P4":
        row = (width + 7) // 8
    else:
        wide = int(header[3]) > 255  # noqa: PLR2004 - more than fits into one byte
        row = width * (3 if form == b"P6" else 1) * (2 if wide else 1)
    return len(data) < header.end() + row * height


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
    """By tags 256 and 257 of the first directory."""
    fields = _tiff_fields(data, {256, 257})
    return (fields[256][0], fields[257][0]) if len(fields) == 2 else None  # noqa: PLR2004 - both


def _tiff_fields(data: bytes, tags: set[int]) -> dict[int, tuple[int, ...]]:
    """Whole numbers of the first directory, by their tag (TIFF 6.0, section 2).

    Raises:
        struct.error: the file ends before they do.
    """
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[at : at + 2])
    fields = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack(order + "HHI", data[entry : entry + 8])
        if tag not in tags or length == 0:
            continue
        numbers = f"{order}{length}{'H' if kind == 3 else 'I'}"  # noqa: PLR2004 - SHORT; else LONG
        size, place = struct.calcsize(numbers), entry + 8
        if size > 4:  # noqa: PLR2004 - they do not fit into the entry, which says where they are
            (place,) = struct.unpack(order + "I", data[place : place + 4])
        fields[tag] = struct.unpack(numbers, data[place : place + size])
    return fields


def tiff_is_cut(data: bytes) -> bool:
    """Whether a TIFF ends before its directory or, if it is not compressed, before its last row.

    How long the rows are follows from the picture's size: what old writers state as the length of
    a strip is often wrong, and readers pass it over.
    """
    try:
        if struct.unpack("<I" if data[:2] == b"II" else ">I", data[4:8])[0] < 8:  # noqa: PLR2004
            return True  # where the directory lies; writers put this number in at last
        fields = _tiff_fields(data, {256, 257, 258, 259, 262, 273, 278, 284})
    except struct.error:
        return True

    def first(tag: int, otherwise: int) -> int:
        return fields.get(tag, (otherwise,))[0]

    packed, ycbcr, planes = first(259, 1) != 1, first(262, 1) == 6, first(284, 1) != 1  # noqa: PLR2004
    if packed or ycbcr or planes or not fields.keys() >= {256, 257, 273}:
        return False  # it takes a decoder to tell
    width, height = fields[256][0], fields[257][0]
    row = (width * sum(fields.get(258, (1,))) + 7) // 8
    rows = min(first(278, height), height)  # of a strip; the last may have fewer
    return any(
        at + min(rows, height - n * rows) * row > len(data) for n, at in enumerate(fields[273])
    )


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
