from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from kafka.record.default_records import DefaultRecordBatchBuilder
from structlog.testing import capture_logs

from inspector.config.events import Kafka
from inspector.config.secrets import Secrets
from inspector.errors import UserError
from inspector.events import schemas
from inspector.events.clients import opened
from inspector.events.delivery import Delivery
from inspector.events.publisher import Publisher
from inspector.events.resending import Selection, resend
from inspector.events.store import FILE
from tests.events.kafka_reading import kcat, once, records
from tests.events.making import Maker, damage_ids, open_outbox, topics_of
from tests.events.test_outbox import ids_of, wait_until
from tests.servers.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inspector.config.events import Topics
    from inspector.events.outbox import Outbox
    from inspector.events.publisher import Published
    from inspector.events.standing import PublisherStatus
    from tests.servers.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

PASSWORD = "s3cret-of-the-broker"


class Known:
    """Secrets by name; those that are not known are not set."""

    def __init__(self, **secrets: str) -> None:
        self._secrets = secrets

    def get(self, name: str) -> str:
        if name not in self._secrets:
            raise UserError(f"the secret {name} is not set")
        return self._secrets[name]


@pytest.fixture
def topics(topic_suffix: str) -> Topics:
    return topics_of(topic_suffix)


@pytest.fixture
def make(topics: Topics) -> Maker:
    return Maker(topics)


@pytest.fixture
def outbox(folder: Path, topics: Topics) -> Iterator[Outbox]:
    box = open_outbox(folder, topics)
    yield box
    box.close()


@pytest.fixture
def publish(outbox: Outbox, topics: Topics) -> Iterator[Callable[..., Publisher]]:
    """Starts publishers, and stops them at the end."""
    started = []

    def start(kafka: dict[str, Any], secrets: object | None = None, **other: Any) -> Publisher:
        publisher = Publisher(
            outbox, Kafka.model_validate(kafka), topics, secrets or Secrets(), **other
        )
        publisher.start()
        started.append(publisher)
        return publisher

    yield start
    for publisher in started:
        publisher.stop(5)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Connections are taken, and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


def tls(broker: Broker, mechanism: str = "SCRAM-SHA-512", **other: Any) -> dict[str, Any]:
    return {
        "bootstrap_servers": [broker.tls_bootstrap],
        "security_protocol": "SASL_SSL",
        "tls": {"ca_file": broker.ca_file},
        "sasl": {"mechanism": mechanism, "username": "USER", "password": "PASSWORD"},
    } | other


def until_state(publisher: Publisher, state: str) -> PublisherStatus:
    """Wait for a state; how the publisher fares then."""
    seen = publisher.status()
    deadline = time.monotonic() + 60
    while (seen := publisher.status()).state != state:
        assert time.monotonic() < deadline, f"not {state}, but {seen}"
        time.sleep(0.005)
    return seen


def drained(outbox: Outbox, limit_s: float = 60.0) -> None:
    wait_until(lambda: outbox.stats().waiting == 0, limit_s)


def test_events_arrive_as_cloudevents(
    broker: Broker, publish: Callable[..., Publisher], outbox: Outbox, make: Maker
) -> None:
    done: list[Published] = []
    publisher = publish({"bootstrap_servers": [broker.bootstrap]}, on_published=done.append)
    kinds = ("frame_rejected", "frame_judged", "quality_degraded", "camera_lost", "station_status")
    events = [make(kind) for kind in kinds]
    outbox.append(events).result(60)
    drained(outbox)
    until_state(publisher, "connected")
    found = [
        one
        for topic in (make.topics.rejects, make.topics.verdicts, make.topics.status)
        for one in records(broker.bootstrap, topic)
    ]
    assert {one.id for one in found} == {event.id for event in events}
    for one in found:
        schemas.check(one.document)
        assert one.headers == [("content-type", b"application/cloudevents+json; charset=UTF-8")]
        assert one.key == one.document["source"].replace("/stations/", "").replace("cameras/", "")
    wait_until(lambda: len(done) >= len(events))
    assert sorted(p.type for p in done) == sorted(event.type for event in events)
    assert all(p.total_s >= 0 < p.send_s for p in done)


def test_topics_are_made_with_six_partitions(
    broker: Broker, publish: Callable[..., Publisher], outbox: Outbox, make: Maker
) -> None:
    publish({"bootstrap_servers": [broker.bootstrap]})
    outbox.append([make()]).result(60)
    drained(outbox)
    admin = KafkaAdminClient(bootstrap_servers=[broker.bootstrap])
    (topic,) = admin.describe_topics([make.topics.rejects])
    admin.close()
    assert len(topic["partitions"]) == 6


