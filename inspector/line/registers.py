"""The register map that station and PLC share: 16-bit holding registers, both directions. Pure.

The station reads (FC3) and writes (FC16) them as a Modbus client. Where the blocks begin is
configurable (`inspector.config.line`); what lies where within a block is fixed by layout version 1:

    station's block, station to PLC     +0 layout version (1)
                                        +1 heartbeat, 1…65535, then 1 again; 0: never ran
                                        +2 bits: 0 serving, 1 degraded, 2 observing, 3 fault
                                        +3 safe: 0 normal, 1 reject everything, 2 stop the line
                                        +4 number of cameras
    PLC's block, PLC to station         +0 heartbeat (optional)
                                        +1 bits: 0 line running, 1 reset
    a camera's block, station to PLC    +0 bits: 0 ready, 1 busy, 2 valid, 3 fault
                                        +1 sequence, 1…65535, then 1 again
                                        +2 result, see `Result`
                                        +3 label, see `LABEL_CODES`
                                        +4 confidence in permille
                                        +5 +6 part number, 32 bits
                                        +7 milliseconds from trigger or capture to the result
                      PLC to station    +16 bits: 0 trigger, 1 acknowledge, 2 reset
                                        +17 +18 part number
                                        +19 acknowledged sequence

`answer` (+1…+7) and `status` (+0) of a camera are written in two requests, in this order, so that
`valid` never stands over another part's answer, in whatever order a PLC stores a request.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal, Self

from inspector.config.line import CAMERA_REGISTERS, PLC_REGISTERS, STATION_REGISTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inspector.config.line import Line

WordOrder = Literal["high_first", "low_first"]

LAYOUT = 1
"""Version of the map, the first register of the station's block."""

ANSWER_AT = 1
"""From the beginning of a camera's block to the answer."""
ANSWER_REGISTERS = 7
CONTROL_AT = 16
"""From the beginning of a camera's block to what the PLC writes."""
CONTROL_REGISTERS = CAMERA_REGISTERS - CONTROL_AT

_TOP = 0xFFFF
_TOP_PART = 0xFFFF_FFFF


class Result(IntEnum):
    """What is said of a part."""

    NONE = 0
    ACCEPT = 1
    REJECT = 2
    UNCERTAIN = 3
    UNJUDGEABLE = 4
    NO_RESULT = 5

    @property
    def word(self) -> str:
        """As status document and metrics name it, such as `no_result`."""
        return self.name.lower()


class Safe(IntEnum):
    """What the PLC has to do with the parts, whatever their results say."""

    NORMAL = 0
    REJECT = 1
    STOP = 2

    @property
    def word(self) -> str:
        """As station file and status document name it."""
        return self.name.lower()


LABEL_CODES: Mapping[str, int] = {
    "bad_lighting": 1,
    "fastfading": 2,
    "gblur": 3,
    "jp2k": 4,
    "jpeg": 5,
    "motion_blur": 6,
    "refimgs": 7,
    "wn": 8,
}
"""Labels as the PLC hears them; 0 is none, or one that is not here."""
LABELS: Mapping[int, str] = {code: label for label, code in LABEL_CODES.items()}


def next_count(count: int) -> int:
    """The number after a sequence or heartbeat; 0 is left out.

    >>> next_count(0), next_count(1), next_count(65535)
    (1, 2, 1)
    """
    return count % _TOP + 1


@dataclass(frozen=True, slots=True)
class StationBlock:
    """What the station says of itself."""

    heartbeat: int = 0
    serving: bool = False
    degraded: bool = False
    observing: bool = False
    fault: bool = False
    safe: Safe = Safe.NORMAL
    cameras: int = 0
    layout: int = LAYOUT

    def encode(self) -> tuple[int, ...]:
        """As registers.

        >>> StationBlock(heartbeat=7, serving=True, fault=True, safe=Safe.STOP, cameras=2).encode()
        (1, 7, 9, 2, 2)
        """
        status = _bits(self.serving, self.degraded, self.observing, self.fault)
        return (self.layout, self.heartbeat, status, int(self.safe), self.cameras)

    @classmethod
    def decode(cls, registers: Sequence[int]) -> Self:
        """From registers. Raises ValueError: too few, or `safe` is none of the three."""
        layout, heartbeat, status, safe, cameras = _exactly(STATION_REGISTERS, registers)
        serving, degraded, observing, fault = _flags(status, 4)
        return cls(heartbeat, serving, degraded, observing, fault, Safe(safe), cameras, layout)


@dataclass(frozen=True, slots=True)
class PlcBlock:
    """What the PLC says of itself."""

    heartbeat: int = 0
    running: bool = False
    reset: bool = False

    def encode(self) -> tuple[int, ...]:
        """As registers."""
        return (self.heartbeat, _bits(self.running, self.reset))

    @classmethod
    def decode(cls, registers: Sequence[int]) -> Self:
        """From registers; bits that are not in the map are ignored. Raises ValueError."""
        heartbeat, bits = _exactly(PLC_REGISTERS, registers)
        return cls(heartbeat, *_flags(bits, 2))


