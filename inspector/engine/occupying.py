"""From the station file's engine section and an engine folder to who judges on the processor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from inspector.engine.load import load_engine
from inspector.engine.occupant import Occupant
from inspector.engine.process.opening import open_engine
from inspector.engine.process.spec import OpenVinoSpec

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.config.station import Engine as EngineSection


def open_occupant(folder: Path, asked: EngineSection) -> Occupant:
    """Make the engine in a folder ready to serve on the processor; takes seconds.

    Raises:
        EngineError: as `load_engine`.
    """
    engine = load_engine(
        folder,
        precision=asked.precision,
        max_batch=asked.max_batch,
        threads=asked.threads,
    )
    if not asked.own_process:
        return Occupant(engine)
    info = engine.info
    spec = OpenVinoSpec(folder, info.precision, engine.runtime.max_batch, asked.threads)  # type: ignore[arg-type]
    revive = partial(open_engine, engine.manifest, spec)
    try:
        fresh = revive()
    except BaseException:
        engine.close()
        raise
    if asked.fallback == "none":
        engine.close()
        return Occupant(fresh, revive=revive)
    return Occupant(fresh, standby=engine, revive=revive)
