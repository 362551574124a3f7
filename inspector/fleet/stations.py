"""What is known of one station and its cameras, from its events alone. Pure.

Events of one record key come in order; those of different keys need not, since they lie in
different partitions. So what two kinds of events tell of (a camera is told of by its own events and
by the heartbeat) is decided by the station's own time, and a clock that was set back is forgiven at
the next heartbeat.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.events.model import StationStatusData

LONGEST_TEXT = 300
MOST_REASONS = 20
REMEMBERED_IDS = 1000
"""Of one station. A repeat comes soon, since a station sends again what was on its way only."""
MOST_FAULTS = 100
LONGEST_UPTIME_S = 1e10
"""Of a station's run; three centuries."""
USUAL_INTERVAL_S = 10.0
"""Of heartbeats, until it is known."""
GONE = frozenset({"stalled", "lost", "failed"})
AHEAD_S = 300.0
"""A station whose clock is further ahead than this is told about."""


def cut(text: str) -> str:
    """A text of somebody else's, of bounded length."""
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


@dataclass(slots=True)
class Camera:
    """One camera. Times are the station's UTC seconds.

    Attributes:
        row: its row in the ledger.
        beat_state, beat_cause, beat_at, beat_since: by the heartbeat; when it last told so, and
            when it first did.
        gone, event_cause, event_detail, event_at: by its own events, lost and restored.
        degraded, degraded_at: by its policy.
        judged: its counter at the last heartbeat.
        frame: epoch and sequence of the last rejected frame: one that answers several triggers has
            several events.
        reject_at, label: of the last rejected frame.
    """

    row: int
    beat_state: str = ""
    beat_cause: str | None = None
    beat_at: float = 0.0
    beat_since: float = 0.0
    gone: bool = False
    event_cause: str | None = None
    event_detail: str = ""
    event_at: float = 0.0
    degraded: bool = False
    degraded_at: float = 0.0
    judged: int | None = None
    frame: tuple[int, int] | None = None
    reject_at: float = 0.0
    label: str | None = None

    def beat(self, at: float, state: str, cause: str | None) -> None:
        """The heartbeat tells its state."""
        if state != self.beat_state:
            self.beat_since = at
        self.beat_state, self.beat_cause, self.beat_at = cut(state), cause and cut(cause), at

    def event(self, at: float, *, gone: bool, cause: str | None = None, detail: str = "") -> None:
        """Its own event tells that it is lost, or back."""
        self.gone, self.event_at = gone, at
        self.event_cause, self.event_detail = cause and cut(cause), cut(detail)

    def tell_degraded(self, at: float, *, degraded: bool) -> None:
        """Its pictures are bad, or good, unless something later is known."""
        if at >= self.degraded_at:
            self.degraded, self.degraded_at = degraded, at

    def clock_set_back(self, at: float) -> None:
        """The station's clock shows an earlier time than before: nothing known is later than it."""
        self.degraded_at, self.event_at = min(self.degraded_at, at), min(self.event_at, at)

    @property
    def state(self) -> str:
        """As told last, by whom it may be."""
        if self.beat_at > self.event_at:
            return self.beat_state
        return "lost" if self.gone else "running"

    @property
    def is_gone(self) -> bool:
        """It gives no pictures."""
        return self.state in GONE

    @property
    def why(self) -> tuple[str | None, str, float | None]:
        """Of a camera that is gone: cause, a sentence, since when."""
        if not self.is_gone:
            return None, "", None
        if self.gone:
            return self.event_cause or self.beat_cause, self.event_detail, self.event_at
        return self.beat_cause, "", self.beat_since


@dataclass(slots=True)
class Beat:
    """What the last heartbeat told, and when."""

    at: float
    started: float
    uptime_s: float
    version: str
    ready: bool
    reasons: tuple[str, ...]
    engine: dict[str, Any] | None
    waiting: int | None


