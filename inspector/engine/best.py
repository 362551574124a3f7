"""The best that this box has for an engine: TensorRT where it is asked for and can be had.

Where no plan fits yet, the engine judges on the processor at once, and says what is to be built.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from inspector.engine.load import load_engine
from inspector.engine.nvidia.report import ask_nvidia
from inspector.engine.occupant import Occupant
from inspector.engine.occupying import open_occupant
from inspector.engine.plans.engine_plans import EnginePlans, NoPlanServesError, platform_of
from inspector.errors import EngineError, NoRuntimeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inspector.config.station import Engine as EngineSection
    from inspector.engine.load import Engine
    from inspector.engine.plans.key import PlanKey
    from inspector.engine.plans.request import Stage
    from inspector.engine.plans.store import Plans

_log = structlog.get_logger("inspector.engine")


def open_best(
    folder: Path,
    asked: EngineSection,
    store: Plans,
    *,
    on_stage: Callable[[PlanKey, Stage], None],
    stopped: Callable[[], bool] = bool,
) -> Occupant:
    """Make the engine in a folder ready to serve as the station file wants it.

    Takes seconds; minutes where a plan has to be built and nothing may judge meanwhile.

    Args:
        store: the station's plans.
        on_stage: told how far a build is that has to be waited for.
        stopped: whether to give it up.

    Raises:
        NoRuntimeError: the runtime asked for cannot be had, and no other is allowed.
        BuildStoppedError: `stopped` said so.
        EngineError: as `load_engine`.
    """
    if asked.runtime == "openvino":
        return open_occupant(folder, asked)
    try:
        plans = EnginePlans.of(
            folder,
            platform_of(ask_nvidia(asked.device)),
            store,
            precision=asked.precision,
            max_batch=asked.max_batch,
            device=asked.device,
        )
    except EngineError as error:
        return _without_gpu(folder, asked, str(error))
    try:
        engine = plans.open_ready()
    except EngineError as error:
        if asked.fallback == "none":
            engine = _built(plans, on_stage, stopped)
        else:
            refused = isinstance(error, NoPlanServesError)
            return _meanwhile(folder, asked, str(error), None if refused else plans)
    return with_standby(engine, plans, _standby(folder, asked))


def with_standby(engine: Engine, plans: EnginePlans, standby: Engine | None) -> Occupant:
    """An engine on TensorRT, with what stands in for it and how a fresh one is opened."""
    return Occupant(engine, standby=standby, revive=plans.open_ready)


def _without_gpu(folder: Path, asked: EngineSection, why: str) -> Occupant:
    if asked.runtime == "auto":
        _log.info("engine: openvino is the best that is here", reason=why)
        return open_occupant(folder, _on_processor(asked))
    if asked.fallback == "none":
        raise NoRuntimeError(f"{folder.name}: {why}; set engine.fallback or engine.runtime")
    return _meanwhile(folder, asked, why, None)


def _meanwhile(
    folder: Path, asked: EngineSection, why: str, pending: EnginePlans | None
) -> Occupant:
    occupant = open_occupant(folder, _on_processor(asked))
    degraded = f"{occupant.engine.info.runtime} judges, not tensorrt: {why}"
    return replace(occupant, engine=replace(occupant.engine, degraded=degraded), pending=pending)


def _built(
    plans: EnginePlans, on_stage: Callable[[PlanKey, Stage], None], stopped: Callable[[], bool]
) -> Engine:
    try:
        return plans.build(on_stage=on_stage, stopped=stopped)
    except EngineError as error:
        if stopped():
            raise
        raise NoRuntimeError(f"{error}; no other runtime is allowed (engine.fallback)") from error


def _on_processor(asked: EngineSection) -> EngineSection:
    return asked.model_copy(update={"runtime": "openvino"})


def _standby(folder: Path, asked: EngineSection) -> Engine | None:
    if asked.fallback == "none":
        return None
    return load_engine(
        folder,
        runtime="openvino",
        precision=asked.precision,
        max_batch=asked.max_batch,
        threads=asked.threads,
    )
