"""One member of the consumer group: the library behind the few words that the reader needs.

Static membership (`group.instance.id`), the cooperative protocol, and no commit that was not asked
for. Belongs to the reader's thread.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from kafka import KafkaConsumer
from kafka import errors as kafka_errors
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.structs import OffsetAndMetadata, TopicPartition

from inspector.errors import UserError
from inspector.events.broker import (
    IN_SERVICE_FILE,
    CannotConnectError,
    client_options,
    probe,
    tls_context,
)
from inspector.events.clients import opened
from inspector.signaller.positions import Track, decode
from inspector.signaller.standby import OneForAll

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping

    from inspector.config.secrets import Secrets
    from inspector.config.signaller import Signaller
    from inspector.events.broker import Trouble

POLL_RECORDS = 100
COMMIT_WITHIN_MS = ANSWER_WITHIN_MS = 2000
METADATA_AGE_MS = 30_000
"""So old may be what is known of the topic; one that is made later is found by then."""

_log = structlog.get_logger("inspector.signaller")


class TakenOverError(UserError):
    """Another process has this one's name in the group."""


class Member:
    """See the module.

    Attributes:
        asking: whether a request is under way that the library alone can end, by its own limits.
    """

    def __init__(self, config: Signaller, secrets: Secrets) -> None:
        self._config = config
        self._secrets = secrets
        self._topic = config.consume.topic
        self._consumer: Any = None
        self._gone: deque[Any] = deque()
        self._paused = False
        self.asking = False

    def join(self) -> None:
        """Connect, and ask for partitions.

        Raises:
            CannotConnectError: the broker cannot be used; says why.
            kafka_errors.KafkaError: the same, in the library's words.
        """
        kafka, consume = self._config.kafka, self._config.consume
        with self._asking():
            context, trouble = self._look()
            if trouble is not None:
                raise CannotConnectError(trouble)
            name = f"inspector-line.{self._config.signaller}"
            timeout_ms = round(consume.session_timeout_s * 1000)
            self._consumer = opened(
                KafkaConsumer,
                group_id=self._config.group,
                group_instance_id=self._config.member,
                partition_assignment_strategy=[OneForAll],
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                max_poll_records=POLL_RECORDS,
                session_timeout_ms=timeout_ms,
                heartbeat_interval_ms=timeout_ms // 5,
                metadata_max_age_ms=METADATA_AGE_MS,
                **client_options(kafka, self._secrets, context, name),
            )
            self._consumer.subscribe([self._topic], listener=_Listener(self._gone))

    def poll(self, timeout_ms: int) -> dict[Any, list[Any]]:
        """Records that came, by partition. Raises KafkaError."""
        batches: dict[Any, list[Any]] = self._consumer.poll(timeout_ms=timeout_ms)
        return batches

    def partitions(self) -> list[Any]:
        """Those that this member has now."""
        return sorted(self._consumer.assignment())

    def lost(self) -> set[Any]:
        """Those that it has lost since this was asked the last time; some may have come back."""
        return {self._gone.popleft() for _ in range(len(self._gone))}

    def track(self, partition: Any) -> Track:
        """What the group knows of a partition. Raises KafkaError."""
        with self._asking():
            committed = self._consumer.committed(partition, metadata=True)
        if committed is None:
            return Track({}, 0)
        return Track(decode(committed.metadata), max(committed.offset, 0))

    def commit(self, offsets: Mapping[Any, tuple[int, str]]) -> bool:
        """Whether the group took offsets and metadata: whoever lost a partition has no say.

        Raises:
            kafka_errors.FencedInstanceIdError: another process has this one's name.
        """
        values = {part: OffsetAndMetadata(*value, -1) for part, value in offsets.items()}
        try:
            with self._asking():
                self._consumer.commit(values, timeout_ms=COMMIT_WITHIN_MS)
        except kafka_errors.FencedInstanceIdError:
            raise
        except kafka_errors.KafkaError as error:
            _log.warning("the position could not be committed", reason=str(error) or repr(error))
            return False
        return True

    def answered(self) -> bool:
        """Whether the group answers over this connection; for who has no partition to commit."""
        try:
            with self._asking():
                self._consumer.committed(
                    TopicPartition(self._topic, 0), timeout_ms=ANSWER_WITHIN_MS
                )
        except kafka_errors.KafkaError as error:
            _log.info("the group did not answer", reason=str(error) or repr(error))
            return False
        return True

    def pause(self) -> None:
        """Fetch no more."""
        if not self._paused:
            self._consumer.pause(*self._consumer.assignment())
            self._paused = True

    def resume(self) -> None:
        """Fetch again."""
        if self._paused:
            self._consumer.resume(*self._consumer.paused())
            self._paused = False

    def trouble(self) -> str | None:
        """Why nothing can be read, looked at anew; None: it can."""
        with self._asking():
            _, trouble = self._look()
            if trouble is not None:
                return trouble.reason
            if not self._consumer.partitions_for_topic(self._topic):
                return f"topic {self._topic} is not there; a station makes it, or you do"
        return None

    def _look(self) -> tuple[ssl.SSLContext | None, Trouble | None]:
        """The broker's TLS settings as its files are now, and why it cannot be used, if so."""
        kafka = self._config.kafka
        context = tls_context(kafka, self._secrets, IN_SERVICE_FILE)
        return context, probe(kafka.bootstrap_servers, context, section=IN_SERVICE_FILE)

    def taken_over(self) -> TakenOverError:
        """The error for a member that was fenced."""
        return TakenOverError(
            f"another process has joined group {self._config.group} as member"
            f" {self._config.member}, and has taken over; stop one of the two, or give one of them"
            " another consume.member, so that it stands by"
        )

    def leave(self) -> None:
        """Close. The group keeps the partitions for this member until its session times out."""
        consumer, self._consumer = self._consumer, None
        self._paused = False
        if consumer is None:
            return
        try:
            with self._asking():
                consumer.close(autocommit=False, timeout_ms=COMMIT_WITHIN_MS)
        except kafka_errors.KafkaError as error:
            _log.info("the consumer did not close well", reason=str(error) or repr(error))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self.asking = True
        try:
            yield
        finally:
            self.asking = False


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """Told in the library's thread which partitions go; the reader takes note at its next turn."""

    def __init__(self, gone: deque[Any]) -> None:
        self._gone = gone

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        self._gone.extend(revoked)

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        del assigned  # what is committed is read with the first record
