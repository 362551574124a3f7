"""Protobuf's wire format, as far as ONNX files need it.

A message is a list of fields; what is not looked into is carried along as it came. So a file that
was changed here has the same bytes on every machine, whatever library wrote it, and serving needs
no library for it. Source: the "Encoding" page of Protocol Buffers' documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

VARINT = 0
FIXED64 = 1
LENGTH = 2
FIXED32 = 5

_WIDTHS = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        number: of the field in its message's schema.
        wire: how it is coded: VARINT, FIXED64, LENGTH or FIXED32.
        value: a VARINT's number; of the others the bytes, of LENGTH possibly in several parts.
    """

    number: int
    wire: int
    value: int | tuple[bytes | memoryview, ...]

    def data(self) -> memoryview:
        """The bytes of a field that has them, without a copy where they lie in one part.

        Raises:
            ValueError: it is a number.
        """
        if isinstance(self.value, int):
            msg = f"field {self.number} is a number, expected bytes"
            raise ValueError(msg)  # noqa: TRY004  # the file is at fault, not the caller's type
        return memoryview(self.value[0] if len(self.value) == 1 else b"".join(self.value))

    def text(self) -> str:
        """The field as text.

        Raises:
            ValueError: it is a number, or no UTF-8.
        """
        return bytes(self.data()).decode()

    def integer(self) -> int:
        """The field as a number from 0 on.

        Raises:
            ValueError: it is no number.
        """
        if not isinstance(self.value, int):
            msg = f"field {self.number} has bytes, expected a number"
            raise ValueError(msg)  # noqa: TRY004
        return self.value


def text_field(number: int, text: str) -> Field:
    """A field with text."""
    return Field(number, LENGTH, (text.encode(),))


def message_field(number: int, fields: Iterable[Field]) -> Field:
    """A field with a message in it."""
    return Field(number, LENGTH, tuple(coded(fields)))


def decoded(data: bytes | memoryview) -> list[Field]:
    r"""The fields of a message, in their order; bytes are views into `data`.

    Raises:
        ValueError: the data ends within a field or has groups, which ONNX has not.

    Example:
        >>> decoded(b"\x08\x96\x01")
        [Field(number=1, wire=0, value=150)]
    """
    view = memoryview(data)
    fields: list[Field] = []
    at = 0
    while at < len(view):
        tag, at = _varint(view, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(view, at)
            fields.append(Field(number, wire, value))
            continue
        if wire == LENGTH:
            length, at = _varint(view, at)
        elif wire in _WIDTHS:
            length = _WIDTHS[wire]
        else:
            msg = f"field {number} at byte {at} has wire type {wire}, expected 0, 1, 2 or 5"
            raise ValueError(msg)
        if at + length > len(view):
            msg = f"field {number} at byte {at} has {length} bytes, there are {len(view) - at}"
            raise ValueError(msg)
        fields.append(Field(number, wire, (view[at : at + length],)))
        at += length
    return fields


def coded(fields: Iterable[Field]) -> list[bytes | memoryview]:
    r"""A message as parts that follow one another; large values are not copied.

    Example:
        >>> b"".join(coded([Field(1, VARINT, 150), text_field(2, "ab")]))
        b'\x08\x96\x01\x12\x02ab'
    """
    parts: list[bytes | memoryview] = []
    for field in fields:
        head = _varint_of(field.number << 3 | field.wire)
        if isinstance(field.value, int):
            parts.append(head + _varint_of(field.value))
            continue
        if field.wire == LENGTH:
            head += _varint_of(sum(len(part) for part in field.value))
        parts += [head, *field.value]
    return parts


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(view[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004  # the last byte lacks the top bit
            return value, at + place + 1
    msg = f"no number ends at byte {at}"
    raise ValueError(msg)


def _varint_of(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
