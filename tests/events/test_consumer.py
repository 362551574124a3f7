from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaProducer

from inspector.config.events import Kafka
from inspector.config.secrets import Secrets
from inspector.errors import EventsError
from inspector.events import consumer
from inspector.events.consumer import consume
from inspector.events.documents import encode
from inspector.events.model import FrameRejected
from inspector.events.publisher import Publisher
from inspector.events.seen import Seen
from tests.events.making import Maker, open_outbox, topics_of
from tests.events.test_outbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from inspector.config.events import Topics
    from inspector.events.consumer import Poison
    from inspector.events.documents import Event
    from inspector.events.model import StationEvent
    from tests.servers.kafka import Broker

# The groups are named after the topics: a static member of another test would hold a group up.
kafka = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


@pytest.fixture
def topics(topic_suffix: str) -> Topics:
    return topics_of(topic_suffix)


@pytest.fixture
def make(topics: Topics) -> Maker:
    return Maker(topics)


def publish(broker: Broker, folder: Path, topics: Topics, events: list[Event]) -> None:
    box = open_outbox(folder, topics)
    publisher = Publisher(box, Kafka(bootstrap_servers=(broker.bootstrap,)), topics, Secrets())
    publisher.start()
    box.append(events).result(60)
    wait_until(lambda: box.stats().waiting == 0)
    publisher.stop(5)
    box.close()


def send_again(broker: Broker, topic: str, values: list[tuple[str, bytes]]) -> None:
    producer = KafkaProducer(bootstrap_servers=[broker.bootstrap])
    for key, value in values:
        producer.send(topic, value, key.encode())
    producer.flush()
    producer.close()


class Slow:
    """A consumer that is assigned its partitions late; time goes by only while it polls."""

    def __init__(
        self, now: list[float], steps: Sequence[tuple[float, bool, dict[Any, Any]]]
    ) -> None:
        self._now, self._steps = now, iter(steps)
        self._assigned = False

    def poll(self, *, timeout_ms: int) -> dict[Any, Any]:
        seconds, self._assigned, batches = next(self._steps)
        self._now[0] += seconds
        return batches

    def assignment(self) -> set[str]:
        return {"rejects-0"} if self._assigned else set()

    def commit(self, positions: dict[Any, Any]) -> None:
        pass

    def close(self, *, autocommit: bool) -> None:
        pass


