"""Probes and metrics, which every service has; and the interface of one that has no page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from inspector.observe.metrics import CONTENT_TYPE
from inspector.web.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inspector.observe.health import Health, Report

_AT_ONCE = 4
"""So many probes are answered at once."""


def add_probes(app: FastAPI, health: Health, exposition: Callable[[], bytes]) -> None:
    """Add `/livez`, `/readyz`, `/startupz` and `/metrics`.

    Args:
        health: what the probes ask; any thread.
        exposition: the metrics in Prometheus' text format; any thread.
    """
    # Whatever else keeps threads waiting, such as a disk that hangs: these have their own.
    threads = CapacityLimiter(_AT_ONCE)

    async def answer(report: Callable[[], Report]) -> JSONResponse:
        found = await to_thread.run_sync(report, limiter=threads)
        return JSONResponse(found.document(), status_code=200 if found.ok else 503)

    # Some load balancers and monitors ask for the head only.
    @app.head("/livez", include_in_schema=False)
    @app.get("/livez", summary="Do the loops turn? If not, restart the service.")
    async def livez() -> JSONResponse:
        return await answer(health.live)

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", summary="Is the work done that the service is there for?")
    async def readyz() -> JSONResponse:
        return await answer(health.ready)

    @app.head("/startupz", include_in_schema=False)
    @app.get("/startupz", summary="Has the start come to its end?")
    async def startupz() -> JSONResponse:
        return await answer(health.started)

    @app.get("/metrics", summary="Prometheus metrics")
    def metrics() -> Response:
        return Response(exposition(), media_type=CONTENT_TYPE)


def make_probes_app(
    health: Health,
    status: Callable[[], Mapping[str, Any]],
    exposition: Callable[[], bytes],
    *,
    host: str,
    token: str | None,
) -> FastAPI:
    """The ASGI application of a service without a page: probes, metrics, `/api/status`.

    Args:
        health: what the probes ask; any thread.
        status: the service's status document; any thread.
        exposition: its metrics in Prometheus' text format; any thread.
        host: the address it is served on.
        token: the secret that callers of all but the probes must show; None: none.
    """
    app = FastAPI(title="Inspector", openapi_url=None, docs_url=None, redoc_url=None)
    guard(app, host=host, token=token)
    add_probes(app, health, exposition)

    @app.get("/api/status")
    def whole() -> JSONResponse:
        return JSONResponse(status())

    return app
