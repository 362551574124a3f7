"""Asks for the token, and sends the headers that keep a browser from doing what the page does not.

A plain ASGI layer: it passes every part of an answer on as it comes, also of one without end.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROBES = frozenset({"/livez", "/readyz", "/startupz"})
"""Paths that are answered without a token."""
_LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]", "::1"]
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def guard(app: Starlette, *, host: str, token: str | None) -> None:
    """Put the guard before an application.

    Args:
        host: the address it is served on.
        token: the secret callers must show; None serves whoever reaches the (loopback) address.
    """
    if token is None:  # a page of another site must not reach us by a name that it made up
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_LOOPBACK_HOSTS, host])
    app.add_middleware(Guard, token=token)


class Guard:
    """The outer layer of the interface.

    Args:
        token: the secret callers must show; None serves whoever reaches the (loopback) address.
    """

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        token = self._token
        if token is None or scope["path"] in PROBES or _knows(Headers(scope=scope), token):
            await self._app(scope, receive, send_with_headers)
            return
        refusal = PlainTextResponse(
            "This service asks for its token: as a bearer token, or as the password of any "
            "user name.\n",
            status_code=401,
            headers={"WWW-Authenticate": 'Basic realm="inspector"'},
        )
        await refusal(scope, receive, send_with_headers)


def _knows(headers: Headers, token: str) -> bool:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:  # no base64, no UTF-8, or a byte that is not even ASCII
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(value.encode(), token.encode())
