"""What every runtime must do. A new runtime joins by a line in `RUNTIMES`."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from inspector.engine.golden import TOLERANCE, compare, judge_tiles, read_golden
from inspector.engine.manifest import read_manifest
from inspector.engine.openvino import OpenVinoRuntime, precisions_of_processor
from inspector.engine.process.client import EngineProcess
from inspector.engine.process.spec import OpenVinoSpec
from inspector.engine.runtime import TileRef
from inspector.engine.tensorrt import PRECISIONS, TensorRtRuntime
from inspector.engine.tiling import Tile
from inspector.errors import EngineError
from inspector.slots import Ring
from tests.engine import tiny_engine
from tests.engine.simulated_gpu.machine import machine
from tests.engine.simulated_gpu.plan import make_plan

WAIT_S = 30


def openvino(precision):
    def make(manifest, max_batch):
        return OpenVinoRuntime(manifest, precision, max_batch=max_batch, threads=1)

    return make


def in_its_own_process(manifest, max_batch):
    return EngineProcess(OpenVinoSpec(manifest.folder, "fp32", max_batch, threads=1))


def tensorrt(precision):
    def make(manifest, max_batch):
        machine.reset(schedule=(3, 1, 0, 2))
        plan = make_plan(manifest.read_model(precision), (64, 64, 3), most=max_batch)
        with tempfile.TemporaryDirectory() as folder:  # nobody else may write there
            path = Path(folder) / "tiny.plan"
            path.write_bytes(plan)
            path.chmod(0o600)
            return TensorRtRuntime(
                manifest,
                precision,
                plan=path,
                plan_sha256=hashlib.sha256(plan).hexdigest(),
                max_batch=max_batch,
            )

    return make


RUNTIMES = {f"openvino-{p}": openvino(p) for p in precisions_of_processor()}
RUNTIMES["process-openvino-fp32"] = in_its_own_process
RUNTIMES |= {f"tensorrt-{p}": tensorrt(p) for p in PRECISIONS}  # on a simulated GPU


@pytest.fixture(params=RUNTIMES)
def make_runtime(request, engines, simulated_libraries):
    made = []

    def make(max_batch=4, home=engines / "tiny"):
        runtime = RUNTIMES[request.param](read_manifest(home), max_batch)
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        runtime.close()


@pytest.fixture
def ring():
    ring = Ring.create("cam/1", slots=3, max_pixels=96 * 128)
    yield ring
    ring.close()


def put(ring, slot, label, seed=0):
    ring.picture(slot, 96, 128)[:] = tiny_engine.picture(label, seed=seed)
    return [TileRef(ring.key, slot, 96, 128, Tile(x, 0, 64)) for x in (0, 64)]


def labels(rows):
    return [tiny_engine.CLASSES[i] for i in rows.argmax(axis=1)]


def test_the_golden_tiles_are_reproduced(make_runtime, engines):
    runtime = make_runtime()
    manifest = read_manifest(engines / "tiny")
    golden = read_golden(manifest)
    parity = compare(manifest, golden, judge_tiles(runtime, golden.tiles), runtime.info.precision)
    assert parity.ok, parity.explain()
    assert parity.tolerance == TOLERANCE[runtime.info.precision]


def test_answers_are_in_the_order_of_the_tiles(make_runtime, ring):
    runtime = make_runtime()
    runtime.map_ring(ring)
    wn, jpeg = put(ring, 0, "wn"), put(ring, 1, "jpeg")
    rows = runtime.submit([wn[0], jpeg[0], wn[1]]).result(WAIT_S)
    assert labels(rows) == ["wn", "jpeg", "wn"]
    assert rows.dtype == np.float32
    assert rows.shape == (3, 8)
    assert np.allclose(rows.sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_batch_size_gives_the_same_answer_to_a_tile(make_runtime, ring, count):
    runtime = make_runtime()
    runtime.map_ring(ring)
    tile = put(ring, 0, "gblur")[0]
    alone = runtime.submit([tile]).result(WAIT_S)
    rows = runtime.submit([tile] * count).result(WAIT_S)
    assert np.abs(rows - alone).max() < 0.01


def test_the_answer_is_the_callers_own(make_runtime, ring):
    runtime = make_runtime()
    runtime.map_ring(ring)
    first = runtime.submit(put(ring, 0, "wn")).result(WAIT_S)
    kept = first.copy()
    for slot, label in ((1, "jpeg"), (2, "gblur"), (1, "jp2k")):
        runtime.submit(put(ring, slot, label)).result(WAIT_S)
    assert (first == kept).all()
    first[:] = 0  # and may be written


@pytest.mark.parametrize("count", [0, 5])
def test_too_many_tiles_or_none_are_refused(make_runtime, ring, count):
    runtime = make_runtime()
    runtime.map_ring(ring)
    with pytest.raises(ValueError, match=f"takes 1 to 4 tiles, came {count}"):
        runtime.submit((put(ring, 0, "wn") * 3)[:count])


def test_an_unknown_ring_is_refused(make_runtime, ring):
    runtime = make_runtime()
    with pytest.raises(ValueError, match="ring cam/1 was not mapped"):
        runtime.submit(put(ring, 0, "wn"))
    runtime.map_ring(ring)
    runtime.unmap_ring(ring.key)
    runtime.unmap_ring(ring.key)
    with pytest.raises(ValueError, match="ring cam/1 was not mapped"):
        runtime.submit(put(ring, 0, "wn"))


@pytest.mark.parametrize("tile", [Tile(65, 0, 64), Tile(0, 0, 32), Tile(-1, 0, 64)])
def test_a_tile_that_does_not_fit_costs_nothing_but_itself(make_runtime, ring, tile):
    runtime = make_runtime()
    runtime.map_ring(ring)
    good = put(ring, 0, "wn")
    bad = TileRef(ring.key, 0, 96, 128, tile)
    for _ in range(3):  # more often than there are buffers
        with pytest.raises((ValueError, EngineError)):
            runtime.submit([bad]).result(WAIT_S)
    assert labels(runtime.submit(good).result(WAIT_S)) == ["wn", "wn"]


def test_many_threads_may_submit(make_runtime, ring):
    runtime = make_runtime()
    runtime.map_ring(ring)
    wanted = ("wn", "jpeg", "refimgs")
    tiles = [put(ring, slot, label) for slot, label in enumerate(wanted)]
    wrong = []

    def work(slot):
        for _ in range(40):
            came = labels(runtime.submit(tiles[slot]).result(WAIT_S))
            if came != [wanted[slot]] * 2:
                wrong.append((slot, came))

    threads = [threading.Thread(target=work, args=(slot,)) for slot in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert wrong == []


def test_a_closed_runtime_finishes_first_and_then_refuses(make_runtime, ring):
    runtime = make_runtime()
    runtime.map_ring(ring)
    tiles = put(ring, 0, "wn")
    waiting = [runtime.submit(tiles) for _ in range(2)]
    runtime.close()
    runtime.close()
    assert [labels(f.result(WAIT_S)) for f in waiting] == [["wn", "wn"]] * 2
    with pytest.raises(EngineError, match="it is closed"):
        runtime.submit(tiles).result(WAIT_S)


def test_openvino_tells_nobody_that_it_is_used(tmp_path):
    code = (
        "import sys, inspector.engine.openvino\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "assert 'openvino.tools.ovc.telemetry_stub' in sys.modules\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
    assert not list(tmp_path.iterdir())
