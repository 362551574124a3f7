"""Faults that no well-behaved RTSP server shows: answers out of order, none at all, and lost bytes.

`FaultServer` stands for a camera that never gets as far as a stream. `Relay` stands between a
station and a real server and spoils what passes, when told to.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time

ANSWERS = {
    "unauthorized": b"RTSP/1.0 401 Unauthorized\r\nCSeq: %d\r\n"
    b'WWW-Authenticate: Digest realm="cam", nonce="1"\r\n\r\n',
    "forbidden": b"RTSP/1.0 403 Forbidden\r\nCSeq: %d\r\n\r\n",
    "missing": b"RTSP/1.0 404 Not Found\r\nCSeq: %d\r\n\r\n",
    "broken": b"RTSP/1.0 500 Internal Server Error\r\nCSeq: %d\r\n\r\n",
}

DESCRIPTION = b"""v=0\r
o=- 0 0 IN IP4 127.0.0.1\r
s=cam\r
c=IN IP4 0.0.0.0\r
t=0 0\r
a=control:*\r
m=video 0 RTP/AVP 96\r
a=rtpmap:96 H264/90000\r
a=fmtp:96 packetization-mode=1; profile-level-id=42C01E; \
sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r
a=framerate:25\r
a=control:track1\r
"""
"""Of an H.264 stream (RFC 6184, 8.2), parameter sets included: a reader need not see a packet."""

AGREED = {
    b"OPTIONS": b"Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n",
    b"DESCRIBE": b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%b"
    % (len(DESCRIPTION), DESCRIPTION),
    b"SETUP": b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n\r\n",
}
"""What a camera says after `200 OK`; to all else, that it is the session's."""


class _Listener:
    """Accepts connections and serves each in a thread of its own until closed."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self._socket.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str = "/stream1", scheme: str = "rtsp") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            self._keep(client)
            threading.Thread(target=self._guarded, args=(client,), daemon=True).start()

    def _guarded(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.serve(client)
        self._drop(client)

    def _keep(self, end: socket.socket) -> None:
        with self._lock:
            self._open.add(end)

    def _drop(self, end: socket.socket) -> None:
        with self._lock:
            self._open.discard(end)
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def drop_all(self) -> None:
        """Close every connection."""
        with self._lock:
            ends = list(self._open)
        for end in ends:
            self._drop(end)

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.drop_all()


class FaultServer(_Listener):
    """A camera that shows one fault to everybody.

    Args:
        fault: `silent` (accepts and says nothing), `closes`, `garbage`, `drips` (a byte now and
            then, for ever), `mute` (agrees to everything, and sends no picture), or one of ANSWERS.
    """

    def __init__(self, fault: str) -> None:
        self.fault = fault
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        if self.fault == "closes":
            return
        if self.fault == "silent":
            while client.recv(4096):
                pass
            return
        if self.fault == "drips":
            client.recv(4096)
            client.sendall(b"RTSP/1.0 200 OK\r\n")
            while not self._closed:
                client.sendall(b"X-Wait: a\r\n")
                time.sleep(0.2)
            return
        while request := client.recv(4096):
            if self.fault == "garbage":
                client.sendall(random.Random(7).randbytes(4096) + b"\r\n\r\n")
                continue
            number = 1
            for line in request.split(b"\r\n"):
                if line.lower().startswith(b"cseq:"):
                    number = int(line[5:])
            client.sendall(self._answer(request.split(b" ")[0]) % number)

    def _answer(self, method: bytes) -> bytes:
        if self.fault == "mute":
            return b"RTSP/1.0 200 OK\r\nCSeq: %d\r\n" + AGREED.get(method, b"Session: 1\r\n\r\n")
        return ANSWERS[self.fault]


class Relay(_Listener):
    """Passes a stream over TCP on to its reader, and spoils it.

    Attributes:
        mode: `pass`; `stall` (nothing more comes, connections stay); `lose` (one RTP packet in
            `one_in` is left out); `flip` (bytes of one RTP packet in `one_in` are changed);
            `garbage` (noise instead of the stream).
        spoiled: packets lost or changed so far.
        clock: how fast the stream's own clock runs; 1 is right, 0 is a clock that stands.
    """

    def __init__(self, server_port: int, port: int = 0) -> None:
        self._server_port = server_port
        self.mode = "pass"
        self.one_in = 1
        self.spoiled = 0
        self.clock = 1.0
        self._first: int | None = None
        self._random = random.Random(1)
        super().__init__(port)

    def serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._server_port))
        self._keep(server)
        threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
        waiting = b""
        try:
            while data := server.recv(1 << 16):
                while self.mode == "stall" and not self._closed:
                    time.sleep(0.01)
                waiting += data
                whole, waiting = self._split(waiting)
                for piece in whole:
                    piece = self._spoil(piece)  # noqa: PLW2901 - the piece, on its way
                    if piece:
                        client.sendall(piece)
        finally:
            self._drop(server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)
        self._drop(server)

    @staticmethod
    def _split(data: bytes) -> tuple[list[bytes], bytes]:
        """Whole interleaved packets and answers, and what is left (RFC 2326, 10.12)."""
        pieces = []
        while data:
            if data[:1] == b"$":
                size = 4 + int.from_bytes(data[2:4], "big") if len(data) >= 4 else 1 << 30
            else:
                head = data.find(b"\r\n\r\n")
                size = 1 << 30
                if head >= 0:
                    length = 0
                    for line in data[:head].split(b"\r\n"):
                        if line.lower().startswith(b"content-length:"):
                            length = int(line[15:])
                    size = head + 4 + length
            if len(data) < size:
                break
            pieces.append(data[:size])
            data = data[size:]
        return pieces, data

    def _spoil(self, piece: bytes) -> bytes:
        if piece[:1] != b"$" or piece[1] != 0:
            return piece
        if self.clock != 1:
            piece = self._lie(piece)
        if self.mode in {"pass", "stall"}:
            return piece
        if self.mode == "garbage":
            self.spoiled += 1
            return self._random.randbytes(len(piece))
        if len(piece) < 64 or self._random.randrange(self.one_in):
            return piece
        self.spoiled += 1
        if self.mode == "lose":
            return b""
        noise = self._random.randbytes(len(piece) // 2)
        return piece[: len(piece) - len(noise)] + noise

    def _lie(self, piece: bytes) -> bytes:
        """The packet with a time stamp (RFC 3550, 5.1) of a clock that runs at another speed."""
        told = int.from_bytes(piece[8:12], "big")
        if self._first is None:
            self._first = told
        passed = (told - self._first) % (1 << 32)
        lie = (self._first + int(passed * self.clock)) % (1 << 32)
        return piece[:8] + lie.to_bytes(4, "big") + piece[12:]
