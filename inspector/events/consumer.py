"""For Python programs that read the events: typed, each once, in order per camera.

from inspector.events.consumer import consume

for event in consume(["broker1:9092"], ["inspection.rejects"], "line-7", state_file=path):
    handle(event)            # a repeat of an event that was handled does not come again
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from inspector.errors import EventsError
from inspector.events.clients import opened
from inspector.events.model import parse
from inspector.events.seen import REMEMBER, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from kafka import KafkaConsumer

    from inspector.events.model import StationEvent

POLL_MS = 500
JOIN_S = 30.0
"""So long a consumer that is to end when it is idle waits for its partitions."""
POLL_RECORDS = 100
"""Small, so that a rebalance finds little that was fetched and not yet handled."""

_log = structlog.get_logger("inspector.events")


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that is no event, and where it lies."""

    topic: str
    partition: int
    offset: int
    reason: str


def _warn(poison: Poison) -> None:
    _log.warning(
        "a record is no event and is passed over",
        topic=poison.topic,
        partition=poison.partition,
        offset=poison.offset,
        reason=poison.reason,
    )


def consume(
    bootstrap_servers: Sequence[str],
    topics: Sequence[str],
    group: str,
    *,
    member: str | None = None,
    state_file: Path | None = None,
    remember: int = REMEMBER,
    on_poison: Callable[[Poison], None] = _warn,
    idle_s: float | None = None,
    stop: Callable[[], bool] | None = None,
    **options: Any,
) -> Iterator[StationEvent]:
    """Read events as one member of a consumer group, from the group's last position on.

    An event counts as handled when the next one is asked for: only then is its id remembered and
    its position committed. A program that dies while it handles an event gets that event again.

    Args:
        bootstrap_servers: HOST:PORT of one or more brokers.
        topics: names of topics.
        group: the consumer group; a new one begins with the oldest events.
        member: a name for this process that stays over restarts (static membership), so that a
            quick restart does not move partitions about.
        state_file: remembers handled ids over restarts; without it, repeats are known only as
            long as the process lives.
        remember: how many ids are remembered.
        on_poison: called for each record that is no event of a known type; it is then passed over.
        idle_s: end when nothing came for so long; None reads for ever. Neither the group's
            assignment of partitions (half a minute at most) nor the handling of events counts.
        stop: asked between polls; True ends.
        options: of `kafka.KafkaConsumer`, such as `security_protocol`, `ssl_cafile`,
            `sasl_mechanism`.

    Yields:
        Events in order per camera, each one once.

    Raises:
        EventsError: the broker cannot be reached at the start, the state file cannot be used, or
            another process has this one's `member`, and has taken over; that is known when the
            next position is committed.
    """
    from kafka.errors import FencedInstanceIdError
    from kafka.structs import OffsetAndMetadata

    seen = Seen(state_file, remember)
    consumer = None
    try:
        consumer = _connect(bootstrap_servers, topics, group, member, options)
        began = last = time.monotonic()
        joined = False
        while not (stop is not None and stop()):
            batches = consumer.poll(timeout_ms=POLL_MS)
            if not (batches or idle_s is None):
                now = time.monotonic()
                if not joined:
                    joined = bool(consumer.assignment()) or now - began > JOIN_S
                    last = now
                elif now - last > idle_s:
                    return
                continue
            handled: dict[Any, OffsetAndMetadata] = {}
            try:
                for partition, records in batches.items():
                    for record in records:
                        event = _event_of(record, on_poison)
                        if event is not None and event.id not in seen:
                            yield event
                            seen.add(event.id)
                        handled[partition] = OffsetAndMetadata(record.offset + 1, "", -1)
            finally:
                _commit(consumer, handled)
            last = time.monotonic()
    except FencedInstanceIdError as error:
        msg = (
            f"another process has joined group {group} as member {member}, and has taken over;"
            " give each process a member of its own"
        )
        raise EventsError(msg) from error
    finally:
        seen.close()
        if consumer is not None:
            consumer.close(autocommit=False)


def _connect(
    servers: Sequence[str],
    topics: Sequence[str],
    group: str,
    member: str | None,
    options: dict[str, Any],
) -> KafkaConsumer:
    from kafka import KafkaConsumer
    from kafka import errors as kafka_errors

    try:
        return opened(
            KafkaConsumer,
            *topics,
            bootstrap_servers=list(servers),
            group_id=group,
            group_instance_id=member,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=POLL_RECORDS,
            **options,
        )
    except kafka_errors.KafkaError as error:
        msg = (
            f"the events of {', '.join(topics)} cannot be read from {', '.join(servers)}:"
            f" {error}; check address, security_protocol and log-in"
        )
        raise EventsError(msg) from error


def _event_of(record: Any, on_poison: Callable[[Poison], None]) -> StationEvent | None:
    try:
        return parse(record.value or b"")
    except EventsError as error:
        on_poison(Poison(record.topic, record.partition, record.offset, str(error)))
        return None


def _commit(consumer: KafkaConsumer, handled: dict[Any, Any]) -> None:
    from kafka import errors as kafka_errors

    if not handled:
        return
    try:
        consumer.commit(handled)
    except kafka_errors.FencedInstanceIdError:
        raise  # the library would go on with what it holds, and both would handle every event
    except kafka_errors.KafkaError as error:
        # Another member has the partitions now, or the broker is away: what was handled comes
        # again, and the remembered ids tell.
        _log.warning("the position could not be committed", reason=str(error) or repr(error))
