"""The engines of a station: loaded, warmed and proved, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from inspector.engine.load import load_asked, stages_of
from inspector.errors import EngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inspector.config.station import Engine as EngineSection
    from inspector.engine.load import Engine

_log = structlog.get_logger("inspector.station")


def load_engines(
    asked: EngineSection, on_step: Callable[[str], None]
) -> Iterator[tuple[str, Engine]]:
    """Load what the station file asks for: stage (screen, confirm) and engine, as each is ready.

    Args:
        on_step: told what is about to be done.

    Raises:
        UserError: an engine cannot be used.
    """
    for stage, name in stages_of(asked):
        on_step(f"loading engine {name}")
        try:
            engine = load_asked(name, asked)
        except EngineError as error:
            msg = f"the station cannot serve: {error}"
            raise UserError(msg) from error
        info = engine.info
        _log.info(
            "engine ready",
            stage=stage,
            engine=f"{info.name} {info.version}",
            runtime=info.runtime,
            precision=info.precision,
        )
        if engine.degraded:
            _log.warning("engine degraded", stage=stage, reason=engine.degraded)
        yield stage, engine
