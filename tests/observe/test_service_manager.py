"""What goes to the service manager's socket, and that nothing goes wrong where there is none."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from inspector import cli
from inspector.observe.service_manager import STATUS_BYTES, ServiceManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Listener:
    """The socket of a service manager."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(60)

    def next(self) -> list[str]:
        return self.socket.recv(8192).decode().splitlines()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(str(tmp_path / "notify"))
    yield listener
    listener.socket.close()


@pytest.fixture
def manager(tmp_path: Path, listener: Listener) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})


def test_states_go_out_as_lines_of_one_message(manager, listener):
    assert manager.listens
    assert manager.tell(status="serving", READY=1)
    assert listener.next() == ["READY=1", "STATUS=serving"]


def test_a_socket_without_a_file_is_found_by_its_name():
    name = f"inspector-test-notify-{os.getpid()}"
    listener = Listener(f"\0{name}")
    try:
        assert ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).tell(WATCHDOG=1)
        assert listener.next() == ["WATCHDOG=1"]
    finally:
        listener.socket.close()


@pytest.mark.parametrize("named", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_socket_telling_does_nothing(named):
    manager = ServiceManager(named)
    assert not manager.listens
    assert not manager.tell(READY=1)
    with manager.reloading():
        pass


def test_a_socket_that_is_gone_is_said_once_and_found_again(tmp_path, capsys):
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert not manager.tell(READY=1)
    assert not manager.tell(READY=1)
    assert capsys.readouterr().out.count("the service manager cannot be told") == 1
    listener = Listener(str(tmp_path / "notify"))
    try:
        assert manager.tell(READY=1)
    finally:
        listener.socket.close()


def test_a_manager_that_does_not_read_does_not_hold_the_station(manager, listener):
    told = [manager.tell(status="x" * 900) for _ in range(2000)]
    assert told[0]
    assert not told[-1]


def test_a_status_is_one_line_and_never_too_long(manager, listener):
    manager.tell(status="two\nlines\tand READY=1")
    assert listener.next() == ["STATUS=two lines and READY=1"]
    manager.tell(status="ü" * 5000)
    (line,) = listener.next()
    assert line.endswith("ü…")
    assert len(line.removeprefix("STATUS=").encode()) <= STATUS_BYTES


def test_a_reload_ends_with_ready_whatever_comes_of_it(manager, listener):
    def reload() -> None:
        with manager.reloading():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        reload()
    reloading, since = listener.next()
    assert reloading == "RELOADING=1"
    assert since.startswith("MONOTONIC_USEC=")
    assert listener.next() == ["READY=1"]


def test_the_reason_of_an_end_stays_as_the_status(tmp_path, listener, monkeypatch, capsys):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    assert cli.status_of(["check", str(tmp_path / "absent.yaml")]) == 2
    (status,) = listener.next()
    assert status.startswith("STATUS=ended: ")
    assert "absent.yaml" in status
