"""From a verdict to its events: asks the camera's policy and hands the outcome to the outbox.

What must not part stays together: the events of a frame and the policy's state after it go to the
outbox as one transaction, so that a restart neither repeats `degraded` nor forgets `recovered`.
Events that point to a picture wait for it a little (`handover`), and later ones of their camera
wait behind them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import structlog

from inspector.decision.policy import Decision, PolicyState, counts_as_rejected, decide
from inspector.events.documents import with_evidence
from inspector.events.kinds import FRAME_JUDGED, FRAME_REJECTED, QUALITY_DEGRADED
from inspector.events.records import CameraState
from inspector.evidence.outcome import Kept, Kind
from inspector.handover import Handover, Parcel
from inspector.observe.narration import Narrator
from inspector.verdict import Cause, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from concurrent.futures import Future

    from inspector.config.station import Policy, Station
    from inspector.events.documents import Counters, Documents, Event
    from inspector.events.outbox import Outbox
    from inspector.evidence.outcome import Outcome as Picture
    from inspector.evidence.store import Evidence
    from inspector.frame import Frame, Trigger
    from inspector.observe.metrics import Metrics
    from inspector.verdict import Verdict

_log = structlog.get_logger("inspector.station")


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Frames of a camera in a row of which none could be judged, by no fault of the engine.

    Attributes:
        since_ns, until_ns: monotonic arrival of the first and of the newest of them.
        why: of the newest, for a person.
    """

    since_ns: int
    until_ns: int
    why: str

    @property
    def seconds(self) -> float:
        """For how long they have come."""
        return (self.until_ns - self.since_ns) / 1e9


