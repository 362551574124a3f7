"""The triggers of one camera that wait for their frame.

The worker and the supervisor each keep one, by the same rule: the worker to know which frames are
to be judged, the supervisor to know which trigger such a frame answers.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING

from inspector.errors import CaptureError
from inspector.frame import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.capture.wire import Message
    from inspector.config.cameras import Camera

MOST_WAITING = 32
"""Triggers of one camera that may wait for their verdict at once."""


class NoFramesError(CaptureError):
    """A camera that gives no frames now was asked for one.

    Attributes:
        cause: `camera_away`, or `shutdown` when the station stops.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


def ask_worker(
    send: Callable[[Message], None],
    name: str,
    camera: Camera,
    trigger_id: str,
    part_id: str | None,
) -> Trigger:
    """Make the trigger of this moment, and tell a worker that judges on triggers only of it.

    `hold` is there before the moment, so that the worker lets no frame go that arrives after it.
    """
    told = camera.inspect.on_trigger
    if told:
        send({"t": "hold"})
    now = time.monotonic_ns()
    trigger = Trigger(
        id=trigger_id,
        camera=name,
        part_id=part_id,
        asked_ns=now,
        asked_utc_ns=time.time_ns(),
        from_ns=now + round(camera.camera_delay_ms * 1e6),
        until_ns=now + round(camera.inspect.deadline_ms * 1e6),
    )
    if told:
        send({"t": "ask", "trigger": asdict(trigger)})
    return trigger


class Asks:
    """Open triggers, oldest first. Not thread-safe.

    Bounded: the oldest goes first. It was answered long ago then, as no more than `MOST_WAITING`
    may wait; those whose deadline is over stay until a frame comes, so that a late frame still
    tells what it was for.
    """

    def __init__(self) -> None:
        self._open: deque[Trigger] = deque(maxlen=2 * MOST_WAITING)

    def add(self, trigger: Trigger) -> None:
        """A trigger waits for its frame."""
        self._open.append(trigger)

    def want(self, arrived_ns: int) -> bool:
        """Whether a trigger asks for the frame that arrived then."""
        return any(_fits(trigger, arrived_ns) for trigger in self._open)

    def take(self, arrived_ns: int) -> tuple[Trigger, ...]:
        """The triggers that the frame that arrived then answers; they, and overdue ones, go."""
        taken = tuple(trigger for trigger in self._open if _fits(trigger, arrived_ns))
        early = [trigger for trigger in self._open if arrived_ns < trigger.from_ns]
        self._open.clear()
        self._open.extend(early)
        return taken

    def clear(self) -> tuple[Trigger, ...]:
        """No frame comes any more: take all."""
        left = tuple(self._open)
        self._open.clear()
        return left

    def __contains__(self, trigger: Trigger) -> bool:
        """Whether the trigger still waits for its frame."""
        return trigger in self._open


def _fits(trigger: Trigger, arrived_ns: int) -> bool:
    return trigger.from_ns <= arrived_ns <= trigger.until_ns
