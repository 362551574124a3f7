"""What viewers of the station see, pushed to all of them as server-sent events: `GET /api/stream`.

One thread makes each message once, however many look, and none while nobody does. A viewer first
gets `hello`, with all that it needs to begin, then an `update` twice a second. Its queue is
bounded: who does not keep up is let go, and begins anew with another `hello`. No viewer waits for
another, and the station for none.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.responses import JSONResponse
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import FastAPI
    from starlette.types import Message, Receive, Scope, Send

PERIOD_S = 0.5
"""From one update to the next."""
MOST_VIEWERS = 16
MOST_WAITING = 20
"""Messages that wait for a viewer: ten seconds of them."""
RETRY_S = 1
"""When a viewer that lost us tries again."""
CLOSE_S = 0.5
"""The stop of the station waits no longer for our thread."""
LAST_WORD_S = 1.0
"""The end of an answer waits no longer for a viewer that does not read."""

_log = structlog.get_logger("inspector.web")


class Full(Exception):  # noqa: N818 - a word, not a fault
    """As many look as may."""


class Closed(Exception):  # noqa: N818
    """The station stops."""


class Viewer:
    """One who looks. Its methods belong to the event loop that made it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)
        self.late = asyncio.Event()
        """Set when it does not keep up: what it misses cannot be made good."""

    async def next(self) -> bytes | None:
        """The next message; None: there is no more."""
        return await self._messages.get()

    def tell(self, message: bytes) -> None:
        """Queue a message; any thread, never waits."""
        self._in_loop(self._put, message)

    def end(self) -> None:
        """No more will come; any thread."""
        self._in_loop(self._put, None)

    def _in_loop(self, step: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(step, *args)
        except RuntimeError:  # the loop has ended, and its viewers with it
            return

    def _put(self, message: bytes | None) -> None:
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            if not self.late.is_set():
                _log.info("a viewer does not keep up, and is let go")
            self.late.set()


class Stream:
    """All viewers. Any thread may call any method.

    Args:
        hello: makes the first message of a viewer, and `update` every later one; both as JSON-able
            data, both called by the stream's thread only.
    """

    def __init__(
        self,
        hello: Callable[[], Mapping[str, Any]],
        update: Callable[[], Mapping[str, Any]],
        *,
        most_viewers: int = MOST_VIEWERS,
        period_s: float = PERIOD_S,
    ) -> None:
        self._hello = hello
        self._update = update
        self._most_viewers = most_viewers
        self._period_s = period_s
        self._changed = threading.Condition()
        self._fresh: list[Viewer] = []
        self._viewers: list[Viewer] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    @property
    def viewers(self) -> int:
        """How many look."""
        return len(self._viewers) + len(self._fresh)

    @property
    def most_viewers(self) -> int:
        """How many may look."""
        return self._most_viewers

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def join(self, loop: asyncio.AbstractEventLoop) -> Viewer:
        """One more looks, until `leave`.

        Raises:
            Full: as many look as may.
            Closed: the station stops.
        """
        viewer = Viewer(loop)
        with self._changed:
            if self._closing:
                raise Closed
            if self.viewers >= self._most_viewers:
                raise Full
            self._fresh.append(viewer)
            self._changed.notify()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """It looks no more. Idempotent."""
        with self._changed:
            self._fresh = [other for other in self._fresh if other is not viewer]
            self._viewers = [other for other in self._viewers if other is not viewer]

    def close(self) -> None:
        """Tell all viewers the last, and let them go. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)

    # -- the stream's thread ----------------------------------------------------------------------

    def _run(self) -> None:
        due = time.monotonic()
        while not self._closing:
            self._turn()
            due = max(due + self._period_s, time.monotonic())
            with self._changed:
                self._changed.wait_for(lambda: self.viewers or self._closing)
                self._changed.wait_for(
                    lambda: self._fresh or self._closing, max(0.0, due - time.monotonic())
                )
        self._turn()
        with self._changed:
            everyone = [*self._viewers, *self._fresh]
        for viewer in everyone:
            viewer.end()

    def _turn(self) -> None:
        """An update for those who look already, then `hello` for those who came meanwhile."""
        with self._changed:
            fresh, self._fresh = self._fresh, []
            viewers = list(self._viewers)
            self._viewers = [*viewers, *fresh]
        if not self._viewers:
            return
        try:
            update = self._update()  # also for nobody: `hello` goes on from there
            if viewers:
                message = encode("update", update)
                for viewer in viewers:
                    viewer.tell(message)
            if fresh:
                message = encode("hello", self._hello())
                for viewer in fresh:
                    viewer.tell(message)
        except Exception:  # noqa: BLE001 - one message less is no reason to tell no more
            _log.warning("no message for viewers", exc_info=True)
            for viewer in fresh:  # without its `hello` it understands nothing
                viewer.end()


def encode(kind: str, document: Mapping[str, Any]) -> bytes:
    r"""A server-sent event.

    >>> encode("update", {"a": 1})
    b'event: update\ndata: {"a":1}\n\n'
    """
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


class _Answer(Response):
    """The endless answer to one viewer."""

    media_type = "text/event-stream"

    def __init__(self, stream: Stream, viewer: Viewer) -> None:
        self._stream, self._viewer = stream, viewer
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        start: Message = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        steps = [
            asyncio.ensure_future(step)
            for step in (self._tell(send, start), _until_gone(receive), self._viewer.late.wait())
        ]
        try:
            await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stream.leave(self._viewer)
            for step in steps:
                step.cancel()
            await asyncio.gather(*steps, return_exceptions=True)
        try:
            last: Message = {"type": "http.response.body", "body": b"", "more_body": False}
            await asyncio.wait_for(send(last), LAST_WORD_S)
        except (TimeoutError, OSError):
            return  # whoever does not read does not hear the end either

    async def _tell(self, send: Send, start: Message) -> None:
        await send(start)
        retry = f"retry: {RETRY_S * 1000}\n\n".encode()
        await send({"type": "http.response.body", "body": retry, "more_body": True})
        while (message := await self._viewer.next()) is not None:
            await send({"type": "http.response.body", "body": message, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def add_stream(app: FastAPI, stream: Stream) -> None:
    """Serve `/api/stream`."""

    @app.get(
        "/api/stream",
        summary="Server-sent events: `hello`, then `update` twice a second",
        response_class=Response,
    )
    async def live() -> Response:
        try:
            viewer = stream.join(asyncio.get_running_loop())
        except Full:
            detail = (
                f"{stream.most_viewers} pages look at this station already, which is the most "
                "there may be: close one"
            )
            return JSONResponse({"detail": detail}, 503, {"Retry-After": "10"})
        except Closed:
            detail = "the station is stopping"
            return JSONResponse({"detail": detail}, 503, {"Retry-After": str(RETRY_S)})
        return _Answer(stream, viewer)
