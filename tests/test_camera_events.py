"""One event a loss and one a return, however often a camera is tried in between."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from inspector.camera_events import CameraEvents
from inspector.capture.status import DROP_CAUSES, CameraStatus, Counters
from inspector.config.events import Topics
from inspector.events.documents import Documents

if TYPE_CHECKING:
    from inspector.capture.status import Cause, State
    from inspector.events.documents import Event


def status(state: State, cause: Cause | None = None) -> CameraStatus:
    return CameraStatus(
        name="infeed",
        kind="rtsp",
        state=state,
        cause=cause,
        detail="the camera cannot be reached" if cause else "",
        stream_epoch=3,
        since_utc=datetime.now(UTC),
        size=(640, 480),
        fps=None,
        key_every=None,
        last_frame_age_s=None,
        restarts={},
        counters=Counters(0, 0, dict.fromkeys(DROP_CAUSES, 0), 0),
    )


def told(*changes: CameraStatus, lost: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The events' documents after those changes, two seconds apart."""
    events: list[Event] = []
    now = [0.0]

    def publish(camera: str, event: Event, *, lost: bool) -> None:
        assert camera == "infeed"
        assert lost == ("lost" in event.type)
        events.append(event)

    cameras = CameraEvents(
        Documents("packing-07", "inspect", Topics()), publish, lost, lambda: now[0]
    )
    for change in changes:
        cameras.change(change)
        now[0] += 2.0
    return [event.document for event in events]


def test_a_loss_and_a_return_are_told_once_each() -> None:
    lost, restored = told(
        status("running"),
        status("stalled", "stalled"),
        status("lost", "refused"),
        status("lost", "timeout"),
        status("running"),
    )
    assert lost["type"] == "inspector.camera.lost.v1"
    assert (lost["data"]["camera"], lost["data"]["cause"]) == ("infeed", "stalled")
    assert restored["type"] == "inspector.camera.restored.v1"
    assert restored["data"]["lost_s"] == 6.0
    assert restored["data"]["picture"] == {"width": 640, "height": 480}


def test_a_camera_that_was_never_there_is_lost_too() -> None:
    assert [e["type"] for e in told(status("lost", "refused"))] == ["inspector.camera.lost.v1"]


def test_coming_up_and_coming_to_an_end_are_no_events() -> None:
    assert told(status("connecting"), status("running"), status("ended")) == []


def test_a_return_after_a_restart_is_told_and_the_loss_is_not_told_again() -> None:
    assert told(status("lost", "refused"), lost=("infeed",)) == []
    (restored,) = told(status("running"), lost=("infeed",))
    assert restored["type"] == "inspector.camera.restored.v1"
    assert restored["data"]["lost_s"] is None


def test_a_camera_that_was_lost_when_it_went_is_restored_when_it_returns() -> None:
    events: list[Event] = []
    cameras = CameraEvents(
        Documents("packing-07", "inspect", Topics()), lambda _, event, lost: events.append(event)
    )
    cameras.change(status("lost", "refused"))
    cameras.forget("infeed")
    cameras.change(status("running"))
    assert [event.type for event in events] == ["inspector.camera.lost.v1"]
    cameras.forget("infeed")
    cameras.adopt({"infeed"})
    cameras.change(status("running"))
    assert events[-1].type == "inspector.camera.restored.v1"
    assert events[-1].document["data"]["lost_s"] is None
