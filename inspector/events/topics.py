"""The topics of a station: made where they are missing and that is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PARTITIONS = 6


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
    admin = KafkaAdminClient(**options)
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
