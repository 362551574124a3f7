"""The line: the PLC that hears the verdicts, and the register map it shares with the station.

The map itself, register by register, is `inspector.line.registers`; here is where its blocks lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from inspector.config.base import Name, Port, Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.config.cameras import Camera
    from inspector.config.faults import KeyPath

HOST_PATTERN = r"^[A-Za-z0-9._:-]{1,253}$"

STATION_REGISTERS = 5
"""Length of the block that the station writes about itself."""
PLC_REGISTERS = 2
"""Length of the block that the PLC writes about itself."""
CAMERA_REGISTERS = 20
"""Length of a camera's block: what the station writes, a gap, what the PLC writes."""
CAMERA_STEP = 32
"""From one camera's block to the next, where they have no places of their own."""

_LAST_REGISTER = 65_535

Address = Annotated[int, Field(ge=0, le=_LAST_REGISTER)]
Milliseconds = Annotated[float, Field(gt=0, le=60_000)]


class Modbus(Section):
    """The PLC as a Modbus TCP server, and where in its holding registers the blocks begin."""

    host: Annotated[str, StringConstraints(pattern=HOST_PATTERN)]
    """Host name or address of the PLC."""
    port: Port = 502
    """Its port."""
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    """Its unit identifier."""
    timeout_ms: Annotated[float, Field(ge=10, le=60_000)] = 500.0
    """Without an answer in this time the connection counts as lost, and is made anew."""
    poll_ms: Annotated[float, Field(ge=1, le=1000)] = 5.0
    """Pause between two readings of what the PLC says."""
    station_at: Address = 0
    """First register of the station's block (5 registers, station to PLC); counted from 0."""
    plc_at: Address = 16
    """First register of the PLC's block (2 registers, PLC to station)."""
    cameras_at: Address = 32
    """First register of the first camera's block (20 registers); the next begin 32 further each."""
    word_order: Literal["high_first", "low_first"] = "high_first"
    """Which half of a part number, 32 bits in two registers, comes first."""


class LineCamera(Section):
    """How the parts of one camera are signalled."""

    trigger: Literal["plc", "api", "frames"] = "plc"
    """plc: the PLC announces each part; api: each `POST /api/cameras/ID/inspect` is one; frames:
    each judged frame is one, of a camera with `inspect.on_motion`, or that is triggered itself."""
    deadline_ms: Milliseconds = 400.0
    """From the trigger (frames: from the capture). What is not told by then never is: the PLC
    hears `no result` instead. Of this and the camera's `inspect.deadline_ms` the shorter holds."""
    reserve_ms: Annotated[float, Field(ge=0, le=60_000)] = 15.0
    """So long before the deadline `no result` is sent, to be there in time: at least three round
    trips to the PLC."""
    queue: Annotated[int, Field(ge=1, le=1000)] = 16
    """Results that may wait for the PLC's acknowledgements. When it is full accepted ones give
    way; if there are none, the fail-safe holds."""
    at: Address | None = None
    """First register of the camera's block; by its place among the cameras if absent."""
    count_parts: bool = False
    """frames: number the parts 1, 2, 3…, each picture being one; otherwise their number is 0."""

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.reserve_ms >= self.deadline_ms:
            msg = (
                f"reserve_ms ({self.reserve_ms:g}) must be less than deadline_ms "
                f"({self.deadline_ms:g}), or every answer is `no result`"
            )
            raise ValueError(msg)
        if self.count_parts and self.trigger != "frames":
            msg = f"count_parts is for trigger frames; with trigger {self.trigger} parts have names"
            raise ValueError(msg)
        return self


