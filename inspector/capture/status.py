"""What is known of a camera from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

State = Literal["connecting", "running", "stalled", "lost", "failed", "ended"]
"""connecting: not up yet since the start; running: frames come (of a file or folder: it is open);
stalled: none come, or the same one over and over (`frozen`); lost: no connection, retried; failed:
the worker crashes or the settings cannot work, retried slowly; ended: a file or folder came to its
end. A camera stays stalled, lost or failed until it runs again."""

Cause = Literal[
    "refused",
    "timeout",
    "authentication",
    "tls",
    "not_found",
    "codec",
    "stalled",
    "frozen",
    "ended",
    "crashed",
]
"""Why a camera is not running."""

Result = Literal["judged", "engine_error", "shutdown", "superseded"]
"""What became of a frame that was taken."""

DROP_CAUSES = (
    "not_due",
    "superseded",
    "stale",
    "no_slot",
    "worker_lost",
    "engine_error",
    "shutdown",
)


@dataclass(frozen=True, slots=True)
class Counters:
    """Frames of a camera since the start: `frames_in == judged + sum(dropped) + in_flight`.

    Attributes:
        dropped: by cause; every cause is there.
        in_flight: arrived, and neither judged nor dropped yet.
        parts: that reached the barrier in the picture, where there is one.
    """

    frames_in: int
    judged: int
    dropped: Mapping[str, int]
    in_flight: int
    parts: int = 0


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """A camera at one instant.

    Attributes:
        detail: one sentence for a person, without secrets; empty while all is well.
        stream_epoch: of the current or last connection; the first to come before any.
        since_utc: when it entered this state.
        size: width and height of the (cropped) pictures, once known.
        fps: pictures a second as they arrive; before that is known, as the source states them.
        key_every: frames from one key frame to the next, where the codec has such and two came:
            damage lasts up to the next one.
        last_frame_age_s: time since the last arrival; None before the first.
        restarts: connections that ended or failed, by cause.
        on_trigger: its frames are judged when they are asked for, and only then.
        on_motion: one of its frames is judged for each part that reaches the barrier.
        covered: share of the barrier that differs from the empty belt now; None without a
            barrier, and while it learns how the empty belt looks.
    """

    name: str
    kind: str
    state: State
    cause: Cause | None
    detail: str
    stream_epoch: int
    since_utc: datetime
    size: tuple[int, int] | None
    fps: float | None
    key_every: int | None
    last_frame_age_s: float | None
    restarts: Mapping[str, int]
    counters: Counters
    on_trigger: bool = False
    on_motion: bool = False
    covered: float | None = None