@dataclass(frozen=True, slots=True)
class Status:
    """The status register of a camera."""

    ready: bool = False
    busy: bool = False
    valid: bool = False
    fault: bool = False

    def encode(self) -> tuple[int, ...]:
        """As the one register."""
        return (_bits(self.ready, self.busy, self.valid, self.fault),)

    @classmethod
    def decode(cls, registers: Sequence[int]) -> Self:
        """From the one register. Raises ValueError."""
        (bits,) = _exactly(1, registers)
        return cls(*_flags(bits, 4))


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one part: the registers +1 to +7 of a camera.

    Attributes:
        sequence: 1…65535; the same on a repeat, so that the PLC can drop it. 0: none yet.
        label: a code of `LABEL_CODES`, or 0.
        confidence: probability of the label in permille, 0…1000.
        part: the part number, 0 where parts have none.
        elapsed_ms: from trigger or capture to this result; 65535 and more are 65535.
    """

    sequence: int = 0
    result: Result = Result.NONE
    label: int = 0
    confidence: int = 0
    part: int = 0
    elapsed_ms: int = 0

    def encode(self, order: WordOrder = "high_first") -> tuple[int, ...]:
        """As registers.

        >>> Answer(3, Result.REJECT, 3, 987, part=70_000, elapsed_ms=42).encode()
        (3, 2, 3, 987, 1, 4464, 42)
        """
        return (
            self.sequence,
            int(self.result),
            self.label,
            self.confidence,
            *_words(self.part, order),
            min(max(self.elapsed_ms, 0), _TOP),
        )

    @classmethod
    def decode(cls, registers: Sequence[int], order: WordOrder = "high_first") -> Self:
        """From registers. Raises ValueError: too few, or a result that the map does not know."""
        sequence, result, label, confidence, first, second, elapsed_ms = _exactly(
            ANSWER_REGISTERS, registers
        )
        part = _part(first, second, order)
        return cls(sequence, Result(result), label, confidence, part, elapsed_ms)


@dataclass(frozen=True, slots=True)
class Control:
    """What the PLC writes to a camera's block.

    Attributes:
        part: number of the part that the trigger announces.
        sequence: the one that is acknowledged; looked at with `acknowledge: sequence` only.
    """

    trigger: bool = False
    acknowledge: bool = False
    reset: bool = False
    part: int = 0
    sequence: int = 0

    def encode(self, order: WordOrder = "high_first") -> tuple[int, ...]:
        """As registers."""
        bits = _bits(self.trigger, self.acknowledge, self.reset)
        return (bits, *_words(self.part, order), self.sequence)

    @classmethod
    def decode(cls, registers: Sequence[int], order: WordOrder = "high_first") -> Self:
        """From registers; bits that are not in the map are ignored. Raises ValueError."""
        bits, first, second, sequence = _exactly(CONTROL_REGISTERS, registers)
        trigger, acknowledge, reset = _flags(bits, 3)
        return cls(trigger, acknowledge, reset, _part(first, second, order), sequence)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies in the PLC's holding registers: protocol addresses, from 0.

    Attributes:
        station, plc: first register of their blocks.
        cameras: first register of each camera's block, in the order of the cameras.
    """

    station: int
    plc: int
    cameras: Mapping[str, int]
    word_order: WordOrder

    @classmethod
    def of(cls, line: Line, cameras: Mapping[str, object]) -> Self:
        """The layout that a station file asks for.

        Args:
            cameras: those of the station file, in its order.
        """
        at = line.modbus
        return cls(at.station_at, at.plc_at, line.places(cameras), at.word_order)

    def status(self, camera: str) -> int:
        """Address of a camera's status register."""
        return self.cameras[camera]

    def answer(self, camera: str) -> int:
        """Address of a camera's answer."""
        return self.cameras[camera] + ANSWER_AT

    def control(self, camera: str) -> int:
        """Address of what the PLC writes to a camera."""
        return self.cameras[camera] + CONTROL_AT

    @property
    def length(self) -> int:
        """Registers from 0 to the end of the last block: what a server must hold at least."""
        ends = [self.station + STATION_REGISTERS, self.plc + PLC_REGISTERS]
        return max([*ends, *(first + CAMERA_REGISTERS for first in self.cameras.values())])


def permille(probability: float) -> int:
    """A probability as the map has it.

    >>> permille(0.9876), permille(1.5), permille(float("nan"))
    (988, 1000, 0)
    """
    return round(min(max(probability, 0.0), 1.0) * 1000) if probability == probability else 0  # noqa: PLR0124 - not a number differs from itself


def part_number(part_id: str | None) -> int:
    """The part number of a part that was named in text: the decimal number that it is, else 0.

    >>> part_number("4711"), part_number("A-7"), part_number("4294967296"), part_number(None)
    (4711, 0, 0, 0)
    """
    if part_id is None or not (part_id.isascii() and part_id.isdigit()):
        return 0
    return number if len(part_id) <= 10 and (number := int(part_id)) <= _TOP_PART else 0  # noqa: PLR2004 - digits of the largest


def _bits(*flags: bool) -> int:
    return sum(1 << place for place, flag in enumerate(flags) if flag)


def _flags(bits: int, count: int) -> tuple[bool, ...]:
    return tuple(bool(bits >> place & 1) for place in range(count))


def _words(number: int, order: WordOrder) -> tuple[int, int]:
    high, low = number >> 16 & _TOP, number & _TOP
    return (high, low) if order == "high_first" else (low, high)


def _part(first: int, second: int, order: WordOrder) -> int:
    high, low = (first, second) if order == "high_first" else (second, first)
    return high << 16 | low


def _exactly(count: int, registers: Sequence[int]) -> Sequence[int]:
    if len(registers) != count:
        msg = f"{len(registers)} registers came, {count} were expected"
        raise ValueError(msg)
    return registers
