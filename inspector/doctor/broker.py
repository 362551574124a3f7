"""The broker: reached, trusted, logged in to, and asked what the station may write.

Nothing is written to a topic: consumers of the line read them. Whether writing is permitted is what
the broker itself says of it.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from inspector.doctor.finding import Finding, Grade
from inspector.events.broker import CannotConnectError, probe, tls_context
from inspector.events.link import Link

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from inspector.config.events import Events, Kafka
    from inspector.events.broker import SecretsLike, Trouble
    from inspector.events.topics import ClusterView, TopicView

CLIENT_ID = "inspector-doctor"
SLOW_S = 1.0
"""Beyond this a round trip lets events wait needlessly."""
_MISTAKES = frozenset({"authentication", "not_found"})
_UNKNOWN = "UnknownTopicOrPartitionError"


def check_broker(events: Events, secrets: SecretsLike) -> Iterator[Finding]:
    """Look at the broker from the network upwards; ends at the first step that does not hold."""
    kafka = events.kafka
    if kafka is None:
        yield Finding("broker", "", Grade.NOTE, "none is named: events stay in the outbox")
        return
    try:
        context = tls_context(kafka, secrets)
    except CannotConnectError as error:
        remedy = "correct events.kafka.tls in the station file"
        yield _cannot("tls", error.trouble, "files that can be used", remedy, Grade.MISTAKE)
        return
    reached = list(_servers(kafka, context))
    yield from reached
    if all(finding.grade > Grade.NOTE for finding in reached):
        return
    yield from _ask(events, kafka, secrets)


def _servers(kafka: Kafka, context: ssl.SSLContext | None) -> Iterator[Finding]:
    def look(server: str) -> Finding:
        began = time.perf_counter()
        trouble = probe([server], context)
        took_ms = (time.perf_counter() - began) * 1e3
        expected = "a connection" if context is None else "a connection with a trusted certificate"
        if trouble is not None:
            remedy = "start the broker, or correct events.kafka.bootstrap_servers"
            return _cannot(server, trouble, expected, remedy)
        how = "connected" if context is None else "connected, its certificate is trusted"
        facts = {"connect_ms": round(took_ms, 2)}
        return Finding(
            "broker", server, Grade.GOOD, f"{how}, {took_ms:.0f} ms", expected, "", facts
        )

    with ThreadPoolExecutor(len(kafka.bootstrap_servers)) as pool:
        yield from pool.map(look, kafka.bootstrap_servers)


def _cannot(
    name: str, trouble: Trouble, expected: str, remedy: str, grade: Grade | None = None
) -> Finding:
    mistake = trouble.state in _MISTAKES
    found, _, advice = trouble.reason.partition("; ")
    return Finding(
        "broker",
        name,
        grade or (Grade.MISTAKE if mistake else Grade.MEND),
        f"{trouble.state}: {found}",
        expected,
        advice or remedy,
        {"state": trouble.state},
    )


def _ask(events: Events, kafka: Kafka, secrets: SecretsLike) -> Iterator[Finding]:
    topics = events.topics
    wanted = {topics.rejects, topics.status}
    if events.publish_verdicts:
        wanted.add(topics.verdicts)
    try:
        cluster = Link(kafka, secrets, CLIENT_ID).describe(wanted)
    except CannotConnectError as error:
        expected = f"an answer by {kafka.security_protocol}"
        yield _cannot("log-in", error.trouble, expected, "look at the broker's log")
        return
    yield _round_trip(kafka, cluster)
    for topic in sorted(wanted):
        view = cluster.topics.get(topic)
        yield topic_finding(topic, view, creates=kafka.create_topics and cluster.creates)


def _round_trip(kafka: Kafka, cluster: ClusterView) -> Finding:
    took_ms = cluster.round_trip_s * 1e3
    slow = cluster.round_trip_s > SLOW_S
    who = "logged in, " if kafka.sasl is not None else ""
    return Finding(
        "broker",
        "round trip",
        Grade.MEND if slow else Grade.GOOD,
        f"{who}{cluster.brokers} brokers, {took_ms:.1f} ms",
        f"an answer within {SLOW_S:g} s",
        "look at the network to the broker" if slow else "",
        {"round_trip_ms": round(took_ms, 2), "brokers": cluster.brokers},
    )


def topic_finding(topic: str, view: TopicView | None, *, creates: bool | None) -> Finding:
    """What the broker's word on a topic means. Pure.

    Args:
        topic: its name.
        view: what the broker says of it; None where it says nothing.
        creates: whether the station may make it; None where the broker does not tell.
    """
    name, expected = f"topic {topic}", "there, and we may write to it"
    permit = f"permit Write and Describe on {topic} to the station's user"
    if view is None or view.error == _UNKNOWN:
        if creates is False:
            found, remedy = "not there, and the station may not make it", "make the topic"
            return Finding("broker", name, Grade.MEND, found, expected, remedy)
        found = "not there yet; the station makes it"
        return Finding("broker", name, Grade.NOTE, found, expected)
    if view.error is not None:
        found = f"the broker does not tell of it: {view.error}"
        return Finding("broker", name, Grade.MEND, found, expected, permit)
    if view.writable is False:
        return Finding("broker", name, Grade.MEND, "we may not write to it", expected, permit)
    if view.leaderless:
        found = f"{view.leaderless} of {view.partitions} partitions have no leader"
        return Finding("broker", name, Grade.MEND, found, expected, "look at the brokers")
    told = "" if view.writable else ", though the broker does not tell whether we may write"
    facts = {"partitions": view.partitions, "writable": view.writable}
    found = f"{view.partitions} partitions{told}"
    grade = Grade.GOOD if view.writable else Grade.NOTE
    return Finding("broker", name, grade, found, expected, "", facts)
