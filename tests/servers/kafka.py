"""A real Apache Kafka broker for tests: KRaft, one node, on free loopback ports.

    python -m tests.servers.kafka --fetch      fetch the jars and end
    python -m tests.servers.kafka              run a broker until it is interrupted

Tests use the `broker` fixture and carry `@pytest.mark.xdist_group("kafka")`, so that one worker
runs them all against one broker. `INSPECTOR_TEST_KAFKA=host:port` uses a broker that is already
there; tests that stop the broker, or need its TLS listener, are then skipped.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.certificates import Authority
from tests.servers.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "4.3.1"
CACHE = Path(__file__).parents[2] / ".cache" / f"kafka-{VERSION}"
EXTERNAL = "INSPECTOR_TEST_KAFKA"
START_S = 120.0

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>inspector.tests</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
    <version>{VERSION}</version>
  </dependency></dependencies>
</project>
"""

_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{tls},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{tls}
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{username}="{password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
log.dirs={data}
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.session.timeout.ms=4500
broker.heartbeat.interval.ms=300
log.segment.bytes=16777216
log.cleaner.dedupe.buffer.size=4194304
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
"""


def fetch_jars() -> Path:
    """The folder with Kafka's jars, fetched by Maven where it is not there yet.

    Any number of processes may call at once; one fetches.

    Raises:
        RuntimeError: Maven failed; its output is in the message.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    jars = CACHE / "jars"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if jars.is_dir():
            return jars
        fetched = CACHE / "jars.part"
        shutil.rmtree(fetched, ignore_errors=True)
        (CACHE / "pom.xml").write_text(_POM)
        run = subprocess.run(
            [
                "mvn",
                "-q",
                "-B",
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                f"-DoutputDirectory={fetched}",
            ],
            cwd=CACHE,
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode != 0:
            msg = f"Maven could not fetch Kafka {VERSION}:\n{run.stdout}{run.stderr}"
            raise RuntimeError(msg)
        fetched.rename(jars)
    return jars


class Broker:
    """One broker and its data, which outlive `stop`, `kill` and `start`.

    Attributes:
        bootstrap: HOST:PORT without TLS and without a log-in.
        tls_bootstrap: HOST:PORT with TLS and SASL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512).
        ca_file: PEM file of the authority of the TLS listener's certificate.
        username, password: known to every SASL mechanism.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.username, self.password = "station", "s3cret-of-the-broker"
        plain, tls, controller = free_port(), free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{plain}"
        self.tls_bootstrap = f"127.0.0.1:{tls}"
        authority = Authority("inspector test authority")
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(authority.certificate_pem)
        keystore = folder / "broker.pem"
        keystore.write_bytes(authority.server_pem("127.0.0.1", "localhost"))
        keystore.chmod(0o600)
        self._properties = folder / "server.properties"
        self._properties.write_text(
            _PROPERTIES.format(
                plain=plain,
                tls=tls,
                controller=controller,
                data=folder / "data",
                keystore=keystore,
                username=self.username,
                password=self.password,
            )
        )
        self._jars = fetch_jars()
        self._log = folder / "broker.log"
        cluster = "AAAAAAAAAAAAAAAAAAAAAQ"
        self._java(
            "kafka.tools.StorageTool", "format", "--config", str(self._properties),
            "--cluster-id", cluster, *self._scram("SCRAM-SHA-256"), *self._scram("SCRAM-SHA-512"),
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; its log is in the message.
        """
        assert self._process is None, "the broker runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._command(),
                    "-Xmx512m",
                    "-Xms128m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                    "kafka.Kafka",
                    str(self._properties),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                msg = f"Kafka did not start:\n{self._log.read_text()[-4000:]}"
                raise RuntimeError(msg)
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in good order; it keeps its data."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def deny_writing(self, topic: str) -> None:
        """Let the logged-in user see a topic and not write to it; it need not be there yet."""
        # Imported here: the library warns at its import, and the filter for it is set below.
        from kafka import KafkaAdminClient
        from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

        def rule(operation: ACLOperation, permission: ACLPermissionType) -> ACL:
            pattern = ResourcePattern(ResourceType.TOPIC, topic)
            return ACL(f"User:{self.username}", "*", operation, permission, pattern)

        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.create_acls(
                [
                    rule(ACLOperation.DESCRIBE, ACLPermissionType.ALLOW),
                    rule(ACLOperation.WRITE, ACLPermissionType.DENY),
                ]
            )
        finally:
            admin.close()

    def _end(self, by: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(by)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @property
    def running(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None

    def _scram(self, mechanism: str) -> list[str]:
        return ["--add-scram", f"{mechanism}=[name={self.username},password={self.password}]"]

    def _command(self) -> list[str]:
        return ["java", "-cp", f"{self._jars}/*"]

    def _java(self, *arguments: str) -> None:
        run = subprocess.run(
            [*self._command(), "-Xmx256m", "-XX:TieredStopAtLevel=1", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode != 0:
            msg = f"{arguments[0]} failed:\n{run.stdout}{run.stderr}"
            raise RuntimeError(msg)

    def _answers(self) -> bool:
        """Whether it answers an ApiVersions request, and not only takes connections."""
        host, _, port = self.bootstrap.rpartition(":")
        request = bytes.fromhex("0000000a 0012 0000 00000001 ffff".replace(" ", ""))
        try:
            with socket.create_connection((host, int(port)), 1) as connection:
                connection.settimeout(2)
                connection.sendall(request)
                return len(connection.recv(8)) > 0
        except OSError:
            return False


class ExternalBroker:
    """A broker that somebody else runs, by the address in INSPECTOR_TEST_KAFKA."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.running = True

    def __getattr__(self, name: str) -> object:
        pytest.skip(f"{EXTERNAL} names a broker that is not ours: no {name}")


def pytest_configure(config: pytest.Config) -> None:
    """What kafka-python does and we cannot help, in whichever test it comes to light."""
    for warning in (
        # It reads its own files in a way that Python 3.11 and 3.12 advise against.
        r"ignore:(open|read)_text is deprecated:DeprecationWarning",
        # It leaves sockets that never got a connection to the garbage collector.
        r"ignore:unclosed <socket.* proto=6, laddr=\('0.0.0.0':ResourceWarning",
    ):
        config.addinivalue_line("filterwarnings", warning)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The same of sockets that had one, in tests that break connections."""
    for item in items:
        if item.get_closest_marker("kafka") or "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning"))


@pytest.fixture(scope="session")
def broker_of_session(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Broker | ExternalBroker]:
    """The broker of this test process, started when the first test asks for it."""
    external = os.environ.get(EXTERNAL)
    if external:
        yield ExternalBroker(external)
        return
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


@pytest.fixture
def broker(broker_of_session: Broker | ExternalBroker) -> Iterator[Broker | ExternalBroker]:
    """A running broker; a test that stopped it does not spoil the next one."""
    if not broker_of_session.running:
        broker_of_session.start()
    yield broker_of_session
    gc.collect()  # what the library left belongs to this test, not to the next one


@pytest.fixture
def topic_suffix() -> str:
    """Makes topic names of one test its own."""
    return uuid.uuid4().hex[:8]


def main() -> None:
    """Fetch the jars, or run a broker."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.kafka")
    parser.add_argument("--fetch", action="store_true", help="fetch the jars and end")
    if parser.parse_args().fetch:
        fetch_jars()
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the broker must not outlive us
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder))
        try:
            broker.start()
            print(f"{broker.bootstrap} (TLS: {broker.tls_bootstrap}, CA: {broker.ca_file})")
            sys.stdout.flush()
            signal.pause()
        except KeyboardInterrupt:
            pass
        finally:
            broker.kill()


if __name__ == "__main__":
    main()
