"""The engine room: the station's engines in their seats, and how others take their places.

At the start it loads what the station file names, or what was activated in its place. Later an
engine is activated while the station judges: loaded beside, proved on its golden tiles, held
against the policies, then seated between two batches; a failing one makes room for the one before.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import structlog

from inspector.choices import Choice, Choices
from inspector.engine.best import open_best
from inspector.engine.folders import find_engine
from inspector.engine.load import stages_of
from inspector.engine.plans.building import BuildStoppedError
from inspector.engine.plans.store import Plans
from inspector.engine.seat import Seat
from inspector.errors import (
    EngineError,
    EngineFolderError,
    EngineUnreadableError,
    InspectorError,
    NoRuntimeError,
    UserError,
)
from inspector.observe.health import Fact
from inspector.upgrades import Upgrades

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from inspector.config.station import Station as StationFile
    from inspector.engine.load import Engine
    from inspector.engine.occupant import Change, Occupant
    from inspector.engine.plans.key import PlanKey
    from inspector.engine.plans.request import Stage
    from inspector.journal import Journal
    from inspector.verdict import EngineInfo

Word = Literal["activated", "rolled back", "refused", "unknown engine", "not now"]

TURN_S = 120.0
"""Longest wait for another activation to end."""

_log = structlog.get_logger("inspector.station")


@dataclass(frozen=True, slots=True)
class Activation:
    """What became of an activation or a roll-back.

    Attributes:
        word: for programs. `refused`: what judged judges on, `detail` says why; `not now`: the
            station starts or stops, or another activation takes long.
        detail: a sentence for a person.
        before, now: which engine judged, and which one judges; None where nothing changed.
    """

    word: Word
    detail: str
    before: EngineInfo | None = None
    now: EngineInfo | None = None

    def document(self) -> dict[str, Any]:
        """The outcome as JSON-able data."""
        return {
            "outcome": self.word,
            "detail": self.detail,
            "before": asdict(self.before) if self.before else None,
            "engine": asdict(self.now) if self.now else None,
        }


class EngineRoom:
    """The engines of one station.

    `load` and `close` belong to the station's own thread; everything else to any.

    Args:
        config: gives the station file that holds now.
        folder: the state folder, where activations are kept over a restart.
        journal: has a line for each activation and roll-back.
    """

    def __init__(self, config: Callable[[], StationFile], folder: Path, journal: Journal) -> None:
        self._config = config
        self._choices = Choices(folder)
        self._journal = journal
        self._turn = threading.Lock()  # one activation at a time
        self._folder = folder
        self._upgrades = Upgrades(self._turn, lambda: config().engine.fallback != "none")
        self._seats: dict[str, Seat] = {}
        self._changes: Counter[tuple[str, str]] = Counter()
        self._unwritten: str | None = None

    @property
    def screen(self) -> Seat:
        """The seat that sees every frame; there once loaded."""
        return self._seats["screen"]

    @property
    def confirm(self) -> Seat | None:
        """The seat that judges again, where the station file has one."""
        return self._seats.get("confirm")

    @property
    def judging(self) -> EngineInfo | None:
        """Which engine sees every frame; None before it is loaded."""
        seat = self._seats.get("screen")
        return seat.engine.info if seat is not None else None

    @property
    def degraded(self) -> bool:
        """Whether another runtime serves than was asked for."""
        return any(seat.engine.degraded is not None for seat in list(self._seats.values()))

    @property
    def labels(self) -> tuple[str, ...]:
        """What the engines that judge now can call a picture, each label once."""
        seats = list(self._seats.values())
        return tuple(dict.fromkeys(x for seat in seats for x in seat.engine.manifest.classes))

    def load(
        self, on_step: Callable[[str], None], stopped: Callable[[], bool] = bool
    ) -> Iterator[str]:
        """Load the engines, stage after stage; gives each stage that is ready.

        Args:
            on_step: told what is being done.
            stopped: whether to give up a build that is waited for; then nothing more comes.

        Raises:
            NoRuntimeError: the runtime asked for cannot be had, and no other is allowed.
            EngineError: an engine cannot be read for now; another start may fare better.
            UserError: an engine cannot serve.
        """
        for stage, name in stages_of(self._config().engine):
            on_step(f"loading engine {name}")
            try:
                occupant = self._first(stage, name, on_step, stopped)
            except NoRuntimeError:
                raise
            except BuildStoppedError:
                yield stage
                return
            except (EngineFolderError, EngineUnreadableError) as error:
                # A disk may be mounted late, or be in order again: nobody need start us by hand.
                msg = f"the station cannot serve yet: {error}"
                raise EngineError(msg) from error
            except EngineError as error:
                msg = f"the station cannot serve: {error}"
                raise UserError(msg) from error
            self._seats[stage] = seat = Seat(occupant, stage, on_change=self._changed)
            info = seat.engine.info
            _log.info(
                "engine ready",
                stage=stage,
                engine=f"{info.name} {info.version}",
                runtime=info.runtime,
                precision=info.precision,
            )
            if seat.engine.degraded:
                _log.warning("engine degraded", stage=stage, reason=seat.engine.degraded)
            self._upgrades.tend(stage, seat)
            yield stage

    def _first(
        self, stage: str, name: str, on_step: Callable[[str], None], stopped: Callable[[], bool]
    ) -> Occupant:
        """The engine to begin with: the one that was activated if it can be had, else `name`."""
        choice = self._choices.get(stage, name)
        note = None
        if choice is not None:
            try:
                return self._open(choice.name, on_step, stopped)
            except BuildStoppedError:
                raise
            except InspectorError as error:
                note = (
                    f"{choice.name} was activated on {choice.at} and cannot judge: {error}; "
                    f"{name} judges, which the station file names"
                )
        return replace(self._best(name, on_step, stopped), instead=note)

    def activate(self, name: str, stage: str, origin: str) -> Activation:
        """Have another engine judge, from one batch to the next. Takes seconds; never raises.

        Args:
            name: an engine folder beside those that the station file names; also the same again,
                which takes what is in the folder now.
            stage: `screen` or `confirm`.
            origin: who asks, for journal and log.
        """
        return self._one_at_a_time(lambda: self._activate(name, stage, origin), origin)

    def roll_back(self, stage: str, origin: str) -> Activation:
        """Have the engine judge that did before the last activation. Never raises."""
        return self._one_at_a_time(lambda: self._roll_back(stage, origin), origin)

    def _one_at_a_time(self, work: Callable[[], Activation], origin: str) -> Activation:
        if not self._turn.acquire(timeout=TURN_S):
            return Activation("not now", f"another activation has taken more than {TURN_S:g} s")
        try:
            outcome = work()
        except InspectorError as error:
            outcome = Activation("refused", str(error))
        except Exception:  # noqa: BLE001 - an activation must not end the station
            _log.exception("an activation failed")
            outcome = Activation("refused", "a fault of the program; the log has its trace")
        finally:
            self._turn.release()
        if outcome.now is None:
            _log.warning(f"engine: {outcome.word}", origin=origin, reason=outcome.detail)
        return outcome

    def _activate(self, name: str, stage: str, origin: str) -> Activation:
        seat = self._seats.get(stage)
        if seat is None:
            return Activation("refused", f"this station has no {stage} engine to replace")
        try:
            find_engine(name, self._config().engine.folder)
        except UserError as error:
            return Activation("unknown engine", str(error))
        occupant = self._open(name)
        before, was = seat.engine.info, seat.occupant
        try:
            seat.replace(occupant, f"asked for by {origin}", word="activated", keep=True)
        except EngineError:
            _close(occupant)
            raise
        self._upgrades.tend(stage, seat)
        # Not always who was there before: he may have been lost meanwhile, and rolled back.
        self._settle(stage, name, (seat.kept or was).folder)
        return self._told("activated", stage, before, seat.engine.info, origin)

    def _roll_back(self, stage: str, origin: str) -> Activation:
        seat = self._seats.get(stage)
        if seat is None:
            return Activation("refused", f"this station has no {stage} engine to replace")
        choice = self._choices.get(stage, self._named(stage))
        name = choice.before if choice is not None else self._named(stage)
        before, why = seat.engine.info, f"asked for by {origin}"
        if seat.before is not None:
            seat.roll_back(why)
        elif choice is not None:  # of an earlier run
            occupant = self._open(name)
            try:
                seat.replace(occupant, why, word="rolled back")
            except EngineError:
                _close(occupant)
                raise
        else:
            return Activation("refused", f"{stage}: no engine was activated that one could go back")
        self._upgrades.tend(stage, seat)
        self._settle(stage, name, None)
        return self._told("rolled back", stage, before, seat.engine.info, origin)

    def _named(self, stage: str) -> str:
        """The engine that the station file names."""
        return dict(stages_of(self._config().engine))[stage]

    def _best(
        self, name: str, on_step: Callable[[str], None] | None, stopped: Callable[[], bool]
    ) -> Occupant:
        """The best that there is for an engine; `on_step`: a build may be waited for."""
        asked = self._config().engine
        plans = Plans(self._folder / asked.plans, max_bytes=asked.plans_max_mb * 1_000_000)

        def on_stage(key: PlanKey, said: Stage) -> None:
            if on_step is not None:
                on_step(f"building the plan of {key.what}: {said.percent:.0f} %, {said.words}")

        wait = None if on_step is None else on_stage
        occupant = open_best(name, asked, plans, on_stage=wait, stopped=stopped)
        return replace(occupant, folder=name)

    def _open(
        self,
        name: str,
        on_step: Callable[[str], None] | None = None,
        stopped: Callable[[], bool] = bool,
    ) -> Occupant:
        """A warm engine that the policies can work with. Raises EngineError, UserError."""
        occupant = self._best(name, on_step, stopped)
        try:
            if occupant.lost is not None and on_step is None:  # while another one judges: no change
                raise EngineError(occupant.lost)
            _check_policies(self._config(), occupant.engine)
        except BaseException:
            _close(occupant)
            raise
        return occupant

    # What is told and kept of a change.

    def _changed(self, change: Change) -> None:
        """By whichever thread brings a change about: nothing here may wait."""
        self._changes[change.stage, change.word] += 1
        log = _log.info if change.word in {"activated", "restored", "upgraded"} else _log.warning
        log(
            f"engine {change.word}",
            stage=change.stage,
            reason=change.why,
            before=_words(change.before),
            now=_words(change.now),
        )
        if change.word == "rolled back" and not change.asked:
            threading.Thread(target=self._rolled_back, args=(change,), daemon=True).start()

    def _rolled_back(self, change: Change) -> None:
        """The seat went back by itself."""
        stage = change.stage
        with self._turn:  # the activation that it undoes may still be being written down
            choice = self._choices.get(stage, self._named(stage))
            here = self._seats[stage].occupant.folder
            if choice is None or choice.name != here or choice.name == choice.before:
                self._upgrades.tend(stage, self._seats[stage])
                self._settle(stage, choice.before if choice else self._named(stage), None)
            # else another one was activated, and has the seat
        self._write(change.word, stage, change.before, change.now, f"the station: {change.why}")

    def _settle(self, stage: str, name: str, before: str | None) -> None:
        """Remember who judges, over a restart too."""
        named = self._named(stage)
        holds = name == named and before in {None, named}
        choice = None if holds else Choice(name, named, before or named, _now())
        try:
            self._choices.put(stage, choice)
        except OSError as error:
            self._unwritten = (
                f"{name} judges, and a restart will not know it: {error}; make room in the state "
                "folder and activate it again"
            )
            _log.error("an activation is not kept over a restart", fault=str(error))
        else:
            self._unwritten = None

    def _told(
        self, word: Literal["activated", "rolled back"], stage: str,
        before: EngineInfo, now: EngineInfo, origin: str,
    ) -> Activation:  # fmt: skip
        self._write(word, stage, before, now, origin)
        return Activation(word, f"{stage}: {_words(now)} judges", before, now)

    def _write(
        self, word: str, stage: str, before: EngineInfo, now: EngineInfo, origin: str
    ) -> None:
        change = {"key": f"engine.{stage}", "old": asdict(before), "new": asdict(now)}
        entry = {"at": _now(), "from": origin, "engine": word, "changes": [change]}
        try:
            self._journal.write(entry)
        except OSError as error:
            _log.error("a change is not in the journal", fault=str(error))

    # How they are.

    def facts(self) -> Iterator[Fact]:
        """How the engines are, for readiness; gates nothing."""
        for stage, seat in self._seats.items():
            engine = seat.engine
            detail = f"{_words(engine.info)}, {engine.info.runtime} {engine.info.precision}"
            choice = self._choices.get(stage, self._named(stage))
            if choice is not None and choice.name != choice.instead_of:
                detail += f"; activated on {choice.at}, the station file names {choice.instead_of}"
            yield Fact(f"engine {stage}", engine.degraded is None, engine.degraded or detail)
        yield from self._upgrades.facts()
        if self._unwritten is not None:
            yield Fact("activated engine", ok=False, detail=self._unwritten)

    def status(self) -> dict[str, dict[str, Any]]:
        """The engines as JSON-able data, by stage."""
        found = {}
        for stage, seat in self._seats.items():
            engine, before = seat.engine, seat.before
            found[stage] = asdict(engine.info) | {
                "reason": engine.degraded,
                "folder": seat.occupant.folder,
                "plan": self._upgrades.status(stage),
                "before": asdict(before.info) if before is not None else None,
                "changes": {word: n for (one, word), n in self._changes.items() if one == stage},
            }
        return found

    def close(self) -> None:
        """Close all engines, end all builders. Idempotent."""
        self._upgrades.close()
        for seat in self._seats.values():
            seat.close()


def _check_policies(config: StationFile, engine: Engine) -> None:
    """Raise EngineError where a policy in use counts labels that the engine does not know."""
    classes = engine.manifest.classes
    for camera in config.cameras:
        reject = config.policy_of(camera).reject
        missing = [] if reject == "all" else [label for label in reject if label not in classes]
        if missing:
            msg = (
                f"engine {engine.info.name} {engine.info.version} has no {', '.join(missing)}, "
                f"which policy {config.cameras[camera].policy} of camera {camera} rejects; it has "
                f"{', '.join(classes)}: change the policy first"
            )
            raise EngineError(msg)


def _close(occupant: Occupant) -> None:
    for runtime in occupant.runtimes():
        runtime.close()


def _words(info: EngineInfo) -> str:
    return f"{info.name} {info.version}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
