"""The runtime: answers by batch, speed against the ceiling, a hundred swaps, load, sudden death.

What is measured is printed (`-s`), and goes into docs/performance.md with GPU, driver and versions.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from inspector.bench.pipeline import measure_engine
from inspector.bench.setting import Setting
from inspector.engine.bench import batches_per_s
from inspector.engine.golden import TOLERANCE, read_golden
from inspector.engine.gpu_bench import measure_plan
from inspector.engine.occupant import Occupant
from inspector.engine.seat import Seat
from inspector.engine.tile_ring import TileRing
from inspector.errors import EngineLostError
from tests.gpu.box import MAX_BATCH

LOST_WITHIN_S = 1.0
PRECISIONS = ["fp32", "fp16", "int8"]


@contextmanager
def golden_column(engine, count):
    """A ring with so many golden tiles in it, known to the engine: references, expected rows."""
    golden = read_golden(engine.manifest)
    chosen = np.arange(count) % len(golden.tiles)
    ring = TileRing("gpu", slots=1, tiles=count, size=engine.manifest.sampling.tile)
    ring.column(0, count)[:] = golden.tiles[chosen]
    engine.runtime.map_ring(ring.ring)
    try:
        yield ring.refs(0, count), golden.expected[chosen]
    finally:
        engine.runtime.unmap_ring(ring.ring.key)
        ring.close()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_number_of_tiles_gets_its_answer(opened, precision):
    engine = opened(precision)
    with golden_column(engine, MAX_BATCH) as (refs, expected):
        answers = [engine.runtime.submit(refs[:count]) for count in range(1, 4)]
        answers += [engine.runtime.submit(refs[16 - count :]) for count in (5, 8, 13, 16)]
        wanted = [expected[:count] for count in range(1, 4)]
        wanted += [expected[16 - count :] for count in (5, 8, 13, 16)]
        for answer, rows in zip(answers, wanted, strict=True):
            assert np.abs(answer.result(30) - rows).max() <= TOLERANCE[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_throughput_is_near_the_ceiling(box, opened, precision):
    plans = box.plans(precision)
    plan = plans.plan_of(opened(precision))
    for speed in measure_plan(plans, plan, box.batches, seconds=box.seconds):
        print(speed)
    box.holds(f"{precision}: {speed.of_ceiling:.3f} of the ceiling", speed.of_ceiling >= 0.90)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_end_to_end_is_near_the_ceiling(box, opened, tmp_path, precision):
    plans, engine = box.plans(precision), opened(precision)
    (alone,) = measure_plan(plans, plans.plan_of(engine), (MAX_BATCH,), seconds=box.seconds)
    tiles = plans.manifest.sampling.count
    setting = Setting(tmp_path, engine=box.engine.name, seconds=box.seconds, rounds=3)
    details = measure_engine(setting, engine, tiles, 0.75).details
    of_ceiling = details["pipeline_frames_per_s"] * tiles / alone.ceiling_tiles_per_s
    told = f"{precision}, end to end: {details}, {of_ceiling:.3f} of the ceiling"
    # SimpleNet's bound is Python for each frame: its frames a second are reported.
    box.holds(told, of_ceiling >= 0.75 or box.engine.name != "inceptionresnetv2")


def test_a_hundred_swaps_leave_the_memory_as_it_was(box, opened):
    """While batches come without a pause: each is answered, and right."""
    seat = Seat(Occupant(opened("int8")))
    plans = box.plans("int8")
    first = seat.engine
    golden = read_golden(first.manifest)
    ring = TileRing("swaps", slots=1, tiles=4, size=first.manifest.sampling.tile)
    ring.column(0, 4)[:] = golden.tiles[:4]
    seat.map_ring(ring.ring)
    ended, wrong, answers = threading.Event(), [], [0]

    def judge():
        while not ended.is_set():
            turn = seat.turn()
            try:
                rows = turn.engine.runtime.submit(ring.refs(0, 4)).result(30)
                if np.abs(rows - golden.expected[:4]).max() > TOLERANCE["int8"]:
                    wrong.append(rows)
                answers[0] += 1
            except Exception as error:  # noqa: BLE001 - told below
                wrong.append(error)
            finally:
                turn.submit([], lambda _: None)

    feeder = threading.Thread(target=judge)
    feeder.start()
    try:
        seat.replace(Occupant(plans.open_ready()), "asked", word="activated")
        before, seen = box.used_bytes(), answers[0]
        for _ in range(box.swaps):
            seat.replace(Occupant(plans.open_ready()), "asked", word="activated")
        after = box.used_bytes()
    finally:
        ended.set()
        feeder.join(60)
        seat.close()
        ring.close()
    assert wrong == []
    assert answers[0] > seen
    told = f"{box.swaps} swaps: {before} bytes of the GPU taken before, {after} after"
    box.holds(told, abs(after - before) <= 0.01 * before)


@pytest.mark.slow
def test_ten_minutes_of_load_take_no_more_memory(box, opened):
    check_load(box, opened("int8"), box.load_s)


def test_load_is_measured(box, opened):
    """The same for a moment, so that what is measured for ten minutes is known to be measured."""
    check_load(box, opened("int8"), min(box.load_s, 2.0), held=False)


def check_load(box, engine, seconds, *, held=True):
    with golden_column(engine, MAX_BATCH) as (refs, _):
        batches_per_s(engine.runtime, refs, seconds / 10)
        gpu, host = box.used_bytes(), resident_bytes(engine.runtime.pid)
        rate = batches_per_s(engine.runtime, refs, seconds)
        gpu_after, host_after = box.used_bytes(), resident_bytes(engine.runtime.pid)
    assert rate > 0
    assert host > 1 << 20
    told = f"{seconds:g} s of load: GPU {gpu} to {gpu_after} bytes, process {host} to {host_after}"
    box.holds(told, not held or (gpu_after <= 1.01 * gpu and host_after <= 1.02 * host))


def resident_bytes(pid):
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_an_engine_process_that_dies_is_noticed_within_a_second(box, opened, end):
    engine = opened("int8")
    with golden_column(engine, 1) as (refs, _):
        engine.runtime.submit(refs).result(30)
        lost = threading.Event()
        engine.runtime.when_lost(lambda _: lost.set())
        began = time.monotonic()
        os.kill(engine.runtime.pid, end)
        assert lost.wait(30)
        took_s = time.monotonic() - began
        assert isinstance(engine.runtime.submit(refs).exception(30), EngineLostError)
        box.holds(f"{end.name}: noticed after {took_s:.3f} s", took_s <= LOST_WITHIN_S)
