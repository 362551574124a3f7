"""What lies in the outbox: records, their order of importance, and gaps where some were shed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from inspector.events.documents import encode
from inspector.events.kinds import FRAME_JUDGED, FRAME_REJECTED, STATION_STATUS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from inspector.events.documents import Documents, Event

ROW_BYTES = 350
"""What a row costs beyond its document: its other columns and its places in five indexes."""


class Rank(IntEnum):
    """How an event is treated when space runs out; the least goes first."""

    JUDGED = 0
    REJECTED = 1
    KEPT = 2
    """Never shed: transitions, cameras lost and restored, gaps."""
    HEARTBEAT = 3
    """Only the newest waits."""


class State(IntEnum):
    """Where an event is on its way."""

    WAITING = 0
    SENT = 1
    PARKED = 2


def rank_of(event_type: str) -> Rank:
    """The rank of a type of events."""
    return {
        FRAME_JUDGED: Rank.JUDGED,
        FRAME_REJECTED: Rank.REJECTED,
        STATION_STATUS: Rank.HEARTBEAT,
    }.get(event_type, Rank.KEPT)


@dataclass(slots=True)
class Record:
    """An event, encoded, on its way into the outbox.

    Attributes:
        created_ms: UTC milliseconds of its arrival at the outbox.
        shed: given up while it waited in memory.
    """

    id: str
    type: str
    key: str
    topic: str
    body: bytes
    rank: Rank
    created_ms: int
    shed: bool = False

    @classmethod
    def of(cls, event: Event) -> Record:
        """Encode an event.

        Raises:
            ValueError: the document cannot be written as JSON.
        """
        return cls(
            event.id,
            event.type,
            event.key,
            event.topic,
            encode(event.document),
            rank_of(event.type),
            time.time_ns() // 1_000_000,
        )

    @property
    def size(self) -> int:
        """Bytes it takes in the outbox."""
        return len(self.body) + ROW_BYTES


@dataclass(frozen=True, slots=True)
class CameraState:
    """What a camera must find again after a restart.

    Attributes:
        stream_epoch: the last one in use.
        policy: `PolicyState.to_json()`.
    """

    stream_epoch: int
    policy: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Gap:
    """Events that were shed for one cause, since the last gap that was handed to the publisher.

    `unknown` means that nobody can say how many, as after a broken outbox.
    """

    cause: str
    unknown: bool = False
    count: int = 0
    first_id: str | None = None
    last_id: str | None = None
    types: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    event_id: str | None = None
    """Of the event that tells of it, once there is one."""

    def add(self, shed: Iterable[tuple[str, str, str]]) -> None:
        """Count shed events in, oldest first, each as id, type and key."""
        for event_id, event_type, key in shed:
            self.first_id = self.first_id or event_id
            self.last_id = event_id
            self.count += 1
            self.types[event_type] += 1
            self.keys[key] += 1

    def join(self, later: Gap) -> None:
        """Take a later gap into this one."""
        self.first_id = self.first_id or later.first_id
        self.last_id = later.last_id or self.last_id
        self.count += later.count
        self.unknown = self.unknown or later.unknown
        self.types += later.types
        self.keys += later.keys

    def event(self, documents: Documents) -> Event:
        """The event that tells of the gap."""
        return documents.events_dropped(
            count=None if self.unknown else self.count,
            first_id=self.first_id,
            last_id=self.last_id,
            cause=self.cause,
            types=self.types,
            keys=self.keys,
            event_id=self.event_id,
        )
