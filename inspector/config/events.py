"""Where events go: outbox and broker."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from inspector.config.base import FilePath, Seconds, SecretName, Section

SERVER_PATTERN = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$"
TOPIC_PATTERN = r"^[A-Za-z0-9._-]{1,249}$"


def _port_exists(server: str) -> str:
    if not 1 <= int(server.rpartition(":")[2]) <= 65535:  # noqa: PLR2004 - the range of ports
        msg = "expected a port from 1 to 65535"
        raise ValueError(msg)
    return server


Server = Annotated[str, StringConstraints(pattern=SERVER_PATTERN), AfterValidator(_port_exists)]
Topic = Annotated[str, StringConstraints(pattern=TOPIC_PATTERN)]


class KafkaTls(Section):
    """TLS to the broker. Certificate and host name are always verified."""

    ca_file: FilePath | None = None
    """PEM file of the certificate authority; the system's authorities if absent."""
    certificate_file: FilePath | None = None
    """PEM file of the station's own certificate, where the broker asks for one."""
    key_file: FilePath | None = None
    """PEM file of its key."""
    key_password: SecretName | None = None
    """Name of the secret that opens the key."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            msg = "certificate_file and key_file go together"
            raise ValueError(msg)
        return self


class KafkaSasl(Section):
    """Log-in at the broker; user name and password are names of secrets."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    """How the broker checks the password."""
    username: SecretName
    """Name of the secret that holds the user name."""
    password: SecretName
    """Name of the secret that holds the password."""


class Kafka(Section):
    """The broker: `{bootstrap_servers: [broker1:9093], security_protocol: SSL}`."""

    bootstrap_servers: Annotated[tuple[Server, ...], Field(min_length=1, max_length=64)]
    """HOST:PORT of one broker or more; the others are learnt from them."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """SSL: encrypted; SASL: with a log-in."""
    tls: KafkaTls = KafkaTls()
    """For the SSL protocols."""
    sasl: KafkaSasl | None = None
    """For the SASL protocols."""
    create_topics: bool = True
    """Create missing topics, 6 partitions each, with the broker's default replication."""
    compression: Literal["none", "gzip"] = "gzip"
    """Of the records on the wire."""
    request_timeout_s: Seconds = 10.0
    """Without the broker's answer in this time an event is sent again."""
    max_request_kb: Annotated[int, Field(ge=16, le=65536)] = 1024
    """Largest record sent; a larger one is parked."""

    @model_validator(mode="after")
    def _protocol_fits(self) -> Self:
        needs_sasl = self.security_protocol.startswith("SASL")
        if needs_sasl != (self.sasl is not None):
            word = "needs" if needs_sasl else "does not go with"
            msg = f"security_protocol {self.security_protocol} {word} a sasl section"
            raise ValueError(msg)
        if not self.security_protocol.endswith("SSL") and self.tls != KafkaTls():
            msg = f"security_protocol {self.security_protocol} does not go with a tls section"
            raise ValueError(msg)
        return self


class Topics(Section):
    """Names of the topics."""

    rejects: Topic = "inspection.rejects"
    """Rejected frames, and cameras that become degraded or recover."""
    verdicts: Topic = "inspection.verdicts"
    """Every verdict, where `publish_verdicts` is set."""
    status: Topic = "inspection.status"
    """Cameras lost and restored, the station's heartbeat, events given up."""


class Outbox(Section):
    """The local durable queue that every event passes on its way to Kafka."""

    max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    """Bound on the disk; verdicts are given up first, then the oldest rejects."""
    keep_hours: Annotated[float, Field(ge=0, le=24 * 366)] = 24.0
    """Sent events stay this long for `inspector events resend`, within max_mb."""


class Events(Section):
    """What is published, and where to."""

    kafka: Kafka | None = None
    """No broker: events stay in the outbox, to be read with `inspector events`."""
    topics: Topics = Topics()
    """Names of the topics."""
    outbox: Outbox = Outbox()
    """The local queue on disk."""
    publish_verdicts: bool = False
    """Also publish a frame.judged event for every judged frame."""
    heartbeat_s: Seconds = 10.0
    """Interval of the station's status event."""
