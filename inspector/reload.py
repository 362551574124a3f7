"""Reload: takes a changed station file while the station runs; all of it, or nothing.

Secrets are looked up anew. What a running station cannot change (see `inspector.config.changes`) is
refused with the keys; so is a faulty file, and that is remembered until a good one comes.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import structlog

from inspector.config.changes import plan
from inspector.config.faults import StationFileError
from inspector.config.settled import read_settled
from inspector.errors import CaptureError
from inspector.observe.health import Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from inspector.capture.status import Counters
    from inspector.config.changes import Plan
    from inspector.config.faults import Fault
    from inspector.config.secrets import Secrets
    from inspector.config.station import Station
    from inspector.journal import Journal

Word = Literal["applied", "unchanged", "refused", "restart needed", "not now"]

TURN_S = 30.0
"""Longest wait for another reload to end."""

GONE_S = 3.0
"""Longest wait for removed cameras to be gone; what takes longer is looked after later."""

MOST_TOLD = 5
"""Faults that the fact of readiness names; the log and the answer have all."""

_log = structlog.get_logger("inspector.station")


class Lineup(Protocol):
    """What a reload needs of `inspector.lineup.Lineup`."""

    @property
    def config(self) -> Station:
        """The station file that holds now."""

    def stale_logins(self) -> frozenset[str]:
        """Cameras whose secrets have changed since their worker began."""

    def change(self, config: Station, plan: Plan) -> Mapping[str, Future[Counters]]:
        """Go on with another station file; gives the last counters of the removed cameras."""

    def forget(self, camera: str) -> None:
        """A removed camera is gone."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a reload.

    Attributes:
        word: for programs. `applied`: the file holds; `unchanged`: it says what holds already;
            `refused`: it is faulty; `restart needed`: it changes what only a restart can change;
            `not now`: the station starts or stops, or another reload takes long.
        detail: a sentence for a person.
        faults: why it was refused, with line and key.
        left: last counters of the removed cameras that were gone in time.
    """

    word: Word
    detail: str
    faults: Sequence[Fault] = ()
    plan: Plan | None = None
    left: Mapping[str, Counters] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The outcome as JSON-able data, without secrets."""
        plan = self.plan
        return {
            "outcome": self.word,
            "detail": self.detail,
            "faults": [fault.document() for fault in self.faults],
            "changes": [change.document() for change in plan.changes] if plan else [],
            "cameras": plan.cameras() if plan else None,
            "left": {name: asdict(counters) for name, counters in self.left.items()},
        }


