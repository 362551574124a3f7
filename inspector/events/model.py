"""The events as types: for Python users who read them, and the source of the JSON Schemas.

Readers must take documents of later versions of the same type: what a model does not know it
ignores, and fields are only ever added, never taken away or changed, under one version number.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from inspector.errors import EventsError

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
EventId = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
    ),
]
Outcome = Literal["accepted", "rejected", "uncertain", "unjudgeable"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Picture(_Model):
    """Size of the inspected (cropped) picture in pixels; 0 without a picture."""

    width: Count
    height: Count


class Times(_Model):
    """When what happened to the frame, UTC; null for what did not happen."""

    captured: datetime
    """Arrival of the frame's packet or file at the station."""
    decoded: datetime | None
    judged: datetime | None
    decided: datetime


class Durations(_Model):
    """Milliseconds in each stage, by the monotonic clock; null for a stage that was skipped."""

    decode: float | None
    queue: float | None
    """From the decoded picture to the engine."""
    judge: float | None
    decide: float | None
    total: float | None
    """From arrival to decision."""


class Quality(_Model):
    """The policy's n of m state after this frame."""

    degraded: bool
    rejected_in_window: Count
    judged_in_window: Count
    needed: Count
    window: Count
    accepted_in_row: Count
    recover_after: Count


class Engine(_Model):
    """Which network judged."""

    name: str
    version: str
    sha256: str
    runtime: str
    precision: str
    degraded: bool
    """Another runtime than the one asked for is serving."""


class Evidence(_Model):
    """The stored picture."""

    uri: str
    """Path below the station's evidence folder; the station serves it at /api/evidence/URI."""
    sha256: str
    """Of the picture file."""
    media_type: str


class Counters(_Model):
    """What became of the camera's frames: frames_in = judged + sum of dropped + in_flight."""

    frames_in: Count
    judged: Count
    dropped: dict[str, Count]
    """By cause."""
    in_flight: Count


class StationData(_Model):
    """What the data of every event has."""

    station: str
    mode: Literal["inspect", "observe"]
    replay: bool = False
    """Someone asked for this event to be sent again: it is not news, and no signal may follow."""


class CameraData(StationData):
    """What the data of every event of a camera has."""

    camera: str
    stream_epoch: int
    """Raised at every reconnect of the camera."""
    counters: Counters


class FrameData(CameraData):
    """One judged frame."""

    sequence: Count
    """Number of the frame within its epoch; dropped frames leave gaps."""
    part_id: str | None
    """The part that a trigger asked about, by the asker's own name."""
    trigger_id: str | None
    """The trigger that asked for this frame; one that answers several has an event for each."""
    late: bool = False
    """The verdict came after the trigger's deadline: it was answered as unjudgeable, and no signal
    may follow."""
    origin: str | None
    """File name of pictures from files."""
    pts_s: float | None
    """The source's own time stamp in seconds."""
    picture: Picture
    times: Times
    durations_ms: Durations
    verdict: Outcome
    label: str | None
    probabilities: dict[str, Probability]
    reasons: list[str]
    cause: str | None
    """Why the frame is unjudgeable."""
    confirmed: bool | None
    """Whether the confirming engine answered in time; null where none was asked."""
    quality: Quality
    engine: Engine | None
    evidence: Evidence | None
    no_evidence: str | None = None
    """Why there is no picture though there should be one, in a word; null in all other cases."""


class CameraLostData(CameraData):
    """A camera that gives no more pictures."""

    cause: str | None
    detail: str


class CameraRestoredData(CameraData):
    """A camera that gives pictures again."""

    lost_s: Annotated[float, Field(ge=0)] | None
    picture: Picture | None


class LineData(StationData):
    """What the data of an event of the line has."""

    camera: str | None
    """The camera whose parts are concerned; null: the whole line."""
    cause: Literal["no_acknowledge", "plc_away", "plc_silent", "queue_full", "bad_answer"]


