"""Between the station and the line: its parts are inspected, verdicts told, and faults reported.

A part that the PLC or the API announces becomes a trigger; its answer is what the PLC is told. Of a
camera whose frames are the parts, each verdict is told. The policy has the last word: a frame that
it rejects is a reject, one that is rejected for a label which it does not count is accepted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import structlog

from inspector.errors import EventsError, TriggerError
from inspector.events.records import CameraState
from inspector.line.parts import CAUSES_IN_WORDS, NO_RESULT, Finding
from inspector.line.registers import LABEL_CODES, Result, part_number, permille
from inspector.line.signals import Signals
from inspector.observe.health import Fact
from inspector.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from concurrent.futures import Future

    from inspector.config.line import Line
    from inspector.config.station import Station
    from inspector.events.documents import Documents, Event
    from inspector.events.outbox import Outbox
    from inspector.frame import Frame
    from inspector.line.parts import Cause, Part
    from inspector.line.registers import Answer
    from inspector.line.session import Standing
    from inspector.observe.metrics import Metrics
    from inspector.triggers import Answer as TriggerAnswer
    from inspector.triggers import Triggers
    from inspector.verdict import Verdict

STATE = "/line"
"""Name under which open faults are kept beside the cameras' states; no camera can have it."""
MOST_GIVEN_UP = 256
"""Triggers that ended without a verdict and are remembered, to count the verdict as late."""

_RESULTS = {
    Outcome.ACCEPTED: Result.ACCEPT,
    Outcome.REJECTED: Result.ACCEPT,  # for a label that the policy does not count
    Outcome.UNCERTAIN: Result.UNCERTAIN,
    Outcome.UNJUDGEABLE: Result.UNJUDGEABLE,
}

_TOLD = {
    "normal": "",
    "reject": "; the PLC is told to reject every part",
    "stop": "; the PLC is told to stop the line",
}

_log = structlog.get_logger("inspector.line")


def finding_of(
    outcome: Outcome, label: str | None, probability: float | None, *, reject: bool
) -> Finding:
    """What the PLC is told of a verdict.

    Args:
        probability: of the label.
        reject: whether the camera's policy rejects the frame.

    >>> finding_of(Outcome.REJECTED, "gblur", 0.98, reject=True)
    Finding(result=<Result.REJECT: 2>, label=3, confidence=980)
    >>> finding_of(Outcome.REJECTED, "jpeg", 0.98, reject=False).result
    <Result.ACCEPT: 1>
    """
    result = Result.REJECT if reject else _RESULTS[outcome]
    return Finding(result, LABEL_CODES.get(label or "", 0), permille(probability or 0.0))


