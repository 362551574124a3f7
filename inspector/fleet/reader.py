"""Reads the topics, for ever: from so many days back, then as events come.

Partitions are read directly and not as a member of a group: every fleet view sees everything, and
nothing is left at the broker. Positions are kept in memory; a connection that breaks goes on where
it was. Where the broker no longer has that place (a topic made anew, records that are gone), all is
forgotten and read again, so that nothing is counted twice.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors

from inspector.events.broker import IN_SERVICE_FILE, CannotConnectError, Trouble
from inspector.events.clients import opened
from inspector.events.link import Link
from inspector.fleet.stations import AHEAD_S
from inspector.observe.health import Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inspector.events.broker import SecretsLike, State
    from inspector.fleet.fleet import Fleet

POLL_MS = 250
WAIT_MS = 300
"""Longest time the broker keeps records back to send more of them at once."""
RECORDS = 2000
"""Most that are taken in at once: some 40 ms of work."""
LOOK_S = 3.0
"""How often broker, partitions and ends are looked at."""
TIDY_S = 60.0
RETRY_S = (0.5, 10.0)
CLIENT_ID = "inspector-dashboard"

_log = structlog.get_logger("inspector.fleet")


@dataclass(frozen=True, slots=True)
class Reading:
    """How the reading goes. Times are UTC seconds.

    Attributes:
        state: `connecting`, `connected`, or why the broker cannot be used, in a word.
        reason: the same in a sentence; empty while all is well.
        caught_up: everything that was there at the start has been read.
        heartbeats_read: the same of the topic with the heartbeats, which is the smaller one.
        progress: share of it that has been read.
        behind: records that wait at the broker.
        missing: topics that are not there (yet).
        known_until: up to when the topics are known to have been read.
        back_at: when the broker was found again after it had been lost; 0: never lost.
    """

    state: State = "connecting"
    reason: str = ""
    caught_up: bool = False
    heartbeats_read: bool = False
    progress: float = 0.0
    behind: int = 0
    missing: tuple[str, ...] = ()
    known_until: float = 0.0
    back_at: float = 0.0

    def document(self) -> dict[str, Any]:
        """It, as JSON-able data."""
        return asdict(self)


class _ClockSetBackError(Exception):
    """What was heard is of a time that has not come yet."""


class Reader:
    """Fills a fleet from Kafka, in a thread of its own.

    Args:
        fleet: takes the records; its settings name broker and topics.
        secrets: gives user name and passwords by name, at each connection.
        now: UTC seconds.
    """

    def __init__(
        self, fleet: Fleet, secrets: SecretsLike, now: Callable[[], float] = time.time
    ) -> None:
        self._fleet = fleet
        topics = fleet.settings.topics
        self._topics = (topics.rejects, topics.status, topics.verdicts)
        self._now = now
        self._link = Link(fleet.settings.kafka, secrets, CLIENT_ID, section=IN_SERVICE_FILE)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet reader", daemon=True)
        self._latest_s = now()
        """The latest that the clock has shown."""
        self._reading = Reading(known_until=self._latest_s)
        self._positions: dict[TopicPartition, int] = {}
        self._ends_at_start: dict[TopicPartition, int] = {}
        self._begins: dict[TopicPartition, int] = {}
        self._turned_ns = 0

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits two seconds at most."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def reading(self) -> Reading:
        """How it goes. Any thread."""
        return self._reading

    def progress_ns(self) -> int:
        """Monotonic time of the last turn, for the watchdog; 0 before the first."""
        return self._turned_ns

    def facts(self) -> Iterator[Fact]:
        """How it stands, for whoever keeps the service running."""
        reading = self._reading
        up = reading.state == "connected"
        yield Fact("broker", up, self._link.servers if up else reading.reason or reading.state)
        past = "read" if reading.caught_up else f"{reading.progress:.0%} read"
        yield Fact("past", reading.caught_up, past, gates=True)

    def _run(self) -> None:
        self._link.chatter.listen()
        try:
            self._keep_reading()
        finally:
            self._link.chatter.leave()

    def _keep_reading(self) -> None:
        wait_s = RETRY_S[0]
        while not self._stopping.is_set():
            self._turned_ns = time.monotonic_ns()
            try:
                self._read()
            except CannotConnectError as error:
                self._fail(error.trouble)
            except kafka_errors.OffsetOutOfRangeError as error:
                _log.warning("the broker has not what comes next: read anew", reason=str(error))
                self._begin_anew()
            except _ClockSetBackError as error:
                _log.warning("this machine's clock was set back: read anew", reason=str(error))
                self._begin_anew()
            except (kafka_errors.KafkaError, OSError) as error:
                self._fail(self._link.cannot(error).trouble)
            except Exception as error:  # noqa: BLE001 - the edge of the thread: told, tried again
                _log.exception("reading the topics failed")
                self._fail(Trouble("failed", f"{type(error).__name__}: {error}"))
            if self._reading.state == "connected":
                wait_s = RETRY_S[0]
            self._stopping.wait(wait_s)
            wait_s = min(2 * wait_s, RETRY_S[1])

    def _begin_anew(self) -> None:
        self._fleet.clear()
        self._positions, self._begins, self._ends_at_start = {}, {}, {}
        self._latest_s = now = self._now()
        self._reading = replace(
            self._reading,
            caught_up=False,
            heartbeats_read=False,
            progress=0.0,
            known_until=now,
            back_at=min(self._reading.back_at, now),
        )

    def _fail(self, trouble: Trouble) -> None:
        if self._reading.state != trouble.state:
            _log.warning("the broker cannot be read", state=trouble.state, reason=trouble.reason)
        self._reading = replace(self._reading, state=trouble.state, reason=trouble.reason)

    def _read(self) -> None:
        """One connection, from its beginning to its end."""
        consumer = self._link.connect(_consumer)
        try:
            self._assign(consumer)
            self._connected()
            looked = tidied = time.monotonic()
            while not self._stopping.is_set():
                self._turned_ns = time.monotonic_ns()
                self._take(consumer.poll(timeout_ms=POLL_MS))
                if time.monotonic() - looked > LOOK_S:
                    self._look(consumer)
                    looked = time.monotonic()
                if time.monotonic() - tidied > TIDY_S:
                    self._fleet.tidy()
                    tidied = time.monotonic()
        finally:
            consumer.close(autocommit=False)

    def _take(self, batches: dict[TopicPartition, list[Any]]) -> None:
        for partition, records in batches.items():
            live = self._positions[partition] >= self._ends_at_start[partition]
            self._fleet.take((record.value for record in records), live=live)
            self._positions[partition] = records[-1].offset + 1
        if batches:
            self._progress()

    def _connected(self) -> None:
        lost = self._reading.state not in {"connecting", "connected"}
        back_at = self._now() if lost else self._reading.back_at
        if self._reading.state != "connected":
            _log.info("reading", broker=self._link.servers, partitions=len(self._positions))
        self._reading = replace(
            self._reading, state="connected", reason="", known_until=self._now(), back_at=back_at
        )

    def _look(self, consumer: KafkaConsumer) -> None:
        """Is the broker there, are there new partitions, how much waits?

        Raises:
            CannotConnectError: it is not; the connection is made anew, with certificates as they
                are then.
        """
        now = self._now()
        if now < self._latest_s - AHEAD_S:
            msg = f"by {self._latest_s - now:.0f} s"
            raise _ClockSetBackError(msg)
        self._latest_s = max(self._latest_s, now)
        trouble = self._link.probe()
        if trouble is not None:
            raise CannotConnectError(trouble)
        self._assign(consumer)
        ends = consumer.end_offsets(list(self._positions)) if self._positions else {}
        behind = 0
        for partition, end in ends.items():
            if end < self._positions[partition]:
                raise kafka_errors.OffsetOutOfRangeError(f"{partition} ends at {end} now")
            behind += end - self._positions[partition]
        self._connected()
        self._reading = replace(self._reading, behind=behind)
        self._progress()

    def _assign(self, consumer: KafkaConsumer) -> None:
        """Read all partitions there are: known ones on, new ones from as far back as is wanted."""
        found, missing = set(), []
        for topic in self._topics:
            partitions = consumer.partitions_for_topic(topic)
            if not partitions and topic != self._fleet.settings.topics.verdicts:
                missing.append(topic)
            found |= {TopicPartition(topic, number) for number in partitions or ()}
        if found != consumer.assignment():
            consumer.assign(sorted(found))
            new = sorted(found - set(self._positions))
            if new:
                self._find_begin(consumer, new)
            for partition in found:
                consumer.seek(partition, self._positions[partition])
        self._reading = replace(self._reading, missing=tuple(missing))
        self._progress()

    def _find_begin(self, consumer: KafkaConsumer, new: list[TopicPartition]) -> None:
        since_ms = int((self._now() - self._fleet.settings.look_back_days * 86_400) * 1000)
        ends = consumer.end_offsets(new)
        first = consumer.offsets_for_times(dict.fromkeys(new, since_ms))
        for partition in new:
            at = first.get(partition)
            begin = ends[partition] if at is None else at.offset
            self._positions[partition] = self._begins[partition] = begin
            self._ends_at_start[partition] = ends[partition]

    def _progress(self) -> None:
        whole = read = 0
        waiting = set()
        for partition, begin in self._begins.items():
            end = self._ends_at_start[partition]
            whole += end - begin
            read += min(self._positions[partition], end) - begin
            if self._positions[partition] < end:
                waiting.add(partition.topic)
        status = self._fleet.settings.topics.status
        self._reading = replace(
            self._reading,
            caught_up=bool(self._begins) and not waiting,
            heartbeats_read=bool(self._begins) and status not in waiting,
            progress=read / whole if whole else 1.0,
        )


def _consumer(options: dict[str, Any]) -> KafkaConsumer:
    return opened(
        KafkaConsumer,
        **options,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_poll_records=RECORDS,
        # An answer a few times a second with all that came, instead of one for each record.
        fetch_min_bytes=1 << 18,
        fetch_max_wait_ms=WAIT_MS,
        # In Python that is most of the work; a damaged record does not parse, and is counted.
        check_crcs=False,
    )