def test_kcat_reads_what_was_published(
    broker: Broker, publish: Callable[..., Publisher], outbox: Outbox, make: Maker
) -> None:
    publish({"bootstrap_servers": [broker.bootstrap]})
    event = make()
    outbox.append([event]).result(60)
    drained(outbox)
    (line,) = kcat(broker.bootstrap, make.topics.rejects)
    header, key, value = line.split("|", 2)
    assert header == "content-type=application/cloudevents+json; charset=UTF-8"
    assert key == event.key
    assert json.loads(value) == event.document


def test_after_an_outbox_that_broke_events_go_on(
    broker: Broker, publish: Callable[..., Publisher], outbox: Outbox, make: Maker
) -> None:
    """The new file counts its rows from 1, which the publisher has long passed."""
    publish({"bootstrap_servers": [broker.bootstrap]})
    outbox.append([make() for _ in range(300)]).result(60)
    drained(outbox)
    damage_ids(outbox)
    events = [make() for _ in range(5)]
    outbox.append(events).result(60)
    drained(outbox)
    assert outbox.life == 1
    found = {one.id for one in records(broker.bootstrap, make.topics.rejects)}
    assert {event.id for event in events} <= found


def test_a_broker_that_answers_nothing_costs_no_descriptors(silent_port: int) -> None:
    """The library leaves those of a client whose constructor fails to nobody."""
    options = {
        "bootstrap_servers": [f"127.0.0.1:{silent_port}"],
        "request_timeout_ms": 1000,
        "bootstrap_timeout_ms": 200,
    }
    held = []
    for kind in (KafkaConsumer, KafkaAdminClient, KafkaProducer):
        for _ in range(2):
            with pytest.raises(KafkaError):
                opened(kind, **options)
            held.append((len(list(Path("/proc/self/fd").iterdir())), threading.active_count()))
    assert held[1:] == held[:-1]


def test_the_broker_killed_mid_stream_loses_nothing_and_keeps_order(
    broker: Broker, publish: Callable[..., Publisher], outbox: Outbox, make: Maker
) -> None:
    publisher = publish({"bootstrap_servers": [broker.bootstrap]})
    sent: list[str] = []

    def feed(count: int) -> None:
        for _ in range(count):
            events = [make(camera=camera) for camera in "abc"]
            outbox.append(events)
            sent.extend(event.id for event in events)
            time.sleep(0.002)

    feed(200)
    broker.kill()
    feed(150)
    assert "connection refused" in (until_state(publisher, "refused").reason or "")
    feed(50)
    broker.start()
    feed(100)
    drained(outbox)
    until_state(publisher, "connected")
    found = once(records(broker.bootstrap, make.topics.rejects))
    assert {one.id for one in found} == set(sent)
    for camera in "abc":
        of_camera = [one.sequence for one in found if one.key.endswith(f"/{camera}")]
        assert of_camera == list(range(500))


