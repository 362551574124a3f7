"""The link to one broker: makes clients, looks after topics, and knows why something fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from kafka import errors as kafka_errors

from inspector.events.broker import (
    IN_STATION_FILE,
    CannotConnectError,
    Latest,
    Trouble,
    client_options,
    probe,
    tls_context,
    trouble_of,
)
from inspector.events.chatter import Chatter
from inspector.events.delivery import Delivery
from inspector.events.topics import describe_topics, missing_topics

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection

    from inspector.config.events import Kafka
    from inspector.events.broker import SecretsLike
    from inspector.events.topics import ClusterView


LOG_INS = 4
"""A broker that refuses a log-in may hang up before the library has read why: so often we ask."""

Client = TypeVar("Client")


class Link:
    """Belongs to the thread of whoever writes or reads.

    Args:
        kafka: the broker.
        secrets: gives user name, password and key password by name, at each connection.
        client_id: how we call ourselves at the broker.
        section: where the file has the broker's keys, for messages.
    """

    def __init__(
        self, kafka: Kafka, secrets: SecretsLike, client_id: str, section: str = IN_STATION_FILE
    ) -> None:
        self._kafka = kafka
        self._secrets = secrets
        self._client_id = client_id
        self._section = section
        self.servers = ", ".join(kafka.bootstrap_servers)
        self._latest = Latest(section)
        self._context: ssl.SSLContext | None = None
        self._options: dict[str, Any] = {}
        self.chatter = Chatter(client_id, lambda error: self._latest.note(error, self.servers))
        """Listens to the library; to be begun and ended by the thread."""

    def open(self, wake: Callable[[], None], *, alone: bool) -> Delivery:
        """Connect, to write.

        Args:
            wake: called in the library's thread when there are answers.
            alone: for one record at a time (`Delivery`).

        Raises:
            CannotConnectError: the broker cannot be used; says why.
        """
        return self.connect(lambda options: Delivery(self._kafka, options, wake, alone=alone))

    def connect(self, make: Callable[[dict[str, Any]], Client]) -> Client:
        """Look whether the broker takes connections, then make a client of it.

        Args:
            make: gets the library's options.

        Raises:
            CannotConnectError: the broker cannot be used; says why.
        """
        self._context = self._tls_context()
        trouble = self.probe()
        if trouble is not None:
            raise CannotConnectError(trouble)
        return self._make(make)

    def _make(self, make: Callable[[dict[str, Any]], Client]) -> Client:
        self._options = client_options(self._kafka, self._secrets, self._context, self._client_id)
        self._latest.take()
        try:
            return make(self._options)
        except (kafka_errors.KafkaError, OSError) as error:
            raise self.cannot(error) from error

    def probe(self) -> Trouble | None:
        """Look with our own eyes whether the broker takes connections."""
        return probe(self._kafka.bootstrap_servers, self._context, section=self._section)

    def _tls_context(self) -> ssl.SSLContext | None:
        return tls_context(self._kafka, self._secrets, self._section)

    def complaints(self) -> tuple[bool, Trouble | None]:
        """Whether the library met any error since the last call, and what one says for certain."""
        return self._latest.suspicious(), self._latest.take()

    def cannot(self, error: BaseException) -> CannotConnectError:
        """The cause behind an error of the library, which often says only that time ran out."""
        trouble = (
            trouble_of(error, self.servers, self._section)
            or self._latest.take()
            or self.probe()
            or Trouble(
                "timeout",
                f"{self.servers} takes connections but does not answer as a Kafka broker that is"
                f" reached by {self._kafka.security_protocol}:"
                f" {str(error) or type(error).__name__};"
                f" check {self._section}security_protocol and the broker's advertised listeners",
            )
        )
        return CannotConnectError(trouble)

    def missing_topics(self, wanted: Collection[str], idle: Collection[str]) -> dict[str, str]:
        """Make the topics that are missing; those that cannot be used, each with a sentence why.

        Those that are `idle` are not made: the station writes nothing new to them.

        Raises:
            kafka_errors.KafkaError: the broker cannot be reached.
        """
        create = self._kafka.create_topics
        return missing_topics(self._options, wanted, create=create, idle=idle)

    def describe(self, wanted: Collection[str]) -> ClusterView:
        """Log in, and ask what may be done with these topics; makes and writes nothing.

        Raises:
            CannotConnectError: the broker cannot be used; says why.
        """
        self._context = self._tls_context()
        self.chatter.listen()
        try:
            for _ in range(LOG_INS - 1):
                try:
                    return self._make(lambda options: describe_topics(options, wanted))
                except CannotConnectError as error:
                    if self._kafka.sasl is None or error.trouble.state != "timeout":
                        raise
            return self._make(lambda options: describe_topics(options, wanted))
        finally:
            self.chatter.leave()
