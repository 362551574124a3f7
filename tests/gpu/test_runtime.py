"""On a real GPU: speed against the ceiling, replacement without growth, load, sudden death.

The version of TensorRT is the one that is installed: run them once with each major version.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inspector.bench.pipeline import measure_engine
from inspector.bench.setting import Setting
from inspector.engine.bench import batches_per_s
from inspector.engine.golden import read_golden
from inspector.engine.gpu_bench import measure_plan, plans_to_measure
from inspector.engine.nvidia.report import ask_nvidia
from inspector.engine.tile_ring import TileRing
from inspector.errors import EngineLostError
from tests.gpu.conftest import MOST

SWAPS = 100
LOAD_S = 600
LOST_WITHIN_S = 1.0


def used_bytes():
    gpu, _ = ask_nvidia().require()
    return gpu.memory_bytes - gpu.free_bytes


def test_throughput_is_near_the_ceiling(engine_folder, opened, plans_of, capsys):
    opened(engine_folder, "int8")
    plans = plans_of(engine_folder, "int8")
    (plan,) = plans_to_measure(plans)
    speeds = list(measure_plan(plans, plan, (1, 4, MOST), seconds=5))
    with capsys.disabled():
        print(*speeds, sep="\n")
    assert speeds[-1].of_ceiling >= 0.90


def test_end_to_end_is_near_the_ceiling(engine_folder, opened, plans_of, tmp_path, capsys):
    plans, engine = opened(engine_folder, "int8")
    (plan,) = plans_to_measure(plans)
    (alone,) = measure_plan(plans, plan, (MOST,), seconds=5)
    tiles = plans.manifest.sampling.count
    setting = Setting(tmp_path, engine=engine_folder.name, seconds=5.0)
    figure = measure_engine(setting, engine, tiles, 0.75)
    of_ceiling = figure.details["pipeline_frames_per_s"] * tiles / alone.ceiling_tiles_per_s
    with capsys.disabled():
        print(engine_folder.name, figure.details, f"{of_ceiling:.3f} of the ceiling")
    if engine_folder.name == "inceptionresnetv2":  # the other's bound is Python for each frame
        assert of_ceiling >= 0.75


def test_a_hundred_swaps_leave_the_memory_as_it_was(engine_folder, opened, plans_of):
    opened(engine_folder, "int8")
    plans = replace(plans_of(engine_folder, "int8"), writes=False)
    plans.open_ready().close()
    before = used_bytes()
    for _ in range(SWAPS):
        plans.open_ready().close()
    assert abs(used_bytes() - before) <= 0.01 * before


@pytest.mark.slow
def test_ten_minutes_of_load_take_no_more_memory(engine_folder, opened):
    _, engine = opened(engine_folder, "int8")
    golden = read_golden(engine.manifest)
    ring = TileRing("load", slots=1, tiles=MOST, size=engine.manifest.sampling.tile)
    ring.column(0, MOST)[:] = golden.tiles[np.arange(MOST) % len(golden.tiles)]
    engine.runtime.map_ring(ring.ring)
    refs = ring.refs(0, MOST)
    try:
        batches_per_s(engine.runtime, refs, LOAD_S / 10)
        gpu, host = used_bytes(), resident_bytes(engine.runtime.pid)
        batches_per_s(engine.runtime, refs, LOAD_S)
        assert used_bytes() <= 1.01 * gpu
        assert resident_bytes(engine.runtime.pid) <= 1.02 * host
    finally:
        engine.runtime.unmap_ring(ring.ring.key)
        ring.close()


def resident_bytes(pid):
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSEGV])
def test_an_engine_process_that_dies_is_noticed_within_a_second(engine_folder, opened, end):
    _, engine = opened(engine_folder, "int8")
    golden = read_golden(engine.manifest)
    ring = TileRing("fault", slots=1, tiles=1, size=engine.manifest.sampling.tile)
    ring.column(0, 1)[:] = golden.tiles[:1]
    engine.runtime.map_ring(ring.ring)
    try:
        engine.runtime.submit(ring.refs(0, 1)).result(30)
        began = time.monotonic()
        os.kill(engine.runtime.pid, end)
        error = None
        while error is None:
            error = engine.runtime.submit(ring.refs(0, 1)).exception(30)
        assert isinstance(error, EngineLostError)
        assert time.monotonic() - began <= LOST_WITHIN_S
    finally:
        ring.close()
