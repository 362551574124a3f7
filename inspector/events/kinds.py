"""The types of events, and the topics they go to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from inspector.config.events import Topics

FRAME_REJECTED: Final = "inspector.frame.rejected.v1"
FRAME_JUDGED: Final = "inspector.frame.judged.v1"
QUALITY_DEGRADED: Final = "inspector.quality.degraded.v1"
QUALITY_RECOVERED: Final = "inspector.quality.recovered.v1"
CAMERA_LOST: Final = "inspector.camera.lost.v1"
CAMERA_RESTORED: Final = "inspector.camera.restored.v1"
STATION_STATUS: Final = "inspector.station.status.v1"
EVENTS_DROPPED: Final = "inspector.events.dropped.v1"
LINE_FAULT: Final = "inspector.line.fault.v1"
LINE_RESTORED: Final = "inspector.line.restored.v1"

TYPES: Final = (
    FRAME_REJECTED,
    FRAME_JUDGED,
    QUALITY_DEGRADED,
    QUALITY_RECOVERED,
    CAMERA_LOST,
    CAMERA_RESTORED,
    STATION_STATUS,
    EVENTS_DROPPED,
    LINE_FAULT,
    LINE_RESTORED,
)

_OF_STATUS: Final = frozenset(
    {CAMERA_LOST, CAMERA_RESTORED, STATION_STATUS, EVENTS_DROPPED, LINE_FAULT, LINE_RESTORED}
)


def topic_of(event_type: str, topics: Topics) -> str:
    """The topic that events of a type go to.

    Raises:
        ValueError: there is no such type.
    """
    if event_type in {FRAME_REJECTED, QUALITY_DEGRADED, QUALITY_RECOVERED}:
        return topics.rejects
    if event_type == FRAME_JUDGED:
        return topics.verdicts
    if event_type in _OF_STATUS:
        return topics.status
    msg = f"unknown event type {event_type!r}, known: {', '.join(TYPES)}"
    raise ValueError(msg)


def schema_uri(event_type: str) -> str:
    """The `dataschema` of a type: where in which schema its data is described."""
    return f"urn:inspector:schema:{event_type}#/properties/data"
