"""The doctor's look at the broker: a real one, and real refusals."""

from __future__ import annotations

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from inspector.config.events import Events
from inspector.config.secrets import Secrets
from inspector.doctor.broker import check_broker, topic_finding
from inspector.doctor.finding import Grade
from inspector.events.topics import TopicView
from tests.servers.ports import free_port

PASSWORD_OF = {"username": "KAFKA_USER", "password": "KAFKA_PASSWORD"}


def look(kafka, topics=None, secrets=None, **more):
    events = Events.model_validate({"kafka": kafka, "topics": topics or {}, **more})
    found = list(check_broker(events, Secrets(secrets or {})))
    for secret in (secrets or {}).values():
        assert secret == "station" or secret not in repr(found)
    return found


def logged_in(broker, mechanism="SCRAM-SHA-512", ca_file=None):
    return {
        "bootstrap_servers": (broker.tls_bootstrap,),
        "security_protocol": "SASL_SSL",
        "tls": {"ca_file": str(ca_file or broker.ca_file)},
        "sasl": {"mechanism": mechanism, **PASSWORD_OF},
    }


def secrets_of(broker):
    return {"KAFKA_USER": broker.username, "KAFKA_PASSWORD": broker.password}


@pytest.fixture
def topics(topic_suffix):
    return {name: f"{name}-{topic_suffix}" for name in ("rejects", "verdicts", "status")}


def test_without_a_broker_that_is_told_and_no_fault():
    (found,) = check_broker(Events(), Secrets({}))
    assert found.grade is Grade.NOTE


def test_nobody_listens():
    port = free_port()
    (found,) = look({"bootstrap_servers": (f"127.0.0.1:{port}",)})
    assert (found.grade, found.facts) == (Grade.MEND, {"state": "refused"})
    assert found.name == f"127.0.0.1:{port}"
    assert "bootstrap_servers" in found.remedy


def test_a_file_of_the_tls_section_that_is_not_there(tmp_path):
    (found,) = look(
        {
            "bootstrap_servers": ("127.0.0.1:1",),
            "security_protocol": "SSL",
            "tls": {"ca_file": str(tmp_path / "none.pem")},
        }
    )
    assert found.grade is Grade.MISTAKE
    assert "none.pem" in found.found


@pytest.mark.xdist_group("kafka")
def test_topics_that_are_there_not_there_and_denied(broker, topics):
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics({topics["rejects"]: {"num_partitions": 2, "replication_factor": 1},
                         topics["verdicts"]: {"num_partitions": 1, "replication_factor": 1}},
                        wait_for_metadata=True)  # fmt: skip
    broker.deny_writing(topics["verdicts"])
    found = look(logged_in(broker), topics, secrets_of(broker), publish_verdicts=True)
    told = {f.name: (f.grade, f.found) for f in found}
    assert told.pop(broker.tls_bootstrap)[0] is Grade.GOOD
    grade, words = told.pop("round trip")
    assert grade is Grade.GOOD
    assert words.startswith("logged in, 1 brokers, ")
    assert told == {
        f"topic {topics['rejects']}": (Grade.GOOD, "2 partitions"),
        f"topic {topics['verdicts']}": (Grade.MEND, "we may not write to it"),
        f"topic {topics['status']}": (Grade.NOTE, "not there yet; the station makes it"),
    }
    assert topics["status"] not in admin.list_topics(), "nothing is made"
    admin.close()
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap)
    parts = [TopicPartition(topics["rejects"], number) for number in range(2)]
    assert set(consumer.end_offsets(parts).values()) == {0}, "nothing is written"
    consumer.close()


@pytest.mark.xdist_group("kafka")
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_wrong_password(broker, topics, mechanism):
    secrets = secrets_of(broker) | {"KAFKA_PASSWORD": "no-password-of-it"}
    reached, found = look(logged_in(broker, mechanism), topics, secrets)
    assert reached.grade is Grade.GOOD
    assert (found.grade, found.facts) == (Grade.MISTAKE, {"state": "authentication"})
    assert found.remedy == "check events.kafka.sasl and its secrets"


@pytest.mark.xdist_group("kafka")
def test_a_certificate_that_is_not_trusted(broker, topics, tmp_path):
    from tests.servers.certificates import Authority

    other = tmp_path / "other.pem"
    other.write_bytes(Authority("another authority").certificate_pem)
    (found,) = look(logged_in(broker, ca_file=other), topics, secrets_of(broker))
    assert (found.grade, found.facts) == (Grade.MEND, {"state": "tls"})
    assert "is not trusted" in found.found
    assert "ca_file" in found.remedy


@pytest.mark.parametrize(
    ("view", "creates", "grade", "words"),
    [
        (TopicView(6, 0, True, None), True, Grade.GOOD, "6 partitions"),
        (TopicView(6, 0, None, None), True, Grade.NOTE, "does not tell"),
        (TopicView(6, 2, True, None), True, Grade.MEND, "2 of 6 partitions have no leader"),
        (None, True, Grade.NOTE, "the station makes it"),
        (None, None, Grade.NOTE, "the station makes it"),
        (None, False, Grade.MEND, "may not make it"),
        (TopicView(0, 0, None, "TopicAuthorizationFailedError"), True, Grade.MEND, "Authorization"),
    ],
)
def test_what_the_broker_says_of_a_topic(view, creates, grade, words):
    found = topic_finding("t", view, creates=creates)
    assert found.grade is grade
    assert words in found.found