def test_neither_joining_the_group_nor_handling_counts_as_idle(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (
        SimpleNamespace(topic="t", partition=0, offset=n, value=encode(make().document))
        for n in range(2)
    )
    now = [0.0]
    steps = [
        (20.0, False, {}),
        (0.5, True, {}),
        (0.5, True, {"rejects-0": [one]}),
        (2.0, True, {}),  # the event before took four seconds to handle
        (0.5, True, {"rejects-0": [other]}),
        (2.0, True, {}),
        (2.0, True, {}),
    ]
    monkeypatch.setattr(consumer, "_connect", lambda *_: Slow(now, steps))
    monkeypatch.setattr(consumer, "time", SimpleNamespace(monotonic=lambda: now[0]))
    got = []
    for event in consume(["b:1"], ["t"], "g", idle_s=3.0):
        got.append(event)
        now[0] += 4.0
    assert len(got) == 2
    assert now[0] == pytest.approx(35.5)


class Test:
    pytestmark = kafka

    def test_events_come_typed_once_and_in_order(
        self, broker: Broker, folder: Path, topics: Topics, make: Maker
    ) -> None:
        events = [make(camera=camera) for _ in range(100) for camera in "abc"]
        publish(broker, folder, topics, events)
        repeats = [(e.key, encode(e.document)) for e in events[50:100]]
        send_again(broker, topics.rejects, repeats)
        got = list(consume([broker.bootstrap], [topics.rejects], topics.rejects, idle_s=10))
        assert all(isinstance(event, FrameRejected) for event in got)
        assert len(got) == 300
        for camera in "abc":
            of_camera = [e.data.sequence for e in got if e.data.camera == camera]  # type: ignore[union-attr]
            assert of_camera == list(range(100))

    def test_a_poison_record_is_told_and_passed_over(
        self, broker: Broker, folder: Path, topics: Topics, make: Maker
    ) -> None:
        event = make()
        publish(broker, folder, topics, [event])
        bad = [(event.key, b"no json"), (event.key, b'{"type": "inspector.frame.rejected.v9"}')]
        last = make()
        send_again(broker, topics.rejects, [*bad, (last.key, encode(last.document))])
        poison: list[Poison] = []
        got = consume(
            [broker.bootstrap], [topics.rejects], topics.rejects, idle_s=10, on_poison=poison.append
        )
        assert [e.id for e in got] == [event.id, last.id]
        assert [p.topic for p in poison] == [topics.rejects] * 2
        assert poison[1].offset == poison[0].offset + 1
        assert "JSON" in poison[0].reason

    def test_what_was_not_handled_comes_again_and_what_was_does_not(
        self, broker: Broker, folder: Path, topics: Topics, make: Maker, tmp_path: Path
    ) -> None:
        events = make.many(20)
        publish(broker, folder, topics, events)
        file = tmp_path / "handled.db"

        def read() -> list[str]:
            handled = []
            source = consume(
                [broker.bootstrap],
                [topics.rejects],
                topics.rejects,
                member="signaller-1",
                state_file=file,
                idle_s=10,
            )
            for event in source:
                handled.append(event.id)
                if len(handled) == 8:
                    break  # the eighth was begun, and the program died
            source.close()  # type: ignore[attr-defined]
            return handled

        first, second = read(), read()
        assert second[0] == first[-1]
        assert first[:-1] + second == [e.id for e in events[:15]]

    def test_a_lost_position_makes_no_repeats_where_a_file_remembers(
        self, broker: Broker, folder: Path, topics: Topics, make: Maker, tmp_path: Path
    ) -> None:
        publish(broker, folder, topics, make.many(10))
        file = tmp_path / "handled.db"
        for group, expected in (("one", 10), ("another", 0)):
            got = consume(
                [broker.bootstrap],
                [topics.rejects],
                f"{topics.rejects}.{group}",
                state_file=file,
                idle_s=10,
            )
            assert len(list(got)) == expected

    def test_two_members_share_the_work_and_miss_nothing(
        self, broker: Broker, folder: Path, topics: Topics, make: Maker
    ) -> None:
        publish(broker, folder, topics, [make(camera=c) for _ in range(40) for c in "abcdefgh"])
        got: dict[str, list[str]] = {"x": [], "y": []}
        stop = threading.Event()

        def read(member: str) -> None:
            for event in consume(
                [broker.bootstrap],
                [topics.rejects],
                topics.rejects,
                member=member,
                stop=stop.is_set,
            ):
                got[member].append(event.id)

        threads = [threading.Thread(target=read, args=(member,)) for member in got]
        threads[0].start()
        wait_until(lambda: len(got["x"]) > 0)
        threads[1].start()
        wait_until(lambda: len(set(got["x"] + got["y"])) == 320)
        stop.set()
        for thread in threads:
            thread.join()

    def test_who_has_been_replaced_by_one_of_the_same_name_ends(
        self, broker: Broker, folder: Path, topics: Topics, make: Maker
    ) -> None:
        def read() -> Iterator[StationEvent]:
            return consume(
                [broker.bootstrap], [topics.rejects], topics.rejects, member="one", idle_s=10
            )

        publish(broker, folder, topics, make.many(300))
        first = read()
        next(first)
        second = read()
        next(second)
        with pytest.raises(EventsError, match=r"as member one, and has taken over"):
            list(first)
        second.close()  # type: ignore[attr-defined]

    def test_a_broker_that_is_not_there_is_told(self) -> None:
        source = consume(["127.0.0.1:1"], ["t"], "g", bootstrap_timeout_ms=500)
        with pytest.raises(EventsError, match=r"events of t cannot be read from 127\.0\.0\.1:1"):
            next(source)


def test_only_the_newest_ids_are_remembered(tmp_path: Path) -> None:
    file = tmp_path / "seen.db"
    seen = Seen(file, remember=3)
    for name in "abcde":
        seen.add(name)
    assert [name for name in "abcde" if name in seen] == ["c", "d", "e"]
    seen.close()
    again = Seen(file, remember=3)
    assert [name for name in "abcde" if name in again] == ["c", "d", "e"]
    again.add("f")
    assert "c" not in again
    again.close()


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(EventsError, match=r"file of handled events .* cannot be used"):
        Seen(tmp_path / "no" / "seen.db")
    (tmp_path / "junk").write_bytes(b"junk" * 5000)
    with pytest.raises(EventsError, match="cannot be used"):
        Seen(tmp_path / "junk")
