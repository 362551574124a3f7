"""The station's heartbeat: a status event at a set rate, and one at the end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import structlog

from inspector import __version__
from inspector.camera_events import camera_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inspector.events.documents import Documents, Event
    from inspector.events.outbox import Outbox
    from inspector.observe.health import Health
    from inspector.verdict import EngineInfo

_log = structlog.get_logger("inspector.station")


class Heartbeat:
    """Tells, in a thread of its own, how the station fares.

    Args:
        status: makes the station's status document.
        health: knows whether it is ready, and why not.
        engine: which engine sees every frame; None before one is loaded.
    """

    def __init__(
        self,
        status: Callable[[], Mapping[str, Any]],
        health: Health,
        documents: Documents,
        engine: Callable[[], EngineInfo | None],
    ) -> None:
        self._status = status
        self._health = health
        self._documents = documents
        self._engine = engine
        self._started_utc_ns, self._started_ns = time.time_ns(), time.monotonic_ns()
        self._stopping = threading.Event()

    def start(self, outbox: Outbox, every_s: float) -> None:
        """Begin to tell it to the outbox."""
        threading.Thread(
            target=self._run, args=(outbox, every_s), name="heartbeat", daemon=True
        ).start()

    def stop(self, outbox: Outbox) -> None:
        """Tell it once more, and never again."""
        self._stopping.set()
        self._tell(outbox)

    def _run(self, outbox: Outbox, every_s: float) -> None:
        while not self._stopping.wait(every_s):
            self._tell(outbox)

    def _tell(self, outbox: Outbox) -> None:
        try:
            outbox.append([self._event(outbox)])
        except Exception:  # noqa: BLE001 - no heartbeat must end the next ones, or a stop half way
            _log.warning("a heartbeat could not be written", exc_info=True)

    def _event(self, outbox: Outbox) -> Event:
        report = self._health.ready()
        return self._documents.station_status(
            version=__version__,
            started_utc_ns=self._started_utc_ns,
            uptime_s=(time.monotonic_ns() - self._started_ns) / 1e9,
            ready=report.ok,
            reasons=[f"{fact.name}: {fact.detail}" for fact in report.facts if not fact.ok],
            cameras={
                name: camera_entry(camera) for name, camera in self._status()["cameras"].items()
            },
            engine=self._engine(),
            outbox=outbox.stats().to_json(),
        )
