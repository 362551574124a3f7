"""The station's HTTP interface: probes, metrics, cameras, events, and a dashboard for people.

Triggers, marks, `POST /api/reload` and the routes of engines do something, all else only reads. On
any address but loopback every path except the probes asks for the token, as a bearer token
(programs) or as the password of HTTP basic authentication with any user name (browsers).
"""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from inspector.errors import TriggerError
from inspector.web.engines import Engines, add_engines
from inspector.web.evidence import add_evidence
from inspector.web.foreign import refuse_foreign_pages
from inspector.web.guard import guard
from inspector.web.marks import TakeMark, add_marks
from inspector.web.probes import add_probes
from inspector.web.stills import Stills, add_stills
from inspector.web.stream import Stream, add_stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from inspector.observe.health import Health
    from inspector.observe.metrics import Metrics
    from inspector.web.evidence import File

_PAGE = "page.html"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_RELOAD_STATUS = {
    "applied": 200, "unchanged": 200, "refused": 422, "restart needed": 409, "not now": 503,
}  # fmt: skip
_REFUSED = {"unknown_camera": 404, "too_many": 429, "not_serving": 503}
"""Why a trigger was not taken, as HTTP status."""


class ReloadOutcome(Protocol):
    """What became of a reload."""

    @property
    def word(self) -> str:
        """`applied`, `unchanged`, `refused`, `restart needed` or `not now`."""

    def document(self) -> Mapping[str, Any]:
        """All of it, as JSON-able data without secrets."""


class Served(Engines, Protocol):
    """What the interface needs of the station. All methods may be called from any thread."""

    health: Health
    metrics: Metrics

    def status(self) -> Mapping[str, Any]:
        """The station's status document."""

    def inspect(self, camera: str, part_id: str | None) -> Future[dict[str, Any]]:
        """Take a trigger; the answer is JSON-able. Raises TriggerError."""

    def recent_events(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The newest events, newest first, as CloudEvents documents."""

    def reload(self, origin: str) -> ReloadOutcome:
        """Take the station file as it is now."""

    def journal(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The newest changes made to the station, newest first. Raises OSError."""

    def evidence(self, uri: str) -> File | None:
        """A kept picture by the uri in its event; None if there is none."""


class Viewed(Protocol):
    """What people see of the station, and say of it."""

    stream: Stream
    stills: Stills

    @property
    def mark(self) -> TakeMark:
        """Takes what an operator says of an event; any thread."""


class Asked(BaseModel):
    """What a trigger may say of itself."""

    model_config = ConfigDict(extra="forbid")

    part_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None


def make_app(station: Served, viewing: Viewed, *, host: str, token: str | None) -> FastAPI:
    """The ASGI application.

    Args:
        station: what is served.
        viewing: what the dashboard needs beyond that.
        host: the address it is served on.
        token: the secret callers must show; None serves whoever reaches the (loopback) address.
    """
    app = FastAPI(title="Inspector", openapi_url="/api/openapi.json", docs_url=None, redoc_url=None)
    guard(app, host=host, token=token)
    add_probes(app, station.health, station.metrics.exposition)
    _add_api(app, station)
    _add_reload(app, station)
    add_engines(app, station)
    add_evidence(app, station.evidence)
    add_stills(app, viewing.stills)
    add_marks(app, viewing.mark)
    add_stream(app, viewing.stream)
    _add_page(app)
    return app


def _add_api(app: FastAPI, station: Served) -> None:
    @app.get("/api/status", summary="The whole station: phase, engines, outbox, broker, cameras")
    def status() -> JSONResponse:
        return JSONResponse(station.status())

    @app.get("/api/cameras", summary="Cameras: state, cause, counters, last verdict")
    def cameras() -> JSONResponse:
        return JSONResponse(station.status()["cameras"])

    @app.get("/api/cameras/{name}", summary="One camera")
    def camera(name: str) -> JSONResponse:
        known = station.status()["cameras"]
        if name not in known:
            detail = f"no camera {name}; this station has {', '.join(sorted(known))}"
            return JSONResponse({"detail": detail}, status_code=404)
        return JSONResponse(known[name])

    @app.post(
        "/api/cameras/{name}/inspect",
        summary="Trigger: answers with the verdict on the part that is before the camera now",
        dependencies=[Depends(refuse_foreign_pages)],
    )
    async def inspect(name: str, asked: Asked | None = None) -> JSONResponse:
        # A coroutine: triggers that wait hold no thread that others need, and need none.
        try:
            answer = station.inspect(name, asked.part_id if asked is not None else None)
        except TriggerError as error:
            return JSONResponse({"detail": str(error)}, _REFUSED[error.reason])
        return JSONResponse(await asyncio.wrap_future(answer))

    @app.get("/api/events", summary="The newest events, newest first")
    def events(limit: Annotated[int, Query(ge=1, le=500)] = 50) -> JSONResponse:
        return JSONResponse(list(station.recent_events(limit)))


def _add_reload(app: FastAPI, station: Served) -> None:
    @app.post(
        "/api/reload",
        summary="Take the station file as it is now: all of it, or nothing",
        dependencies=[Depends(refuse_foreign_pages)],
    )
    def reload(request: Request) -> JSONResponse:
        outcome = station.reload(f"HTTP {request.client.host if request.client else 'unknown'}")
        return JSONResponse(outcome.document(), status_code=_RELOAD_STATUS[outcome.word])

    @app.get("/api/journal", summary="Changes made to the station, newest first")
    def journal(limit: Annotated[int, Query(ge=1, le=500)] = 50) -> JSONResponse:
        try:
            return JSONResponse(list(station.journal(limit)))
        except OSError as error:
            detail = f"the journal cannot be read: {error.strerror}"
            return JSONResponse({"detail": detail}, status_code=503)


def _add_page(app: FastAPI) -> None:
    def serve(path: str, content: bytes, media_type: str) -> None:
        @app.get(path, include_in_schema=False)
        async def static() -> Response:
            return Response(content, media_type=media_type)

    for file in (files("inspector.web") / "static").iterdir():
        media_type = _MEDIA_TYPES.get(f".{file.name.rpartition('.')[2]}")
        if media_type is not None:
            serve(f"/{'' if file.name == _PAGE else file.name}", file.read_bytes(), media_type)
