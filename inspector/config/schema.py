"""The JSON Schema of station files, for editors and other programs."""

from __future__ import annotations

from typing import Any

from inspector.config.station import Station

SCHEMA_ID = "https://schemas.inspector.invalid/station/v1.json"


def station_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a station file, version 1."""
    schema = Station.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "title": "Station file",
    }
