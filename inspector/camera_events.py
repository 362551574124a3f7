"""Cameras that go and come back: tells the log of each change, the outbox of losses and returns."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from inspector.capture.status import CameraStatus
    from inspector.events.documents import Documents, Event

_log = structlog.get_logger("inspector.camera")

_GONE = frozenset({"stalled", "lost", "failed"})


def camera_entry(camera: Mapping[str, Any]) -> dict[str, object]:
    """What the heartbeat tells of a camera.

    Args:
        camera: its entry in the station's status document.
    """
    told = {key: camera[key] for key in ("state", "cause", "fps", "quality")}
    return told | {"judged": camera["counters"]["judged"]}


class Publish(Protocol):
    """Takes an event of a camera that was lost or came back."""

    def __call__(self, camera: str, event: Event, *, lost: bool) -> None:
        """Hand the event on, and remember whether the camera is lost."""


class CameraEvents:
    """Makes one `camera.lost` of each loss and one `camera.restored` of each return.

    Retries in between change the state many times and make no event. `change` is called by the
    capture's thread only.

    Args:
        publish: takes the camera's name, the event, and `lost=` whether it is a loss.
        lost: cameras whose loss an earlier run of the station told.
    """

    def __init__(
        self,
        documents: Documents,
        publish: Publish,
        lost: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents = documents
        self._publish = publish
        self._clock = clock
        self._lost_at: dict[str, float | None] = dict.fromkeys(lost)
        self._said: dict[str, tuple[str, str | None]] = {}

    def adopt(self, lost: Collection[str]) -> None:
        """Cameras are about to come of which these were lost when they went. Any thread."""
        for camera in lost:
            self._lost_at.setdefault(camera, None)

    def forget(self, camera: str) -> None:
        """A camera is gone: no change of it will come. Any thread."""
        self._lost_at.pop(camera, None)
        self._said.pop(camera, None)

    def change(self, status: CameraStatus) -> None:
        """Take note of a camera's new state."""
        self._tell(status)
        name = status.name
        if status.state in _GONE and name not in self._lost_at:
            self._lost_at[name] = self._clock()
            event = self._documents.camera_lost(
                name,
                stream_epoch=status.stream_epoch,
                cause=status.cause,
                detail=status.detail,
                counters=status.counters,
            )
            self._publish(name, event, lost=True)
        elif status.state == "running" and name in self._lost_at:
            since = self._lost_at.pop(name)
            event = self._documents.camera_restored(
                name,
                stream_epoch=status.stream_epoch,
                lost_s=None if since is None else self._clock() - since,
                size_wh=status.size,
                counters=status.counters,
            )
            self._publish(name, event, lost=False)

    def _tell(self, status: CameraStatus) -> None:
        """A line a change; retries that end as the last one did are not told again."""
        told = (status.state, status.cause)
        if status.state == "connecting" or self._said.get(status.name) == told:
            return
        self._said[status.name] = told
        level = _log.warning if status.state in _GONE else _log.info
        why = {"cause": status.cause, "detail": status.detail} if status.cause else {}
        level(f"camera {status.state}", camera=status.name, **why)
