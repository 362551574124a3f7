"""What all measurements share: the engine, the time they may take, and a folder on a disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inspector.config.station import Station
from inspector.engine.folders import engine_asked
from inspector.engine.load import load_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from inspector.engine.load import Engine, PrecisionChoice

STATION = "bench"


@dataclass(frozen=True, slots=True)
class Setting:
    """How to measure.

    Attributes:
        engine: name of the engine.
        engines: folder of engine folders; the shipped ones if None.
        precision: of the engine.
        seconds: time for one side of one round.
        rounds: how often the sides are measured in turn.
        folder: for what is written: an outbox, a station, a clip. On the disk that is to be
            measured; one in memory says nothing of durable events.
        size_wh: of the pictures that are decoded.
        soak_frames: frames of the long measurement of memory.
        say: tells what is being done, for a person who waits.
    """

    folder: Path
    engine: str = "simplenet"
    engines: Path | None = None
    precision: PrecisionChoice = "auto"
    seconds: float = 1.0
    rounds: int = 7
    size_wh: tuple[int, int] = (1920, 1080)
    soak_frames: int = 100_000
    say: Callable[[str], None] = lambda _: None

    def load(self, *, threads: int | None = None) -> Engine:
        """The engine, warm. Raises EngineError or UserError."""
        return load_engine(
            engine_asked(self.engine, self.engines), precision=self.precision, threads=threads
        )


def with_tiles(engine: Engine, count: int) -> Engine:
    """The same engine with so many tiles a frame."""
    sampling = engine.manifest.sampling.model_copy(update={"count": count})
    return replace(engine, manifest=engine.manifest.model_copy(update={"sampling": sampling}))


def station_of(cameras: Mapping[str, Any], **more: Any) -> Station:
    """A station file's worth of settings, of plain values."""
    return Station.model_validate(
        {"version": 1, "station": STATION, "cameras": dict(cameras), **more}
    )
