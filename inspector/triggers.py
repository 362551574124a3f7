"""Triggers on their way: each gets one answer, in time.

A trigger is answered by the verdict on its frame, or with `unjudgeable` as soon as it is known that
none comes, and at its deadline at the latest, whatever else in the station stands still. What comes
after the answer changes nothing: the events of such a frame say that it was late.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from inspector.capture.asks import MOST_WAITING, NoFramesError
from inspector.errors import TriggerError
from inspector.events.documents import rfc3339
from inspector.events.ids import new_id
from inspector.frame import Trigger
from inspector.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inspector.events.documents import Mode
    from inspector.frame import Frame
    from inspector.observe.metrics import Metrics
    from inspector.verdict import Verdict

_log = structlog.get_logger("inspector.triggers")

TURN_S = 1.0
"""The thread of the deadlines turns at least this often, for the watchdog."""

Answer = dict[str, Any]
"""JSON-able; described in docs/operation.md."""


class Cameras(Protocol):
    """What is needed of the capture stage."""

    def ask(self, camera: str, trigger_id: str, part_id: str | None) -> Trigger:
        """Ask for a frame. Raises KeyError and NoFramesError."""

    def awaits_frame(self, trigger: Trigger) -> bool:
        """Whether no frame for that trigger has come yet."""


@dataclass(slots=True)
class _Waiting:
    trigger: Trigger
    until_ns: int
    answer: Future[Answer] = field(default_factory=Future)
    claimed: bool = False  # its frame has its verdict: the deadline is met


class Triggers:
    """The triggers of all cameras that wait for their answer.

    Methods may be called from any thread; `claim` and `answer` belong to the judge's.

    Args:
        cameras: where frames are asked for.
        mode: of the station, as part of each answer.
        metrics: counts the answers.
    """

    def __init__(
        self,
        cameras: Cameras,
        mode: Mode,
        metrics: Metrics,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._cameras = cameras
        self._mode = mode
        self._metrics = metrics
        self._clock_ns = clock_ns
        self._changed = threading.Condition()
        self._waiting: dict[str, _Waiting] = {}
        self._said: dict[str, str] = {}  # cause of the last missed trigger of each camera
        self._closing = False
        self._turned_ns = 0
        self._thread = threading.Thread(target=self._run, name="triggers", daemon=True)

    def start(self) -> None:
        """Begin to watch the deadlines."""
        self._turned_ns = self._clock_ns()
        self._thread.start()

    def ask(
        self, camera: str, part_id: str | None, *, until_ns: int | None = None
    ) -> Future[Answer]:
        """Take a trigger.

        Args:
            camera: whose verdict is wanted.
            part_id: the asker's own name of the part.
            until_ns: monotonic time of the asker's own deadline, where it is earlier than the
                camera's.

        Returns:
            The answer to come. It cannot be cancelled.

        Raises:
            TriggerError: there is no such camera, or too many triggers of it wait.
        """
        trigger_id = str(new_id())
        # Under the lock until the trigger is known here: its verdict may be there at once.
        with self._changed:
            waiting = sum(w.trigger.camera == camera for w in self._waiting.values())
            if waiting >= MOST_WAITING:
                self._metrics.triggers_total.labels(camera, "too_many").inc()
                msg = (
                    f"{waiting} triggers of camera {camera} wait for their verdicts, which is the "
                    "most there may be; send fewer, or see why the station does not keep up"
                )
                raise TriggerError("too_many", msg)
            try:
                trigger = self._cameras.ask(camera, trigger_id, part_id)
            except KeyError:
                msg = f"no camera {camera}"
                raise TriggerError("unknown_camera", msg) from None
            except NoFramesError as error:
                return self._without_frame(camera, trigger_id, part_id, error)
            new = _Waiting(trigger, min(trigger.until_ns, until_ns or trigger.until_ns))
            new.answer.set_running_or_notify_cancel()
            self._waiting[trigger.id] = new
            self._changed.notify()
        return new.answer

    def missed(self, triggers: Iterable[Trigger], cause: str, detail: str) -> None:
        """No frame comes for these: answer them now.

        Args:
            cause: one word, such as `camera_away`.
            detail: a sentence for a person.
        """
        for trigger in triggers:
            with self._changed:
                waiting = self._waiting.pop(trigger.id, None)
            if waiting is not None:
                self._miss(waiting, cause, detail)

    def claim(self, frame: Frame) -> frozenset[str]:
        """A frame has its verdict: from now on `answer` answers its triggers, and nothing else.

        Returns:
            The ids of those that were answered without it: for them the verdict is late.
        """
        late = set()
        now = self._clock_ns()
        with self._changed:
            for trigger in frame.triggers:
                waiting = self._waiting.get(trigger.id)
                if waiting is None or now > waiting.until_ns:
                    late.add(trigger.id)
                else:
                    waiting.claimed = True
        return frozenset(late)

    def answer(self, frame: Frame, verdict: Verdict, *, reject: bool) -> None:
        """Answer the triggers of a frame that were claimed.

        Args:
            reject: whether the camera's policy rejects the frame.
        """
        for trigger in frame.triggers:
            with self._changed:
                waiting = self._waiting.get(trigger.id)
                if waiting is None or not waiting.claimed:
                    continue
                del self._waiting[trigger.id]
            self._said.pop(trigger.camera, None)
            facts = _of_frame(frame, verdict) | {"reject": reject}
            result = str(verdict.cause or verdict.outcome)
            self._settle(waiting, result, facts)

    def close(self) -> None:
        """Answer all that wait, and end. Idempotent."""
        with self._changed:
            self._closing = True
            left = [waiting.trigger for waiting in self._waiting.values()]
            self._changed.notify()
        self.missed(left, "shutdown", "the station is stopping")
        if self._thread.ident is not None:
            self._thread.join()

    def progress_ns(self) -> int:
        """Monotonic time of the thread's last turn, for the watchdog; 0 before the first."""
        return self._turned_ns

    # -- the thread of the deadlines --------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            self._turned_ns = self._clock_ns()
            for waiting in self._overdue():
                self._miss(waiting, "deadline", self._why_late(waiting))

    def _overdue(self) -> list[_Waiting]:
        """Wait for a deadline, or a turn; takes those whose deadline is over."""
        with self._changed:
            open_ones = [w for w in self._waiting.values() if not w.claimed]
            now = self._clock_ns()
            next_ns = min((w.until_ns for w in open_ones), default=now + 10**12)
            if next_ns > now and not self._closing:
                self._changed.wait(min(TURN_S, (next_ns - now) / 1e9))
                now = self._clock_ns()
            over = [w for w in self._waiting.values() if not w.claimed and w.until_ns <= now]
            for waiting in over:
                del self._waiting[waiting.trigger.id]
            return over

    def _why_late(self, waiting: _Waiting) -> str:
        trigger = waiting.trigger
        limit_ms = (waiting.until_ns - trigger.asked_ns) / 1e6
        own = waiting.until_ns == trigger.until_ns
        which = "inspect.deadline_ms" if own else f"line.cameras.{trigger.camera}.deadline_ms"
        delay_ms = (trigger.from_ns - trigger.asked_ns) / 1e6
        if self._cameras.awaits_frame(trigger):
            what = f"no frame of camera {trigger.camera} arrived"
            since = f" from {delay_ms:g} ms (camera_delay_ms) on" if delay_ms else ""
            then = "look at its frame rate (and inspect.every_s), or raise the deadline"
            return f"{what}{since} within {limit_ms:g} ms ({which}); {then}"
        return (
            f"a frame of camera {trigger.camera} arrived, but had no verdict within "
            f"{limit_ms:g} ms ({which}); look at inspector_stage_seconds to see where "
            "the time goes, or raise the deadline"
        )

    # -- answers ----------------------------------------------------------------------------------

    def _without_frame(
        self, camera: str, trigger_id: str, part_id: str | None, error: NoFramesError
    ) -> Future[Answer]:
        now = self._clock_ns()
        trigger = Trigger(trigger_id, camera, part_id, now, time.time_ns(), now, now)
        waiting = _Waiting(trigger, now)
        self._miss(waiting, error.cause, str(error))
        return waiting.answer

    def _miss(self, waiting: _Waiting, cause: str, detail: str) -> None:
        trigger = waiting.trigger
        if self._said.get(trigger.camera) != cause:  # not each of a stream of like ones
            self._said[trigger.camera] = cause
            _log.warning(
                "trigger without a verdict",
                camera=trigger.camera,
                cause=cause,
                trigger_id=trigger.id,
                part_id=trigger.part_id,
                detail=detail,
            )
        facts = {"verdict": str(Outcome.UNJUDGEABLE), "cause": cause, "reasons": [detail]}
        self._settle(waiting, cause, _NO_FRAME | facts)

    def _settle(self, waiting: _Waiting, result: str, facts: Answer) -> None:
        trigger = waiting.trigger
        waited_ns = self._clock_ns() - trigger.asked_ns
        self._metrics.triggers_total.labels(trigger.camera, result).inc()
        self._metrics.trigger_seconds.labels(trigger.camera).observe(waited_ns / 1e9)
        waiting.answer.set_result(
            {
                "trigger_id": trigger.id,
                "part_id": trigger.part_id,
                "camera": trigger.camera,
                "mode": self._mode,
                **facts,
                "triggered": rfc3339(trigger.asked_utc_ns),
                "waited_ms": round(waited_ns / 1e6, 3),
            }
        )


_NO_FRAME: Answer = {
    "verdict": None,
    "reject": None,
    "label": None,
    "probabilities": {},
    "cause": None,
    "reasons": [],
    "confirmed": None,
    "engine": None,
    "frame": None,
}


def _of_frame(frame: Frame, verdict: Verdict) -> Answer:
    engine = verdict.engine
    return _NO_FRAME | {
        "verdict": str(verdict.outcome),
        "label": verdict.label,
        "probabilities": {label: round(p, 6) for label, p in verdict.probabilities.items()},
        "cause": None if verdict.cause is None else str(verdict.cause),
        "reasons": list(verdict.reasons),
        "confirmed": verdict.confirmed,
        "engine": None if engine is None else f"{engine.name} {engine.version}",
        "frame": {
            "stream_epoch": frame.stream_epoch,
            "sequence": frame.sequence,
            "captured": rfc3339(frame.arrived_utc_ns),
            "origin": frame.origin,
        },
    }
