"""The signaller: Kafka's rejects on one side, the PLC on the other, and what it tells of itself."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import structlog

from inspector.errors import EventsError
from inspector.events.opening import FolderLock, forget_old_copies, is_broken, move_aside
from inspector.events.seen import IN_MEMORY, Seen
from inspector.line.registers import part_number
from inspector.line.session import Standing
from inspector.line.signals import Signals
from inspector.observe.health import Fact, Health, Loop, Phase
from inspector.signaller.reader import Reader
from inspector.signaller.sorting import age_s, finding_of
from inspector.signaller.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from inspector.config.secrets import Secrets
    from inspector.config.signaller import Signaller
    from inspector.events.model import FrameRejected
    from inspector.line.lease import Lease
    from inspector.line.parts import Cause, Done, Part
    from inspector.line.registers import Answer

HANDLED = "handled.sqlite"
LOCK = "signaller.lock"
LOOP_LIMIT_S = 10.0
READER_STOP_S = 8.0
"""A stop with a broker that does not answer takes so long."""

_log = structlog.get_logger("inspector.signaller")


class Service:
    """One signaller. `start` and `stop` by one thread, everything else by any.

    Args:
        folder: for the ids of handled events.

    Raises:
        UserError: the folder cannot be used, or another process uses it.
    """

    def __init__(self, config: Signaller, secrets: Secrets, folder: Path) -> None:
        self.config = config
        self.health = Health()
        self.tally = Tally(self.status)
        self.failure: BaseException | None = None
        self.ended = threading.Event()
        """It has ended by itself, with `failure`."""
        self._lock = FolderLock(
            folder, LOCK, what="the folder of handled events", whose="signaller"
        )
        self._line = config.line.as_line()
        self._signals: Signals | None = None
        self._reader = Reader(
            config,
            secrets,
            open_handled=lambda: open_handled(folder / HANDLED, config.consume.remember),
            desk=self,
            tally=self.tally,
            on_end=self._on_end,
        )
        self.health.watch(self._loops(), self._facts)

    def start(self) -> None:
        """Begin; broker and PLC may come later."""
        self._reader.start()
        self.health.phase, self.health.step = Phase.SERVING, "serving"

    def stop(self) -> None:
        """Lower `ready`, commit, close. Idempotent."""
        self.health.phase, self.health.step = Phase.STOPPING, "stopping"
        self._reader.stop(READER_STOP_S)
        self.close(0.0)
        self._lock.release()

    def status(self) -> dict[str, Any]:
        """Everything at this moment, as JSON-able data."""
        signals = self._signals
        up, detail = self._reader.broker
        return {
            "signaller": self.config.signaller,
            "mode": self.config.mode,
            "phase": self.health.phase.value,
            "role": "active" if self._reader.active else "standby",
            "broker": {"up": up, "detail": detail},
            "waiting": self._reader.waiting,
            "line": None if signals is None else signals.status(),
            **self.tally.document(),
        }

    # --- what the reader asks for -----------------------------------------------------------------

    def open(self, lease: Lease) -> None:
        """This process signals from now on: connect to the PLC."""
        if self._signals is None:
            self._signals = Signals(
                self._line,
                self.config.line.cameras,
                self,
                observing=self.config.mode == "observe",
                standing=lambda: Standing(serving=self._reader.broker[0]),
                lease=lease,
            )
            self._signals.start()

    def close(self, within_s: float) -> None:
        """It does so no longer: lower everything, and leave the PLC."""
        signals, self._signals = self._signals, None
        if signals is not None:
            signals.stop(within_s)

    def sequence(self, camera: str) -> int | None:
        """The last sequence of a camera; None while the PLC is not connected."""
        if self._signals is None:
            return None
        status = self._signals.status()
        connected = status["state"] == "connected"
        return int(status["cameras"][camera]["sequence"]) if connected else None

    def signal(
        self, camera: str, event: FrameRejected, sequence: int, on_done: Callable[[Done], None]
    ) -> None:
        """Signal a reject."""
        assert self._signals is not None  # noqa: S101 - the reader asked for a sequence before
        age_ns = round(age_s(event, time.time()) * 1e9)
        self._signals.signal(
            camera,
            finding_of(event),
            part=part_number(event.data.part_id),
            from_ns=time.monotonic_ns() - age_ns,
            sequence=sequence,
            on_done=on_done,
        )

    # --- what the line tells ---------------------------------------------------------------------

    def connected(self) -> None:
        """The PLC hears us; what waits goes at the reader's next turn."""

    def triggered(self, camera: str, part: Part) -> None:
        """The PLC announces nothing here."""

    def raised(self, camera: str, answer: Answer, after_s: float | None) -> None:
        """A signal is on the wire."""
        del after_s
        self.tally.seconds.labels(camera).observe(answer.elapsed_ms / 1000)

    def faulted(self, camera: str | None, cause: Cause, detail: str) -> None:
        """A fault of the line began; the log has it already."""
        del detail
        self.tally.faults[camera or "", cause] += 1

    def restored(self, camera: str | None, cause: Cause, after_s: float) -> None:
        """A fault ended."""

    # --- what it tells of itself -----------------------------------------------------------------

    def _loops(self) -> tuple[Loop, ...]:
        return (
            Loop("reader", self._reader.progress_ns, LOOP_LIMIT_S),
            Loop("line", self._line_progress_ns, LOOP_LIMIT_S),
        )

    def _line_progress_ns(self) -> int:
        signals = self._signals
        return time.monotonic_ns() if signals is None else signals.progress_ns()

    def _facts(self) -> Iterator[Fact]:
        up, detail = self._reader.broker
        yield Fact("broker", up, detail)
        signals = self._signals
        if signals is None:
            yield Fact("line", True, "standing by: another process signals, or the broker is away")
            return
        line = signals.status()
        connected = line["state"] == "connected"
        detail = f"{line['address']}: {line['detail'] or line['state']}"
        if connected and line["safe"] != "normal":
            detail = f"{line['address']}: fail-safe, {line['safe']}"
        yield Fact("line", connected and line["safe"] == "normal", detail)

    def _on_end(self, error: BaseException) -> None:
        self.failure = error
        self.ended.set()


def open_handled(file: Path, remember: int) -> Seen:
    """The ids of handled events; a file that is broken is put aside, and a new one begun.

    Where the disk takes none (it is full), they are kept in memory: the line need not stand for
    it. Repeats of what the file knew would be older than their deadline in nearly every case.
    """
    try:
        return Seen(file, remember)
    except EventsError as error:
        fault = error
    try:
        if is_broken(fault.__cause__):
            _put_aside(file, fault)
            return Seen(file, remember)
    except (EventsError, OSError) as error:
        fault = EventsError(str(error))
    _log.error(IN_MEMORY, fault=str(fault))
    return Seen(None, remember)


def _put_aside(file: Path, fault: EventsError) -> None:
    aside = move_aside(file)
    forget_old_copies(file)
    _log.error("the file of handled events was put aside", reason=str(fault), aside=str(aside))
