"""The file of the fleet view: where many stations' events are read, lines, shifts, the page.

version: 1
kafka: {bootstrap_servers: [broker1:9093], security_protocol: SSL}
lines: {line-7: [packing-07, "packing-1?"], moulding: ["mould-*"]}
shifts: {zone: Europe/Berlin, starts: {early: "06:00", late: "14:00", night: "22:00"}}
"""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from inspector.config.base import Name, Section
from inspector.config.events import Kafka, Topics
from inspector.config.load import load_as, top_keys
from inspector.config.station import Web

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.config.secrets import Secrets

LISTEN = "127.0.0.1:8788"
"""One above the station's page, so that both can run on one box."""
STEP_MINUTES = 15
"""What is counted together: shifts begin on such a step, and so do the hours of every time zone."""
TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"


def _on_a_step(text: str) -> str:
    if int(text[3:]) % STEP_MINUTES:
        msg = f"expected a time on a quarter of an hour, such as {text[:3]}00"
        raise ValueError(msg)
    return text


def _known_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        msg = "expected the name of a time zone, such as Europe/Berlin or UTC"
        raise ValueError(msg) from None
    return name


TimeOfDay = Annotated[str, StringConstraints(pattern=TIME_PATTERN), AfterValidator(_on_a_step)]
Zone = Annotated[str, AfterValidator(_known_zone)]
Glob = Annotated[str, StringConstraints(pattern=r"^[a-z0-9*?\[\]!-]{1,63}$")]


class Shifts(Section):
    """When shifts begin, by the clock on the wall."""

    zone: Zone = "UTC"
    """Time zone of that clock, such as Europe/Berlin; it knows summer time."""
    starts: Annotated[dict[Name, TimeOfDay], Field(min_length=1, max_length=12)] = Field(
        default_factory=lambda: {"early": "06:00", "late": "14:00", "night": "22:00"}
    )
    """Names of the shifts and when each begins; it lasts until the next one."""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len(set(self.starts.values())) < len(self.starts):
            msg = "two shifts begin at the same time"
            raise ValueError(msg)
        return self


class Fleet(Section):
    """The whole file, version 1."""

    version: Literal[1] = 1
    """Version of this file format."""
    kafka: Kafka
    """The broker that all stations write to."""
    topics: Topics = Topics()
    """Names of the topics."""
    lines: Annotated[dict[Name, tuple[Glob, ...]], Field(max_length=500)] = Field(
        default_factory=dict
    )
    """Lines and their stations, by name or pattern (`packing-*`, `mould-0?`); the first line that
    fits counts. A station that fits none is a line of its own."""
    shifts: Shifts = Shifts()
    """When shifts begin."""
    look_back_days: Annotated[float, Field(gt=0, le=31)] = 3.0
    """So much of the topics is read at the start, and kept; drift needs two days at least."""
    quiet_after: Annotated[int, Field(ge=2, le=1000)] = 3
    """A station that left out so many heartbeats is quiet."""
    web: Web = Web(listen=LISTEN)
    """The page."""


def is_fleet_file(path: Path) -> bool:
    """Whether it is the file of a fleet view, rather than a station file, however faulty."""
    keys = top_keys(path)
    return "kafka" in keys and not keys & {"station", "cameras", "signaller"}


def load_fleet(path: Path, secrets: Secrets | None = None) -> Fleet:
    """Read the file of a fleet view.

    Args:
        secrets: where its secrets must be; not looked at if None.

    Raises:
        StationFileError: with every fault of the file: line, key, what came, what was expected.
    """
    return load_as(path, Fleet, secrets)
