"""Keeps the service manager told of the station's health: ready, status, alive, stopping.

Told is what the probes answer, from the same `Health`. Alive is told only if every mandatory loop
has turned since it was told last: one loop that hangs silences it, and the manager, which waits for
no longer than the unit's `WatchdogSec=`, starts the station anew.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import structlog

from inspector.observe.health import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.observe.health import Health, Report
    from inspector.observe.service_manager import ServiceManager

_log = structlog.get_logger("inspector.reporting")

TURN_S = 0.5
"""From one report to the next. A tenth of the watchdog's time, so that one lost turn is none."""
EXTEND_S = 30.0
"""How much longer the manager is to wait for a start that goes on; said anew with each turn."""
STEP_LIMIT_S = 600.0
"""A step of the start that takes longer hangs: no extension any more, the manager ends it."""


class Reporter:
    """Reports from a thread of its own, from entering it to leaving it.

    Args:
        manager: whom to tell; where nobody listens, there is no thread.
        health: what to tell of.
        clock_ns: monotonic time, of the same clock as the loops' progress.
    """

    def __init__(
        self,
        manager: ServiceManager,
        health: Health,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._manager = manager
        self._health = health
        self._clock_ns = clock_ns
        self._told_phase: Phase | None = None
        self._told_status: str | None = None
        self._alive_ns = 0
        self._step = ""
        self._step_ns = clock_ns()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="service-manager", daemon=True)

    def __enter__(self) -> Self:
        if self._manager.listens:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
            self.turn()

    def turn(self) -> None:
        """Tell what there is to tell now. Called by the reporter's thread, and by tests."""
        phase = self._health.phase
        if phase is Phase.STARTING:
            self._extend()
        elif phase is not self._told_phase:
            serving = phase is Phase.SERVING
            if self._manager.tell(READY=1) if serving else self._manager.tell(STOPPING=1):
                self._told_phase = phase
        # A stop ends the loops one by one and is limited by the manager's own clock for it.
        if phase is Phase.STOPPING or (phase is Phase.SERVING and self._all_turned()):
            now = self._clock_ns()
            if self._manager.tell(WATCHDOG=1):
                self._alive_ns = now
        self._tell_status()

    def _run(self) -> None:
        while True:
            try:
                self.turn()
            except Exception:  # noqa: BLE001 - a thread that ends here would be a dead station
                _log.warning("the service manager was not told", exc_info=True)
            if self._over.wait(TURN_S):
                return

    def _all_turned(self) -> bool:
        return not self._health.standing_since(self._alive_ns)

    def _extend(self) -> None:
        if self._step != self._health.step:
            self._step, self._step_ns = self._health.step, self._clock_ns()
        if self._clock_ns() - self._step_ns < STEP_LIMIT_S * 1e9:
            self._manager.tell(EXTEND_TIMEOUT_USEC=round(EXTEND_S * 1e6))

    def _tell_status(self) -> None:
        status = status_of(self._health.ready())
        if status != self._told_status and self._manager.tell(status=status):
            self._told_status = status


def status_of(report: Report) -> str:
    """What `/readyz` answers as one line, the phase first, then what is not well.

    >>> from inspector.observe.health import Fact, Phase, Report
    >>> facts = (Fact("phase", True, "serving", gates=True), Fact("broker", False, "refused"))
    >>> status_of(Report(True, Phase.SERVING, facts))
    'serving; not well: broker: refused'
    """
    phase, *facts = report.facts
    parts = [phase.detail if report.ok or not phase.ok else f"{phase.detail}, but not ready"]
    if bad := [f"{fact.name}: {fact.detail}" for fact in facts if not fact.ok]:
        parts.append("not well: " + "; ".join(bad))
    if good := [f"{fact.name}: {fact.detail}" for fact in facts if fact.ok]:
        parts.append(("well: " if bad else "") + "; ".join(good))
    return "; ".join(parts)
