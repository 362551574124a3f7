"""Writes the schema files anew from the models: `python -m inspector.events.schemas`."""

from __future__ import annotations

import json
from pathlib import Path

from inspector.events.schemas.making import schemas

for name, schema in schemas().items():
    path = Path(__file__).parent / f"{name}.json"
    path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path)
