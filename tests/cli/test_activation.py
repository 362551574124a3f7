"""`inspector engines activate` and `rollback` against a real listening interface."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from inspector.cli import status_of
from inspector.engine_room import Activation
from inspector.verdict import EngineInfo
from inspector.web.app import make_app
from inspector.web.server import WebServer
from tests.web.test_app import SmallStation
from tests.web.viewing import SmallViewing

SECOND = EngineInfo("second", "2.0.0", "0" * 64, "openvino", "int8")
FIRST = EngineInfo("first", "1.0.0", "1" * 64, "openvino", "int8")


@pytest.fixture
def station():
    return SmallStation()


@pytest.fixture
def serve(station):
    servers = []

    def start(token=None, host="127.0.0.1"):
        server = WebServer(
            make_app(station, SmallViewing(), host=host, token=token), host=host, port=0
        )
        server.start()
        servers.append(server)
        return server.address.rstrip("/")

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def command(capfd):
    def run(*arguments):
        status = status_of(["engines", *map(str, arguments)])
        return status, *capfd.readouterr()

    return run


def station_file(folder, url, **web):
    file = folder / "station.yaml"
    file.write_text(
        "version: 1\nstation: line-1\ncameras: {a: {source: {kind: pattern}}}\n"
        f"web: {json.dumps({'listen': url.removeprefix('http://'), **web})}\n"
    )
    return file


def test_what_was_done_is_told_in_a_line(station, serve, command):
    url = serve()
    station.activation = Activation("activated", "screen: second 2.0.0 judges", FIRST, SECOND)
    assert command("activate", "second", "--url", url) == (
        0, "screen: second 2.0.0 judges (before: first 1.0.0)\n", "",
    )  # fmt: skip
    status, out, _ = command("rollback", "--url", url + "/", "--stage", "confirm", "--json")
    assert status == 0
    assert json.loads(out) == station.activation.document()
    assert station.engines == [
        ("second", "screen", "HTTP 127.0.0.1"),
        ("before", "confirm", "HTTP 127.0.0.1"),
    ]


@pytest.mark.parametrize(
    ("word", "status"), [("refused", 1), ("not now", 1), ("unknown engine", 2)]
)
def test_what_was_not_done_is_told_with_its_reason(station, serve, command, word, status):
    station.activation = Activation(word, "it lies")
    url = serve()
    assert command("activate", "second", "--url", url) == (
        status,
        "",
        f"inspector: {word}: it lies\n",
    )


def test_the_station_file_tells_address_and_secret(station, serve, command, tmp_path, monkeypatch):
    station.activation = Activation("activated", "screen: second 2.0.0 judges", FIRST, SECOND)
    url = serve(token="hunter2")
    file = station_file(tmp_path, url, token="WEB_T")
    status, _, err = command("activate", "second", file)
    assert status == 2
    assert "the secret WEB_T is not set" in err
    monkeypatch.setenv("WEB_T", "wrong")
    status, _, err = command("activate", "second", file)
    assert status == 1
    assert "This service asks for its token" in err
    monkeypatch.setenv("WEB_T", "hunter2")
    assert command("activate", "second", file)[0] == 0
    assert command("activate", "second", "--url", url, "--token", "WEB_T")[0] == 0


def test_an_address_that_listens_everywhere_is_asked_here(
    station, serve, command, tmp_path, monkeypatch
):
    monkeypatch.setenv("WEB_T", "hunter2")
    station.activation = Activation("activated", "screen: second 2.0.0 judges", FIRST, SECOND)
    url = serve(token="hunter2", host="0.0.0.0")
    port = url.rpartition(":")[2]
    file = station_file(tmp_path, f"0.0.0.0:{port}", token="WEB_T")
    assert command("rollback", file)[0] == 0


def test_mistakes_are_told(command, tmp_path):
    file = station_file(tmp_path, "127.0.0.1:0")
    for arguments, said in (
        ((file,), "give the station's address by --url"),
        ((file, "--url", "http://127.0.0.1:1"), "not both"),
        (("--url", "127.0.0.1:8787"), "expected an address such as"),
        (("--url", "http://127.0.0.1:87x87"), "expected an address such as"),
        (("--url", "http://10.0.0.5 :8787"), "expected an address such as"),
        (("--url", "http://[::1:8787"), "expected an address such as"),
    ):
        status, _, err = command("rollback", *arguments)
        assert status == 2
        assert said in err
    status, _, err = command("rollback", "--url", "http://127.0.0.1:1")
    assert status == 1
    assert "no station answers at http://127.0.0.1:1" in err


def test_what_is_no_station_is_told(command):
    """A port of something else answers, in its own way."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        status, _, err = command("rollback", "--url", url)
        thread.join()
    assert status == 1
    assert f"no station answers at {url}" in err


def test_a_secret_is_in_no_message(command, serve, monkeypatch):
    url = serve(token="hunter2")
    monkeypatch.setenv("WEB_T", "hunter2\n")
    assert "hunter2" not in "".join(map(str, command("rollback", "--url", url, "--token", "WEB_T")))
    monkeypatch.setenv("WEB_T", "hunter2\u20ac")
    status, _, err = command("rollback", "--url", url, "--token", "WEB_T")
    assert status == 2
    assert "no HTTP header can hold" in err
    assert "hunter2" not in err
