"""Which registers are read together, since each request is a round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inspector.line.modbus import Plc

MOST_READ = 125
"""Registers that one request may read."""
GAP = 32
"""Registers of no interest that are read along rather than left out: the step from one camera's
block to the next. Blocks further apart may lie in different areas of the PLC."""


def spans_of(blocks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join blocks of registers, given as first register and length, into few spans.

    >>> spans_of([(16, 2), (48, 4), (1000, 4)])
    [(16, 36), (1000, 4)]
    """
    spans: list[tuple[int, int]] = []
    for first, length in sorted(blocks):
        if spans:
            start, count = spans[-1]
            end = max(start + count, first + length)
            if first - (start + count) <= GAP and end - start <= MOST_READ:
                spans[-1] = (start, end - start)
                continue
        spans.append((first, length))
    return spans


def read_spans(plc: Plc, spans: Iterable[tuple[int, int]]) -> Callable[[int, int], list[int]]:
    """Read spans; gives what takes a block out of them, by first register and length.

    Raises:
        LineError: the PLC does not give them.
    """
    held = {at: plc.read(at, count) for at, count in spans}

    def part(address: int, count: int) -> list[int]:
        at = max(at for at in held if at <= address)
        return held[at][address - at : address - at + count]

    return part
