"""The broker as whoever reads events needs it: reached, and the topics there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.doctor.broker import CLIENT_ID
from inspector.doctor.finding import Finding, Grade
from inspector.errors import InspectorError
from inspector.events.broker import IN_SERVICE_FILE, CannotConnectError
from inspector.events.link import Link

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.config.events import Kafka
    from inspector.config.secrets import Secrets


def check_reading(
    kafka: Kafka, topics: Sequence[str], secrets: Secrets, key: str
) -> Iterator[Finding]:
    """Ask the broker for topics; nothing is read or written, and no group is joined.

    Args:
        key: of the file, where the topics are named.
    """
    servers = ", ".join(kafka.bootstrap_servers)
    expected = f"topic {', '.join(topics)}"
    try:
        cluster = Link(kafka, secrets, CLIENT_ID, IN_SERVICE_FILE).describe(list(topics))
    except CannotConnectError as error:
        remedy = "start the broker, or correct the section kafka"
        yield Finding("broker", servers, Grade.MEND, str(error), expected, remedy)
        return
    except InspectorError as error:
        yield Finding("broker", servers, Grade.MISTAKE, str(error), expected)
        return
    took = f"a request takes {cluster.round_trip_s * 1e3:.0f} ms"
    yield Finding("broker", servers, Grade.GOOD, took, "an answer")
    for topic in topics:
        view = cluster.topics.get(topic)
        expected = f"topic {topic}"
        if view is None or view.error is not None:
            found = "it is not there" if view is None else f"{view.error}"
            remedy = f"start a station that writes to it, or correct {key}"
            yield Finding("broker", topic, Grade.MEND, found, expected, remedy)
        else:
            yield Finding("broker", topic, Grade.GOOD, f"{view.partitions} partitions", expected)
