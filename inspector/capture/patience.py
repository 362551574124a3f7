"""How long a worker may give no sign of life, by what it does just then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.capture.counters import IDLE, OPENING

if TYPE_CHECKING:
    from inspector.config.cameras import Source

START_S = 20.0
"""Longest a worker may take to say hello, its imports included."""

GRACE_S = 1.0
"""What a worker may take beyond its source's own deadline before it counts as hung."""

LOCAL_OPEN_S, LOCAL_READ_S = 60.0, 30.0
"""Deadlines of sources that have none of their own: files and patterns, at their largest."""

STOPPED_S = 3.0
"""Longest a worker may be stopped by a signal. A terminal's Ctrl-Z stops the station as well, and
its workers go on with it."""


def longest_silence_s(source: Source, phase: int, *, greeted: bool) -> float:
    """Seconds after the last sign of life from which on a worker counts as hung.

    Args:
        source: what it reads.
        phase: what it does, by its counter page.
        greeted: whether it has said hello.
    """
    if not greeted:
        return START_S
    if phase in {IDLE, OPENING}:
        return float(getattr(source, "open_timeout_s", LOCAL_OPEN_S)) + GRACE_S
    return float(getattr(source, "read_timeout_s", LOCAL_READ_S)) + GRACE_S
