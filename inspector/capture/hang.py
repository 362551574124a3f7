"""Workers that hang: how that is found, and what is said of one that even a kill does not end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.capture.counters import BEAT_NS, OPENING, PHASE
from inspector.capture.patience import STOPPED_S, longest_silence_s

if TYPE_CHECKING:
    from inspector.capture.process import WorkerProcess
    from inspector.capture.status import Cause
    from inspector.config.cameras import Source

DYING_S = 1.0
"""Longest a worker takes to end once it is killed; a call into a driver may never come back."""

UNDYING = (
    "the worker of camera {name} {fault}, but does not end, since it hangs in the kernel; see "
    "dmesg, unplug the camera or restart the box"
)


@dataclass(frozen=True, slots=True)
class Hang:
    """A worker was found to hang.

    Attributes:
        cause: why its camera is not running.
        fault: what the worker did, in words, and that it was killed for it.
        found_s: when, monotonic.
    """

    cause: Cause
    fault: str
    found_s: float

    def outlived(self, now_s: float) -> bool:
        """Whether the worker should have ended by now."""
        return now_s - self.found_s > DYING_S


def find_hang(
    process: WorkerProcess, source: Source, asked_ns: int, now_s: float, *, greeted: bool
) -> Hang | None:
    """How the worker hangs, if it does.

    Args:
        source: what it reads.
        asked_ns: when it was last asked for something, monotonic.
        now_s: monotonic clock.
        greeted: whether it has said hello.
    """
    if process.stopped_s(now_s) > STOPPED_S:
        fault = f"was stopped by a signal for {STOPPED_S:g} s and was killed"
        return Hang("stalled", fault, now_s)
    phase = process.page.read(PHASE)
    limit_s = longest_silence_s(source, phase, greeted=greeted)
    if now_s - max(asked_ns, process.page.read(BEAT_NS)) / 1e9 <= limit_s:
        return None
    fault = f"gave no sign of life for {limit_s:g} s and was killed"
    return Hang("timeout" if phase == OPENING else "stalled", fault, now_s)
