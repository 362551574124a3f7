"""Which records become signals, and which are counted only. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from inspector.events.model import FrameRejected
from inspector.line.parts import Finding
from inspector.line.registers import LABEL_CODES, Result, permille

if TYPE_CHECKING:
    from collections.abc import Collection

    from inspector.events.model import StationEvent
    from inspector.events.seen import Seen

Ignored = Literal[
    "not_a_reject", "other_camera", "replay", "observed", "answered_late", "repeat", "observing"
]
"""Why a record is not signalled, whatever its age."""


def camera_of(event: FrameRejected) -> str:
    """STATION/CAMERA."""
    return f"{event.data.station}/{event.data.camera}"


def ignored(
    event: StationEvent, cameras: Collection[str], handled: Seen, *, observing: bool
) -> Ignored | None:
    """Why an event is not to be signalled; None: it is.

    Args:
        cameras: STATION/CAMERA of those that are signalled.
        handled: ids of events that were signalled.
        observing: whether the signaller only reads.
    """
    if not isinstance(event, FrameRejected):
        return "not_a_reject"
    if camera_of(event) not in cameras:
        return "other_camera"
    if event.data.replay:
        return "replay"
    if event.data.mode == "observe":
        return "observed"
    if event.data.late:
        return "answered_late"
    if event.id in handled:
        return "repeat"
    return "observing" if observing else None


def age_s(event: FrameRejected, now_utc_s: float) -> float:
    """Seconds since the frame was captured; not negative, whatever the clocks say."""
    return max(now_utc_s - event.data.times.captured.timestamp(), 0.0)


def finding_of(event: FrameRejected) -> Finding:
    """What the PLC is told."""
    label = event.data.label
    probability = event.data.probabilities.get(label, 0.0) if label else 0.0
    return Finding(Result.REJECT, LABEL_CODES.get(label or "", 0), permille(probability))
