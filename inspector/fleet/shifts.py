"""Which shift a moment lies in, by the clock on the wall. Pure."""

from __future__ import annotations

import itertools
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from inspector.fleet.ledger import STEP_S, step_of

if TYPE_CHECKING:
    from inspector.config.fleet import Shifts


@dataclass(frozen=True, slots=True)
class Shift:
    """One shift on one day.

    Attributes:
        name: as in the file.
        begin, end: steps of the ledger; `end` is the first of the next shift.
    """

    name: str
    begin: int
    end: int

    def document(self, oldest: int) -> dict[str, str | None]:
        """It, as JSON-able data; times in UTC. `known_from` where its begin is not kept.

        Args:
            oldest: the first step that is kept whole.
        """
        return {
            "name": self.name,
            "begins": _text(self.begin),
            "ends": _text(self.end),
            "known_from": None if self.begin >= oldest else _text(oldest),
        }


def _text(step: int) -> str:
    return datetime.fromtimestamp(step * STEP_S, UTC).isoformat().replace("+00:00", "Z")


def zone_of(shifts: Shifts) -> tzinfo:
    """The time zone; UTC needs no data of the system."""
    return UTC if shifts.zone == "UTC" else zoneinfo.ZoneInfo(shifts.zone)


def shifts_until(now_utc_s: float, shifts: Shifts, most: int) -> list[Shift]:
    """The shift that a moment lies in and those before it, newest first.

    On the days when the clock changes one shift is an hour longer or shorter.
    """
    zone = zone_of(shifts)
    today = datetime.fromtimestamp(now_utc_s, zone).date()
    days = most // len(shifts.starts) + 3
    begins: dict[int, str] = {}
    for day in (today + timedelta(days=offset) for offset in range(-days, 3)):
        for name, text in shifts.starts.items():
            hour, minute = int(text[:2]), int(text[3:])
            at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
            begins[step_of(at.timestamp())] = name
    order = sorted(begins)
    spans = [Shift(begins[begin], begin, end) for begin, end in itertools.pairwise(order)]
    now = step_of(now_utc_s)
    return [span for span in reversed(spans) if span.begin <= now][:most]
