"""Messages between an engine process and its owner: one packet of a socket pair each.

A packet is a line of JSON and then, for some, bytes. SOCK_SEQPACKET keeps the borders of messages,
and the end of either process is the end of the connection at the other side. No lock and no queue
is shared, since a process that is killed would take it along.

Owner to engine process: `open` (bytes: the pickled spec), `map` (a ring's descriptor travels
beside it), `unmap`, `judge` (references to tiles; see `pack`), `stop`.
Engine process to owner: `beat` (every `BEAT_S`), `ready`, `failed` (it could not be opened), `rows`
(bytes: float32), `error` (one batch failed), `lost` (nothing will be judged any more). What comes
from there is never unpickled.
"""

from __future__ import annotations

import array
import json
import socket
from typing import TYPE_CHECKING, Any

from inspector.engine.runtime import TileRef
from inspector.engine.tiling import Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

BEAT_S = 0.1
PACKET_BYTES = 1 << 18
_MOST_FDS = 4

Head = dict[str, Any]


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new connection, closed on exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(
    end: socket.socket, head: Head, body: bytes = b"", *, fd: int | None = None, wait: bool = True
) -> None:
    """Send one message, and a duplicate of a descriptor. Any thread.

    Raises:
        BlockingIOError: not to wait, and the other side does not read.
        OSError: the other side is gone.
    """
    data = json.dumps(head, separators=(",", ":")).encode() + b"\n" + body
    flags = 0 if wait else socket.MSG_DONTWAIT
    # Not socket.send_fds: it forgets the flags.
    beside = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
    end.sendmsg([data], beside, flags)


def receive(end: socket.socket) -> tuple[Head, bytes, list[int]] | None:
    """The next message and its descriptors (now the caller's); None at the end. Waits for it.

    Raises:
        ValueError: what came is no message.
        OSError: the connection broke.
    """
    space = socket.CMSG_LEN(_MOST_FDS * array.array("i").itemsize)
    data, extra, flags, _ = end.recvmsg(PACKET_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if not data:
        return None
    if flags & socket.MSG_TRUNC:
        msg = f"a message of more than {PACKET_BYTES} bytes"
        raise ValueError(msg)
    line, _, body = data.partition(b"\n")
    head = json.loads(line)
    if not isinstance(head, dict) or "t" not in head:
        msg = f"expected a JSON object with t, came {line[:40]!r}"
        raise ValueError(msg)
    return head, body, list(fds)


def pack(tiles: Sequence[TileRef]) -> list[list[Any]]:
    """References to tiles as plain lists."""
    return [
        [ref.ring, ref.slot, ref.height, ref.width, ref.tile.x, ref.tile.y, ref.tile.size]
        for ref in tiles
    ]


def unpack(tiles: Sequence[Sequence[Any]]) -> list[TileRef]:
    """The references that `pack` made plain."""
    return [
        TileRef(ring, slot, height, width, Tile(x, y, size))
        for ring, slot, height, width, x, y, size in tiles
    ]
