"""Fixtures: a real RTSP server whose picture can be switched, its certificates, and its faults."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.servers.rtsp_faults import FaultServer, Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
BLOCK_PX, BITS = 16, 16


@dataclass(frozen=True)
class Certificates:
    """Files of a TLS server at 127.0.0.1 and localhost, its authority, and another authority.

    `stranger` is a certificate of the same authority and key for another host.
    """

    ca: Path
    certificate: Path
    key: Path
    other_ca: Path
    stranger: Path


class RtspServer:
    """The running server.

    Attributes:
        port: where it listens, on 127.0.0.1.
    """

    def __init__(self, arguments: list[str], *, tls: bool = False) -> None:
        self._arguments = arguments
        self._tls = tls
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it, or start it again at the same port."""
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(SCRIPT), "--port", str(self.port), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = self._answer()["port"]

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            msg = f"the RTSP server ended with status {self._process.wait()}; see tests/apt.txt"
            raise RuntimeError(msg)
        return json.loads(line)

    def tell(self, command: str) -> dict:
        """Send one command; returns when it is done."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def url(self, path: str = "/stream1") -> str:
        return f"{'rtsps' if self._tls else 'rtsp'}://127.0.0.1:{self.port}{path}"

    def show(self, name: str) -> None:
        """Send this picture from now on."""
        self.tell(f"show {name}")

    def stall(self) -> None:
        """Keep connections, send nothing."""
        self.tell("stall")

    def go(self) -> None:
        """Send again."""
        self.tell("go")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


def number_in(picture: NDArray[np.uint8]) -> int:
    """The number that a `numbered` server put into a picture."""
    row = picture[BLOCK_PX // 4 : BLOCK_PX * 3 // 4].mean(axis=(0, 2))
    return sum(
        (row[bit * BLOCK_PX + 4 : bit * BLOCK_PX + 12].mean() > 128) << bit for bit in range(BITS)
    )


@pytest.fixture
def rtsp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RtspServer]]:
    """Makes servers: `rtsp_server({"good": bgr, "gblur": bgr}, fps=10)`; the first is shown."""
    servers: list[RtspServer] = []

    def make(
        pictures: Mapping[str, NDArray[np.uint8]],
        *,
        fps: int = 20,
        gop: int = 10,
        codec: str = "h264",
        numbered: bool = False,
        path: str = "/stream1",
        user: str | None = None,
        password: str | None = None,
        tls: Certificates | None = None,
    ) -> RtspServer:
        folder = tmp_path_factory.mktemp("rtsp")
        height, width = next(iter(pictures.values())).shape[:2]
        arguments = ["--width", str(width), "--height", str(height), "--fps", str(fps)]
        arguments += ["--gop", str(gop), "--codec", codec, "--path", path]
        if numbered:
            arguments.append("--numbered")
        if user is not None:
            arguments += ["--user", user, "--password", password or ""]
        if tls is not None:
            arguments += ["--certificate", str(tls.certificate), "--key", str(tls.key)]
        for name, picture in pictures.items():
            file = folder / f"{name}.raw"
            file.write_bytes(np.ascontiguousarray(picture).tobytes())
            arguments.append(f"{name}={file}")
        server = RtspServer(arguments, tls=tls is not None)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def rtsp_fault() -> Iterator[Callable[[str], FaultServer]]:
    """Makes servers with a fault: `rtsp_fault("silent")`."""
    servers: list[FaultServer] = []

    def make(fault: str) -> FaultServer:
        servers.append(FaultServer(fault))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def rtsp_relay() -> Iterator[Callable[[int], Relay]]:
    """Makes relays before a server's port."""
    relays: list[Relay] = []

    def make(server_port: int) -> Relay:
        relays.append(Relay(server_port))
        return relays[-1]

    yield make
    for relay in relays:
        relay.close()


@pytest.fixture(scope="session")
def rtsp_certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A server's certificate and its authority, and an authority that did not sign it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("certificates")
    now = dt.datetime.now(dt.UTC)

    def build(name: str, issuer: x509.Name | None, key, signer, *, ca: bool):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names: list[x509.GeneralName] = [x509.DNSName(name)]
            if name == "localhost":
                names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256())

    def write(name: str, data: bytes) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    pem = serialization.Encoding.PEM
    authorities = []
    for name in ("test authority", "another authority"):
        key = ec.generate_private_key(ec.SECP256R1())
        authorities.append((key, build(name, None, key, key, ca=True)))
    (ca_key, ca), (_, other) = authorities
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = build("localhost", ca.subject, key, ca_key, ca=False)
    stranger = build("camera.example", ca.subject, key, ca_key, ca=False)
    return Certificates(
        write("ca.pem", ca.public_bytes(pem)),
        write("server.pem", certificate.public_bytes(pem)),
        write(
            "server.key",
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        ),
        write("other-ca.pem", other.public_bytes(pem)),
        write("stranger.pem", stranger.public_bytes(pem)),
    )
