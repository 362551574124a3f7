"""How fast an engine is on this machine: by precision, threads and batch."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.engine.golden import read_golden
from inspector.engine.load import available_precisions
from inspector.engine.manifest import read_manifest
from inspector.engine.tile_ring import TileRing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.engine.manifest import Manifest, Precision
    from inspector.engine.runtime import Runtime, TileRef

BATCHES = (1, 2, 4, 8, 16)
_IN_FLIGHT = 2
_ANSWER_WITHIN_S = 120.0
_LEAST_BATCHES = 5


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured in one go. `threads` are processor threads."""

    precision: Precision
    threads: int
    batch: int


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured.

    Attributes:
        tiles_per_s: with two batches in flight, as the station runs.
        frames_per_s: the same, in frames of the engine's own number of tiles.
        p50_ms, p99_ms: from submitting one batch to its answer, with none before it.
        batches: how many batches the latencies come from.
    """

    case: Case
    tiles_per_s: float
    frames_per_s: float
    p50_ms: float
    p99_ms: float
    batches: int


def cases(
    folder: Path,
    *,
    precisions: Sequence[Precision] = (),
    threads: Sequence[int] = (),
    batches: Sequence[int] = BATCHES,
) -> list[Case]:
    """What to measure: all that the engine and the processor have, where nothing is named.

    Raises:
        EngineError: the manifest cannot be used.
    """
    names = precisions or available_precisions(read_manifest(folder))
    cpus = len(os.sched_getaffinity(0))
    return [
        Case(name, count, batch)
        for count in threads or sorted({1, cpus})
        for name in reversed(names)
        for batch in batches
    ]


def measure(folder: Path, what: Sequence[Case], *, seconds: float) -> Iterator[Speed]:
    """Measure, case after case; `seconds` each, half for latency and half for throughput.

    Raises:
        EngineError: the engine cannot run.
    """
    from inspector.engine.openvino import OpenVinoRuntime

    manifest = read_manifest(folder)
    golden = read_golden(manifest)
    for case in what:
        runtime = OpenVinoRuntime(
            manifest, case.precision, max_batch=case.batch, threads=case.threads
        )
        tiles = golden.tiles[np.arange(case.batch) % len(golden.tiles)]
        ring = TileRing("bench", slots=1, tiles=case.batch, size=manifest.sampling.tile)
        try:
            ring.column(0, case.batch)[:] = tiles
            runtime.map_ring(ring.ring)
            refs = ring.refs(0, case.batch)
            for _ in range(2 * _IN_FLIGHT):
                _wait(runtime.submit(refs))
            latencies = latencies_s(runtime, refs, seconds / 2)
            rate = batches_per_s(runtime, refs, seconds / 2) * case.batch
        finally:
            runtime.close()
            ring.close()
        p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
        yield Speed(
            case, rate, rate / manifest.sampling.count, float(p50), float(p99), len(latencies)
        )


def tiles_per_s(manifest: Manifest, runtime: Runtime, seconds: float) -> float:
    """Tiles a second of a warm runtime, with two full batches in flight, as the station runs.

    Raises:
        EngineError: the engine fails.
    """
    batch = runtime.max_batch
    golden = read_golden(manifest)
    ring = TileRing("bench", slots=1, tiles=batch, size=manifest.sampling.tile)
    ring.column(0, batch)[:] = golden.tiles[np.arange(batch) % len(golden.tiles)]
    runtime.map_ring(ring.ring)
    try:
        return batches_per_s(runtime, ring.refs(0, batch), seconds) * batch
    finally:
        runtime.unmap_ring(ring.ring.key)
        ring.close()


def latencies_s(runtime: Runtime, refs: Sequence[TileRef], seconds: float) -> list[float]:
    """Seconds from submitting a batch to its answer, with none before it, again and again.

    Raises:
        EngineError: the engine fails.
    """
    latencies: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(latencies) < _LEAST_BATCHES:
        began = time.perf_counter()
        _wait(runtime.submit(refs))
        latencies.append(time.perf_counter() - began)
    return latencies


def batches_per_s(runtime: Runtime, refs: Sequence[TileRef], seconds: float) -> float:
    """The same batch again and again, two in flight, for so many seconds; batches a second.

    Raises:
        EngineError: the engine fails.
    """
    waiting: deque[Future[NDArray[np.float32]]] = deque()
    done = 0
    began = time.perf_counter()
    while time.perf_counter() < began + seconds or done < _LEAST_BATCHES:
        waiting.append(runtime.submit(refs))
        if len(waiting) == _IN_FLIGHT:
            _wait(waiting.popleft())
            done += 1
    for future in waiting:
        _wait(future)
        done += 1
    return done / (time.perf_counter() - began)


def _wait(future: Future[NDArray[np.float32]]) -> None:
    future.result(_ANSWER_WITHIN_S)
