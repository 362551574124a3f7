"""What the station knows of its broker: how to reach it, and why that does not work."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from kafka import errors as kafka_errors

from inspector.errors import EventsError, InspectorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inspector.config.events import Kafka

State = Literal[
    "off",
    "connecting",
    "connected",
    "refused",
    "unreachable",
    "not_found",
    "timeout",
    "tls",
    "authentication",
    "authorization",
    "clock",
    "failed",
]

PROBE_S = 2.0
"""Longest wait for a connection and for the TLS handshake on it."""
BOOTSTRAP_S = 5.0
"""Longest wait for a client to find its cluster."""

IN_STATION_FILE = "events.kafka."
"""Where a station file has the broker's keys: messages name them as the reader finds them."""
IN_SERVICE_FILE = "kafka."
"""Where the file of a signaller or a fleet view has them."""


class SecretsLike(Protocol):
    """What the clients need of `inspector.config.secrets.Secrets`."""

    def get(self, name: str) -> str:
        """The secret of that name; raises UserError where there is none."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the broker cannot be used: a word for programs, a sentence for people, no secrets."""

    state: State
    reason: str


class CannotConnectError(EventsError):
    """The broker cannot be used at the moment."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.reason)
        self.trouble = trouble


def tls_context(
    kafka: Kafka, secrets: SecretsLike, section: str = IN_STATION_FILE
) -> ssl.SSLContext | None:
    """The TLS settings of a broker, certificate and host name verified; None without TLS.

    Args:
        section: where the file has the broker's keys.

    Raises:
        CannotConnectError: a file of the tls section cannot be used.
    """
    if not kafka.security_protocol.endswith("SSL"):
        return None
    tls = kafka.tls
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:
        reason = f"{section}tls.ca_file {tls.ca_file} cannot be used: {error}"
        raise CannotConnectError(Trouble("tls", reason)) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate_file is not None and tls.key_file is not None:
        try:
            password = None if tls.key_password is None else secrets.get(tls.key_password)
            context.load_cert_chain(tls.certificate_file, tls.key_file, password or "")
        except (OSError, InspectorError) as error:
            reason = (
                f"{section}tls.certificate_file {tls.certificate_file} with key_file"
                f" {tls.key_file} cannot be used: {error}"
            )
            raise CannotConnectError(Trouble("tls", reason)) from error
    return context


def client_options(
    kafka: Kafka, secrets: SecretsLike, context: ssl.SSLContext | None, client_id: str
) -> dict[str, Any]:
    """Options that every kafka-python client takes.

    Raises:
        CannotConnectError: a secret is not set.
    """
    timeout_ms = int(kafka.request_timeout_s * 1000)
    options: dict[str, Any] = {
        "bootstrap_servers": list(kafka.bootstrap_servers),
        "client_id": client_id,
        "security_protocol": kafka.security_protocol,
        "request_timeout_ms": timeout_ms,
        "bootstrap_timeout_ms": int(BOOTSTRAP_S * 1000),
        "reconnect_backoff_ms": 200,
        "reconnect_backoff_max_ms": 1000,
    }
    if context is not None:
        options["ssl_context"] = context
    if kafka.sasl is not None:
        try:
            name, password = secrets.get(kafka.sasl.username), secrets.get(kafka.sasl.password)
        except InspectorError as error:
            raise CannotConnectError(Trouble("authentication", str(error))) from error
        options |= {
            "sasl_mechanism": kafka.sasl.mechanism,
            "sasl_plain_username": name,
            "sasl_plain_password": password,
        }
    return options


def probe(
    servers: Iterable[str],
    context: ssl.SSLContext | None,
    timeout_s: float = PROBE_S,
    *,
    section: str = IN_STATION_FILE,
) -> Trouble | None:
    """Connect to the brokers ourselves, since kafka-python says "timeout" for every cause.

    Args:
        section: where the file has the broker's keys.

    Returns:
        None as soon as one server takes a connection (and its TLS handshake), else the trouble of
        the last one.
    """
    trouble = None
    for server in servers:
        trouble = _probe_one(server, context, timeout_s, section)
        if trouble is None:
            return None
    return trouble


def _probe_one(
    server: str, context: ssl.SSLContext | None, timeout_s: float, section: str
) -> Trouble | None:
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), timeout_s) as plain:
            if context is not None:
                with context.wrap_socket(plain, server_hostname=host):
                    pass
    except ssl.SSLCertVerificationError as error:
        return Trouble(
            "tls",
            f"the certificate of {server} is not trusted: {error.verify_message};"
            f" check {section}tls.ca_file and the host name",
        )
    except ssl.SSLError as error:
        return Trouble("tls", f"the TLS handshake with {server} failed: {error.reason or error}")
    except ConnectionRefusedError:
        return Trouble("refused", f"nothing listens at {server}: connection refused")
    except socket.gaierror as error:
        return Trouble("not_found", f"the host name of {server} is not known: {error.strerror}")
    except TimeoutError:
        return Trouble("timeout", f"{server} did not answer within {timeout_s:g} s")
    except OSError as error:
        if context is not None and isinstance(error, ConnectionError):
            return Trouble("tls", f"{server} broke the TLS handshake off: does it speak TLS?")
        return Trouble("unreachable", f"{server} cannot be reached: {error.strerror or error}")
    return None


def trouble_of(error: BaseException, server: str, section: str = IN_STATION_FILE) -> Trouble | None:
    """What an error of kafka-python says for certain; None if it says nothing certain.

    Args:
        section: where the file has the broker's keys.
    """
    if isinstance(
        error,
        kafka_errors.SaslAuthenticationFailedError
        | kafka_errors.UnsupportedSaslMechanismError
        | kafka_errors.IllegalSaslStateError,
    ):
        return Trouble(
            "authentication",
            f"{server} does not accept user name and password: {_text(error)};"
            f" check {section}sasl and its secrets",
        )
    if isinstance(error, kafka_errors.AuthorizationError):
        return Trouble("authorization", f"the broker does not permit this: {_text(error)}")
    if isinstance(error, kafka_errors.InvalidTimestampError):
        return Trouble(
            "clock", f"the broker does not accept our time: {_text(error)}; set the station's clock"
        )
    text = str(error)
    if "Handshake failed" in text and ("SSL" in text or "CERTIFICATE" in text.upper()):
        return Trouble("tls", f"the TLS handshake with {server} failed: {text}")
    return None


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


class Latest:
    """The last error that kafka-python met on its connections; set and read by several threads.

    Args:
        section: where the file has the broker's keys.
    """

    def __init__(self, section: str) -> None:
        self._section = section
        self._lock = threading.Lock()
        self._certain: Trouble | None = None
        self._suspicious = False

    def note(self, error: BaseException, server: str) -> None:
        """Remember that there was an error, and what it says for certain."""
        trouble = trouble_of(error, server, self._section)
        with self._lock:
            self._suspicious = True
            self._certain = trouble or self._certain

    def suspicious(self) -> bool:
        """Whether there was any error since the last call."""
        with self._lock:
            suspicious, self._suspicious = self._suspicious, False
        return suspicious

    def take(self) -> Trouble | None:
        """What was noted for certain since the last call."""
        with self._lock:
            certain, self._certain = self._certain, None
        return certain
