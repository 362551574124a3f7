"""What a topic really holds, read without the package's own consumer."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition


@dataclass(frozen=True)
class Found:
    partition: int
    key: str
    value: bytes
    headers: list[tuple[str, bytes]]

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.value)

    @property
    def id(self) -> str:
        return self.document["id"]

    @property
    def sequence(self) -> int:
        return self.document["data"]["sequence"]


def records(bootstrap: str, topic: str) -> list[Found]:
    """All records of a topic, in order per partition."""
    consumer = KafkaConsumer(bootstrap_servers=[bootstrap], auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found = []
        while any(consumer.position(p) < ends[p] for p in partitions):
            for batch in consumer.poll(timeout_ms=200).values():
                found += [Found(r.partition, r.key.decode(), r.value, r.headers) for r in batch]
        return found
    finally:
        consumer.close()


def once(found: list[Found]) -> list[Found]:
    """Without repeats, as a reader that knows the ids it has seen takes them."""
    first: dict[str, Found] = {}
    for one in found:
        assert first.setdefault(one.id, one).value == one.value, "a repeat is the same event"
    return list(first.values())


def kcat(bootstrap: str, topic: str) -> list[str]:
    """The values of a topic as kcat prints them, with the content-type before each."""
    run = subprocess.run(
        ["kcat", "-C", "-b", bootstrap, "-t", topic, "-e", "-q", "-f", "%h|%k|%s\n"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return run.stdout.splitlines()
