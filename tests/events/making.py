"""Events and outboxes for tests."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inspector.config.events import Topics
from inspector.events.documents import Documents, Event
from inspector.events.outbox import Outbox
from inspector.events.store import FILE, PAGE_BYTES
from inspector.frame import Frame
from inspector.verdict import EngineInfo, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STATION = "packing-07"
ENGINE = EngineInfo("simplenet", "1.2.0", "ab" * 32, "openvino", "int8")
QUALITY = {
    "degraded": False,
    "rejected_in_window": 1,
    "judged_in_window": 4,
    "needed": 3,
    "window": 5,
    "accepted_in_row": 0,
    "recover_after": 10,
}


@dataclass(frozen=True)
class Counted:
    frames_in: int = 10
    judged: int = 7
    dropped: Mapping[str, int] = field(default_factory=lambda: {"stale": 1, "superseded": 1})
    in_flight: int = 1


def frame(sequence: int = 0, camera: str = "infeed", epoch: int = 0, **other: Any) -> Frame:
    now = time.monotonic_ns()
    given = {"height": 720, "width": 1280, "arrived_ns": now, "decoded_ns": now + 4_000_000}
    return Frame(camera, epoch, sequence, arrived_utc_ns=time.time_ns(), **(given | other))


def rejected(label: str = "gblur", **other: Any) -> Verdict:
    now = time.monotonic_ns() + 5_000_000
    return Verdict(
        Outcome.REJECTED,
        label,
        {label: 0.97, "refimgs": 0.03},
        (f"{label} 0.970, threshold 0.900",),
        engine=ENGINE,
        submitted_ns=now,
        judged_ns=now + 8_000_000,
        **other,
    )


class Maker:
    """Makes events, each with the next sequence number of its camera."""

    def __init__(self, topics: Topics | None = None) -> None:
        self.topics = topics or Topics()
        self.documents = Documents(STATION, "inspect", self.topics)
        self._sequences: dict[str, itertools.count[int]] = {}

    def __call__(self, kind: str = "frame_rejected", camera: str = "infeed", **other: Any) -> Event:
        if kind == "station_status":
            return self.documents.station_status(
                version="0.1.0",
                started_utc_ns=time.time_ns(),
                uptime_s=12.5,
                ready=True,
                reasons=[],
                cameras={camera: {"state": "running"}},
                engine=ENGINE,
                outbox={},
            )
        if kind == "camera_lost":
            return self.documents.camera_lost(
                camera, stream_epoch=1, cause="refused", detail="refused", counters=Counted()
            )
        sequence = next(self._sequences.setdefault(camera, itertools.count()))
        seen = frame(sequence, camera, **other)
        verdict = rejected()
        make = getattr(self.documents, kind)
        event: Event = make(
            seen,
            verdict,
            decided_ns=verdict.judged_ns + 100_000,
            quality=QUALITY,
            counters=Counted(),
        )
        return event

    def many(self, count: int, kind: str = "frame_rejected", camera: str = "infeed") -> list[Event]:
        return [self(kind, camera) for _ in range(count)]


def open_outbox(folder: Path, topics: Topics | None = None, **other: Any) -> Outbox:
    given: dict[str, Any] = {"max_bytes": 64_000_000, "keep_s": 3600.0}
    return Outbox(
        folder,
        topics=topics or Topics(),
        source=f"/stations/{STATION}",
        **(given | other),
    )


def topics_of(suffix: str) -> Topics:
    """Topics of one test's own."""
    return Topics(
        rejects=f"rejects.{suffix}", verdicts=f"verdicts.{suffix}", status=f"status.{suffix}"
    )


def damage_ids(box: Outbox) -> None:
    """Break an open outbox where only its writer looks: in the index of the events' ids."""
    db = box._writer._store._db
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    (page,) = db.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_events_1'"
    ).fetchone()
    with (box.folder / FILE).open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
    db.execute("PRAGMA shrink_memory").fetchall()  # what it has read already is read anew
