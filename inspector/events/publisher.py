"""The way from the outbox to Kafka: one thread that never gives up and never blocks the station."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from kafka import errors as kafka_errors

from inspector.events.broker import CannotConnectError, Trouble
from inspector.events.delivery import REFUSALS, Delivery
from inspector.events.link import Link
from inspector.events.standing import PublisherStatus, Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.config.events import Kafka, Topics
    from inspector.events.broker import SecretsLike
    from inspector.events.delivery import Answer
    from inspector.events.outbox import Outbox
    from inspector.events.reading import Row

IN_FLIGHT = 500
"""Most records on their way at once."""
ALONE = 100
"""So many more go one at a time after a record that was refused: where all of a topic are, a new
producer for each would be slower than they come."""
CLOSE_S = 1.0
"""Longest wait for a producer without anything in flight to end."""
TICK_S = 0.25
RETRY_S = 0.5
"""Pause between two looks whether the broker is back."""
LOCKED_OUT_S = (5.0, 60.0)
"""First and longest pause after a refused log-in, so that no account gets locked."""
STALL_S = 5.0
"""Without an answer for this long the connection is looked at."""
RENEW_S = 15.0
"""Without an answer for this long from a broker that takes connections, the producer is renewed."""
DENIED_S = 30.0
"""Pause after a topic was denied to us."""
TOPICS_S = 10.0
"""Pause between two looks at topics that could not be used."""

_PASSING = (*REFUSALS, kafka_errors.TopicAuthorizationFailedError)
"""Failures of one record or one topic: a new producer goes on at once."""

_log = structlog.get_logger("inspector.events")


@dataclass(frozen=True, slots=True)
class Published:
    """One acknowledged record, for metrics: seconds from sending, and from the outbox, to it."""

    type: str
    send_s: float
    total_s: float


class Publisher:
    """Sends what waits in an outbox.

    Args:
        outbox: whose events are sent; it must outlive the publisher.
        kafka: the broker; None leaves the publisher off.
        topics: names of the topics, to be made where that is allowed.
        secrets: gives user name, password and key password by name, at each connection.
        client_id: how the station calls itself at the broker.
        verdicts: whether the station publishes every verdict; if not, and where none waits from
            before, their topic is not made, and nobody is told if it is missing.
        on_published: called in the publisher's thread for each acknowledged record.
        on_step: called at named points of an event's way; for tests that end the process there.
    """

    def __init__(
        self,
        outbox: Outbox,
        kafka: Kafka | None,
        topics: Topics,
        secrets: SecretsLike,
        *,
        client_id: str = "inspector",
        verdicts: bool = True,
        on_published: Callable[[Published], None] | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        self._outbox = outbox
        self._link = None if kafka is None else Link(kafka, secrets, client_id)
        self._topics = topics
        self._verdicts = verdicts
        self._blocked: list[str] = []
        self._unproven = False
        self._on_published = on_published
        self._on_step = on_step or (lambda _: None)
        self._standing = Standing(
            "off" if kafka is None else "connecting", lambda: outbox.stats().waiting
        )
        self._stopping = threading.Event()
        self._stop_by = 0.0
        self._cursor = 0
        self._life = 0
        self._resends = 0
        self._alone_until = 0
        self._denied: dict[str, tuple[str, float]] = {}
        self._next_topics = 0.0
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin; returns at once, also without a broker."""
        if self._link is not None:
            self._thread.start()

    def stop(self, deadline_s: float) -> None:
        """Send what can still be sent, then end; what is left stays in the outbox."""
        self._stop_by = time.monotonic() + deadline_s
        self._stopping.set()
        self._outbox.arrived.set()
        if self._thread.is_alive():
            self._thread.join(deadline_s)

    def status(self) -> PublisherStatus:
        """How it fares at this moment; any thread."""
        return self._standing.status()

    def _run(self) -> None:
        assert self._link is not None  # noqa: S101 - start() saw to it
        self._link.chatter.listen()
        locked_out_s = LOCKED_OUT_S[0]
        try:
            while not self._stopping.is_set():
                try:
                    self._one_life(self._link)
                    locked_out_s = LOCKED_OUT_S[0]
                    continue
                except CannotConnectError as error:
                    trouble = error.trouble
                except Exception as error:  # noqa: BLE001 - the edge of a thread that must live
                    trouble = Trouble("failed", f"sending failed: {type(error).__name__}: {error}")
                    _log.exception("the publisher begins again")
                self._standing.set(trouble.state, trouble.reason)
                if trouble.state in {"authentication", "authorization"}:
                    self._stopping.wait(locked_out_s)
                    locked_out_s = min(2 * locked_out_s, LOCKED_OUT_S[1])
                else:
                    locked_out_s = LOCKED_OUT_S[0]
                    self._stopping.wait(RETRY_S)
        finally:
            self._link.chatter.leave()

    def _one_life(self, link: Link) -> None:
        """From connecting to the first failure.

        After a failure while sending, a connection alone proves nothing: only an acknowledgement.

        Raises:
            CannotConnectError: the broker cannot be used.
        """
        self._life = self._outbox.life
        delivery = link.open(self._outbox.arrived.set, alone=self._alone_until > 0)
        try:
            self._look_after_topics(link, delivery)
            if not self._unproven:
                self._standing.set("connected")
            self._pump(link, delivery)
        except kafka_errors.KafkaError as error:
            # A producer that has failed takes no more records: the failure is the cause.
            if not isinstance(delivery.failure, _PASSING):
                self._unproven = True
                raise link.cannot(delivery.failure or error) from error
        finally:
            try:
                delivery.close(0.0 if len(delivery) else CLOSE_S)
            finally:
                # Whatever else fails: what stayed handed out would not be sent before a restart.
                self._settle(delivery)
                self._outbox.take_back(list(delivery.unsettled))
                self._cursor = 0
                self._standing.count(0)

    def _look_after_topics(self, link: Link, delivery: Delivery) -> None:
        now = time.monotonic()
        self._denied = {t: denied for t, denied in self._denied.items() if denied[1] > now}
        topics = self._topics
        idle = () if self._verdicts or self._outbox.verdicts_wait() else (topics.verdicts,)
        blocked = link.missing_topics((topics.rejects, topics.verdicts, topics.status), idle)
        blocked |= {topic: reason for topic, (reason, _) in self._denied.items()}
        if set(self._blocked) - blocked.keys():
            self._cursor = 0  # what waited for a topic is to be looked at again
        self._blocked = list(blocked)
        self._standing.block({t: why for t, why in blocked.items() if t not in idle})
        delivery.learn(
            topic
            for topic in (topics.rejects, topics.verdicts, topics.status)
            if topic not in blocked
        )
        self._next_topics = time.monotonic() + TOPICS_S

    def _pump(self, link: Link, delivery: Delivery) -> None:
        """Send and take answers until the stop, or until a producer of another kind is due.

        Raises:
            CannotConnectError: a failure that a new producer would meet too.
        """
        looked = time.monotonic()
        while True:
            self._outbox.arrived.clear()
            self._settle(delivery)
            if self._is_over(link, delivery):
                return
            now = time.monotonic()
            if self._stopping.is_set():
                if now >= self._stop_by or not self._standing.connected:
                    return
                if not self._send(delivery) and not len(delivery):
                    return
            else:
                self._send(delivery)
            self._standing.count(len(delivery))
            if self._blocked and now >= self._next_topics:
                self._look_after_topics(link, delivery)
            silent_s = min(delivery.oldest_s(), now - delivery.last_ack)
            if now - looked >= TICK_S and self._look(link, silent_s):
                return
            if now - looked >= TICK_S:
                looked = now
            self._outbox.arrived.wait(TICK_S)

    def _is_over(self, link: Link, delivery: Delivery) -> bool:
        """Whether another producer is to go on, at once.

        Raises:
            CannotConnectError: a failure that a new producer would meet too.
        """
        if delivery.failure is not None:
            if isinstance(delivery.failure, _PASSING):
                return True
            self._unproven = True
            raise link.cannot(delivery.failure)
        if self._life != self._outbox.life:  # what is on its way lies in the outbox no more
            self._alone_until = 0
            return True
        if delivery.alone and not len(delivery) and self._cursor >= self._alone_until:
            self._alone_until = 0
            return True
        return False

    def _send(self, delivery: Delivery) -> int:
        """Fill the flight from the outbox; returns how many records went.

        After a refusal, one at a time: the answer must belong to the record that caused it.
        """
        resends = self._outbox.resends()
        if resends != self._resends:
            self._resends, self._cursor = resends, 0
        room = (1 if delivery.alone else IN_FLIGHT) - len(delivery)
        if room <= 0:
            return 0
        rows = self._outbox.hand_out(self._cursor, room, self._blocked, life=self._life)
        for number, row in enumerate(rows):
            if delivery.failure is not None:
                self._outbox.take_back([later.seq for later in rows[number:]])
                break
            self._cursor = max(self._cursor, row.seq)
            self._on_step("before_send")
            try:
                delivery.send(row)
            except REFUSALS as error:
                # Larger than our own bound: the library says so before it touches the record.
                self._park(row, error)
            except BaseException:
                self._outbox.take_back([later.seq for later in rows[number:]])
                raise
            self._on_step("after_send")
        return len(rows)

    def _settle(self, delivery: Delivery) -> None:
        """Take the answers that have come."""
        good = [answer for answer in delivery.answers() if self._is_good(answer, delivery)]
        if not good:
            return
        self._on_step("after_ack")
        self._outbox.mark_sent([answer.row.seq for answer in good])
        self._unproven = False
        if not self._standing.connected and not self._stopping.is_set():
            self._standing.set("connected")
        if self._on_published is not None:
            now = time.time()
            for answer in good:
                total_s = max(0.0, now - answer.row.created_ms / 1000)
                with contextlib.suppress(Exception):  # a metric; what is sent is sent
                    self._on_published(Published(answer.row.type, answer.waited_s, total_s))

    def _is_good(self, answer: Answer, delivery: Delivery) -> bool:
        row, error = answer.row, answer.error
        if error is None:
            return True
        if isinstance(error, REFUSALS) and delivery.alone:
            self._alone_until = max(self._alone_until, row.seq + ALONE)
            self._park(row, error)
            return False
        self._outbox.take_back([row.seq])
        if isinstance(error, REFUSALS):
            self._alone_until = max([row.seq, *delivery.rows()])
        elif isinstance(error, kafka_errors.TopicAuthorizationFailedError):
            reason = f"the broker does not permit to write to topic {row.topic}"
            self._denied[row.topic] = (reason, time.monotonic() + DENIED_S)
        return False

    def _park(self, row: Row, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error}"
        self._outbox.park(row.seq, reason)
        self._standing.refuse(row, reason)

    def _look(self, link: Link, silent_s: float) -> bool:
        """Look at a connection that complains or is silent; True if a new producer is due."""
        suspicious, certain = link.complaints()
        if certain is not None:
            self._standing.set(certain.state, certain.reason)
            return silent_s > STALL_S
        if self._standing.connected and not suspicious and silent_s < STALL_S:
            return False
        trouble = link.probe()
        if trouble is not None:
            self._standing.set(trouble.state, trouble.reason)
        elif not (self._standing.connected or suspicious or self._unproven) and silent_s == 0:
            self._standing.set("connected")
        return trouble is None and silent_s > RENEW_S
