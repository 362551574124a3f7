"""Serves the HTTP interface in a thread of its own."""

from __future__ import annotations

import errno
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from inspector.errors import UserError, WebError
from inspector.web.connection import Connection

if TYPE_CHECKING:
    from fastapi import FastAPI

GONE_MS = 15_000
"""A connection whose other end acknowledges nothing for so long is closed."""


class WebServer:
    """Listens from `start` on; requests are answered in its thread until `stop`.

    Args:
        host, port: address; port 0 takes a free one, told by `address`.
    """

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=Connection,
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._address = ""

    def start(self) -> None:
        """Bind the address and begin to answer.

        Raises:
            UserError: the address cannot be listened on, now or later.
            WebError: another start may meet it no more: this machine does not have the address, and
                after a power cut the network may come later than the station; or the address is
                taken, maybe by a station before this one that waits for a dead disk.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit these: who vanished without a word is not waited for, whether there is
        # something to send to him or not.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, GONE_MS // 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, GONE_MS // 3000)
        try:
            listener.bind((self._host, self._port))
            listener.listen()  # whoever comes before the thread does waits, and is not refused
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRNOTAVAIL:
                msg = (
                    f"the page cannot listen on {self._host}:{self._port}: this machine does not"
                    " have that address now; bring its network up, or give another address under"
                    " web: listen"
                )
                raise WebError(msg) from error
            kind = WebError if error.errno == errno.EADDRINUSE else UserError
            msg = (
                f"the page cannot listen on {self._host}:{self._port}: {error.strerror}; "
                "give another address under web: listen (port 0 takes a free one)"
            )
            raise kind(msg) from error
        host, port = listener.getsockname()[:2]
        self._address = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        self._socket = listener
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="web", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """The page's address, such as http://127.0.0.1:8787/; empty before `start`."""
        return self._address

    def stop(self) -> None:
        """Finish what is being answered (a second at most) and close. Idempotent."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=3)
        if self._socket is not None:
            self._socket.close()
