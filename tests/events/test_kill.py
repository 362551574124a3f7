"""kill -9 at every step of an event's way: what was durable arrives, with its id and in order."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from inspector.config.events import Kafka
from inspector.config.secrets import Secrets
from inspector.events.publisher import Publisher
from tests.events.kafka_reading import once, records
from tests.events.making import open_outbox, topics_of
from tests.events.test_outbox import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

COUNT = 150


def run_child(
    folder: Path, broker: Broker, suffix: str, step: str, nth: int, first: int = 0
) -> list[str]:
    """Run the child to its end; returns the ids that it saw durable, and perhaps `done`."""
    arguments = [str(folder), broker.bootstrap, suffix, str(first), str(COUNT), step, str(nth)]
    child = subprocess.run(
        [sys.executable, "-m", "tests.events.child", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    lines = child.stdout.splitlines()
    assert child.returncode == (0 if "done" in lines else -9)
    return lines


def drain(folder: Path, broker: Broker, suffix: str) -> dict[str, int]:
    """Start again after the kill, and send what is left; returns the stored states."""
    topics = topics_of(suffix)
    outbox = open_outbox(folder, topics)
    publisher = Publisher(outbox, Kafka(bootstrap_servers=(broker.bootstrap,)), topics, Secrets())
    publisher.start()
    wait_until(lambda: outbox.stats().waiting == 0)
    publisher.stop(5)
    outbox.close()
    return {camera: int(str(s.policy["sequence"])) for camera, s in outbox.states().items()}


def check(broker: Broker, suffix: str, durable: set[str]) -> dict[str, list[int]]:
    """Nothing durable is missing, and every camera's events are in order; returns the sequences."""
    found = once(records(broker.bootstrap, f"rejects.{suffix}"))
    assert durable <= {one.id for one in found}
    sequences: dict[str, list[int]] = {}
    for one in found:
        sequences.setdefault(one.key[-1], []).append(one.sequence)
    return sequences


@pytest.mark.parametrize(
    ("step", "nth"),
    [
        ("before_commit", 1),
        ("in_transaction", 3),
        ("after_commit", 1),
        ("after_commit", 4),
        ("before_send", 1),
        ("after_send", 1),
        ("after_send", 120),
        ("after_ack", 1),
        ("after_ack", 5),
        ("before_commit", 9),
    ],
)
def test_what_was_durable_arrives(
    tmp_path: Path, broker: Broker, topic_suffix: str, step: str, nth: int
) -> None:
    folder = tmp_path / "state"
    lines = run_child(folder, broker, topic_suffix, step, nth)
    assert "done" not in lines, "the child passed the step and was killed there"
    states = drain(folder, broker, topic_suffix)
    if not states:
        assert (step, lines) == ("before_commit", [])
        return
    sequences = check(broker, topic_suffix, set(lines))
    for camera, last in states.items():
        # Event and state are one transaction: neither is ahead of the other.
        assert sequences[camera] == list(range(last + 1))


def test_killed_again_and_again_at_any_step(
    tmp_path: Path, broker: Broker, topic_suffix: str
) -> None:
    folder = tmp_path / "state"
    chance = random.Random(4711)
    steps = ["in_transaction", "after_commit", "before_send", "after_send", "after_ack"]
    durable: set[str] = set()
    for run in range(5):
        step, nth = chance.choice(steps), chance.randint(1, 12)
        lines = run_child(folder, broker, topic_suffix, step, nth, first=run * COUNT)
        durable |= set(lines) - {"done"}
    states = drain(folder, broker, topic_suffix)
    sequences = check(broker, topic_suffix, durable)
    assert durable
    for camera, last in states.items():
        assert sequences[camera] == sorted(sequences[camera])
        assert sequences[camera][-1] == last
