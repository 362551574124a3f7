"""Serves kept pictures, read-only, by the uri in their events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from anyio import CapacityLimiter, to_thread
from fastapi import Request  # noqa: TC002 - FastAPI reads annotations when the program runs
from fastapi.responses import JSONResponse, Response

from inspector.web.thumbnails import Thumbnails

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

CACHE = "private, max-age=31536000, immutable"
"""A picture never changes under its name; private, since it may stand behind the token."""


READERS = 8
"""So many pictures are read at once. A disk that hangs keeps these threads, and no others."""


class File(Protocol):
    """A file of the evidence."""

    @property
    def data(self) -> bytes:
        """What is in it."""

    @property
    def sha256(self) -> str:
        """Of `data`, in hexadecimal."""

    @property
    def media_type(self) -> str:
        """What `data` is."""


def add_evidence(app: FastAPI, find: Callable[[str], File | None]) -> None:
    """Serve `/api/evidence/URI`; with `?small=true` a picture for a list.

    Args:
        find: gives the file of a uri, and None for whatever is not the exact name of one.
    """
    thumbnails = Thumbnails()
    readers = CapacityLimiter(READERS)

    # The uri is no path here: `find` takes it apart and knows the few forms that it can have.
    @app.head("/api/evidence/{uri:path}", include_in_schema=False)
    @app.get(
        "/api/evidence/{uri:path}",
        summary="A kept picture, by `evidence.uri` of its event; with .json its event",
    )
    async def evidence(uri: str, request: Request, *, small: bool = False) -> Response:
        return await to_thread.run_sync(read, uri, request, small, limiter=readers)

    def read(uri: str, request: Request, small: bool) -> Response:
        file = find(uri)
        if file is None:
            detail = "no such evidence: it was removed to make room, or never kept"
            return JSONResponse({"detail": detail}, status_code=404)
        if small and (thumbnail := thumbnails.of(file.sha256, file.data)) is not None:
            kept = {"Cache-Control": CACHE}
            return Response(thumbnail, media_type="image/jpeg", headers=kept)
        headers = {"ETag": f'"{file.sha256}"', "Cache-Control": CACHE}
        if _knows(request, file.sha256):
            return Response(status_code=304, headers=headers)
        return Response(file.data, media_type=file.media_type, headers=headers)


def _knows(request: Request, sha256: str) -> bool:
    """Whether the caller has this very file."""
    told = request.headers.get("if-none-match", "")
    return any(tag.strip().removeprefix("W/") in {f'"{sha256}"', "*"} for tag in told.split(","))
