"""Files that end too early, told by their outermost structure alone: nothing is decoded.

Readers of videos take the end of a file for the end of the recording, and decoders of pictures fill
up with grey, so neither says that a copy broke off or that a file is still being written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

ISO_KINDS = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"jP  "})
"""First boxes of MP4, QuickTime, AVIF and JPEG 2000 files (ISO/IEC 14496-12, 15444-1)."""

EBML_ID, SEGMENT_ID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
TS_PACKET, TS_SYNC = 188, 0x47


def missing_bytes(file: BinaryIO, size: int) -> int:
    """How many bytes are missing at the end of a file.

    Args:
        file: open for reading, at its start.
        size: its bytes.

    Returns:
        What the part lacks in which the file ends (more may have come after it); 0 if it is whole,
        and where its format does not tell.
    """
    head = file.read(TS_PACKET * 2 + 1)
    if head[4:8] in ISO_KINDS:
        return _of_boxes(file, size)
    if head.startswith(EBML_ID):
        return _of_segment(head, size)
    if head.startswith(b"RIFF") and len(head) >= 8:  # noqa: PLR2004 - name and size
        return max(0, 8 + int.from_bytes(head[4:8], "little") - size)
    if len(head) > TS_PACKET * 2 and all(head[at] == TS_SYNC for at in (0, 188, 376)):
        return -size % TS_PACKET
    return 0


def _of_boxes(file: BinaryIO, size: int) -> int:
    """ISO base media: a row of boxes, each beginning with its size and kind."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:  # the size is too large for 4 bytes
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # noqa: PLR2004 - 0: up to the end, however far that is; else no box
            return 0
        at += length
    return max(0, at - size)


def _of_segment(head: bytes, size: int) -> int:
    """Matroska and WebM: a header, then one segment that holds all the rest (RFC 8794)."""
    start, length = _element(head, len(EBML_ID))
    at = start + (length or 0)
    if length is None or head[at : at + len(SEGMENT_ID)] != SEGMENT_ID:
        return 0
    start, length = _element(head, at + len(SEGMENT_ID))
    return 0 if length is None else max(0, start + length - size)


def _element(data: bytes, at: int) -> tuple[int, int | None]:
    """Where an element's content begins, and its length; None where it is not known (live)."""
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length()
    if width > 8 or at + width > len(data):  # noqa: PLR2004 - longest number
        return at, None
    bits = 7 * width
    value = int.from_bytes(data[at : at + width], "big") & ((1 << bits) - 1)
    return at + width, None if value == (1 << bits) - 1 else value
