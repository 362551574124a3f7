"""The record: one JSON object a line for each transition, with the time to the microsecond."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from inspector.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.line.simulator.program import Happening


class Record:
    """Writes happenings down as they come. Belongs to one thread.

    Args:
        file: where to; what is there is replaced. None: nowhere.
        begun_utc: the clock's time at the program's second 0.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, file: Path | None, begun_utc: datetime) -> None:
        self._begun_s = begun_utc.timestamp()
        self._out: TextIO | None = None
        if file is not None:
            try:
                self._out = file.open("w", encoding="utf-8", buffering=1)
            except OSError as error:
                msg = f"the record {file} cannot be written: {error.strerror}"
                raise UserError(msg) from error

    def write(self, happening: Happening) -> None:
        """Add a line."""
        self._line(document(happening, self._begun_s))

    def end(self, summary: dict[str, Any]) -> None:
        """Add the summary as the last line, and close."""
        self._line({"what": "summary", **summary})
        if self._out is not None:
            self._out.close()
            self._out = None

    def _line(self, value: dict[str, Any]) -> None:
        if self._out is not None:
            self._out.write(json.dumps(value, ensure_ascii=False) + "\n")


def document(happening: Happening, begun_s: float) -> dict[str, Any]:
    """A happening as JSON-able data.

    Args:
        begun_s: UTC seconds since 1970 at the program's second 0.
    """
    utc = datetime.fromtimestamp(begun_s + happening.at_s, UTC)
    camera = {} if happening.camera is None else {"camera": happening.camera}
    return {
        "utc": utc.isoformat(timespec="microseconds"),
        "at_s": round(happening.at_s, 6),
        "what": happening.what,
        **camera,
        **happening.details,
    }
