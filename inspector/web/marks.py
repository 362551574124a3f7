"""An operator says of an event whether the station was right: `POST /api/events/ID/mark`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from fastapi import Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from inspector.errors import MarkError
from inspector.web.foreign import refuse_foreign_pages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI

_STATUS = {"unknown_event": 404, "no_frame": 409, "bad_label": 422, "unwritable": 503}


class Said(BaseModel):
    """What is said of an event; `mark: null` takes it back."""

    model_config = ConfigDict(extra="forbid")

    mark: Literal["right", "wrong"] | None
    label: Annotated[str, Field(min_length=1, max_length=63)] | None = None


class TakeMark(Protocol):
    """Takes a mark."""

    def __call__(
        self, event_id: str, word: Literal["right", "wrong"] | None, label: str | None
    ) -> Mapping[str, Any]:
        """Store it durably. Returns what holds now, as JSON-able data. Raises MarkError."""


def add_marks(app: FastAPI, take: TakeMark) -> None:
    """Serve `POST /api/events/ID/mark`."""

    @app.post(
        "/api/events/{event_id}/mark",
        summary="Right or wrong, and what it was in truth; null takes it back",
        dependencies=[Depends(refuse_foreign_pages)],
    )
    def mark(event_id: str, said: Said) -> JSONResponse:
        try:
            return JSONResponse(take(event_id, said.mark, said.label))
        except MarkError as error:
            return JSONResponse({"detail": str(error)}, _STATUS[error.reason])
