"""One producer's life: records out, answers in, and an end at the first failure.

Order per key is the reason for most of this. kafka-python keeps one batch a partition in flight and
repeats it in place as long as its failure may pass, so with a delivery timeout that never comes,
order holds. Any other failure ends the producer at once, from within its network thread, before it
can send a later batch; everything unacknowledged is then sent again by a new one.

An idempotent producer of kafka-python fails every record after one that was refused. So what comes
after a refusal goes through a producer that is not idempotent, one record at a time: an answer
belongs to its record, there is no order to lose, and a repeat has the same id anyway.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from inspector.events.clients import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from inspector.config.events import Kafka
    from inspector.events.reading import Row

NEVER_MS = 2**31 - 1
HEADERS = [("content-type", b"application/cloudevents+json; charset=UTF-8")]

REFUSALS = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidRecordError,
)
"""A record that gets one of these alone will get it for ever."""


class _Producer(KafkaProducer):  # type: ignore[misc]  # the library has no types
    def flush(self, timeout: float | None = None) -> None:
        # close() begins with a flush, and a flush that times out would keep it from closing.
        with contextlib.suppress(kafka_errors.KafkaTimeoutError):
            super().flush(timeout)


@dataclass(slots=True)
class _Sent:
    row: Row
    sent_ns: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one record.

    Attributes:
        row: of the outbox.
        error: None if the broker has it.
        waited_s: from sending to the answer.
    """

    row: Row
    error: BaseException | None
    waited_s: float


class Delivery:
    """A producer and what it has in flight. `send`, `answers` and `close` belong to one thread.

    Args:
        options: of the client (`client_options`).
        wake: called in the network thread when there are answers.
        alone: the caller keeps one record in flight at most, and a refusal ends nothing.

    Raises:
        kafka_errors.KafkaError: the broker cannot be reached.
    """

    def __init__(
        self,
        kafka: Kafka,
        options: Mapping[str, Any],
        wake: Callable[[], None],
        *,
        alone: bool = False,
    ) -> None:
        self.alone = alone
        self._wake = wake
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self._in_flight: OrderedDict[int, _Sent] = OrderedDict()
        self.failure: BaseException | None = None
        """What ended the producer; set in its network thread."""
        self.last_ack = time.monotonic()
        self.unsettled: set[int] = set()
        """Rows that were sent and whose answers nobody has taken; the caller's thread."""
        self._producer = opened(
            _Producer,
            **options,
            acks="all",
            enable_idempotence=not alone,
            max_in_flight_requests_per_connection=1 if alone else 5,
            allow_auto_create_topics=False,
            compression_type=None if kafka.compression == "none" else kafka.compression,
            max_request_size=kafka.max_request_kb * 1024,
            max_block_ms=int(kafka.request_timeout_s * 1000),
            delivery_timeout_ms=NEVER_MS,
            metrics_enabled=False,
        )

    def __len__(self) -> int:
        """Records in flight."""
        return len(self._in_flight)

    def rows(self) -> list[int]:
        """The rows in flight."""
        with self._lock:
            return list(self._in_flight)

    def oldest_s(self) -> float:
        """How long the oldest record in flight has been so; 0 without any."""
        with self._lock:
            first = next(iter(self._in_flight.values()), None)
        return 0.0 if first is None else (time.monotonic_ns() - first.sent_ns) / 1e9

    def learn(self, topics: Iterable[str]) -> None:
        """Fetch what the producer must know of topics, so that no `send` waits for it.

        A wait within `send` would last its full time where the producer ends meanwhile.

        Raises:
            kafka_errors.KafkaError: the broker did not tell in time.
        """
        for topic in topics:
            self._producer.partitions_for(topic)

    def send(self, row: Row) -> None:
        """Give one record to the producer; may wait for the topic's metadata.

        Raises:
            kafka_errors.KafkaError: it did not take the record.
        """
        sent = _Sent(row, time.monotonic_ns())
        self.unsettled.add(row.seq)
        with self._lock:
            self._in_flight[row.seq] = sent
        try:
            future = self._producer.send(
                row.topic, value=_body(row), key=row.key.encode(), headers=list(HEADERS)
            )
        except BaseException:
            with self._lock:
                self._in_flight.pop(row.seq, None)
            self.unsettled.discard(row.seq)
            raise
        future.add_callback(lambda _: self._answered(sent, None))
        future.add_errback(lambda error: self._answered(sent, error))

    def answers(self) -> list[Answer]:
        """The answers since the last call, in the order in which they came."""
        with self._lock:
            answers, self._answers = self._answers, []
        self.unsettled.difference_update(answer.row.seq for answer in answers)
        return answers

    def close(self, timeout_s: float) -> None:
        """End the producer; what is not acknowledged by then is given up."""
        self._producer.close(timeout=timeout_s)

    def _answered(self, sent: _Sent, error: BaseException | None) -> None:
        """In the network thread."""
        with self._lock:
            if self.failure is not None:
                # The failure's companions: what was behind it. They stay in flight, to be sent
                # again in their order, whatever this answer says.
                return
            self._in_flight.pop(sent.row.seq, None)
            waited_s = (time.monotonic_ns() - sent.sent_ns) / 1e9
            self._answers.append(Answer(sent.row, error, waited_s))
            if error is None or (self.alone and isinstance(error, REFUSALS)):
                self.last_ack = time.monotonic()
            else:
                self.failure = error
        if self.failure is not None:
            self._producer.close(timeout=0)
        self._wake()


def _body(row: Row) -> bytes:
    """The record's value; one that someone asked for again says so."""
    if not row.replay:
        return row.body
    document = json.loads(row.body)
    document["data"]["replay"] = True
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
