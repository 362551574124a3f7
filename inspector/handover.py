"""From a decision to the outbox, in order per camera, though some events wait for their picture.

What is decided of one camera forms a line. Its head goes on as soon as its picture is kept, or it
is known that there will be none; the others wait behind it. An event without a picture that finds
the line empty goes on at once, in its caller's thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from concurrent.futures import InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from inspector.errors import EventsError
from inspector.events.documents import with_evidence
from inspector.evidence.outcome import Kept, Outcome, Skip, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from inspector.events.documents import Event
    from inspector.events.outbox import Outbox
    from inspector.events.records import CameraState

MOST_WAITING = 1000
"""Parcels in one camera's line; then its head goes without its picture (`late`)."""

_log = structlog.get_logger("inspector.station")


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes to the outbox in one transaction.

    Attributes:
        picture: what the events wait for; None if they have none to wait for.
        on_end: called once with what became of the picture and whether the events are on disk.
    """

    events: Sequence[Event]
    states: Mapping[str, CameraState]
    picture: Future[Outcome] | None = None
    on_end: Callable[[Outcome | None, bool], None] = lambda _picture, _stored: None

    @property
    def ready(self) -> bool:
        """Whether it need not wait any longer."""
        return self.picture is None or self.picture.done()


@dataclass(slots=True)
class _Line:
    lock: threading.Lock = field(default_factory=threading.Lock)
    parcels: deque[Parcel] = field(default_factory=deque)


class Handover:
    """The lines of all cameras. Any thread; nothing waits for the disk."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._lines: dict[str, _Line] = {}

    def put(self, camera: str, parcel: Parcel) -> None:
        """Hand a parcel over, behind all earlier ones of its camera."""
        line = self._lines.setdefault(camera, _Line())
        with line.lock:
            line.parcels.append(parcel)
            head = line.parcels[0]
            full = len(line.parcels) > MOST_WAITING
        if full and head.picture is not None:
            _give_up(head.picture)
        if parcel.picture is not None:
            parcel.picture.add_done_callback(lambda _: self._advance(line))
        self._advance(line)

    def _advance(self, line: _Line) -> None:
        """Send what need not wait; under the line's lock, so that order holds."""
        with line.lock:
            while line.parcels and line.parcels[0].ready:
                self._send(line.parcels.popleft())

    def _send(self, parcel: Parcel) -> None:
        outcome = None if parcel.picture is None else parcel.picture.result()
        try:
            stored = self._outbox.append(_complete(parcel.events, outcome), parcel.states)
        except EventsError as error:  # whoever decides must go on with the next frame
            _log.error("verdict without its events", fault=str(error))
            parcel.on_end(outcome, False)
            return
        stored.add_done_callback(lambda done: parcel.on_end(outcome, done.exception() is None))


def _complete(events: Sequence[Event], outcome: Outcome | None) -> Sequence[Event]:
    match outcome:
        case None:
            return events
        case Kept():
            return [with_evidence(event, outcome.to_json(), None) for event in events]
        case Skipped(cause):
            return [with_evidence(event, None, cause.value) for event in events]


def _give_up(picture: Future[Outcome]) -> None:
    with contextlib.suppress(InvalidStateError):
        picture.set_result(Skipped(Skip.LATE))