class Signalling:
    """The line of one station. `start`, `refuse` and `stop` by one thread, all else by any.

    Args:
        station: the station file, whose line section is `line`.
        standing: how the station is; asked often, must return at once.
    """

    def __init__(
        self,
        station: Station,
        line: Line,
        documents: Documents,
        outbox: Outbox,
        metrics: Metrics,
        triggers: Triggers,
        standing: Callable[[], Standing],
    ) -> None:
        self._line = line
        self._documents = documents
        self._outbox = outbox
        self._metrics = metrics
        self._triggers = triggers
        self._running: set[str] = set()
        self._cameras = line.signalled(station.cameras)
        self._counted = dict.fromkeys(self._cameras, 0)
        self._seen = dict.fromkeys(self._cameras, 0)  # the capture stage's number of the last part
        self._given_up: deque[str] = deque(maxlen=MOST_GIVEN_UP)
        self._told = _told_before(outbox)  # faults that were told; an earlier life's with None
        self.signals = Signals(
            line,
            station.cameras,
            self,
            observing=station.mode == "observe",
            standing=standing,
            accepts=self._running.__contains__,
        )

    def start(self) -> None:
        """Begin; the PLC may come later."""
        self.signals.start()

    def stop(self, within_s: float) -> None:
        """Lower everything and close; parts on their way may take so long. Idempotent."""
        self.signals.stop(within_s)

    # -- from the station -------------------------------------------------------------------------

    def camera(self, name: str, state: str) -> None:
        """A camera is in another state now: parts are taken only while it gives pictures."""
        if state == "running":
            self._running.add(name)
        else:
            self._running.discard(name)

    def judged(
        self, frame: Frame, verdict: Verdict, *, reject: bool, late: Collection[str]
    ) -> None:
        """A frame has its verdict. Takes microseconds.

        Args:
            late: ids of those of the frame's triggers that this verdict was too late for.
        """
        name, kind = frame.camera, self.signals.trigger_of(frame.camera)
        if kind == "frames":
            number = 0
            if self._cameras[name].count_parts:
                *without, number = self._count(frame)
                for missed in without:
                    self.signals.signal(name, NO_RESULT, part=missed, from_ns=frame.arrived_ns)
            p = verdict.probabilities.get(verdict.label or "")
            finding = finding_of(verdict.outcome, verdict.label, p, reject=reject)
            self.signals.signal(name, finding, part=number, from_ns=frame.arrived_ns)
        elif kind is not None:
            for trigger_id in late:
                if trigger_id in self._given_up:
                    self.signals.late(name)

    def ask(self, camera: str, part_id: str | None) -> Future[TriggerAnswer]:
        """A trigger by the API; the PLC hears of its part, too, where the station file says so.

        Raises:
            TriggerError: as `Triggers.ask`; the PLC hears `no result` then.
        """
        if self.signals.trigger_of(camera) != "api":
            return self._triggers.ask(camera, part_id)
        part = self.signals.expect(camera, part_number(part_id))
        try:
            answer = self._triggers.ask(camera, part_id, until_ns=self._closes_ns(camera, part))
        except TriggerError:
            self.signals.resolve(camera, part, None)
            raise
        answer.add_done_callback(lambda done: self._answered(camera, part, done))
        return answer

    def status(self) -> dict[str, Any]:
        """Everything at this moment, as JSON-able data."""
        return self.signals.status()

    def fact(self) -> Fact:
        """How the line is, for readiness; it gates nothing."""
        status = self.signals.status()
        faults = [CAUSES_IN_WORDS[cause] for cause in status["faults"]]
        for name, camera in status["cameras"].items():
            faults += [f"camera {name}: {CAUSES_IN_WORDS[cause]}" for cause in camera["faults"]]
        if status["state"] != "connected":
            detail = status["detail"] or f"not connected to the PLC at {status['address']} yet"
            return Fact("line", ok=False, detail=detail)
        if faults:
            safe = _TOLD[status["safe"]]
            return Fact("line", ok=False, detail=f"{', '.join(faults)}{safe}")
        return Fact("line", ok=True, detail=f"connected to the PLC at {status['address']}")

    # -- from the line, by its session's thread ---------------------------------------------------

    def triggered(self, camera: str, part: Part) -> None:
        """The PLC announced a part."""
        try:
            until_ns = self._closes_ns(camera, part)
            answer = self._triggers.ask(camera, str(part.number), until_ns=until_ns)
        except TriggerError:
            self.signals.resolve(camera, part, None)
            return
        answer.add_done_callback(lambda done: self._answered(camera, part, done))

    def raised(self, camera: str, answer: Answer, after_s: float | None) -> None:  # noqa: ARG002
        """`valid` stands on the wire."""
        if after_s is not None:
            self._metrics.signal_seconds.labels(camera).observe(after_s)

    def faulted(self, camera: str | None, cause: Cause, detail: str) -> None:
        """A fault began; one that an earlier life told of is not told again."""
        self._metrics.line_faults_total.labels(camera or "", cause).inc()
        key = (camera or "", cause)
        if key not in self._told:
            event = self._documents.line_fault(
                camera, cause=cause, fail_safe=self._line.fail_safe, detail=detail
            )
            self._tell(event, {**self._told, key: True})
        self._told[key] = True

    def restored(self, camera: str | None, cause: Cause, after_s: float) -> None:
        """A fault ended."""
        key = (camera or "", cause)
        event = self._documents.line_restored(camera, cause=cause, after_s=after_s)
        self._tell(event, {k: v for k, v in self._told.items() if k != key})
        self._told.pop(key, None)

    def connected(self) -> None:
        """The PLC hears us: what an earlier life complained of is over."""
        for key in [key for key, ours in self._told.items() if not ours]:
            del self._told[key]
            event = self._documents.line_restored(key[0] or None, cause=key[1], after_s=None)
            self._tell(event, self._told)

    # -- inside -----------------------------------------------------------------------------------

    def _count(self, frame: Frame) -> list[int]:
        """Numbers of the parts up to that of the frame: no picture came of those before it."""
        seen, self._seen[frame.camera] = self._seen[frame.camera], frame.part
        new = max(1, frame.part - seen)  # less where the camera's numbers begin anew
        first = self._counted[frame.camera]
        numbers = [(first + more) % 0xFFFF_FFFF + 1 for more in range(new)]
        self._counted[frame.camera] = numbers[-1]
        return numbers

    def _closes_ns(self, camera: str, part: Part) -> int:
        """From when on the PLC hears `no result`: the trigger's own answer says the same then."""
        return part.deadline_ns - round(self._cameras[camera].reserve_ms * 1e6)

    def _answered(self, camera: str, part: Part, done: Future[TriggerAnswer]) -> None:
        answer = done.result()
        if answer["frame"] is None:
            self._given_up.append(answer["trigger_id"])
            self.signals.resolve(camera, part, None)
            return
        label = answer["label"]
        finding = finding_of(
            Outcome(answer["verdict"]),
            label,
            answer["probabilities"].get(label),
            reject=answer["reject"],
        )
        self.signals.resolve(camera, part, finding)

    def _tell(self, event: Event, told: dict[tuple[str, str], bool]) -> None:
        state = CameraState(0, {"faults": [list(key) for key in told]})
        try:
            self._outbox.append([event], {STATE: state})
        except EventsError as error:
            _log.error("a fault of the line without its event", fault=str(error))


def _told_before(outbox: Outbox) -> dict[tuple[str, str], bool]:
    """Faults that an earlier life told of and did not see end."""
    stored = outbox.states().get(STATE)
    faults = stored.policy.get("faults", []) if stored is not None else []
    if not isinstance(faults, list):
        return {}
    return {(str(camera), str(cause)): False for camera, cause in faults}
