"""Upgrades of a station's seats: plans that are built while another runtime judges."""

from __future__ import annotations

import threading
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from inspector.engine.best import with_standby
from inspector.engine.plans.upgrade import Upgrade
from inspector.errors import EngineError
from inspector.observe.health import Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inspector.engine.load import Engine
    from inspector.engine.occupant import Occupant
    from inspector.engine.plans.engine_plans import EnginePlans
    from inspector.engine.plans.later import LaterPlans
    from inspector.engine.seat import Seat

STOP_WITHIN_S = 1.0
"""A builder that was told to end is gone within this time; else it ends with this process."""


class Upgrades:
    """One upgrade a seat at most. Any thread.

    Args:
        turn: held while a seat changes hands; the engine room's own.
        keeps_standby: whether what judges meanwhile stays as a standby.
    """

    def __init__(self, turn: threading.Lock, keeps_standby: Callable[[], bool]) -> None:
        self._turn = turn
        self._keeps_standby = keeps_standby
        self._lock = threading.Lock()
        self._under_way: dict[str, Upgrade] = {}
        self._closed = False

    def tend(self, stage: str, seat: Seat) -> None:
        """Somebody has taken a seat: begin what is to be built for him, end what was for another.

        Returns at once.
        """
        occupant = seat.occupant
        upgrade = (
            self._upgrade(stage, seat, occupant, occupant.pending) if occupant.pending else None
        )
        with self._lock:
            before = self._under_way.pop(stage, None)
            if upgrade is not None and not self._closed:
                self._under_way[stage] = upgrade
                upgrade.start()
        if before is not None:
            before.stop()

    def _upgrade(
        self, stage: str, seat: Seat, occupant: Occupant, plans: EnginePlans | LaterPlans
    ) -> Upgrade:
        return Upgrade(
            stage,
            plans,
            present=partial(_present, seat, occupant),
            swap=partial(self._swap, seat, occupant, plans),
            note=lambda why: self._note(seat, occupant, why),
        )

    def _swap(
        self,
        seat: Seat,
        of: Occupant,
        plans: EnginePlans | LaterPlans,
        engine: Engine,
        why: str,
    ) -> None:
        """Give the seat to the engine on its plan. Raises EngineError where it is another's now."""
        with self._turn:
            present = seat.occupant
            if not _same(present, of):
                msg = f"engine {of.engine.info.name} has the seat no more"
                raise EngineError(msg)
            beside = replace(present.standby or present.engine, degraded=None)
            standby = beside if self._keeps_standby() else None
            occupant = with_standby(engine, plans, standby, of.pending)
            occupant = replace(occupant, folder=of.folder, instead=of.instead)
            seat.replace(occupant, why, word="upgraded")

    def _note(self, seat: Seat, of: Occupant, why: str) -> None:
        with self._turn:
            if _same(seat.occupant, of):
                seat.note(f"{of.engine.info.runtime} judges, not tensorrt: {why}")

    def facts(self) -> Iterator[Fact]:
        """How far they are, for readiness; gates nothing."""
        for stage, upgrade in self._present():
            progress = upgrade.progress
            yield Fact(f"plan {stage}", progress.serves, progress.sentence)

    def status(self, stage: str) -> dict[str, Any] | None:
        """How far the upgrade of a seat is, as JSON-able data; None: there is none."""
        with self._lock:
            upgrade = self._under_way.get(stage)
        if upgrade is None:
            return None
        progress = upgrade.progress
        return asdict(progress) | {"sentence": progress.sentence}

    def _present(self) -> list[tuple[str, Upgrade]]:
        with self._lock:
            return list(self._under_way.items())

    def close(self) -> None:
        """End all builders; the seats stay as they are. Idempotent."""
        with self._lock:
            self._closed = True
            upgrades = list(self._under_way.values())
            self._under_way.clear()
        for upgrade in upgrades:
            upgrade.stop()
        for upgrade in upgrades:
            upgrade.join(STOP_WITHIN_S)


def _present(seat: Seat, of: Occupant) -> Engine | None:
    """Who judges on TensorRT, where the seat is still that occupant's."""
    occupant = seat.occupant
    on_tensorrt = _same(occupant, of) and occupant.engine.info.runtime == "tensorrt"
    return occupant.engine if on_tensorrt else None


def _same(present: Occupant, of: Occupant) -> bool:
    # A note makes another value of the same occupant; the plans that it waits for are the same.
    return present.pending is not None and present.pending is of.pending
