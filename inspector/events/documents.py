"""The events that the station publishes: CloudEvents 1.0 in structured JSON.

The builders make plain documents and look nothing up: every fact comes in as an argument. Times are
UTC with microseconds, and are found from a frame's own pair of arrival times, so that a clock that
is set while a frame is on its way cannot tear its times apart.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Protocol, TypedDict, Unpack

from inspector.events.ids import new_id
from inspector.events.kinds import (
    CAMERA_LOST,
    CAMERA_RESTORED,
    EVENTS_DROPPED,
    FRAME_JUDGED,
    FRAME_REJECTED,
    LINE_FAULT,
    LINE_RESTORED,
    QUALITY_DEGRADED,
    QUALITY_RECOVERED,
    STATION_STATUS,
    schema_uri,
    topic_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inspector.config.events import Topics
    from inspector.frame import Frame, Trigger
    from inspector.verdict import EngineInfo, Verdict

Mode = Literal["inspect", "observe"]
Document = dict[str, Any]


class Counters(Protocol):
    """What became of a camera's frames so far, as the capture stage counts them."""

    @property
    def frames_in(self) -> int:
        """All frames that arrived."""

    @property
    def judged(self) -> int:
        """Those with a verdict."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Those without one, by cause."""

    @property
    def in_flight(self) -> int:
        """Those on their way."""


class FrameFacts(TypedDict):
    """What the frame and its verdict do not say themselves.

    `decided_ns` is the monotonic time of the policy's decision, `quality` the n of m state after
    the frame (`Decision.quality`), `counters` what became of the camera's frames up to now.
    `trigger` is the one that asked for the frame, and `late` tells that it was answered without it.
    """

    decided_ns: int
    quality: Mapping[str, bool | int]
    counters: Counters
    trigger: NotRequired[Trigger | None]
    late: NotRequired[bool]


@dataclass(frozen=True, slots=True)
class Event:
    """One event on its way to its topic.

    Attributes:
        id: UUIDv7; the same on every repeat.
        type: such as `inspector.frame.rejected.v1`.
        key: the record's key, STATION/CAMERA or STATION: events of one key stay in order.
        topic: name of the topic.
        document: the CloudEvents document, for nobody to change.
    """

    id: str
    type: str
    key: str
    topic: str
    document: Document


def with_evidence(event: Event, evidence: Mapping[str, str] | None, missing: str | None) -> Event:
    """The event of a frame, pointing to its picture.

    Args:
        evidence: `uri`, `sha256` and `media_type`; None without a picture.
        missing: why there is none though there should be one, in a word.
    """
    data = event.document["data"] | {"evidence": evidence, "no_evidence": missing}
    return replace(event, document=event.document | {"data": data})