class Rulings:
    """Turns verdicts into policy states, events, metrics and log lines.

    `rule` is called by the judge's thread, `begin_epoch` and `tell_of_camera` by the capture's, the
    rest by any.

    Args:
        evidence: keeps pictures; None where the station file asks for none.
    """

    def __init__(
        self,
        station: Station,
        documents: Documents,
        outbox: Outbox,
        metrics: Metrics,
        evidence: Evidence | None = None,
    ) -> None:
        self._publish_verdicts = station.events.publish_verdicts
        self._documents = documents
        self._handover = Handover(outbox)
        self._evidence = evidence
        self._metrics = metrics
        self._narrator = Narrator()
        self._lock = threading.Lock()  # states: two threads commit them, in the order they change
        self._away = outbox.states()  # of cameras that the station does not have now
        self._policies: dict[str, Policy] = {}
        self._epochs: dict[str, int] = {}
        self._states: dict[str, PolicyState] = {}
        self._lost: set[str] = set()
        self._last: dict[str, tuple[int, dict[str, Any]]] = {}
        self._unjudged: dict[str, Unjudged] = {}
        self.adopt(station)
        self._engine_fault: str | None = None

    def adopt(self, station: Station) -> None:
        """Take the cameras and policies of a station file, before frames come under them.

        A camera that was there in the past goes on where it was. One that is not there any more is
        ruled on as before until `forget`. What is in a camera's window counts as it was judged.
        """
        with self._lock:
            for name in station.cameras:
                if name not in self._states:
                    self._begin(name)
            policies = {name: station.policy_of(name) for name in station.cameras}
            self._policies = self._policies | policies

    def _begin(self, camera: str) -> None:
        stored = self._away.pop(camera, None)
        self._epochs[camera] = stored.stream_epoch if stored else 0
        self._states[camera] = _state_from(camera, stored) if stored else PolicyState()
        if stored and stored.policy.get("lost"):
            self._lost.add(camera)

    def forget(self, camera: str) -> None:
        """A camera is gone, and no frame of it will come. Its state is kept for its return."""
        with self._lock:
            self._away[camera] = self._state_of(camera)
            self._lost.discard(camera)
            for known in (self._epochs, self._states, self._last, self._unjudged):
                known.pop(camera, None)
            self._policies = {n: p for n, p in self._policies.items() if n != camera}
        self._narrator.forget(camera)

    def next_epochs(self) -> dict[str, int]:
        """The stream epoch with which each camera goes on from its last one."""
        with self._lock:
            return {name: epoch + 1 for name, epoch in self._epochs.items()}

    @property
    def lost_cameras(self) -> frozenset[str]:
        """Cameras whose loss was told and whose return was not."""
        with self._lock:
            return frozenset(self._lost)

    @property
    def engine_fault(self) -> str | None:
        """Why the engine could not judge the newest frame that it was asked about, else None."""
        return self._engine_fault

    def tell_of_camera(self, camera: str, event: Event, *, lost: bool) -> None:
        """Hand on that a camera was lost or came back, and remember which, over a restart too."""
        with self._lock:
            if lost:
                self._lost.add(camera)
            else:
                self._lost.discard(camera)
            self._handover.put(camera, Parcel([event], {camera: self._state_of(camera)}))

    def begin_epoch(self, camera: str, stream_epoch: int) -> None:
        """Note a new stream epoch, before its first frame comes."""
        with self._lock:
            self._epochs[camera] = stream_epoch
            self._handover.put(camera, Parcel([], {camera: self._state_of(camera)}))

    def rule(
        self,
        frame: Frame,
        verdict: Verdict,
        counters_of: Callable[[str], Counters],
        release: Callable[[], None],
        late: Collection[str] = (),
    ) -> None:
        """Decide on one frame. Returns as soon as its events are handed on; never waits.

        Args:
            frame: the frame that was judged.
            verdict: what was said of it.
            counters_of: tells a camera's frame counters, for its events; asked only where there
                are some.
            release: hands the frame back; called exactly once, before the return, or in another
                thread when its picture is encoded.
            late: ids of those of the frame's triggers that this verdict was too late for.
        """
        loan = _Loan(release)
        try:
            self._decide(frame, verdict, counters_of, loan, late)
        finally:
            loan.end()

    def _decide(
        self,
        frame: Frame,
        verdict: Verdict,
        counters_of: Callable[[str], Counters],
        loan: _Loan,
        late: Collection[str],
    ) -> None:
        camera = frame.camera
        policy = self._policies[camera]
        with self._lock:
            decision = decide(policy, self._states[camera], verdict, frame.stream_epoch)
            self._states[camera] = decision.state
            decided_ns = time.monotonic_ns()
            makers = list(self._makers(decision, frame))
            kinds = self._kinds(frame, decision, verdict)
            # The picture of an uncertain frame has an event beside it, though none is sent.
            unsent = [(self._documents.frame_judged, None)] if kinds and not makers else []
            events: list[Event] = []
            if makers or unsent:
                quality, counters = decision.quality(policy), counters_of(camera)
                events = [
                    make(
                        frame,
                        verdict,
                        decided_ns=decided_ns,
                        quality=quality,
                        counters=counters,
                        trigger=trigger,
                        late=trigger is not None and trigger.id in late,
                    )
                    for make, trigger in makers or unsent
                ]
            subject = _subject(events, kinds)
            picture = self._keep(frame, subject, kinds, loan)
            if events:
                sent = events if makers else []

                def on_end(outcome: Picture | None, stored: bool) -> None:
                    if sent:
                        self._metrics.stage_seconds.labels("store").observe(
                            (time.monotonic_ns() - decided_ns) / 1e9
                        )
                    self._settle(outcome, subject, stored=stored)

                states = {camera: self._state_of(camera)} if sent else {}
                self._handover.put(camera, Parcel(sent, states, picture, on_end))
        self._last[camera] = verdict.judged_ns, _shown(frame, verdict)
        if verdict.cause is Cause.ENGINE_ERROR:
            self._engine_fault = "; ".join(verdict.reasons) or "the engine gave no answer"
        elif verdict.outcome is not Outcome.UNJUDGEABLE:
            self._engine_fault = None
        self._note_unjudged(frame, verdict)
        self._measure(frame, verdict, decided_ns)
        self._narrator.verdict(frame, verdict, decision.transition)

    def _note_unjudged(self, frame: Frame, verdict: Verdict) -> None:
        if verdict.cause in {None, Cause.ENGINE_ERROR}:
            self._unjudged.pop(frame.camera, None)
            return
        earlier = self._unjudged.get(frame.camera)
        self._unjudged[frame.camera] = Unjudged(
            frame.arrived_ns if earlier is None else earlier.since_ns,
            frame.arrived_ns,
            "; ".join(verdict.reasons) or str(verdict.cause),
        )

    def unjudged(self, camera: str) -> Unjudged | None:
        """The camera's newest frames, if none of them could be judged."""
        return self._unjudged.get(camera)

    def rejects(self, frame: Frame, verdict: Verdict) -> bool:
        """Whether the camera's policy rejects a frame with that verdict."""
        return counts_as_rejected(self._policies[frame.camera], verdict)

    def quality(self, camera: str) -> str:
        """The policy's state of a camera in a word: good or degraded."""
        state = self._states.get(camera)
        return "degraded" if state and state.degraded else "good"

    def last(self, camera: str) -> dict[str, Any] | None:
        """The newest verdict of a camera as JSON-able data, if there is one."""
        last = self._last.get(camera)
        if last is None:
            return None
        judged_ns, shown = last
        return {**shown, "ago_s": round((time.monotonic_ns() - judged_ns) / 1e9, 1)}

    def _state_of(self, camera: str) -> CameraState:
        policy = self._states[camera].to_json() | {"lost": camera in self._lost}
        return CameraState(self._epochs[camera], policy)

    def _makers(
        self, decision: Decision, frame: Frame
    ) -> Iterator[tuple[Callable[..., Event], Trigger | None]]:
        """What makes the events that a decision calls for, and of which trigger, in their order.

        A frame that answers several triggers is told of once for each: each asked for its own part.
        """
        triggers = frame.triggers or (None,)
        if self._publish_verdicts:
            yield from ((self._documents.frame_judged, trigger) for trigger in triggers)
        if decision.publish:
            yield from ((self._documents.frame_rejected, trigger) for trigger in triggers)
        if decision.transition == "degraded":
            yield self._documents.quality_degraded, triggers[0]
        elif decision.transition == "recovered":
            yield self._documents.quality_recovered, triggers[0]

    def _kinds(self, frame: Frame, decision: Decision, verdict: Verdict) -> list[Kind]:
        """Why a picture of this frame is wanted, the first reason first; empty if it is not."""
        evidence = self._evidence
        if evidence is None or frame.ring is None:
            return []
        kinds = []
        if decision.publish:
            kinds.append(Kind.REJECTED)
        if decision.transition == "degraded":
            kinds.append(Kind.DEGRADED)
        if verdict.outcome is Outcome.UNCERTAIN and evidence.keeps_uncertain:
            kinds.append(Kind.UNCERTAIN)
        return kinds

    def _keep(
        self, frame: Frame, subject: Event | None, kinds: Sequence[Kind], loan: _Loan
    ) -> Future[Picture] | None:
        """Lend the frame to the evidence, where its picture is wanted."""
        if self._evidence is None or subject is None:
            return None
        return self._evidence.keep(frame, subject.id, kinds, loan.lend())

    def _settle(self, picture: Picture | None, subject: Event | None, *, stored: bool) -> None:
        """Put the event beside its picture; without its event a picture is no evidence."""
        if self._evidence is None or subject is None or not isinstance(picture, Kept):
            return
        if stored:
            document = with_evidence(subject, picture.to_json(), None).document
            self._evidence.seal(picture, document)
        else:
            self._evidence.discard(picture)

    def _measure(self, frame: Frame, verdict: Verdict, decided_ns: int) -> None:
        metrics = self._metrics
        metrics.verdicts_total.labels(
            frame.camera, verdict.outcome.value, verdict.label or verdict.cause or ""
        ).inc()
        if verdict.confirmed is False:
            metrics.unconfirmed_total.labels(frame.camera).inc()
        metrics.stage_seconds.labels("decode").observe((frame.decoded_ns - frame.arrived_ns) / 1e9)
        if verdict.outcome is Outcome.UNJUDGEABLE:
            return
        wait_s = (verdict.submitted_ns - frame.decoded_ns) / 1e9
        metrics.stage_seconds.labels("wait").observe(max(0.0, wait_s))
        metrics.stage_seconds.labels("judge").observe(
            (verdict.judged_ns - verdict.submitted_ns) / 1e9
        )
        metrics.stage_seconds.labels("decide").observe((decided_ns - verdict.judged_ns) / 1e9)
        metrics.frame_age_seconds.labels(frame.camera).observe(
            (verdict.judged_ns - frame.arrived_ns) / 1e9
        )


