"""The fleet view's HTTP interface: a page and the document behind it. It only reads.

Guarded as a station's page is: loopback without a token, any other address with one; nothing from
other hosts, and no name but our own.
"""

from __future__ import annotations

import json
import threading
import time
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from inspector import __version__
from inspector.fleet.view import board, drifts
from inspector.web.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.fleet.fleet import Fleet
    from inspector.fleet.reader import Reading

_OWN = ("fleet.html", "fleet.css", "fleet.js")
_SHARED = ("look.css", "icon.svg", "words.js", "dom.js", "theme.js")
"""The station's page has them too: one look, and one word for each thing."""
_PAGE = "fleet.html"
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
BOARD_S = 1.0
DRIFT_S = 60.0
"""How long an answer holds: viewers share it, however many they are."""


class Reads(Protocol):
    """What the interface needs of the reader."""

    def reading(self) -> Reading:
        """How the reading goes."""


class Document:
    """The document of the page, made anew when somebody asks and it has become old. Any thread."""

    def __init__(
        self,
        fleet: Fleet,
        reader: Reads,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = fleet
        self._reader = reader
        self._now = now
        self._clock = clock
        self._lock = threading.Lock()
        self._body, self._made = b"", float("-inf")
        self._drifts: dict[str, Any] = {}
        self._compared = float("-inf")
        self._whole = False

    def body(self) -> bytes:
        """It, as JSON."""
        with self._lock:
            if self._clock() - self._made >= BOARD_S:
                self._body = json.dumps(self._make()).encode()
                self._made = self._clock()
            return self._body

    def _make(self) -> dict[str, Any]:
        reading = self._reader.reading()
        now = self._now()
        # Without a broker, or with heartbeats yet to be read, nobody has gone quiet: nobody knows.
        known = now if reading.state == "connected" else reading.known_until
        back_at = reading.back_at if reading.heartbeats_read else known
        if self._clock() - self._compared >= DRIFT_S or reading.caught_up != self._whole:
            self._drifts = drifts(self._fleet, now)
            self._compared, self._whole = self._clock(), reading.caught_up
        return {
            "version": __version__,
            "now": now,
            "reading": reading.document(),
            **board(self._fleet, known, back_at),
            "drift": self._drifts,
        }


def make_app(fleet: Fleet, reader: Reads, *, host: str, token: str | None) -> FastAPI:
    """The ASGI application.

    Args:
        host: the address it is served on.
        token: the secret callers must show; None serves whoever reaches the (loopback) address.
    """
    app = FastAPI(title="Inspector: all stations", openapi_url=None, docs_url=None, redoc_url=None)
    guard(app, host=host, token=token)
    document = Document(fleet, reader)

    @app.get("/api/fleet")
    def whole() -> Response:
        return Response(document.body(), media_type="application/json")

    @app.head("/livez")
    @app.get("/livez")
    def livez() -> JSONResponse:
        return JSONResponse({"ok": True})

    @app.head("/readyz")
    @app.get("/readyz")
    def readyz() -> JSONResponse:
        reading = reader.reading()
        ok = reading.state == "connected" and reading.caught_up
        return JSONResponse({"ok": ok, **reading.document()}, status_code=200 if ok else 503)

    for package, names in (("inspector.fleet", _OWN), ("inspector.web", _SHARED)):
        for name in names:
            _serve(app, name, (files(package) / "static" / name).read_bytes())
    return app


def _serve(app: FastAPI, name: str, content: bytes) -> None:
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]

    @app.get("/" if name == _PAGE else f"/{name}")
    async def static() -> Response:
        return Response(content, media_type=media_type)