def test_a_producer_that_does_not_end_well_keeps_no_events(
    broker: Broker,
    publish: Callable[..., Publisher],
    outbox: Outbox,
    make: Maker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its library may raise anywhere, as between sending and closing."""
    pending = iter(["send", "close"])

    def failing(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            done = real(*given)
            if next(pending, None) == name:
                raise RuntimeError(f"{name} fails")
            return done

        return call

    for name in ("send", "close"):
        monkeypatch.setattr(Delivery, name, failing(name, getattr(Delivery, name)))
    outbox.append(make.many(5)).result(60)
    with capture_logs() as logs:
        publish({"bootstrap_servers": [broker.bootstrap]})
        drained(outbox)
    assert [str(log["event"]) for log in logs if log.get("exc_info")] == [
        "the publisher begins again"
    ]
    assert len(once(records(broker.bootstrap, make.topics.rejects))) == 5


def test_a_station_starts_before_its_broker(
    broker: Broker, publish: Callable[..., Publisher], outbox: Outbox, make: Maker
) -> None:
    broker.stop()
    with capture_logs() as logs:
        publisher = publish({"bootstrap_servers": [broker.bootstrap]})
        events = make.many(10)
        outbox.append(events).result(60)
        wait_until(lambda: publisher.status().state == "refused")
        time.sleep(2)
    assert len([log for log in logs if log.get("state") == "refused"]) == 1, "told once"
    since = publisher.status().since_utc_ns
    broker.start()
    drained(outbox)
    assert until_state(publisher, "connected").since_utc_ns > since
    assert {r.id for r in records(broker.bootstrap, make.topics.rejects)} == {e.id for e in events}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_tls_with_each_way_to_log_in(
    broker: Broker,
    publish: Callable[..., Publisher],
    outbox: Outbox,
    make: Maker,
    mechanism: str,
) -> None:
    publish(tls(broker, mechanism), Known(USER=broker.username, PASSWORD=broker.password))
    event = make()
    outbox.append([event]).result(60)
    drained(outbox)
    assert [one.id for one in records(broker.bootstrap, make.topics.rejects)] == [event.id]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_called_authentication_and_never_shown(
    broker: Broker,
    publish: Callable[..., Publisher],
    outbox: Outbox,
    make: Maker,
    mechanism: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    with capture_logs() as logs:
        publisher = publish(
            tls(broker, mechanism), Known(USER=broker.username, PASSWORD="wr0ng-pass")
        )
        outbox.append([make()]).result(60)
        reason = until_state(publisher, "authentication").reason or ""
    assert broker.tls_bootstrap in reason
    assert "events.kafka.sasl" in reason
    assert outbox.stats().waiting == 1
    for text in (reason, str(logs), caplog.text, repr(publisher.status())):
        assert "wr0ng-pass" not in text


def test_a_missing_secret_is_called_authentication_and_named(
    broker: Broker, publish: Callable[..., Publisher]
) -> None:
    publisher = publish(tls(broker), Known(USER="x"))
    assert "PASSWORD is not set" in (until_state(publisher, "authentication").reason or "")


def test_a_strange_authority_is_called_tls(
    broker: Broker, publish: Callable[..., Publisher], tmp_path: Path
) -> None:
    strange = tmp_path / "strange.pem"
    strange.write_bytes(Authority("somebody else").certificate_pem)
    publisher = publish(
        tls(broker, tls={"ca_file": strange}),
        Known(USER=broker.username, PASSWORD=broker.password),
    )
    reason = until_state(publisher, "tls").reason or ""
    assert "is not trusted" in reason
    assert "ca_file" in reason


def test_a_wrong_protocol_is_told_to_be_looked_at(
    broker: Broker, publish: Callable[..., Publisher]
) -> None:
    publisher = publish({"bootstrap_servers": [broker.tls_bootstrap]})
    assert "security_protocol" in (until_state(publisher, "timeout").reason or "")


def test_a_record_above_our_own_bound_is_parked_and_blocks_nothing(
    broker: Broker, publish: Callable[..., Publisher], outbox: Outbox, make: Maker, folder: Path
) -> None:
    publish({"bootstrap_servers": [broker.bootstrap], "max_request_kb": 16})
    events = make.many(5)
    events[2].document["data"]["reasons"] = ["x" * 40_000]
    outbox.append(events).result(60)
    drained(outbox)
    assert ids_of(folder, "state = 2") == [events[2].id]
    found = [one.id for one in records(broker.bootstrap, make.topics.rejects)]
    assert found == [events[n].id for n in (0, 1, 3, 4)]


def test_a_record_above_the_brokers_bound_is_parked_alone(
    broker: Broker, publish: Callable[..., Publisher], outbox: Outbox, make: Maker, folder: Path
) -> None:
    """kafka-python fails a whole batch, and all after it, for one record that is refused."""
    admin = KafkaAdminClient(bootstrap_servers=[broker.bootstrap])
    admin.create_topics(
        {
            make.topics.rejects: {
                "num_partitions": 2,
                "replication_factor": 1,
                "configs": {"max.message.bytes": "20000"},
            }
        },
        wait_for_metadata=True,
    )
    admin.close()
    events = [make(camera=camera) for _ in range(60) for camera in "abc"]
    too_large = [events[n] for n in (7, 90, 91)]
    for event in too_large:
        event.document["data"]["reasons"] = ["x" * 30_000]
    outbox.append(events).result(60)
    with capture_logs() as logs:
        publisher = publish({"bootstrap_servers": [broker.bootstrap], "compression": "none"})
        drained(outbox)
    until_state(publisher, "connected")
    assert ids_of(folder, "state = 2") == [event.id for event in too_large]
    assert outbox.stats().parked_total == 3
    told = [log["id"] for log in logs if "parked" in log["event"]]
    assert told == [too_large[0].id], "once, and then at intervals"
    found = once(records(broker.bootstrap, make.topics.rejects))
    assert {f.id for f in found} == {e.id for e in events} - {e.id for e in too_large}
    for camera in "abc":
        of_camera = [one.sequence for one in found if one.key.endswith(f"/{camera}")]
        assert of_camera == sorted(of_camera)


def test_a_clock_ahead_of_the_brokers_is_told_once_and_not_every_second(
    broker: Broker,
    publish: Callable[..., Publisher],
    outbox: Outbox,
    make: Maker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker takes the connection and refuses each record, until the clock is set."""
    real = DefaultRecordBatchBuilder.append

    def two_days_ahead(builder: Any, offset: int, stamp: int | None, *rest: Any) -> Any:
        del stamp
        return real(builder, offset, int((time.time() + 2 * 86_400) * 1000), *rest)

    with monkeypatch.context() as ahead:
        ahead.setattr(DefaultRecordBatchBuilder, "append", two_days_ahead)
        outbox.append(make.many(3)).result(60)
        with capture_logs() as logs:
            publisher = publish({"bootstrap_servers": [broker.bootstrap]})
            wait_until(lambda: publisher.status().state == "clock")
            states = set()
            until = time.monotonic() + 4
            while time.monotonic() < until:
                states.add(publisher.status().state)
                time.sleep(0.02)
    assert states == {"clock"}
    assert "set the station's clock" in str(publisher.status().reason)
    assert [log["event"] for log in logs] == ["connected to Kafka", "Kafka cannot be used"]
    drained(outbox)
    until_state(publisher, "connected")


def test_a_topic_that_takes_nothing_holds_up_no_other(
    broker: Broker,
    publish: Callable[..., Publisher],
    outbox: Outbox,
    make: Maker,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refusal fails everything that an idempotent producer of kafka-python sends after it."""
    admin = KafkaAdminClient(bootstrap_servers=[broker.bootstrap])
    configs = {"max.message.bytes": "300"}
    admin.create_topics(
        {make.topics.rejects: {"num_partitions": 3, "configs": configs}}, wait_for_metadata=True
    )
    admin.close()
    refused, lost = make.many(400), []
    for n in range(0, 400, 20):
        lost.append(make("camera_lost"))
        outbox.append([*refused[n : n + 20], lost[-1]])
    made: list[Delivery] = []
    monkeypatch.setattr(
        "inspector.events.link.Delivery",
        lambda *given, **more: made.append(Delivery(*given, **more)) or made[-1],
    )
    publisher = publish({"bootstrap_servers": [broker.bootstrap], "compression": "none"})
    drained(outbox, 120.0)
    assert len(made) < 100, "one producer for many, not one for each"
    assert ids_of(folder, "state = 2") == [event.id for event in refused]
    assert [one.id for one in once(records(broker.bootstrap, make.topics.status))] == [
        event.id for event in lost
    ]
    good = make("camera_lost")
    outbox.append([good, *make.many(2, "frame_judged")]).result(60)
    drained(outbox)
    until_state(publisher, "connected")


def test_a_topic_that_is_missing_blocks_no_other(
    broker: Broker,
    publish: Callable[..., Publisher],
    outbox: Outbox,
    make: Maker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inspector.events.publisher.TOPICS_S", 0.5)
    monkeypatch.setattr("inspector.events.standing.LOG_EVERY_S", 1.0)
    admin = KafkaAdminClient(bootstrap_servers=[broker.bootstrap])
    admin.create_topics([make.topics.rejects], wait_for_metadata=True)
    reject, beat = make("frame_rejected"), make("station_status")
    outbox.append([beat, reject]).result(60)
    began = time.monotonic()
    with capture_logs() as logs:
        publisher = publish(
            {"bootstrap_servers": [broker.bootstrap], "create_topics": False},
            verdicts=False,
        )
        wait_until(lambda: outbox.stats().waiting == 1)
        wait_until(lambda: len([log for log in logs if "topic" in log]) >= 2)  # once, then again
        blocked = publisher.status().blocked
        assert set(blocked) == {make.topics.status}
        assert "create_topics" in blocked[make.topics.status]
        admin.create_topics([make.topics.status], wait_for_metadata=True)
        admin.close()
        drained(outbox)
    assert [one.id for one in records(broker.bootstrap, make.topics.status)] == [beat.id]
    assert publisher.status().blocked == {}
    about = [log for log in logs if "topic" in log]
    assert {log["topic"] for log in about} == {make.topics.status}
    assert about[-1]["event"] == "a topic can be used again"
    assert len(about) <= 20 + (time.monotonic() - began), "one a second, LOG_EVERY_S"


@pytest.mark.parametrize("left_from_before", [False, True])
def test_a_topic_that_nothing_is_written_to_is_not_made(
    broker: Broker,
    publish: Callable[..., Publisher],
    outbox: Outbox,
    make: Maker,
    left_from_before: bool,
) -> None:
    kinds = ["frame_rejected", *(["frame_judged"] if left_from_before else [])]
    outbox.append([make(kind) for kind in kinds]).result(60)
    publisher = publish({"bootstrap_servers": [broker.bootstrap]}, verdicts=False)
    drained(outbox)
    assert publisher.status().blocked == {}
    admin = KafkaAdminClient(bootstrap_servers=[broker.bootstrap])
    assert (make.topics.verdicts in admin.list_topics()) is left_from_before
    admin.close()


def test_a_topic_that_comes_to_be_written_to_is_looked_at_then(
    broker: Broker,
    publish: Callable[..., Publisher],
    outbox: Outbox,
    make: Maker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inspector.events.publisher.TOPICS_S", 0.5)
    outbox.append([make("frame_rejected")]).result(60)
    publisher = publish({"bootstrap_servers": [broker.bootstrap]}, verdicts=False)
    drained(outbox)
    verdict = make("frame_judged")
    outbox.append([verdict]).result(60)
    drained(outbox)
    assert [one.id for one in records(broker.bootstrap, make.topics.verdicts)] == [verdict.id]
    assert publisher.status().blocked == {}


def test_a_resent_event_says_replay_and_keeps_its_id(
    broker: Broker, publish: Callable[..., Publisher], outbox: Outbox, make: Maker, folder: Path
) -> None:
    publish({"bootstrap_servers": [broker.bootstrap]})
    events = make.many(3)
    outbox.append(events).result(60)
    drained(outbox)
    resend(folder / FILE, Selection(ids=[events[1].id]))
    wait_until(lambda: len(records(broker.bootstrap, make.topics.rejects)) == 4)
    last = records(broker.bootstrap, make.topics.rejects)[-1]
    assert last.id == events[1].id
    assert last.document["data"]["replay"] is True
    schemas.check(last.document)


def test_stop_sends_what_waits_and_returns_in_time(
    broker: Broker, publish: Callable[..., Publisher], outbox: Outbox, make: Maker
) -> None:
    publisher = publish({"bootstrap_servers": [broker.bootstrap]})
    wait_until(lambda: publisher.status().state == "connected")
    outbox.append(make.many(300)).result(60)
    publisher.stop(60)
    drained(outbox)
    wait_until(lambda: not publisher._thread.is_alive())


def test_stop_without_a_broker_does_not_wait(
    publish: Callable[..., Publisher], outbox: Outbox, make: Maker
) -> None:
    publisher = publish({"bootstrap_servers": ["127.0.0.1:1"]})
    outbox.append([make()]).result(60)
    wait_until(lambda: publisher.status().state == "refused")
    began = time.monotonic()
    publisher.stop(120)
    assert time.monotonic() - began < 60
    assert outbox.stats().waiting == 1


def test_without_a_broker_in_the_station_file_it_is_off(outbox: Outbox, topics: Topics) -> None:
    publisher = Publisher(outbox, None, topics, Secrets())
    publisher.start()
    assert publisher.status().state == "off"
    publisher.stop(1)


def test_the_library_says_nothing_itself(broker: Broker, tmp_path: Path) -> None:
    """Its loggers repeat every failed connection several times a second."""
    code = f"""
import sys, time
from pathlib import Path
from inspector.config.events import Kafka
from inspector.config.secrets import Secrets
from inspector.events.publisher import Publisher
from tests.events.making import Maker, open_outbox
make = Maker()
box = open_outbox(Path({str(tmp_path / "state")!r}))
kafka = Kafka(bootstrap_servers=({broker.tls_bootstrap!r},))
publisher = Publisher(box, kafka, make.topics, Secrets())
publisher.start()
box.append([make()]).result(60)
while publisher.status().state == "connecting":
    time.sleep(0.05)
publisher.stop(5)
box.close()
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stderr == ""
    assert run.stdout.count("\n") == 1
