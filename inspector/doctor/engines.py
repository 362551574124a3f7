"""Engines: loaded as the station loads them, held against their golden tiles, and timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.doctor.finding import Finding, Grade
from inspector.engine.bench import tiles_per_s
from inspector.engine.best import open_now
from inspector.engine.load import stages_of
from inspector.errors import EngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.config.station import Engine as EngineSection
    from inspector.engine.load import Engine
    from inspector.engine.plans.store import Plans

SECONDS = 1.0
"""Time for an engine's speed."""


def check_engines(asked: EngineSection, store: Plans) -> Iterator[Finding]:
    """Load screen and confirming engine, one after the other, with what is there; builds no plan.

    Args:
        store: the station's plans.
    """
    for stage, name in stages_of(asked):
        yield _check(stage, name, asked, store)


def _check(stage: str, name: str, asked: EngineSection, store: Plans) -> Finding:
    what = f"{stage} {name}"
    expected = "its golden tiles, in the runtime and precision asked for"
    try:
        engine = open_now(name, asked, store)
    except UserError as error:
        remedy = "correct engine in the station file"
        return Finding("engine", what, Grade.MISTAKE, str(error), expected, remedy)
    except EngineError as error:
        remedy = "install the engine again, or ask for what this box has"
        return Finding("engine", what, Grade.MEND, str(error), expected, remedy)
    try:
        return _speed(stage, what, engine, expected)
    finally:
        engine.close()


def _speed(stage: str, what: str, engine: Engine, expected: str) -> Finding:
    rate = tiles_per_s(engine.manifest, engine.runtime, SECONDS)
    count = engine.manifest.sampling.count
    info = engine.info
    found = (
        f"{info.name} {info.version} on {info.runtime} ({info.precision}): golden tiles within "
        f"{engine.parity.gap:.3f}, {rate / count:.0f} images a second of {count} tiles"
    )
    if engine.degraded:
        found = f"{found}; {engine.degraded}"
    return Finding(
        "engine",
        what,
        Grade.MEND if engine.degraded else Grade.GOOD,
        found,
        expected,
        "mend what is found under gpu and plan; or set engine.runtime to openvino or auto"
        if engine.degraded
        else "",
        {
            "stage": stage,
            "runtime": info.runtime,
            "precision": info.precision,
            "tiles_per_s": round(rate, 1),
            "frames_per_s": round(rate / count, 1),
            "gap": engine.parity.gap,
        },
    )
