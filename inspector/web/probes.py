"""Probes and metrics of a service that has no page."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from inspector.observe.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from inspector.observe.health import Health, Report

_OPEN = frozenset({"/livez", "/readyz"})
_LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]", "::1"]


def make_probes_app(
    health: Health,
    status: Callable[[], Mapping[str, Any]],
    exposition: Callable[[], bytes],
    *,
    host: str,
    token: str | None,
) -> FastAPI:
    """The ASGI application: `/livez`, `/readyz`, `/metrics`, `/api/status`.

    Args:
        status: the service's status document; any thread.
        exposition: its metrics in Prometheus' text format; any thread.
        host: the address it is served on.
        token: the bearer token that callers of all but the probes must show; None: none.
    """
    app = FastAPI(title="Inspector", openapi_url=None, docs_url=None, redoc_url=None)
    if token is None:  # a page of another site must not reach us by a name that it made up
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_LOOPBACK_HOSTS, host])

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        shown = request.headers.get("authorization", "").encode()
        if (
            token is None
            or request.url.path in _OPEN
            or hmac.compare_digest(shown, f"Bearer {token}".encode())
        ):
            return await go_on(request)
        return PlainTextResponse("This service asks for its bearer token.\n", status_code=401)

    def answer(report: Report) -> JSONResponse:
        return JSONResponse(report.document(), status_code=200 if report.ok else 503)

    @app.get("/livez")
    def livez() -> JSONResponse:
        return answer(health.live())

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        return answer(health.ready())

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(exposition(), media_type=CONTENT_TYPE)

    @app.get("/api/status")
    def whole() -> JSONResponse:
        return JSONResponse(status())

    return app