class LineFaultData(LineData):
    """Signalling to the PLC does not work as it should."""

    fail_safe: Literal["reject", "stop"]
    """What holds on the line until it is restored, by the station file."""
    detail: str


class LineRestoredData(LineData):
    """A fault of the line is over."""

    after_s: Annotated[float, Field(ge=0)] | None
    """How long it held; null where it began in an earlier life of the station."""


class CameraEntry(_Model):
    """A camera in the station's status."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    state: str
    judged: Count | None = None
    """Frames judged since the station began to use the camera, or since it started."""
    quality: Literal["good", "degraded"] | None = None
    """By the camera's policy."""


class StationStatusData(StationData):
    """The station's heartbeat."""

    version: str
    started: datetime
    uptime_s: float
    ready: bool
    reasons: list[str]
    cameras: dict[str, CameraEntry]
    engine: Engine | None
    outbox: dict[str, Any]


class EventsDroppedData(StationData):
    """A gap: events that were given up before they could be sent."""

    count: Count | None
    """null where nobody can know."""
    first_id: EventId | None
    last_id: EventId | None
    cause: str
    types: dict[str, Count]
    """The count by event type."""
    keys: dict[str, Count]
    """The count by record key."""


class Envelope(_Model):
    """The CloudEvents 1.0 attributes that every event has."""

    specversion: Literal["1.0"]
    id: EventId
    """UUIDv7; the same on every repeat."""
    source: Annotated[str, StringConstraints(pattern=r"^/stations/[^/]+(/cameras/[^/]+)?$")]
    time: datetime
    datacontenttype: Literal["application/json"]
    dataschema: str


class FrameRejected(Envelope):
    """A frame that its camera's policy rejects."""

    type: Literal["inspector.frame.rejected.v1"]
    data: FrameData


class FrameJudged(Envelope):
    """Any frame with a verdict."""

    type: Literal["inspector.frame.judged.v1"]
    data: FrameData


class QualityDegraded(Envelope):
    """A camera's pictures have become bad; the data is that of the frame that decided it."""

    type: Literal["inspector.quality.degraded.v1"]
    data: FrameData


class QualityRecovered(Envelope):
    """A camera's pictures are good again; the data is that of the frame that decided it."""

    type: Literal["inspector.quality.recovered.v1"]
    data: FrameData


class CameraLost(Envelope):
    """A camera gives no more pictures."""

    type: Literal["inspector.camera.lost.v1"]
    data: CameraLostData


class CameraRestored(Envelope):
    """A camera gives pictures again."""

    type: Literal["inspector.camera.restored.v1"]
    data: CameraRestoredData


class StationStatus(Envelope):
    """The station's heartbeat."""

    type: Literal["inspector.station.status.v1"]
    data: StationStatusData


class EventsDropped(Envelope):
    """Events that were given up before they could be sent."""

    type: Literal["inspector.events.dropped.v1"]
    data: EventsDroppedData


class LineFault(Envelope):
    """Signalling to the PLC does not work as it should: the line is in its fail-safe."""

    type: Literal["inspector.line.fault.v1"]
    data: LineFaultData


class LineRestored(Envelope):
    """A fault of the line is over."""

    type: Literal["inspector.line.restored.v1"]
    data: LineRestoredData


StationEvent = (
    FrameRejected
    | FrameJudged
    | QualityDegraded
    | QualityRecovered
    | CameraLost
    | CameraRestored
    | StationStatus
    | EventsDropped
    | LineFault
    | LineRestored
)

MODELS: dict[str, type[StationEvent]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(StationEvent)
}
"""Event type to its model."""

_adapter: TypeAdapter[StationEvent] = TypeAdapter(
    Annotated[StationEvent, Field(discriminator="type")]
)


def parse(document: bytes | str) -> StationEvent:
    """Read a published document.

    Raises:
        EventsError: it is no event of a known type and version; tells every fault.
    """
    try:
        return _adapter.validate_json(document)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)[:5]
        )
        msg = f"not an event that this version knows: {faults}"
        raise EventsError(msg) from error