@dataclass(slots=True)
class Station:
    """One station.

    Attributes:
        heard_at: our UTC seconds at which it was last known to run.
        ahead_s: how far its clock was ahead of ours at most, with the last event.
    """

    name: str
    line: str
    mode: str = "inspect"
    cameras: dict[str, Camera] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    """Cameras of the last heartbeat; others were removed."""
    beat: Beat | None = None
    heard_at: float = 0.0
    ahead_s: float = 0.0
    gaps: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Events that it had to give up, by step: how many, as far as it knows, and the last cause."""
    line_faults: dict[tuple[str, str | None], tuple[float, str]] = field(default_factory=dict)
    """Faults of the signalling since the last heartbeat, by cause and camera: when, a sentence."""
    _ids: set[int] = field(default_factory=set)
    _order: deque[int] = field(default_factory=deque)
    _intervals_s: deque[float] = field(default_factory=lambda: deque(maxlen=5))

    @property
    def given_up(self) -> int:
        """Events that it had to give up, as far back as is looked."""
        return sum(count for count, _ in self.gaps.values())

    @property
    def given_up_cause(self) -> str:
        """Why, the last time."""
        return self.gaps[max(self.gaps)][1] if self.gaps else ""

    @property
    def reasons(self) -> list[str]:
        """What the last heartbeat found not well, by name, but for what is known better otherwise.

        Since it has come, the broker is there; and of a camera its own state tells, as long as no
        pictures come of it.
        """
        known = {"broker"} | {
            f"camera {name}"
            for name, camera in self.cameras.items()
            if camera.beat_state != "running"
        }
        reasons = self.beat.reasons if self.beat else ()
        return [reason for reason in reasons if reason.partition(": ")[0] not in known]

    def is_repeat(self, event_id: str) -> bool:
        """Whether this id came before; it is remembered from now on."""
        number = int(event_id.replace("-", ""), 16)
        if number in self._ids:
            return True
        self._ids.add(number)
        self._order.append(number)
        if len(self._order) > REMEMBERED_IDS:
            self._ids.discard(self._order.popleft())
        return False

    @property
    def interval_s(self) -> float:
        """Between two heartbeats, as seen."""
        return statistics.median(self._intervals_s) if self._intervals_s else USUAL_INTERVAL_S

    def take_beat(self, at: float, data: StationStatusData) -> Beat | None:
        """Take a heartbeat; gives the one before it of the same run, if there was one.

        Raises:
            ValueError: nothing can have run for as long as it tells; it is not taken.
        """
        if not 0 <= data.uptime_s <= LONGEST_UPTIME_S:
            raise ValueError(f"an uptime_s of {data.uptime_s:g}")
        before, started = self.beat, data.started.timestamp()
        same_run = before is not None and abs(before.started - started) < 1.0
        if before is not None and same_run and data.uptime_s > before.uptime_s:
            self._intervals_s.append(data.uptime_s - before.uptime_s)
        if before is not None and at < before.at:  # the clock was set back
            for camera in self.cameras.values():
                camera.clock_set_back(at)
            self.line_faults.clear()
        # Its reasons tell of those that last. `restored` may never come: a line can be removed.
        self.line_faults = {key: fault for key, fault in self.line_faults.items() if fault[0] >= at}
        engine = data.engine
        self.beat = Beat(
            at=at,
            started=started,
            uptime_s=data.uptime_s,
            version=cut(data.version),
            ready=data.ready,
            reasons=tuple(cut(reason) for reason in data.reasons[:MOST_REASONS]),
            engine=None
            if engine is None
            else {
                "name": cut(engine.name),
                "version": cut(engine.version),
                "runtime": cut(engine.runtime),
                "precision": cut(engine.precision),
                "degraded": engine.degraded,
            },
            waiting=_number(data.outbox.get("waiting")),
        )
        self.listed = frozenset(data.cameras)
        return before if same_run else None

    def tell_fault(self, cause: str, camera: str | None, at: float, detail: str) -> None:
        """The signalling to the PLC fails; a heartbeat that is later knows of it."""
        if self.beat is not None and at < self.beat.at:
            return
        key = (cut(cause), camera and cut(camera))
        if key in self.line_faults or len(self.line_faults) < MOST_FAULTS:
            where = "line" if camera is None else f"line, camera {camera}"
            self.line_faults[key] = (at, cut(f"{where}: {detail or cause.replace('_', ' ')}"))

    def end_fault(self, cause: str, camera: str | None) -> None:
        """It works again."""
        self.line_faults.pop((cut(cause), camera and cut(camera)), None)

    def silent_s(self, now: float, back_at: float) -> float:
        """How long nothing has been heard, counted from `back_at` at the earliest."""
        return max(0.0, now - max(self.heard_at, back_at))

    def shown_cameras(self) -> Iterator[tuple[str, Camera]]:
        """The cameras that it has now, by name."""
        for name, camera in sorted(self.cameras.items()):
            if self.beat is None or name in self.listed:
                yield name, camera


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None
