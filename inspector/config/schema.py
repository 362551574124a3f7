"""The JSON Schemas of station files and signallers' files, for editors and other programs."""

from __future__ import annotations

from typing import Any

from inspector.config.signaller import Signaller
from inspector.config.station import Station

SCHEMA_ID = "https://schemas.inspector.invalid/station/v1.json"
SIGNALLER_SCHEMA_ID = "https://schemas.inspector.invalid/line/v1.json"


def station_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a station file, version 1."""
    schema = Station.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "title": "Station file",
    }


def signaller_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a file of `inspector line`, version 1."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SIGNALLER_SCHEMA_ID,
        **Signaller.model_json_schema(),
        "title": "File of inspector line",
    }
