"""Where a picture lies in the evidence folder: DATE/CAMERA/EVENT_ID.EXT. Pure.

DATE is the UTC day of the time that the event's id carries (UUIDv7), so that a name says all there
is to know: its age, its camera, its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
"""Suffix of a picture to its media type."""
SUFFIXES = {"jpeg": "jpg", "png": "png", "webp": "webp"}
"""Format in the station file to suffix."""
NOTE = "json"
"""Suffix of the event beside its picture."""

ID_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
DAY_PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
CAMERA_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}"

_FILE = re.compile(rf"({ID_PATTERN})\.({'|'.join([*MEDIA_TYPES, NOTE])})", re.ASCII)
_PLACE = re.compile(rf"({DAY_PATTERN})/({CAMERA_PATTERN})/({_FILE.pattern})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Name:
    """One picture (or, with the suffix json, the event beside it)."""

    camera: str
    event_id: str
    suffix: str

    @property
    def day(self) -> str:
        """The UTC day, YYYY-MM-DD."""
        return day_of(time_ms(self.event_id))

    @property
    def file(self) -> str:
        """The name of the file in its folder."""
        return f"{self.event_id}.{self.suffix}"

    @property
    def uri(self) -> str:
        """The path below the evidence folder, as events tell it."""
        return f"{self.day}/{self.camera}/{self.file}"

    @property
    def media_type(self) -> str:
        """What is in the file."""
        return MEDIA_TYPES.get(self.suffix, "application/json")

    @property
    def note(self) -> Name:
        """The event beside the picture."""
        return Name(self.camera, self.event_id, NOTE)


def time_ms(event_id: str) -> int:
    """The UTC milliseconds in an event's id.

    >>> time_ms("018bcfe5-687b-7000-8000-000000000000")
    1700000000123
    """
    return int(event_id[:8] + event_id[9:13], 16)


def day_of(utc_ms: int) -> str:
    """The UTC day of a time.

    Raises:
        ValueError: it lies beyond the year 9999.

    >>> day_of(1_700_000_000_123)
    '2023-11-14'
    """
    return f"{datetime.fromtimestamp(utc_ms / 1000, UTC):%Y-%m-%d}"


def parse(uri: str) -> Name | None:
    """The name behind an event's uri, or None: whatever is no such name leads nowhere.

    >>> parse("2023-11-14/infeed/018bcfe5-687b-7000-8000-000000000000.jpg").camera
    'infeed'
    >>> parse("2023-11-14/../018bcfe5-687b-7000-8000-000000000000.jpg")
    """
    found = _PLACE.fullmatch(uri)
    if found is None:
        return None
    name = Name(found[2], found[4], found[5])
    try:
        return name if name.day == found[1] else None
    except (ValueError, OverflowError):
        return None


def in_folder(camera: str, file: str) -> Name | None:
    """The name of a file in a camera's folder, or None if it is none of ours."""
    found = _FILE.fullmatch(file)
    return None if found is None else Name(camera, found[1], found[2])
