"""The topics of a real broker, read from so far back, through restarts and in whatever order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from inspector.config.fleet import Fleet as Settings
from inspector.events.documents import encode
from inspector.fleet.fleet import Fleet
from inspector.fleet.reader import Reader
from inspector.fleet.view import board
from tests.events.making import topics_of
from tests.fleet.making import FakeClock, Teller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

WITHIN_S = 90.0
HOUR = 3600.0


class Plant:
    """Topics of one test's own, a station that writes to them, and a reader."""

    def __init__(self, broker, suffix: str, **settings) -> None:
        self.broker = broker
        self.topics = topics_of(suffix)
        self.clock = FakeClock(time.time())
        self.teller = Teller("packing-07", self.clock, topics=self.topics)
        kafka = settings.pop("kafka", {"bootstrap_servers": [broker.bootstrap]})
        given = {"kafka": kafka, "topics": self.topics.model_dump(), **settings}
        self.settings = Settings.model_validate(given)
        self.secrets: dict[str, str] = {}
        self.readers: list[Reader] = []

    def make_topics(self, *names: str, partitions: int = 3) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        try:
            wanted = names or (self.topics.rejects, self.topics.status)
            admin.create_topics(
                {n: {"num_partitions": partitions, "replication_factor": 1} for n in wanted},
                wait_for_metadata=True,
            )
        finally:
            admin.close()

    def delete_topics(self, *names: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        try:
            admin.delete_topics(list(names))
        finally:
            admin.close()

    def write(self, *events) -> None:
        producer = KafkaProducer(bootstrap_servers=self.broker.bootstrap, acks="all", retries=1000)
        try:
            for event in events:
                at_ms = int(self.clock.now * 1000)
                sent = producer.send(
                    event.topic, encode(event.document), event.key.encode(), timestamp_ms=at_ms
                )
                sent.get(90)
        finally:
            producer.close()

    def read(self, now: Callable[[], float] = time.time) -> Fleet:
        """A fleet view begins."""
        fleet = Fleet(self.settings, now)
        reader = Reader(fleet, self, now)
        self.readers.append(reader)
        reader.start()
        return fleet

    def get(self, name: str) -> str:
        return self.secrets[name]

    @property
    def reading(self):
        return self.readers[-1].reading()


@pytest.fixture
def plant(broker, topic_suffix) -> Iterator[Plant]:
    made = Plant(broker, topic_suffix)
    yield made
    for reader in made.readers:
        reader.stop()


def until(truth: Callable[[], object], why: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + WITHIN_S
    while not truth():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def rejected(fleet: Fleet) -> int:
    return sum(
        shift["rejected"] for line in board(fleet, time.time())["lines"] for shift in line["shifts"]
    )


def test_what_was_there_and_what_comes(plant: Plant):
    plant.make_topics()
    plant.write(plant.teller.beat(), *(plant.teller.frame() for _ in range(30)))
    fleet = plant.read()
    until(lambda: rejected(fleet) == 30, lambda: plant.reading)
    until(lambda: plant.reading.caught_up)
    plant.write(plant.teller.frame())
    until(lambda: rejected(fleet) == 31)
    assert board(fleet, time.time())["stations"][0]["state"] == "serving"
    until(lambda: plant.reading.behind == 0)


def test_no_more_than_the_look_back_is_read(broker, topic_suffix):
    plant = Plant(broker, topic_suffix, look_back_days=0.25)
    plant.make_topics()
    now = plant.clock.now
    for hours_ago in (20, 10, 7, 5, 1):
        plant.clock.now = now - hours_ago * HOUR
        plant.write(plant.teller.frame())
    fleet = plant.read()
    try:
        until(lambda: plant.reading.caught_up)
        assert fleet.counts["records"] == 2, "those of five hours and of one hour ago"
    finally:
        plant.readers[-1].stop()


def test_a_view_that_is_started_again_shows_the_same(plant: Plant):
    plant.make_topics()
    events = [plant.teller.frame(label=label) for label in ("gblur", "wn", "gblur") * 10]
    plant.write(plant.teller.beat(), *events, *events[10:20])
    views = [plant.read() for _ in range(2)]
    until(lambda: all(reader.reading().caught_up for reader in plant.readers))
    first, second = (board(fleet, 1.8e9) for fleet in views)
    assert first["lines"] == second["lines"]
    assert first["counts"] == second["counts"] == {"records": 41, "repeats": 10}


def test_a_broker_that_restarts_costs_nothing_and_counts_nothing_twice(plant: Plant):
    plant.make_topics()
    plant.write(plant.teller.beat(), *(plant.teller.frame() for _ in range(10)))
    fleet = plant.read()
    until(lambda: rejected(fleet) == 10)
    plant.broker.kill()
    until(lambda: plant.reading.state == "refused", lambda: plant.reading)
    assert "connection refused" in plant.reading.reason
    known_until = plant.reading.known_until
    plant.broker.start()
    plant.write(*(plant.teller.frame() for _ in range(5)))
    until(lambda: rejected(fleet) == 15, lambda: plant.reading)
    until(lambda: plant.reading.state == "connected")
    assert plant.reading.back_at > known_until
    assert fleet.counts["records"] == 16
    assert fleet.counts["repeats"] == 0


def test_a_broker_that_comes_later_is_waited_for(plant: Plant):
    plant.make_topics()
    plant.write(plant.teller.frame())
    plant.broker.stop()
    fleet = plant.read()
    until(lambda: plant.reading.state == "refused")
    plant.broker.start()
    until(lambda: rejected(fleet) == 1)


def test_topics_that_come_later_are_found(plant: Plant):
    fleet = plant.read()
    until(lambda: plant.reading.state == "connected", lambda: plant.reading)
    absent = {plant.topics.rejects, plant.topics.status}
    until(lambda: set(plant.reading.missing) == absent, lambda: plant.reading)
    plant.make_topics()
    plant.write(plant.teller.beat(), plant.teller.frame())
    until(lambda: rejected(fleet) == 1, lambda: plant.reading)
    until(lambda: plant.reading.missing == ())


def test_a_topic_that_was_made_anew_is_read_anew(plant: Plant):
    plant.make_topics()
    plant.write(*(plant.teller.frame() for _ in range(8)))
    fleet = plant.read()
    until(lambda: rejected(fleet) == 8)
    plant.delete_topics(plant.topics.rejects)
    until(lambda: plant.topics.rejects in plant.reading.missing, lambda: plant.reading)
    plant.make_topics(plant.topics.rejects)
    plant.write(plant.teller.frame())
    until(lambda: rejected(fleet) == 1, lambda: (rejected(fleet), plant.reading))


def test_after_a_clock_that_was_ahead_all_is_read_anew(plant: Plant):
    """A box may start in another year; then everything that is told is long past."""
    plant.make_topics()
    plant.write(plant.teller.beat(), *(plant.teller.frame() for _ in range(8)))
    ahead_s = 365 * 24 * HOUR
    fleet = plant.read(lambda: time.time() + ahead_s)
    until(lambda: plant.reading.caught_up, lambda: plant.reading)
    assert rejected(fleet) == 0
    ahead_s = 0
    until(lambda: rejected(fleet) == 8, lambda: plant.reading)
    (station,) = board(fleet, time.time())["stations"]
    assert station["silent_s"] < 60
    assert plant.reading.known_until <= time.time()


def test_verdicts_are_read_where_they_are_published(plant: Plant):
    from inspector.verdict import Outcome

    plant.make_topics(plant.topics.rejects, plant.topics.status, plant.topics.verdicts)
    plant.write(plant.teller.frame("frame_judged", outcome=Outcome.UNCERTAIN))
    fleet = plant.read()
    until(lambda: fleet.counts["records"] == 1)
    assert board(fleet, time.time())["lines"][0]["shifts"][0]["uncertain"] == 1


def test_tls_and_a_log_in(broker, topic_suffix):
    sasl = {"mechanism": "SCRAM-SHA-512", "username": "USER", "password": "PASSWORD"}
    kafka = {
        "bootstrap_servers": [broker.tls_bootstrap],
        "security_protocol": "SASL_SSL",
        "tls": {"ca_file": str(broker.ca_file)},
        "sasl": sasl,
    }
    plant = Plant(broker, topic_suffix, kafka=kafka)
    plant.make_topics()
    plant.write(plant.teller.frame())
    plant.secrets = {"USER": broker.username, "PASSWORD": "wrong"}
    fleet = plant.read()
    try:
        until(lambda: plant.reading.state == "authentication", lambda: plant.reading)
        assert "wrong" not in plant.reading.reason
        plant.secrets["PASSWORD"] = broker.password
        until(lambda: rejected(fleet) == 1, lambda: plant.reading)
    finally:
        plant.readers[-1].stop()