def rfc3339(utc_ns: int) -> str:
    """A UTC time in microseconds.

    >>> rfc3339(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123456Z'
    """
    seconds, ns = divmod(utc_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns // 1000:06d}Z"


def encode(document: Document) -> bytes:
    """A document as the bytes of a Kafka record.

    Raises:
        ValueError: it holds a number that JSON does not know.
    """
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


class Documents:
    """Builds the events of one station.

    Args:
        station, mode: as in the station file.
        topics: names of the topics.
        utc_ns: the wall clock, for the events that no frame gives a time.

    Any thread may call any method; each returns a new event with a new id.
    """

    def __init__(
        self,
        station: str,
        mode: Mode,
        topics: Topics,
        *,
        utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._station = station
        self._mode = mode
        self._topics = topics
        self._utc_ns = utc_ns

    def frame_rejected(self, frame: Frame, verdict: Verdict, **facts: Unpack[FrameFacts]) -> Event:
        """A frame that its policy rejects."""
        return self._of_frame(FRAME_REJECTED, frame, verdict, **facts)

    def frame_judged(self, frame: Frame, verdict: Verdict, **facts: Unpack[FrameFacts]) -> Event:
        """Any frame with a verdict, the unjudgeable too."""
        return self._of_frame(FRAME_JUDGED, frame, verdict, **facts)

    def quality_degraded(
        self, frame: Frame, verdict: Verdict, **facts: Unpack[FrameFacts]
    ) -> Event:
        """The camera's pictures have become bad with this frame."""
        return self._of_frame(QUALITY_DEGRADED, frame, verdict, **facts)

    def quality_recovered(
        self, frame: Frame, verdict: Verdict, **facts: Unpack[FrameFacts]
    ) -> Event:
        """The camera's pictures are good again with this frame."""
        return self._of_frame(QUALITY_RECOVERED, frame, verdict, **facts)

    def camera_lost(
        self,
        camera: str,
        *,
        stream_epoch: int,
        cause: str | None,
        detail: str,
        counters: Counters,
    ) -> Event:
        """A camera gives no more pictures.

        Args:
            stream_epoch: the one that ended; -1 if the camera was never there.
            cause: one word (`refused`, `timeout`, `stalled` …).
            detail: a sentence for a person, without secrets.
        """
        data = {
            "stream_epoch": stream_epoch,
            "cause": cause,
            "detail": detail,
            "counters": _counters(counters),
        }
        return self._make(CAMERA_LOST, camera, self._utc_ns(), data)

    def camera_restored(
        self,
        camera: str,
        *,
        stream_epoch: int,
        lost_s: float | None,
        size_wh: tuple[int, int] | None,
        counters: Counters,
    ) -> Event:
        """A camera gives pictures again.

        Args:
            stream_epoch: the one that begins.
            lost_s: how long it was lost, None where that is not known.
            size_wh: width and height of its pictures, None where not yet known.
        """
        size = None if size_wh is None else {"width": size_wh[0], "height": size_wh[1]}
        data = {
            "stream_epoch": stream_epoch,
            "lost_s": None if lost_s is None else round(lost_s, 3),
            "picture": size,
            "counters": _counters(counters),
        }
        return self._make(CAMERA_RESTORED, camera, self._utc_ns(), data)

    def station_status(
        self,
        *,
        version: str,
        started_utc_ns: int,
        uptime_s: float,
        ready: bool,
        reasons: Sequence[str],
        cameras: Mapping[str, Mapping[str, object]],
        engine: EngineInfo | None,
        outbox: Mapping[str, object],
    ) -> Event:
        """The station's heartbeat; of those that wait in the outbox only the newest is sent.

        Args:
            version: of the package.
            uptime_s: by the monotonic clock, since the wall clock may have been set meanwhile.
            reasons: why the station is not ready, or what is degraded.
            cameras: name to at least `state`; more keys are welcome (`camera_entry`).
            outbox: figures of the outbox (`OutboxStats.to_json`).
        """
        data = {
            "version": version,
            "started": rfc3339(started_utc_ns),
            "uptime_s": round(uptime_s, 3),
            "ready": ready,
            "reasons": list(reasons),
            "cameras": {name: dict(entry) for name, entry in cameras.items()},
            "engine": _engine(engine),
            "outbox": dict(outbox),
        }
        return self._make(STATION_STATUS, None, self._utc_ns(), data)

    def events_dropped(
        self,
        *,
        count: int | None,
        first_id: str | None,
        last_id: str | None,
        cause: str,
        types: Mapping[str, int],
        keys: Mapping[str, int],
        event_id: str | None = None,
    ) -> Event:
        """A gap: events that were shed before they could be sent.

        Args:
            count: how many; None where nobody can know (a broken outbox).
            cause: `outbox_full`, `memory_full` or `outbox_corrupt`.
            types, keys: the count by event type, and by record key (STATION/CAMERA).
            event_id: of the event that told of it when it was smaller, and that nobody was sent.
        """
        data = {
            "count": count,
            "first_id": first_id,
            "last_id": last_id,
            "cause": cause,
            "types": dict(types),
            "keys": dict(keys),
        }
        return self._make(EVENTS_DROPPED, None, self._utc_ns(), data, event_id)

    def line_fault(
        self, camera: str | None, *, cause: str, fail_safe: Literal["reject", "stop"], detail: str
    ) -> Event:
        """Signalling to the PLC does not work as it should.

        Args:
            camera: whose parts are concerned; None: the whole line.
            cause: one word (`no_acknowledge`, `plc_away` …).
            fail_safe: what holds on the line now.
            detail: a sentence for a person.
        """
        data = {"camera": camera, "cause": cause, "fail_safe": fail_safe, "detail": detail}
        return self._make(LINE_FAULT, camera, self._utc_ns(), data)

    def line_restored(self, camera: str | None, *, cause: str, after_s: float | None) -> Event:
        """A fault of the line is over.

        Args:
            after_s: how long it held; None where it began in an earlier life of the station.
        """
        after = None if after_s is None else round(after_s, 3)
        data = {"camera": camera, "cause": cause, "after_s": after}
        return self._make(LINE_RESTORED, camera, self._utc_ns(), data)

    def _of_frame(
        self,
        event_type: str,
        frame: Frame,
        verdict: Verdict,
        **facts: Unpack[FrameFacts],
    ) -> Event:
        decided_ns, trigger = facts["decided_ns"], facts.get("trigger")

        def utc_ns(monotonic_ns: int) -> int:
            return frame.arrived_utc_ns + monotonic_ns - frame.arrived_ns

        def at(monotonic_ns: int) -> str | None:
            return rfc3339(utc_ns(monotonic_ns)) if monotonic_ns else None

        data = {
            "stream_epoch": frame.stream_epoch,
            "sequence": frame.sequence,
            "part_id": None if trigger is None else trigger.part_id,
            "trigger_id": None if trigger is None else trigger.id,
            "late": facts.get("late", False),
            "origin": frame.origin,
            "pts_s": frame.pts_s,
            "picture": {"width": frame.width, "height": frame.height},
            "times": {
                "captured": rfc3339(frame.arrived_utc_ns),
                "decoded": at(frame.decoded_ns),
                "judged": at(verdict.judged_ns),
                "decided": at(decided_ns),
            },
            "durations_ms": _durations(frame, verdict, decided_ns),
            "verdict": str(verdict.outcome),
            "label": verdict.label,
            "probabilities": {k: round(float(p), 6) for k, p in verdict.probabilities.items()},
            "reasons": list(verdict.reasons),
            "cause": None if verdict.cause is None else str(verdict.cause),
            "confirmed": verdict.confirmed,
            "quality": dict(facts["quality"]),
            "engine": _engine(verdict.engine),
            "evidence": None,
            "no_evidence": None,
            "counters": _counters(facts["counters"]),
        }
        return self._make(event_type, frame.camera, utc_ns(decided_ns), data)

    def _make(
        self,
        event_type: str,
        camera: str | None,
        utc_ns: int,
        data: Document,
        event_id: str | None = None,
    ) -> Event:
        event_id = event_id or str(new_id())
        source = f"/stations/{self._station}"
        who: Document = {"station": self._station, "mode": self._mode}
        if camera is not None:
            source += f"/cameras/{camera}"
            who["camera"] = camera
        document = {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": event_type,
            "time": rfc3339(utc_ns),
            "datacontenttype": "application/json",
            "dataschema": schema_uri(event_type),
            "data": {**who, **data, "replay": False},
        }
        key = self._station if camera is None else f"{self._station}/{camera}"
        return Event(event_id, event_type, key, topic_of(event_type, self._topics), document)


def _durations(frame: Frame, verdict: Verdict, decided_ns: int) -> dict[str, float | None]:
    """Milliseconds in each stage; None where a frame did not pass it."""

    def ms(begin_ns: int, end_ns: int) -> float | None:
        return round((end_ns - begin_ns) / 1e6, 3) if begin_ns and end_ns else None

    return {
        "decode": ms(frame.arrived_ns, frame.decoded_ns),
        "queue": ms(frame.decoded_ns, verdict.submitted_ns),
        "judge": ms(verdict.submitted_ns, verdict.judged_ns),
        "decide": ms(verdict.judged_ns, decided_ns),
        "total": ms(frame.arrived_ns, decided_ns),
    }


def _engine(engine: EngineInfo | None) -> Document | None:
    if engine is None:
        return None
    return {
        "name": engine.name,
        "version": engine.version,
        "sha256": engine.sha256,
        "runtime": engine.runtime,
        "precision": engine.precision,
        "degraded": engine.degraded,
    }


def _counters(counters: Counters) -> Document:
    return {
        "frames_in": counters.frames_in,
        "judged": counters.judged,
        "dropped": dict(counters.dropped),
        "in_flight": counters.in_flight,
    }
