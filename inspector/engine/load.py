"""From a folder to a warm engine: digests, compile, golden tiles, choice of precision, ready."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from inspector.engine.folders import find_engine
from inspector.engine.golden import compare, judge_tiles, read_golden
from inspector.engine.manifest import FILE_OF, read_manifest
from inspector.errors import EngineError, EngineUnreadableError, ParityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from inspector.config.station import Engine as EngineSection
    from inspector.engine.golden import Golden, Parity
    from inspector.engine.manifest import Manifest, Precision
    from inspector.engine.openvino import OpenVinoRuntime
    from inspector.engine.runtime import Runtime
    from inspector.verdict import EngineInfo, Thresholds

RuntimeChoice = Literal["auto", "tensorrt", "openvino"]
PrecisionChoice = Literal["auto", "fp32", "bf16", "fp16", "int8"]

_CHOOSE_WITHIN_S = 4.0
"""After this long `auto` takes the best found so far: the first verdict must come soon."""
_WORTH_COMPARING = ("int8", "bf16")
"""The others are tried only where neither of these serves: on a processor they are never faster."""
_TIMED_BATCHES = 3
_OPENVINO_BATCH = 4
"""A processor gains nothing from larger batches, and every frame of a batch waits for all of it."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A warm engine that reproduces its golden tiles.

    Attributes:
        parity: how well it does.
        degraded: why another runtime than the one asked for is serving; None where it is that one.
        passed_over: why `auto` took no other precision, one sentence each.
    """

    manifest: Manifest
    runtime: Runtime
    thresholds: Thresholds
    parity: Parity
    degraded: str | None = None
    passed_over: tuple[str, ...] = ()

    @property
    def info(self) -> EngineInfo:
        """Which engine, runtime and precision serve now."""
        return replace(self.runtime.info, degraded=self.degraded is not None)

    def close(self) -> None:
        """Give the runtime's resources back. Idempotent."""
        self.runtime.close()


@dataclass(frozen=True, slots=True)
class _Candidate:
    runtime: OpenVinoRuntime
    parity: Parity
    tile_s: float


def stages_of(asked: EngineSection) -> Iterator[tuple[str, str]]:
    """The stages that a station file asks for, in the order of judging, each with its engine."""
    yield "screen", asked.screen
    if asked.confirm is not None:
        yield "confirm", asked.confirm


def load_asked(name: str, asked: EngineSection) -> Engine:
    """Make an engine of a station file ready to serve on the processor; takes seconds.

    Raises:
        UserError: there is no engine of that name.
        EngineError: as `load_engine`.
    """
    return load_engine(
        find_engine(name, asked.folder),
        precision=asked.precision,
        max_batch=asked.max_batch,
        threads=asked.threads,
    )


def load_engine(
    folder: Path,
    *,
    precision: PrecisionChoice = "auto",
    max_batch: int = 16,
    threads: int | None = None,
) -> Engine:
    """Make the engine in `folder` ready to serve on the processor; takes seconds.

    Args:
        folder: the engine folder.
        precision: auto: the fastest, as measured now, that reproduces the golden tiles.
        max_batch: most tiles judged at once. OpenVINO takes fewer, see docs/engines.md.
        threads: processor threads for OpenVINO; all that this process may use if None.

    Raises:
        EngineUnreadableError: the disk does not give a file now.
        EngineError: a file is missing or another one, or the golden tiles are not reproduced: by
            which tile, which label, how far.
    """
    manifest = read_manifest(folder)
    manifest.check_files()
    golden = read_golden(manifest)
    batch = min(max_batch, max(manifest.sampling.count, _OPENVINO_BATCH))

    def compiled(name: Precision) -> OpenVinoRuntime:
        from inspector.engine.openvino import OpenVinoRuntime

        return OpenVinoRuntime(manifest, name, max_batch=batch, threads=threads)

    names = available_precisions(manifest) if precision == "auto" else (precision,)
    choice, passed_over = _choose(manifest, golden, names, compiled)
    return Engine(
        manifest=manifest,
        runtime=choice.runtime,
        thresholds=manifest.verdict_thresholds(),
        parity=choice.parity,
        passed_over=passed_over,
    )


def _choose(
    manifest: Manifest,
    golden: Golden,
    names: Sequence[Precision],
    compiled: Callable[[Precision], OpenVinoRuntime],
) -> tuple[_Candidate, tuple[str, ...]]:
    """The fastest of the precisions that reproduces the golden tiles, and why not the others."""
    began = time.monotonic()
    best: _Candidate | None = None
    reasons: list[str] = []
    unreadable = False
    for name in names:
        if best and (name not in _WORTH_COMPARING or time.monotonic() - began > _CHOOSE_WITHIN_S):
            reasons.append(f"{name} was not tried, {best.parity.precision} serves")
            continue
        try:
            candidate = _tried(manifest, golden, compiled(name))
        except EngineError as error:
            unreadable |= isinstance(error, EngineUnreadableError)
            reasons.append(str(error))
            continue
        if best is None:
            best = candidate
            continue
        best, slower = sorted((best, candidate), key=lambda one: one.tile_s)
        slower.runtime.close()
        reasons.append(
            f"{slower.parity.precision} takes {slower.tile_s * 1e3:.1f} ms a tile, "
            f"{best.parity.precision} {best.tile_s * 1e3:.1f} ms"
        )
    if best is None:
        what = EngineUnreadableError if unreadable else EngineError
        raise what("\n".join(reasons) or f"engine {manifest.name}: no precision to run")
    return best, tuple(reasons)


def available_precisions(manifest: Manifest) -> tuple[Precision, ...]:
    """The precisions that the engine has a file for and this processor computes, fastest first."""
    from inspector.engine.openvino import precisions_of_processor

    present = manifest.files.present()
    return tuple(name for name in precisions_of_processor() if FILE_OF[name] in present)


def check_parity(manifest: Manifest, golden: Golden, runtime: Runtime) -> Parity:
    """Hold a runtime against the golden tiles.

    Raises:
        ParityError: it does not reproduce them: which tile, which label, how far off.
        EngineError: it failed.
    """
    precision: Precision = runtime.info.precision  # type: ignore[assignment]
    parity = compare(manifest, golden, judge_tiles(runtime, golden.tiles), precision)
    if not parity.ok:
        file = manifest.folder / manifest.file_of(precision).path
        msg = (
            f"engine {manifest.name} on {runtime.info.runtime} ({precision}, {file}) does not "
            f"reproduce its golden tiles and does not serve: {parity.explain()}"
        )
        raise ParityError(msg)
    return parity


def _tried(manifest: Manifest, golden: Golden, runtime: OpenVinoRuntime) -> _Candidate:
    try:
        parity = check_parity(manifest, golden, runtime)
        return _Candidate(runtime, parity, tile_seconds(runtime, golden))
    except BaseException:
        runtime.close()
        raise


def tile_seconds(runtime: Runtime, golden: Golden) -> float:
    """Seconds a tile in batches as they will be served, the best of a few.

    It is the warm-up too: what the runtime prepares at the first batch of a size is ready then.
    """
    tiles = golden.tiles[: runtime.max_batch]
    best = float("inf")
    for _ in range(_TIMED_BATCHES):
        began = time.perf_counter()
        judge_tiles(runtime, tiles)
        best = min(best, (time.perf_counter() - began) / len(tiles))
    return best
