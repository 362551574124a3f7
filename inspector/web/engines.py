"""Has the station judge with another engine, or with the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from inspector.web.foreign import refuse_foreign_pages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI

_STATUS = {
    "activated": 200, "rolled back": 200, "refused": 422, "unknown engine": 404, "not now": 503,
}  # fmt: skip


class Outcome(Protocol):
    """What became of it."""

    @property
    def word(self) -> str:
        """`activated`, `rolled back`, `refused`, `unknown engine` or `not now`."""

    def document(self) -> Mapping[str, Any]:
        """All of it, as JSON-able data."""


class Engines(Protocol):
    """What the routes need of the station. Any thread."""

    def activate(self, engine: str, stage: str, origin: str) -> Outcome:
        """Have another engine judge; takes seconds."""

    def roll_back(self, stage: str, origin: str) -> Outcome:
        """Have the engine before the last activation judge."""


class Place(BaseModel):
    """Which of the station's engines is meant."""

    model_config = ConfigDict(extra="forbid")

    stage: Literal["screen", "confirm"] = "screen"


def add_engines(app: FastAPI, station: Engines) -> None:
    """Serve `POST /api/engines/NAME/activate` and `POST /api/engines/rollback`."""

    def answer(outcome: Outcome) -> JSONResponse:
        return JSONResponse(outcome.document(), status_code=_STATUS[outcome.word])

    @app.post(
        "/api/engines/{name}/activate",
        summary="Judge with another engine from now on: loaded beside, proved, then swapped in",
        dependencies=[Depends(refuse_foreign_pages)],
    )
    def activate(name: str, request: Request, place: Place | None = None) -> JSONResponse:
        stage = (place or Place()).stage
        return answer(station.activate(name, stage, _origin(request)))

    @app.post(
        "/api/engines/rollback",
        summary="Judge with the engine that did before the last activation",
        dependencies=[Depends(refuse_foreign_pages)],
    )
    def roll_back(request: Request, place: Place | None = None) -> JSONResponse:
        return answer(station.roll_back((place or Place()).stage, _origin(request)))


def _origin(request: Request) -> str:
    return f"HTTP {request.client.host if request.client else 'unknown'}"
