"""How fast an engine's plans are on this box's GPU, and how much of what the GPU can."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.engine.bench import batches_per_s, latencies_s
from inspector.engine.golden import read_golden
from inspector.engine.nvidia.alone import Alone, Order
from inspector.engine.tile_ring import TileRing
from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.engine.load import Engine
    from inspector.engine.plans.engine_plans import EnginePlans
    from inspector.engine.plans.sidecar import Plan

_START_S = 120.0
_WARM_BATCHES = 4


@dataclass(frozen=True, slots=True)
class GpuSpeed:
    """One plan and batch size.

    Attributes:
        batch: tiles at once.
        tiles_per_s, images_per_s: through the engine process with two batches in flight, as the
            station runs it; an image has the engine's own number of tiles.
        p50_ms, p99_ms: from submitting one batch to its answer, with none before it.
        batches: how many batches the latencies come from.
        ceiling_tiles_per_s: the same plan and copies, and no work for each frame.
        of_ceiling: part of the ceiling that is reached.
        copy_in, compute, copy_out: parts of a batch's time on the GPU.
    """

    precision: str
    batch: int
    tiles_per_s: float
    images_per_s: float
    p50_ms: float
    p99_ms: float
    batches: int
    ceiling_tiles_per_s: float
    of_ceiling: float
    copy_in: float
    compute: float
    copy_out: float


def plans_to_measure(plans: EnginePlans) -> list[Plan]:
    """The plans of an engine that fit this box.

    Raises:
        EngineError: there is none, and why.
    """
    found = [plans.store.find(key) for key in plans.keys]
    fitting = [one.plan for one in found if one.state == "fits" and one.plan is not None]
    if not fitting:
        why = "; ".join(one.detail for one in found)
        msg = f"engine {plans.manifest.name}: {why}; inspector engines build makes one"
        raise EngineError(msg)
    return fitting


def measure_plan(
    plans: EnginePlans, plan: Plan, batches: Sequence[int], *, seconds: float
) -> Iterator[GpuSpeed]:
    """Measure a plan, batch size after batch size; three times `seconds` each.

    Raises:
        EngineError: the engine fails, or no longer reproduces its golden tiles.
    """
    fitting = tuple(batch for batch in batches if batch <= plan.key.batch.most)
    alone = {one.batch: one for one in _alone(Order(plans.spec_of(plan), fitting, seconds))}
    engine = plans.open(plan)
    try:
        for batch in fitting:
            yield _speed(engine, batch, alone[batch], seconds)
    finally:
        engine.close()


def _speed(engine: Engine, batch: int, alone: Alone, seconds: float) -> GpuSpeed:
    golden = read_golden(engine.manifest)
    sampling = engine.manifest.sampling
    ring = TileRing("bench", slots=1, tiles=batch, size=sampling.tile)
    try:
        ring.column(0, batch)[:] = golden.tiles[np.arange(batch) % len(golden.tiles)]
        engine.runtime.map_ring(ring.ring)
        refs = ring.refs(0, batch)
        for _ in range(_WARM_BATCHES):
            engine.runtime.submit(refs).result(_START_S)
        latencies = latencies_s(engine.runtime, refs, seconds)
        rate = batches_per_s(engine.runtime, refs, seconds) * batch
    finally:
        engine.runtime.unmap_ring(ring.ring.key)
        ring.close()
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    whole_s = alone.copy_in_s + alone.compute_s + alone.copy_out_s
    return GpuSpeed(
        precision=engine.info.precision,
        batch=batch,
        tiles_per_s=rate,
        images_per_s=rate / sampling.count,
        p50_ms=float(p50),
        p99_ms=float(p99),
        batches=len(latencies),
        ceiling_tiles_per_s=alone.tiles_per_s,
        of_ceiling=rate / alone.tiles_per_s,
        copy_in=alone.copy_in_s / whole_s,
        compute=alone.compute_s / whole_s,
        copy_out=alone.copy_out_s / whole_s,
    )


def _alone(order: Order) -> list[Alone]:
    within_s = _START_S + 3 * order.seconds * len(order.batches)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "inspector.engine.nvidia.alone"],
            input=pickle.dumps(order),
            stdout=subprocess.PIPE,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"the GPU gave no figures within {within_s:.0f} s"
        raise EngineError(msg) from error
    if done.returncode != 0:
        msg = f"the process that measures the GPU ended with {done.returncode}"
        raise EngineError(msg)
    found = json.loads(done.stdout.splitlines()[-1])
    if isinstance(found, dict):
        raise EngineError(found["fault"])
    return [Alone(**one) for one in found]
