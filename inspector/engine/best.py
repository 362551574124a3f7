"""The best that this box has for an engine: TensorRT where it is asked for and can be had.

Where no plan fits yet, the engine judges on the processor at once, and says what is to be built.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from inspector.engine.folders import find_engine
from inspector.engine.load import load_asked
from inspector.engine.nvidia.report import GpuFailsError, ask_nvidia
from inspector.engine.occupant import Occupant
from inspector.engine.occupying import open_occupant
from inspector.engine.plans.engine_plans import EnginePlans, NoPlanServesError, platform_of
from inspector.engine.plans.later import LaterPlans
from inspector.errors import EngineError, NoRuntimeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.config.station import Engine as EngineSection
    from inspector.engine.load import Engine
    from inspector.engine.plans.key import PlanKey
    from inspector.engine.plans.request import Stage
    from inspector.engine.plans.store import Plans

_log = structlog.get_logger("inspector.engine")


def open_best(
    name: str,
    asked: EngineSection,
    store: Plans,
    *,
    on_stage: Callable[[PlanKey, Stage], None] | None,
    stopped: Callable[[], bool] = bool,
) -> Occupant:
    """Make an engine ready to serve as the station file wants it.

    Takes seconds; minutes where a plan has to be built first, since nothing may judge meanwhile.

    Args:
        store: the station's plans.
        on_stage: told how far a build is that has to be waited for; None: none is waited for.
        stopped: whether to give it up.

    Raises:
        NoRuntimeError: the runtime asked for cannot be had, and no other is allowed.
        BuildStoppedError: `stopped` said so.
        UserError: there is no engine of that name.
        EngineError: as `load_engine`.
    """
    if asked.runtime == "openvino":
        return open_occupant(name, asked)
    try:
        plans = plans_here(name, asked, store)
    except EngineError as error:
        return _without_gpu(name, asked, store, error)
    try:
        engine = plans.open_ready()
    except EngineError as error:
        if asked.fallback == "none":
            if on_stage is None:
                msg = f"{error}; run inspector engines build {name} first, for this station"
                raise NoRuntimeError(msg) from error
            engine = _built(plans, on_stage, stopped)
        else:
            refused = isinstance(error, NoPlanServesError)
            return _meanwhile(name, asked, error, None if refused else plans)
    try:
        standby = None if asked.fallback == "none" else load_asked(name, asked)
    except BaseException:
        engine.close()
        raise
    pending = plans if plans.rival(engine) is not None else None
    return with_standby(engine, plans, standby, pending)


def open_now(name: str, asked: EngineSection, store: Plans | None) -> Engine:
    """The best engine that can be had at once; builds nothing, and writes nothing down.

    Args:
        store: where plans lie; None: nobody said where.

    Raises:
        NoRuntimeError: the runtime asked for cannot be had, and no other is allowed.
        UserError: there is no engine of that name.
        EngineError: as `load_engine`.
    """
    if asked.runtime == "openvino" or (asked.runtime == "auto" and store is None):
        return load_asked(name, asked)
    try:
        if store is None:
            msg = "nobody said where its plan lies"
            raise EngineError(msg)
        plans = plans_here(name, asked, store)
    except EngineError as error:
        if asked.fallback == "none" and asked.runtime == "tensorrt":
            raise NoRuntimeError(_no_other(name, error)) from error
        engine = load_asked(name, asked)
        return engine if asked.runtime == "auto" else _degraded(engine, error)
    try:
        return replace(plans, writes=False).open_ready()
    except EngineError as error:
        if asked.fallback == "none":
            raise NoRuntimeError(_no_other(name, error)) from error
        return _degraded(load_asked(name, asked), error)


def plans_here(name: str, asked: EngineSection, store: Plans) -> EnginePlans:
    """The plans that an engine may run on this box, as the station file wants it.

    Raises:
        UserError: there is no engine of that name.
        GpuFailsError: there is a driver, which failed when it was asked: another time it may not.
        EngineError: TensorRT cannot run here, or not this engine: why.
    """
    return EnginePlans.of(
        find_engine(name, asked.folder),
        platform_of(ask_nvidia(asked.device)),
        store,
        precision=asked.precision,
        max_batch=asked.max_batch,
        device=asked.device,
    )


def with_standby(
    engine: Engine,
    plans: EnginePlans | LaterPlans,
    standby: Engine | None,
    pending: EnginePlans | LaterPlans | None,
) -> Occupant:
    """An engine on TensorRT, with what stands in for it and how a fresh one is opened.

    Args:
        pending: the plans once more, where it is not known yet which is the fastest.
    """
    return Occupant(engine, standby=standby, revive=plans.open_ready, pending=pending)


def _without_gpu(name: str, asked: EngineSection, store: Plans, error: EngineError) -> Occupant:
    fails = isinstance(error, GpuFailsError)
    if asked.runtime == "auto" and not fails:
        _log.info("engine: openvino is the best that is here", reason=str(error))
        return open_occupant(name, asked)
    if asked.runtime != "auto" and asked.fallback == "none":
        raise NoRuntimeError(_no_other(name, error)) from error
    later = LaterPlans(name, partial(plans_here, name, asked, store)) if fails else None
    return _meanwhile(name, asked, error, later)


def _no_other(name: str, error: EngineError) -> str:
    return f"engine {name}: {error}; mend that, or allow openvino under engine.fallback"


def _meanwhile(
    name: str, asked: EngineSection, error: EngineError, pending: EnginePlans | LaterPlans | None
) -> Occupant:
    occupant = open_occupant(name, asked)
    return replace(occupant, engine=_degraded(occupant.engine, error), pending=pending)


def _degraded(engine: Engine, error: EngineError) -> Engine:
    return replace(engine, degraded=f"{engine.info.runtime} judges, not tensorrt: {error}")


def _built(
    plans: EnginePlans, on_stage: Callable[[PlanKey, Stage], None], stopped: Callable[[], bool]
) -> Engine:
    try:
        return plans.build(on_stage=on_stage, stopped=stopped)
    except EngineError as error:
        if stopped():
            raise
        raise NoRuntimeError(_no_other(plans.manifest.folder.name, error)) from error
