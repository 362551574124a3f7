"""A connection that asks for nothing is closed: each takes a descriptor of the whole process.

uvicorn's own limit begins with the end of an answer. Whoever connects and never finishes a request
(a port scanner, a browser's spare connection whose laptop was unplugged) would be kept for ever,
and before the token was asked for, until the station could not even connect to its cameras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from typing import Any

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

PATIENCE_S = 10.0
"""A connection without a request is closed after one to two times as long."""
MOST_CONNECTIONS = 500
"""What comes beyond is closed at once."""


class Connection(H11Protocol):
    """uvicorn's, with bounds. Belongs to the server's loop."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seen: object = self
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Close it at once where there are too many, else begin to look after it."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.close()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It needs no looking after."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Close it where nothing is being answered, and nothing was asked since the last time."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        answering = cycle is not None and not cycle.response_complete
        if not answering and self._seen is cycle:
            self.transport.close()
            return
        self._seen = cycle
        self._look = self.loop.call_later(PATIENCE_S, self._watch)
