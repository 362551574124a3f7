from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from kafka import errors as kafka_errors

from inspector.config.events import Kafka, KafkaTls
from inspector.config.secrets import Secrets
from inspector.events.broker import (
    IN_SERVICE_FILE,
    CannotConnectError,
    probe,
    tls_context,
    trouble_of,
)
from inspector.events.link import Link
from tests.servers.certificates import Authority
from tests.servers.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts servers that treat each connection as they are told."""
    servers: list[socket.socket] = []

    def start(treat: Callable[[socket.socket], None]) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        treat(connection)
                    except OSError:
                        continue

        threading.Thread(target=accept, daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_a_server_that_takes_connections_is_no_trouble(serve: Callable[..., str]) -> None:
    assert probe([serve(lambda _: None)], None) is None


def test_one_of_several_is_enough(serve: Callable[..., str]) -> None:
    port = free_port()
    assert probe([f"127.0.0.1:{port}", serve(lambda _: None)], None) is None


def test_nobody_there() -> None:
    port = free_port()
    trouble = probe([f"127.0.0.1:{port}"], None)
    assert trouble is not None
    assert trouble.state == "refused"
    assert f"127.0.0.1:{port}" in trouble.reason


def test_no_such_host() -> None:
    trouble = probe(["no-such-host.invalid:9092"], None)
    assert trouble is not None
    assert trouble.state == "not_found"


def test_a_server_that_never_answers_the_handshake(serve: Callable[..., str]) -> None:
    release = threading.Event()
    server = serve(lambda _: release.wait(60))
    trouble = probe([server], ssl.create_default_context(), timeout_s=0.3)
    release.set()
    assert trouble is not None
    assert trouble.state == "timeout"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_server_that_speaks_no_tls(serve: Callable[..., str], answer: bytes) -> None:
    server = serve(lambda c: c.sendall(answer))
    trouble = probe([server], ssl.create_default_context(), timeout_s=60)
    assert trouble is not None
    assert trouble.state == "tls"


@pytest.mark.parametrize(
    ("trusted", "host", "told"),
    [(True, "127.0.0.1", None), (False, "127.0.0.1", "not trusted"), (True, "b1", "mismatch")],
)
def test_certificate_and_host_name_are_verified(
    serve: Callable[..., str], tmp_path: Path, trusted: bool, host: str, told: str | None
) -> None:
    ours, strange = Authority("ours"), Authority("strange")
    pem = tmp_path / "server.pem"
    pem.write_bytes(ours.server_pem(host))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def handshake(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True).close()

    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes((ours if trusted else strange).certificate_pem)
    config = Kafka(
        bootstrap_servers=("b:1",), security_protocol="SSL", tls=KafkaTls(ca_file=ca_file)
    )
    trouble = probe([serve(handshake)], tls_context(config, Secrets()), timeout_s=60)
    if told is None:
        assert trouble is None
    else:
        assert trouble is not None
        assert trouble.state == "tls"
        assert told in trouble.reason


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    config = Kafka(
        bootstrap_servers=("b:1",), security_protocol="SSL", tls=KafkaTls(ca_file=ca_file)
    )
    with pytest.raises(CannotConnectError, match=r"events\.kafka\.tls\.ca_file .*ca\.pem"):
        tls_context(config, Secrets())


def test_keys_are_named_as_the_service_has_them_in_its_own_file(
    serve: Callable[..., str], tmp_path: Path
) -> None:
    """Those of `inspector line` and `inspector dashboard` have the broker at their top."""
    pem, ca_file = tmp_path / "server.pem", tmp_path / "ca.pem"
    pem.write_bytes(Authority("ours").server_pem("127.0.0.1"))
    ca_file.write_bytes(Authority("strange").certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = serve(lambda c: context.wrap_socket(c, server_side=True).close())

    def told(**tls: Path) -> str:
        config = Kafka(
            bootstrap_servers=(server,), security_protocol="SSL", tls=KafkaTls.model_validate(tls)
        )
        with pytest.raises(CannotConnectError) as caught:
            Link(config, Secrets(), "test", IN_SERVICE_FILE).connect(lambda _: None)
        return caught.value.trouble.reason

    none = tmp_path / "none.pem"
    assert told(ca_file=none).startswith("kafka.tls.ca_file ")
    assert told(certificate_file=none, key_file=none).startswith("kafka.tls.certificate_file ")
    assert "; check kafka.tls.ca_file and" in told(ca_file=ca_file)


def test_a_refused_log_in_names_the_keys_of_the_services_own_file() -> None:
    config = Kafka(bootstrap_servers=("b:1",))
    error = kafka_errors.SaslAuthenticationFailedError("no")
    link = Link(config, Secrets(), "test", IN_SERVICE_FILE)
    assert "; check kafka.sasl and" in link.cannot(error).trouble.reason
    link.chatter._on_error(error)  # what the library logs of its connections
    _, noted = link.complaints()
    assert noted is not None
    assert "; check kafka.sasl and" in noted.reason
    ours = Link(config, Secrets(), "test").cannot(error).trouble.reason
    assert "; check events.kafka.sasl and" in ours


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (kafka_errors.SaslAuthenticationFailedError("no"), "authentication"),
        (kafka_errors.UnsupportedSaslMechanismError("no"), "authentication"),
        (kafka_errors.TopicAuthorizationFailedError("t"), "authorization"),
        (kafka_errors.InvalidTimestampError("x"), "clock"),
        (kafka_errors.KafkaConnectionError("Handshake failed: [SSL: WRONG]"), "tls"),
        (kafka_errors.KafkaTimeoutError("Unable to bootstrap"), None),
        (kafka_errors.KafkaConnectionError("closed"), None),
    ],
)
def test_errors_of_the_library_that_say_something_certain(
    error: BaseException, state: str | None
) -> None:
    trouble = trouble_of(error, "b:1")
    assert (trouble and trouble.state) == state
