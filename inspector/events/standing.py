"""How a publisher stands with its broker: kept for whoever asks, and told to the log in measure."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.events.broker import State
    from inspector.events.reading import Row

LOG_EVERY_S = 60.0

_log = structlog.get_logger("inspector.events")


@dataclass(frozen=True, slots=True)
class PublisherStatus:
    """How the publisher fares.

    Attributes:
        state: one word; `connected` when records flow.
        reason: a sentence for a person, without secrets; None if all is well.
        since_utc_ns: when the state began.
        in_flight: records sent and not yet acknowledged.
        blocked: topics that cannot be used, each with a sentence why; the others flow.
    """

    state: State
    reason: str | None
    since_utc_ns: int
    in_flight: int
    blocked: dict[str, str]


class Standing:
    """Written by the publisher's thread, read by any.

    Args:
        state: to begin with.
        waiting: tells how many events wait, for the log.
    """

    def __init__(self, state: State, waiting: Callable[[], int]) -> None:
        self._waiting = waiting
        self._lock = threading.Lock()
        self._state: State = state
        self._reason: str | None = None
        self._since_utc_ns = time.time_ns()
        self._next_log = 0.0
        self._next_topic_log: dict[str, float] = {}
        self._refused, self._next_refusal_log = 0, 0.0
        self._in_flight = 0
        self._blocked: dict[str, str] = {}

    @property
    def connected(self) -> bool:
        """Whether records flow."""
        return self._state == "connected"

    @property
    def blocked(self) -> dict[str, str]:
        """Topics that cannot be used, each with a sentence why."""
        return self._blocked

    def status(self) -> PublisherStatus:
        """Everything at this moment."""
        with self._lock:
            return PublisherStatus(
                self._state, self._reason, self._since_utc_ns, self._in_flight, dict(self._blocked)
            )

    def set(self, state: State, reason: str | None = None) -> None:
        """Change the state, and log it: a new one at once, an old one at intervals."""
        now = time.monotonic()
        with self._lock:
            changed = state != self._state
            if changed:
                self._since_utc_ns = time.time_ns()
            self._state, self._reason = state, reason
        if not changed and (state == "connected" or now < self._next_log):
            return
        self._next_log = now + LOG_EVERY_S
        if state == "connected":
            _log.info("connected to Kafka")
        else:
            waiting = self._waiting()
            _log.warning("Kafka cannot be used", state=state, reason=reason, waiting=waiting)

    def block(self, blocked: dict[str, str]) -> None:
        """Note which topics cannot be used, and log it: a new one at once, the others later."""
        now = time.monotonic()
        for topic in self._blocked.keys() - blocked.keys():
            self._next_topic_log.pop(topic, None)
            _log.info("a topic can be used again", topic=topic)
        for topic, reason in sorted(blocked.items()):
            if now >= self._next_topic_log.get(topic, now):
                self._next_topic_log[topic] = now + LOG_EVERY_S
                _log.warning("a topic cannot be used; its events wait", topic=topic, reason=reason)
        with self._lock:
            self._blocked = blocked

    def refuse(self, row: Row, reason: str) -> None:
        """Note a record that was refused for good, and log it: the first at once, others later."""
        now = time.monotonic()
        self._refused += 1
        if now < self._next_refusal_log:
            return
        _log.warning(
            "the broker refuses an event for good; it is parked (inspector events parked)",
            id=row.id,
            type=row.type,
            topic=row.topic,
            bytes=len(row.body),
            reason=reason,
            **({"more_before": self._refused - 1} if self._refused > 1 else {}),
        )
        self._refused, self._next_refusal_log = 0, now + LOG_EVERY_S

    def count(self, in_flight: int) -> None:
        """Note how many records are in flight."""
        with self._lock:
            self._in_flight = in_flight
