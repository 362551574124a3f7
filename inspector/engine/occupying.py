"""From the station file's engine section and an engine folder to who judges on the processor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from inspector.engine.load import load_asked
from inspector.engine.occupant import Occupant
from inspector.engine.process.opening import open_engine
from inspector.engine.process.spec import OpenVinoSpec
from inspector.errors import EngineError, NoRuntimeError

if TYPE_CHECKING:
    from inspector.config.station import Engine as EngineSection


def open_occupant(name: str, asked: EngineSection) -> Occupant:
    """Make an engine ready to serve on the processor; takes seconds.

    Raises:
        UserError: there is no engine of that name.
        NoRuntimeError: it cannot judge in a process of its own, and may not in this one.
        EngineError: as `load_engine`.
    """
    engine = load_asked(name, asked)
    if not asked.own_process:
        return Occupant(engine)
    folder, precision = engine.manifest.folder, engine.parity.precision
    spec = OpenVinoSpec(folder, precision, engine.runtime.max_batch, asked.threads)
    revive = partial(open_engine, engine.manifest, spec)
    try:
        fresh = revive()
    except EngineError as error:
        # The engine has just been proved in this process: it is the other one that was lost, as it
        # may be at any time.
        if asked.fallback == "none":
            engine.close()
            msg = f"engine {name} cannot judge in a process of its own: {error}"
            raise NoRuntimeError(msg) from error
        return Occupant(engine, standby=engine, revive=revive, lost=str(error))
    except BaseException:
        engine.close()
        raise
    if asked.fallback == "none":
        engine.close()
        return Occupant(fresh, revive=revive)
    return Occupant(fresh, standby=engine, revive=revive)