class Reloads:
    """Reloads of one station, one at a time. All methods may be called from any thread.

    Args:
        file: the station file.
        on_applied: called with the new station, in the thread of whoever asked.
        giving_up: whether waiting for removed cameras has lost its point, since the station ends.
        sleep: waits for a file to settle; seconds.
    """

    def __init__(
        self,
        file: Path,
        secrets: Secrets,
        lineup: Lineup,
        journal: Journal,
        *,
        on_applied: Callable[[Station], None],
        giving_up: Callable[[], bool] = bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._file = file.absolute()
        self._secrets = secrets
        self._lineup = lineup
        self._journal = journal
        self._on_applied = on_applied
        self._giving_up = giving_up
        self._sleep = sleep
        self._turn = threading.Lock()
        self._leaving: list[tuple[str, Future[Counters]]] = []
        self._fact = Fact("station file", ok=True, detail="as it was at the start")
        self._journal_fault: str | None = None

    def facts(self) -> list[Fact]:
        """How the station stands to its file, for readiness; gates nothing."""
        fault = self._journal_fault
        return [self._fact, *([Fact("journal", ok=False, detail=fault)] if fault else [])]

    def reload(self, origin: str) -> Outcome:
        """Take the station file as it is now. Waits for reloads before it; never raises.

        Args:
            origin: who asks, for journal and log: `SIGHUP`, `HTTP 10.0.0.7`.
        """
        if not self._turn.acquire(timeout=TURN_S):
            outcome = Outcome("not now", f"another reload has taken more than {TURN_S:g} s")
        else:
            try:
                outcome = self._reload(origin)
            except Exception:  # noqa: BLE001 - a signal's reload must not end the station
                _log.exception("a reload failed")
                outcome = Outcome("refused", "a fault of the program; the log has its trace")
            finally:
                self._turn.release()
        self._tell(outcome, origin)
        return outcome

    def _reload(self, origin: str) -> Outcome:
        self._forget_gone()
        try:
            loaded = read_settled(self._file, self._secrets, sleep=self._sleep)
        except StationFileError as error:
            return self._refuse("refused", f"{self._file} is faulty", error.faults)
        found = plan(self._lineup.config, loaded.station, self._lineup.stale_logins())
        if not found.changes:
            self._accept("unchanged")
            return Outcome("unchanged", "nothing changed")
        if found.fixed:
            faults = [
                loaded.fault(change.key, f"{change.step}; restart the station for that")
                for change in found.fixed
            ]
            return self._refuse("restart needed", "nothing was applied", faults)
        try:
            self._leaving += self._lineup.change(loaded.station, found).items()
        except CaptureError as error:
            return Outcome("not now", str(error))
        self._on_applied(loaded.station)
        self._accept("applied")
        self._note(origin, found)
        return Outcome("applied", _summary(found), plan=found, left=self._await_gone())

    def _accept(self, word: str) -> None:
        self._fact = Fact("station file", ok=True, detail=f"{word} at {_now()}")

    def _refuse(self, word: Word, detail: str, faults: Sequence[Fault]) -> Outcome:
        told = [str(fault) for fault in faults[:MOST_TOLD]]
        if len(faults) > MOST_TOLD:
            told.append(f"{len(faults) - MOST_TOLD} more")
        said = f"{word} at {_now()}, the one before it holds: {'; '.join(told)}"
        self._fact = Fact("station file", ok=False, detail=said)
        return Outcome(word, f"{detail}: {'; '.join(map(str, faults))}", faults)

    def _note(self, origin: str, found: Plan) -> None:
        entry = {
            "at": _now(),
            "from": origin,
            "file": str(self._file),
            "cameras": found.cameras(),
            "changes": [change.document() for change in found.changes],
        }
        try:
            self._journal.write(entry)
        except OSError as error:
            self._journal_fault = f"a change is not in the journal: {error}; the log has it"
            _log.error("a change is not in the journal", fault=str(error))
        else:
            self._journal_fault = None

    def _await_gone(self) -> dict[str, Counters]:
        deadline = time.monotonic() + GONE_S
        while late := [name for name, last in self._leaving if not last.done()]:
            if self._giving_up() or time.monotonic() > deadline:
                _log.warning("removed cameras are not gone yet", cameras=late)
                break
            wait([last for _, last in self._leaving], timeout=0.1)
        return self._forget_gone()

    def _forget_gone(self) -> dict[str, Counters]:
        """Forget removed cameras that are gone, unless they have come back by now."""
        gone = {name: last.result() for name, last in self._leaving if last.done()}
        self._leaving = [(name, last) for name, last in self._leaving if not last.done()]
        present = {*self._lineup.config.cameras, *(name for name, _ in self._leaving)}
        for name, books in gone.items():
            if name not in present:
                self._lineup.forget(name)
            _log.info("camera removed", camera=name, **asdict(books))
        return gone

    def _tell(self, outcome: Outcome, origin: str) -> None:
        if outcome.plan is not None:
            changes = [str(change) for change in outcome.plan.changes]
            cameras = {what: names for what, names in outcome.plan.cameras().items() if names}
            _log.info("reload: applied", origin=origin, changes=changes, **cameras)
        elif outcome.word == "unchanged":
            _log.info("reload: nothing changed", origin=origin)
        else:
            faults = [str(fault) for fault in outcome.faults] or [outcome.detail]
            _log.warning(f"reload: {outcome.word}", origin=origin, faults=faults)


def _summary(found: Plan) -> str:
    parts = [f"{what} {', '.join(names)}" for what, names in found.cameras().items() if names]
    count = len(found.changes)
    return "; ".join([f"{count} {'key' if count == 1 else 'keys'} changed", *parts])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