class Line(Section):
    """Signalling of the verdicts to the line's PLC over Modbus TCP."""

    modbus: Modbus
    """The PLC, and where the blocks of registers lie."""
    heartbeat_ms: Annotated[float, Field(ge=20, le=10_000)] = 250.0
    """The station's heartbeat register counts so often; when it stops the PLC must go safe."""
    plc_heartbeat_within_ms: Annotated[float, Field(ge=20, le=60_000)] | None = None
    """The PLC's heartbeat register must change so often; not watched if absent."""
    acknowledge: Literal["bit", "sequence"] = "bit"
    """bit: the acknowledge bit is enough; sequence: the PLC must give back the sequence, too."""
    acknowledge_ms: Milliseconds = 500.0
    """Without an acknowledgement in this time after `valid` the fail-safe holds."""
    fail_safe: Literal["reject", "stop"] = "reject"
    """What the PLC is told to do then: reject every part, or stop the line."""
    cameras: Annotated[dict[Name, LineCamera], Field(min_length=1)] | None = None
    """The cameras that are signalled, in the order of their blocks; all, as they stand in the
    file, if absent."""

    def signalled(self, cameras: Mapping[str, object]) -> dict[str, LineCamera]:
        """The cameras that are signalled, in the order of their blocks.

        Args:
            cameras: those of the station file, in its order.
        """
        return dict.fromkeys(cameras, LineCamera()) if self.cameras is None else self.cameras

    def places(self, cameras: Mapping[str, object]) -> dict[str, int]:
        """First register of each signalled camera's block."""
        return {
            name: self.modbus.cameras_at + CAMERA_STEP * index if camera.at is None else camera.at
            for index, (name, camera) in enumerate(self.signalled(cameras).items())
        }

    def faults(self, cameras: Mapping[str, Camera]) -> Iterator[tuple[KeyPath, str]]:
        """What does not fit the cameras of the station, or each other: key and problem."""
        for name, camera in self.signalled(cameras).items():
            key = ("line", "cameras", name)
            if name not in cameras:
                yield key, f"no camera is called {name}; there are {', '.join(sorted(cameras))}"
            elif camera.trigger != "frames":
                yield from _unanswerable(key, camera, cameras[name])
        yield from self._overlaps(cameras)

    def _overlaps(self, cameras: Mapping[str, object]) -> Iterator[tuple[KeyPath, str]]:
        blocks: list[tuple[KeyPath, str, range]] = []
        for key, name, block in self._blocks(cameras):
            if block[-1] > _LAST_REGISTER:
                yield key, f"{name} reaches to register {block[-1]}, the last is {_LAST_REGISTER}"
            for _, other, taken in blocks:
                if taken.start < block.stop and block.start < taken.stop:
                    yield key, f"{name} ({_span(block)}) overlaps {other} ({_span(taken)})"
                    break
            blocks.append((key, name, block))

    def _blocks(self, cameras: Mapping[str, object]) -> Iterator[tuple[KeyPath, str, range]]:
        at = self.modbus
        yield (
            ("line", "modbus", "station_at"),
            "the station's block",
            range(at.station_at, at.station_at + STATION_REGISTERS),
        )
        yield (
            ("line", "modbus", "plc_at"),
            "the PLC's block",
            range(at.plc_at, at.plc_at + PLC_REGISTERS),
        )
        asked = self.signalled(cameras)
        for name, first in self.places(cameras).items():
            own = asked[name].at is not None
            yield (
                ("line", "cameras", name, "at") if own else ("line", "modbus", "cameras_at"),
                f"the block of camera {name}",
                range(first, first + CAMERA_REGISTERS),
            )


def _unanswerable(key: KeyPath, asked: LineCamera, camera: Camera) -> Iterator[tuple[KeyPath, str]]:
    left_ms = asked.deadline_ms - asked.reserve_ms
    if camera.camera_delay_ms >= left_ms:
        problem = (
            f"deadline_ms less reserve_ms ({left_ms:g}) must be more than the camera's "
            f"camera_delay_ms ({camera.camera_delay_ms:g}), or every answer is `no result`"
        )
        yield key, problem


def _span(block: range) -> str:
    return f"{block[0]} to {block[-1]}"
