"""`inspector schema`: JSON Schemas for editors and other programs."""

from __future__ import annotations

import importlib
import json
from enum import StrEnum
from typing import Annotated

import typer


class Subject(StrEnum):
    """What a schema describes."""

    STATION = "station"
    EVENTS = "events"
    LINE = "line"


def schema(
    subject: Annotated[Subject, typer.Argument(help="What the schema describes.")],
) -> None:
    """Print the JSON Schema of station files, of events, or of files of `inspector line`."""
    if subject is Subject.STATION:
        document = importlib.import_module("inspector.config.schema").station_schema()
    elif subject is Subject.LINE:
        document = importlib.import_module("inspector.config.schema").signaller_schema()
    else:
        document = importlib.import_module("inspector.events.schemas").all_schemas()
    print(json.dumps(document, indent=2, ensure_ascii=False))
