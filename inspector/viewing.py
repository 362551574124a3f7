"""What people see of a running station, and what they say of it.

History, small pictures, marks and the stream to all viewers come together here. The station tells
of each verdict; all else is asked for when somebody looks.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import structlog

from inspector.errors import MarkError
from inspector.events.kinds import STATION_STATUS
from inspector.marks import Mark, Marks
from inspector.observe.history import History
from inspector.web.news import slim
from inspector.web.stills import Stills
from inspector.web.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Literal

    from inspector.events.outbox import Outbox
    from inspector.frame import Frame
    from inspector.marked import MarkedPictures
    from inspector.observe.health import Report
    from inspector.verdict import Verdict

MOST_EVENTS = 300
"""Events that a page begins with, and the most of one update."""
MOST_CHANGED = 1000
"""Marks that change between two updates; beyond, the oldest change is seen at the next `hello`."""

_log = structlog.get_logger("inspector.web")


class Viewing:
    """The dashboard's side of the station. Any thread, unless a method says otherwise.

    Args:
        folder: the state folder.
        pictures: of marked events.
        status: makes the station's status document.
        ready: makes the report of readiness.
    """

    def __init__(
        self,
        folder: Path,
        pictures: MarkedPictures,
        *,
        status: Callable[[], Mapping[str, Any]],
        ready: Callable[[], Report],
    ) -> None:
        self._status = status
        self._ready = ready
        self._outbox: Outbox | None = None
        self._labels: Callable[[], Sequence[str]] = tuple
        self._lock = threading.Lock()
        self._changed: dict[str, dict[str, Any] | None] = {}
        self._after = 0  # the newest event that was told; the stream's thread only
        self._step = 0  # the step of the history up to which all was told
        self.history = History()
        self.marks = Marks(folder)
        self._pictures = pictures
        self.stream = Stream(self._hello, self._update)
        self.stills = Stills(lambda: self.stream.viewers > 0)

    def start(self) -> None:
        """Begin to answer viewers; events and labels may come later."""
        self.stills.start()
        self.stream.start()

    def show(self, outbox: Outbox, labels: Callable[[], Sequence[str]]) -> None:
        """From now on there are events, and labels that a mark may name."""
        self._outbox, self._labels = outbox, labels

    def saw(
        self, frame: Frame, verdict: Verdict, release: Callable[[], None]
    ) -> Callable[[], None]:
        """A frame has its verdict; the judge's thread. Never waits.

        Returns:
            What hands the frame back, in place of `release`.
        """
        age_s = (verdict.judged_ns - frame.arrived_ns) / 1e9 if verdict.judged_ns else None
        self.history.note(frame.camera, verdict.outcome, age_s)
        return self.stills.borrow(frame, verdict, release)

    def forget(self, camera: str) -> None:
        """A camera is gone."""
        self.history.forget(camera)
        self.stills.forget(camera)

    def settle(self) -> None:
        """Hand back what was borrowed: the cameras are about to end."""
        self.stills.close()

    def close(self) -> None:
        """Tell all viewers the last, and let them go. Idempotent."""
        self.stills.close()
        self.stream.close()

    def mark(
        self, event_id: str, word: Literal["right", "wrong"] | None, label: str | None
    ) -> dict[str, Any]:
        """Store what an operator says of an event; all viewers see it with the next update.

        Args:
            word: None takes back what was said.
            label: what a picture that was judged wrongly is in truth.

        Returns:
            What holds now: `event`, and `mark`, `label`, `marked_ms` or null.

        Raises:
            MarkError: it is not taken, and why.
        """
        if word is None:
            self.marks.take_back(event_id)
            self._pictures.forget(event_id)
            return self._tell(event_id, None)
        event = self._event(event_id)
        said = event["data"].get("label")
        if said is None:
            detail = (
                f"{event['type']} is about no picture that has a label; only such can be marked"
            )
            raise MarkError("no_frame", detail)
        if label is not None:
            self._check(label, said, word)
        mark = self.marks.put(event, word, label)
        self._pictures.keep(event)
        return self._tell(event_id, mark)

    def _event(self, event_id: str) -> Mapping[str, Any]:
        outbox = self._outbox
        found = outbox.documents([event_id]).get(event_id) if outbox is not None else None
        if found is not None:
            return found
        earlier = self.marks.find(event_id)  # what is marked can be marked anew for ever
        if earlier is None:
            detail = (
                f"there is no event {event_id}; sent ones are forgotten after "
                "events.outbox.keep_hours"
            )
            raise MarkError("unknown_event", detail)
        return earlier.event

    def _check(self, label: str, said: str, word: Literal["right", "wrong"]) -> None:
        if word == "right":
            detail = "a right verdict has its label; name another one with mark: wrong"
        elif label not in self._labels():
            detail = f"no label {label!r}; the engine knows {', '.join(self._labels())}"
        elif label == said:
            detail = f"{label} is what the station said; mark it right, or name another label"
        else:
            return
        raise MarkError("bad_label", detail)

    def _tell(self, event_id: str, mark: Mark | None) -> dict[str, Any]:
        with self._lock:
            self._changed.pop(event_id, None)
            self._changed[event_id] = None if mark is None else mark.document()
            while len(self._changed) > MOST_CHANGED:
                del self._changed[next(iter(self._changed))]
        return {"event": event_id} | (Mark.nothing() if mark is None else mark.document())

    # -- what the stream tells; its thread --------------------------------------------------------

    def _update(self) -> dict[str, Any]:
        with self._lock:
            changed, self._changed = self._changed, {}
        history = self.history.document(self._step)
        self._step = history["now"] - 1  # the step that has just ended, and the present one
        return self._now() | {"events": self._news(), "marks": changed, "history": history}

    def _hello(self) -> dict[str, Any]:
        outbox = self._outbox
        newest = outbox.newest(MOST_EVENTS, heartbeats=False) if outbox is not None else []
        events = [slim(event) for event in reversed(newest)]
        return self._now() | {
            "events": events,
            "marks": self._marks_of([event["id"] for event in events]),
            "history": self.history.document(),
        }

    def _now(self) -> dict[str, Any]:
        return {
            "status": self._status(),
            "ready": self._ready().document(),
            "stills": self.stills.document(),
            "viewers": self.stream.viewers,
            "labels": list(self._labels()),
        }

    def _news(self) -> list[dict[str, Any]]:
        if self._outbox is None:
            return []
        self._after, news = self._outbox.since(self._after, MOST_EVENTS)
        return [slim(event) for event in news if event["type"] != STATION_STATUS]

    def _marks_of(self, event_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        try:
            return {key: mark.document() for key, mark in self.marks.of(event_ids).items()}
        except MarkError as error:
            _log.warning("viewers see no marks", fault=str(error))
            return {}
