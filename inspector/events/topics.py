"""The topics of a station: what the broker says of them; made where that is wanted and allowed."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors

from inspector.events.clients import opened

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PARTITIONS = 6
ROUND_TRIPS = 5


@dataclass(frozen=True, slots=True)
class TopicView:
    """What the broker says of one topic.

    Attributes:
        partitions: how many it has; 0 where it is not there, or may not be seen.
        leaderless: those of them that take no records at the moment.
        writable: whether we may write to it; None where the broker does not tell.
        error: name of the broker's refusal to tell of it, such as UnknownTopicOrPartitionError.
    """

    partitions: int
    leaderless: int
    writable: bool | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What the broker says of itself and of topics.

    Attributes:
        creates: whether we may make topics; None where the broker does not tell.
        round_trip_s: of a request and its answer, the median of some.
    """

    brokers: int
    creates: bool | None
    round_trip_s: float
    topics: Mapping[str, TopicView]


def describe_topics(options: Mapping[str, Any], wanted: Collection[str]) -> ClusterView:
    """Ask what we may do; nothing is made, and nothing is written.

    Args:
        options: of the client (`client_options`).
        wanted: names of topics.

    Raises:
        kafka_errors.KafkaError: the broker cannot be reached.
    """
    admin = opened(KafkaAdminClient, **options)
    try:
        times, cluster = [], dict[str, Any]()
        for _ in range(ROUND_TRIPS):
            began = time.perf_counter()
            cluster = admin.describe_cluster()
            times.append(time.perf_counter() - began)
        topics = {topic["name"]: _view(topic) for topic in admin.describe_topics(sorted(wanted))}
        creates = _may("CREATE", cluster)
        return ClusterView(len(cluster["brokers"]), creates, statistics.median(times), topics)
    finally:
        admin.close()


def _view(topic: Mapping[str, Any]) -> TopicView:
    code = int(topic["error_code"])
    partitions = topic["partitions"] or []
    return TopicView(
        partitions=len(partitions),
        leaderless=sum(part["leader_id"] < 0 for part in partitions),
        writable=None if code else _may("WRITE", topic),
        error=kafka_errors.for_code(code).__name__ if code else None,
    )


def _may(operation: str, described: Mapping[str, Any]) -> bool | None:
    able = described.get("authorized_operations")
    return None if able is None else operation in able


def missing_topics(
    options: Mapping[str, Any],
    wanted: Collection[str],
    *,
    create: bool,
    idle: Collection[str] = (),
) -> dict[str, str]:
    """Look which topics are there, and make the others.

    Args:
        options: of the client (`client_options`).
        create: whether missing topics may be made: 6 partitions, the broker's replication.
        idle: those of `wanted` that the station writes nothing new to; they are not made.

    Returns:
        The topics that cannot be used, each with a sentence why.

    Raises:
        kafka_errors.KafkaError: the broker cannot be reached.
    """
    admin = opened(KafkaAdminClient, **options)
    try:
        absent = sorted(set(wanted) - set(admin.list_topics()))
        why: dict[str, str | None] = {}
        for topic in absent:
            if create and topic not in idle:
                why[topic] = _create(admin, topic)
            else:
                why[topic] = (
                    f"topic {topic} is not there; make it, or set events.kafka.create_topics"
                )
        return {topic: reason for topic, reason in why.items() if reason is not None}
    finally:
        admin.close()


def _create(admin: KafkaAdminClient, topic: str) -> str | None:
    try:
        admin.create_topics(
            {topic: {"num_partitions": PARTITIONS, "replication_factor": -1}},
            wait_for_metadata=True,
        )
    except kafka_errors.TopicAlreadyExistsError:
        return None
    except kafka_errors.BrokerResponseError as error:
        return f"topic {topic} cannot be made: {error or type(error).__name__}"
    return None