class _Loan:
    """A frame's way back: by us at the end, unless it was lent to somebody who hands it back."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release

    def lend(self) -> Callable[[], None]:
        """Give the duty of the release away; once."""
        assert self._release is not None, "lent before"  # noqa: S101
        release, self._release = self._release, None
        return release

    def end(self) -> None:
        """Release what was not lent."""
        if self._release is not None:
            self._release()


_SUBJECTS = {
    Kind.REJECTED: FRAME_REJECTED,
    Kind.DEGRADED: QUALITY_DEGRADED,
    Kind.UNCERTAIN: FRAME_JUDGED,
}


def _subject(events: Sequence[Event], kinds: Sequence[Kind]) -> Event | None:
    """Of a frame's events the one that its picture is named by."""
    if not kinds:
        return None
    return next(event for event in events if event.type == _SUBJECTS[kinds[0]])


def _state_from(camera: str, stored: CameraState) -> PolicyState:
    """A camera's stored state; one that cannot be used begins anew and stops no station."""
    try:
        return PolicyState.from_json(stored.policy)
    except ValueError as error:
        _log.error("the camera begins as good", camera=camera, fault=str(error))
        return PolicyState()


def result_of(verdict: Verdict) -> Literal["judged", "engine_error"]:
    """What became of a judged frame, for the audit."""
    return "engine_error" if verdict.cause is Cause.ENGINE_ERROR else "judged"


def _shown(frame: Frame, verdict: Verdict) -> dict[str, Any]:
    """A verdict for the page; holds no frame, whose slot would stay mapped."""
    return {
        "verdict": verdict.outcome.value,
        "label": verdict.label,
        "probabilities": {label: round(p, 4) for label, p in verdict.probabilities.items()},
        "reasons": list(verdict.reasons),
        "cause": verdict.cause,
        "confirmed": verdict.confirmed,
        "stream_epoch": frame.stream_epoch,
        "sequence": frame.sequence,
        "origin": frame.origin,
        "part_id": frame.triggers[0].part_id if frame.triggers else None,
        "age_ms": round((verdict.judged_ns - frame.arrived_ns) / 1e6, 1),
    }
