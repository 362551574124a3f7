"""The file of `inspector line`: rejects from Kafka, as signals to one PLC."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from inspector.config.base import FilePath, Name, Section
from inspector.config.events import Kafka, Topic
from inspector.config.line import Address, Line, LineCamera, Milliseconds
from inspector.config.station import Web, told

CAMERA_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}$"
MEMBER_PATTERN = r"^[A-Za-z0-9_-]{1,200}$"

StationCamera = Annotated[str, StringConstraints(pattern=CAMERA_PATTERN)]
"""STATION/CAMERA, as the key of the records has it."""
Member = Annotated[str, StringConstraints(pattern=MEMBER_PATTERN)]


class Consume(Section):
    """How the events are read."""

    topic: Topic = "inspection.rejects"
    """Topic with the rejects of the stations."""
    group: Topic | None = None
    """Consumer group: one for each PLC; `inspector-line.NAME` if absent."""
    member: Member | None = None
    """Name of this process in the group (`group.instance.id`), which stays over restarts; the
    signaller's name if absent. A second process under the same name ends the first; one under
    another name stands by."""
    session_timeout_s: Annotated[float, Field(ge=6, le=1800)] = 10.0
    """Gone for so long, this process hands over to the one that stands by."""
    remember: Annotated[int, Field(ge=1000, le=10_000_000)] = 100_000
    """Ids of handled events that are kept, over restarts too, so that repeats are dropped."""


class SignalledCamera(Section):
    """How the rejects of one camera are signalled."""

    deadline_ms: Milliseconds = 1000.0
    """From the capture of the frame, by the clocks of station and signaller. What is older is
    counted and not signalled: the part is gone."""
    reserve_ms: Annotated[float, Field(ge=0, le=60_000)] = 15.0
    """So long before the deadline a reject is no longer sent: about three round trips."""
    at: Address | None = None
    """First register of the camera's block; by its place among the cameras if absent."""

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.reserve_ms >= self.deadline_ms:
            msg = f"reserve_ms ({self.reserve_ms:g}) must be less than deadline_ms"
            raise ValueError(f"{msg} ({self.deadline_ms:g})")
        return self


class SignalledLine(Line):
    """The PLC; what is not explained here means what it means in a station file."""

    cameras: Annotated[  # type: ignore[assignment]  # never absent, and of more than one station
        dict[StationCamera, SignalledCamera], Field(min_length=1, max_length=256)
    ]
    """The cameras that are signalled, by STATION/CAMERA, in the order of their blocks."""

    def as_line(self) -> Line:
        """The same as the section `line` of a station whose frames are the parts."""
        values = {name: getattr(self, name) for name in Line.model_fields if name != "cameras"}
        cameras = {
            name: LineCamera.model_construct(
                trigger="frames",
                deadline_ms=camera.deadline_ms,
                reserve_ms=camera.reserve_ms,
                queue=1,
                at=camera.at,
            )
            for name, camera in self.cameras.items()
        }
        return Line.model_construct(**values, cameras=cameras)


class Signaller(Section):
    """The whole file, version 1."""

    version: Literal[1]
    """Version of this file format."""
    signaller: Name
    """Name of the signaller."""
    mode: Literal["inspect", "observe"] = "inspect"
    """observe: read and count, never signal the line."""
    state: FilePath | None = None
    """Folder of the handled events; $STATE_DIRECTORY if absent, else state/NAME."""
    kafka: Kafka
    """The broker, as in a station file."""
    consume: Consume = Consume()
    """How the events are read."""
    line: SignalledLine
    """The PLC that hears the rejects."""
    web: Web | None = None
    """Address of probes and metrics; none if absent."""

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.consume.group or f"inspector-line.{self.signaller}"

    @property
    def member(self) -> str:
        """The name of this process in the group."""
        return self.consume.member or self.signaller

    @model_validator(mode="after")
    def _line_fits(self) -> Self:
        line = self.line.as_line()
        faults = [*line.faults(dict.fromkeys(self.line.cameras))]  # type: ignore[arg-type]
        if faults:
            raise ValidationError.from_exception_data("line", [told(*fault) for fault in faults])
        return self
