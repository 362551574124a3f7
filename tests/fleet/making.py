"""Stations that tell what real ones would: every event by the project's own `Documents`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inspector.config.events import Topics
from inspector.events.documents import Documents, encode
from inspector.frame import Frame
from inspector.verdict import EngineInfo, Outcome, Verdict
from tests.events.making import QUALITY, Counted

if TYPE_CHECKING:
    from inspector.events.documents import Event

NS = 1_000_000_000
ENGINE = EngineInfo("simplenet", "1.0.0", "ab" * 32, "openvino", "int8")
TOPICS = Topics()


@dataclass
class FakeClock:
    """UTC seconds that go when they are told to."""

    now: float = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Teller:
    """One station; each method gives an event as of the clock.

    Attributes:
        judged: the cameras' counters, told by the next heartbeat.
    """

    name: str
    clock: FakeClock
    cameras: tuple[str, ...] = ("infeed",)
    mode: str = "inspect"
    topics: Topics = TOPICS
    engine: EngineInfo = ENGINE
    version: str = "1.0.0"
    judged: dict[str, int] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    qualities: dict[str, str] = field(default_factory=dict)
    skew_s: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock.now
        self._sequence = 0
        self.documents = Documents(
            self.name, self.mode, self.topics, utc_ns=lambda: int(self.utc * NS)
        )

    @property
    def utc(self) -> float:
        """The station's own clock."""
        return self.clock.now + self.skew_s

    def restart(self) -> None:
        """Another run begins now: its counters are zero."""
        self.started, self.judged = self.clock.now, {}

    def beat(self, *, ready: bool = True, reasons: tuple[str, ...] = (), **entry: Any) -> Event:
        cameras = {
            camera: {
                "state": self.states.get(camera, "running"),
                "cause": None,
                "fps": 5.0,
                "quality": self.qualities.get(camera, "good"),
                "judged": self.judged.get(camera, 0),
                **entry,
            }
            for camera in self.cameras
        }
        return self.documents.station_status(
            version=self.version,
            started_utc_ns=int((self.started + self.skew_s) * NS),
            uptime_s=self.clock.now - self.started,
            ready=ready,
            reasons=reasons,
            cameras=cameras,
            engine=self.engine,
            outbox={"waiting": 3},
        )

    def frame(
        self,
        kind: str = "frame_rejected",
        label: str = "gblur",
        camera: str | None = None,
        outcome: Outcome = Outcome.REJECTED,
    ) -> Event:
        self._sequence += 1
        return self.again(kind, label, camera, outcome)

    def again(
        self,
        kind: str = "frame_rejected",
        label: str = "gblur",
        camera: str | None = None,
        outcome: Outcome = Outcome.REJECTED,
    ) -> Event:
        """Another event of the frame before."""
        at = 1_000 * NS
        frame = Frame(
            camera or self.cameras[0], 1, self._sequence, height=720, width=1280,
            arrived_ns=at, decoded_ns=at + 4_000_000, arrived_utc_ns=int(self.utc * NS),
        )  # fmt: skip
        verdict = Verdict(
            outcome,
            label,
            {label: 0.97, "other": 0.03},
            (f"{label} 0.970, threshold 0.900",),
            engine=self.engine,
            submitted_ns=at + 5_000_000,
            judged_ns=at + 12_000_000,
        )
        make = getattr(self.documents, kind)
        made: Event = make(
            frame, verdict, decided_ns=at + 12_000_000, quality=QUALITY, counters=Counted()
        )
        return made

    def lost(self, camera: str | None = None, detail: str = "connection refused") -> Event:
        return self.documents.camera_lost(
            camera or self.cameras[0], stream_epoch=1, cause="refused", detail=detail,
            counters=Counted(),
        )  # fmt: skip

    def restored(self, camera: str | None = None) -> Event:
        return self.documents.camera_restored(
            camera or self.cameras[0], stream_epoch=2, lost_s=4.0, size_wh=(1280, 720),
            counters=Counted(),
        )  # fmt: skip


def raw(*events: Event) -> list[bytes]:
    return [encode(event.document) for event in events]
