"""Messages between the supervisor and its workers: one JSON object a packet of a socket pair.

SOCK_SEQPACKET keeps the borders of messages, and the end of either process is the end of the
connection at the other side. Descriptors (the ring) travel beside a message.

Supervisor to worker: `settings` (the camera's branch and its credentials), `go` (open the source;
with the ring), `free` (a slot, or a damaged frame, is done with), `stop`. Where frames are judged
on a trigger only: `hold` (an `ask` follows), and `ask` (the first frame that arrives then is due).
The moment of a trigger lies between the two, so that the worker, which awaits an `ask` that it was
told of, lets no frame go that arrived after that moment.
Worker to supervisor: `hello`, `opened`, `frame`, `resize` (a new ring is wanted), `lost`, `ended`.
"""

from __future__ import annotations

import array
import json
import socket
from typing import Any

MESSAGE_BYTES = 1 << 17
MOST_FDS = 4

Message = dict[str, Any]


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new connection, closed on exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send one message, and duplicates of the descriptors.

    Raises:
        BlockingIOError: the end does not block and the other side does not read.
        OSError: the other side is gone.
    """
    data = json.dumps(message, separators=(",", ":")).encode()
    if fds:
        socket.send_fds(end, [data], list(fds))
    else:
        end.send(data)


def receive(end: socket.socket, flags: int = 0) -> tuple[Message, list[int]] | None:
    """The next message and its descriptors (now the caller's); None at the end of the connection.

    Raises:
        BlockingIOError: there is none and the end does not block.
        ValueError: what came is no message.
        OSError: the connection broke.
    """
    # Not socket.recv_fds: it forgets the flags (CPython 3.11 to 3.13).
    space = socket.CMSG_LEN(MOST_FDS * array.array("i").itemsize)
    data, extra, _, _ = end.recvmsg(MESSAGE_BYTES, space, flags)
    fds: list[int] = []
    for level, kind, content in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received = array.array("i")
            received.frombytes(content[: len(content) - len(content) % received.itemsize])
            fds += received
    if not data:
        return None
    message = json.loads(data)
    if not isinstance(message, dict):
        msg = f"expected a JSON object from the other process, got {data[:40]!r}"
        raise ValueError(msg)  # noqa: TRY004 - one error for all that is no message
    return message, fds
