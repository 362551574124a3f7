"""What a person at the terminal (or in the journal) reads of the station's work.

Every event is in the outbox; the log is for reading, so a stream of like rejects is one line a
second with a count, and each camera gets a summary at intervals.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from inspector.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.frame import Frame
    from inspector.verdict import Verdict

_log = structlog.get_logger("inspector.station")

REJECT_EVERY_S = 1.0
SUMMARY_EVERY_S = 10.0


@dataclass(slots=True)
class _Told:
    """What was last said of one camera."""

    first: bool = True
    reject_at: float = 0.0
    rejects_unsaid: int = 0
    summary_at: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)


class Narrator:
    """Writes log lines for verdicts. Used from the judge's thread only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def forget(self, camera: str) -> None:
        """No verdict on that camera will come. Any thread."""
        self._told.pop(camera, None)

    def verdict(self, frame: Frame, verdict: Verdict, transition: str | None) -> None:
        """Tell of one verdict, as far as it is worth a line now."""
        told = self._told.setdefault(frame.camera, _Told(summary_at=self._clock()))
        told.outcomes[verdict.outcome.value] += 1
        said: dict[str, object] = {
            "camera": frame.camera,
            "label": verdict.label,
            "p": round(max(verdict.probabilities.values(), default=0.0), 3),
            "frame": f"{frame.stream_epoch}/{frame.sequence}",
        }
        if frame.origin:
            said["origin"] = frame.origin
        now = self._clock()
        if transition:
            level = _log.warning if transition == "degraded" else _log.info
            level(f"quality {transition}", **said)
        if told.first:
            told.first = False
            _log.info(f"first verdict: {verdict.outcome.value}", **said)
        elif verdict.outcome is Outcome.REJECTED:
            self._reject(told, said, now)
        if now - told.summary_at >= SUMMARY_EVERY_S:
            _log.info("verdicts", camera=frame.camera, **dict(sorted(told.outcomes.items())))
            told.outcomes.clear()
            told.summary_at = now

    def _reject(self, told: _Told, said: dict[str, object], now: float) -> None:
        if now - told.reject_at < REJECT_EVERY_S:
            told.rejects_unsaid += 1
            return
        if told.rejects_unsaid:
            said["more_before"] = told.rejects_unsaid
        _log.info("rejected", **said)
        told.reject_at, told.rejects_unsaid = now, 0
