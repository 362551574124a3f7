"""Ports of this machine that stay a test's own."""

from __future__ import annotations

import socket

_HELD: list[socket.socket] = []
"""Bound and never listening, until the process ends: a port that was given back at once may be
somebody's connection by the time that a server is to listen there. Servers that allow the reuse of
an address, as ours all do, may listen beside such a socket; nobody else is given the port."""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens at, and that nobody else gets."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    return int(held.getsockname()[1])
