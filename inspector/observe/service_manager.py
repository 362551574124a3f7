"""The door to the service manager: states as datagrams, as sd_notify(3) describes them.

The protocol is one line a state to a UNIX socket, so a library would be longer than this. Where no
service manager listens, telling does nothing: a station runs the same from a shell.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_log = structlog.get_logger("inspector.service_manager")

NOTIFY_SOCKET = "NOTIFY_SOCKET"
"""Names the socket: a path, or `@` and a name without a file."""
STATUS_BYTES = 1000
"""Longest status. systemd passes over datagrams of 4096 bytes and more; a person reads less."""


class ServiceManager:
    """Tells the service manager what the station is about. Any thread; never waits.

    Args:
        environment: where the socket is named; the process's own variables if absent.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        named = (os.environ if environment is None else environment).get(NOTIFY_SOCKET, "")
        self._address = _address(named)
        self._faulty = False

    @property
    def listens(self) -> bool:
        """Whether there is someone to tell."""
        return bool(self._address)

    def tell(self, *, status: str | None = None, **states: str | int) -> bool:
        """Send states, together as one message.

        Args:
            status: one line for a person, without secrets; what is too long is cut.
            states: the others, by the names of sd_notify(3), such as `READY=1`.

        Returns:
            Whether the message went out. A state that is to be told once is to be told again
            where it did not.
        """
        if not self._address:
            return False
        lines = [f"{name}={value}" for name, value in states.items()]
        if status is not None:
            lines.append(f"STATUS={_one_line(status)}")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
                end.setblocking(False)
                end.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._faulty:  # once, not every second
                _log.warning("the service manager cannot be told", fault=str(error))
            self._faulty = True
            return False
        self._faulty = False
        return True

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Around the reload of the station file: the station is reloading, and then ready again."""
        self.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        try:
            yield
        finally:
            self.tell(READY=1)


def _address(named: str) -> str:
    """The socket's address for the kernel, or nothing.

    Other kinds of address, such as a virtual machine's, are none that systemd gives a service.
    """
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") else ""


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    if len(line.encode()) <= STATUS_BYTES:
        return line
    return line.encode()[: STATUS_BYTES - len("…".encode())].decode(errors="ignore") + "…"
