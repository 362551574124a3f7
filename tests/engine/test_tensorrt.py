"""The TensorRT runtime on a simulated GPU: right answers whatever overtakes whatever."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inspector.engine.manifest import read_manifest
from inspector.engine.openvino import OpenVinoRuntime
from inspector.engine.runtime import TileRef
from inspector.engine.tensorrt import LANES, TensorRtRuntime, batch_sizes
from inspector.engine.tiling import Tile
from inspector.errors import EngineError, EngineLostError
from inspector.slots import Ring
from tests.engine import tiny_engine
from tests.engine.simulated_gpu.machine import Failure, machine
from tests.engine.simulated_gpu.plan import make_plan

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 30
MOST = 5
BATCHES = [(1, "wn"), (5, "jpeg"), (3, "gblur"), (2, "refimgs"), (4, "jp2k"), (1, "wn")]
"""Tiles and label of one batch after another: every size, and sizes between sizes."""


pytestmark = pytest.mark.usefixtures("simulated_libraries")


@pytest.fixture(scope="module")
def manifest(engines):
    return read_manifest(engines / "tiny")


@pytest.fixture(scope="module")
def plan(manifest, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "tiny.plan"
    path.write_bytes(make_plan(manifest.read_model("fp32"), (64, 64, 3), most=MOST))
    return path


@pytest.fixture(scope="module")
def ring():
    ring = Ring.create("cam/1", slots=8, max_pixels=96 * 128)
    for slot, label in enumerate(tiny_engine.CLASSES):
        ring.picture(slot, 96, 128)[:] = tiny_engine.picture(label, seed=slot)
    yield ring
    ring.close()


def refs(ring, count, label):
    slot = tiny_engine.CLASSES.index(label)
    return [TileRef(ring.key, slot, 96, 128, Tile(7 * x, x, 64)) for x in range(count)]


def opened(manifest, plan, ring=None, **how):
    digest = hashlib.sha256(plan.read_bytes()).hexdigest()
    how = {"plan_sha256": digest, "max_batch": MOST} | how
    runtime = TensorRtRuntime(manifest, "fp32", plan=plan, **how)
    if ring is not None:
        runtime.map_ring(ring)
    return runtime


@pytest.fixture(scope="module")
def expected(manifest, ring):
    """What OpenVINO says to each batch."""
    runtime = OpenVinoRuntime(manifest, "fp32", max_batch=MOST, threads=1)
    runtime.map_ring(ring)
    rows = [runtime.submit(refs(ring, *batch)).result(WAIT_S) for batch in BATCHES]
    runtime.close()
    return rows


def nothing_is_left_behind():
    # At once: what only the garbage collector finds would be left for too long.
    assert machine.faults == [], machine.faults
    assert machine.left() == {}


def clean_run(manifest, plan, ring, expected):
    runtime = opened(manifest, plan, ring)
    answers = [runtime.submit(refs(ring, *batch)) for batch in BATCHES]
    for answer, rows in zip(answers, expected, strict=True):
        assert np.abs(answer.result(WAIT_S) - rows).max() < 1e-3
    runtime.close()
    nothing_is_left_behind()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedule=st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_answers_are_right_whatever_overtakes_whatever(manifest, plan, ring, expected, schedule):
    machine.reset(schedule=schedule)
    clean_run(manifest, plan, ring, expected)


SOME = [(2, "wn"), (1, "jpeg"), (2, "gblur")]


def survive(manifest, plan, ring):
    """Open, judge and close with a fault somewhere: what is answered is right, the rest is told.

    Returns:
        The errors that came, that of opening or those of the batches.
    """
    try:
        runtime = opened(manifest, plan, ring, max_batch=2)
    except EngineError as error:
        nothing_is_left_behind() if not machine.lost else None
        return [error]
    errors = []
    for batch in SOME * 2:
        answer = runtime.submit(refs(ring, *batch))
        try:
            rows = answer.result(WAIT_S)
        except EngineError as error:
            errors.append(error)
        else:
            assert tiny_engine.CLASSES[rows[0].argmax()] == batch[1]
            assert not any(isinstance(error, EngineLostError) for error in errors)
    runtime.close()
    if machine.lost:
        assert machine.faults == [], machine.faults
    else:
        nothing_is_left_behind()
    return errors


def calls_of_a_run(manifest, plan, ring):
    machine.reset()
    assert survive(manifest, plan, ring) == []
    return list(machine.calls)


@pytest.mark.parametrize("kind", ["refused", "memory", "lost"])
def test_every_call_may_fail(manifest, plan, ring, kind):
    names = calls_of_a_run(manifest, plan, ring)
    for number, name in enumerate(names):
        machine.reset(failure=Failure(number, kind))
        errors = survive(manifest, plan, ring)
        # Which call it is may differ where the GPU is asked whether it is ready; all are tried.
        failed = machine.calls[number] if number < len(machine.calls) else name
        if errors:
            told = failed.removeprefix("cu").removeprefix("createInfer").lower()
            assert told.removeprefix("create") in str(errors[0]).lower().replace("_", ""), (
                failed,
                errors,
            )
        if kind == "lost" and number < names.index("cuEventSynchronize"):
            assert errors


def test_a_gpu_that_is_lost_at_work_fails_all_that_is_in_flight_and_all_that_comes(
    manifest, plan, ring
):
    machine.reset()
    opened(manifest, plan, ring).close()
    warm = machine.done_work
    for number in range(1, 8):
        machine.reset(lost_at_work=warm + number)
        runtime = opened(manifest, plan, ring)
        answers = [runtime.submit(refs(ring, *batch)) for batch in BATCHES]
        errors = [answer.exception(WAIT_S) for answer in answers]
        first = next(i for i, error in enumerate(errors) if error)
        assert first <= number // 4
        assert all(isinstance(error, EngineLostError) for error in errors[first:])
        assert "the GPU is lost: " in str(errors[first])
        with pytest.raises(EngineLostError, match="the GPU is lost"):
            runtime.submit(refs(ring, 1, "wn")).result(WAIT_S)
        runtime.close()


def test_memory_that_is_short_is_named_with_what_to_do(manifest, plan):
    machine.reset(memory_bytes=MOST * 64 * 64 * 3 + 100)
    with pytest.raises(EngineError) as caught:
        opened(manifest, plan)
    assert "engine tiny on tensorrt (fp32) cannot be opened" in str(caught.value)
    assert "cuMemAlloc failed: out of memory" in str(caught.value)
    assert "lower engine.max_batch" in str(caught.value)
    del caught
    nothing_is_left_behind()


def test_a_plan_that_is_another_file_is_not_loaded(manifest, plan, tmp_path):
    machine.reset()
    digest = hashlib.sha256(plan.read_bytes()).hexdigest()
    content = plan.read_bytes()
    damaged = tmp_path / "damaged.plan"
    for place in [*range(100), *np.random.default_rng(1).integers(100, len(content), 50)]:
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(EngineError, match="is not loaded"):
            opened(manifest, damaged, plan_sha256=digest)
    with pytest.raises(EngineError, match="cannot read the plan"):
        TensorRtRuntime(manifest, "fp32", plan=tmp_path / "absent", plan_sha256=digest, max_batch=1)
    assert machine.calls == []


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"version": "10.14.0.1"}, "expecting library version 10.15.1.29 got 10.14.0.1"),
        ({"most": 4}, "the plan takes tiles from"),
        ({"least": 2}, "the plan takes tiles from"),
        ({"tile": (32, 32, 3)}, "the plan takes tiles from"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(manifest, tmp_path, how, told):
    machine.reset()
    path = tmp_path / "other.plan"
    how = {"tile": (64, 64, 3), "most": MOST} | how
    path.write_bytes(make_plan(manifest.read_model("fp32"), **how))
    with pytest.raises(EngineError, match=told):
        opened(manifest, path)
    nothing_is_left_behind()


def test_a_plan_of_another_network_is_refused(manifest, tmp_path, engines):
    machine.reset()
    path = tmp_path / "other.plan"
    model = manifest.read_model("fp32").replace(b"probabilities", b"probabilitiez")
    path.write_bytes(make_plan(model, (64, 64, 3), most=MOST))
    with pytest.raises(EngineError, match=r"probabilitiez TensorIOMode.OUTPUT.*, expected .*"):
        opened(manifest, path)
    nothing_is_left_behind()


def test_tensorrt_has_no_bf16(manifest, plan):
    with pytest.raises(EngineError, match="tensorrt has no bf16; it has int8, fp16, fp32"):
        TensorRtRuntime(manifest, "bf16", plan=plan, plan_sha256="", max_batch=1)


def test_a_gpu_that_is_not_there_is_an_error(manifest, plan):
    machine.reset()
    with pytest.raises(EngineError, match="cuDeviceGet failed: invalid device ordinal"):
        opened(manifest, plan, device=1)
    nothing_is_left_behind()


def test_every_size_is_warm_before_it_serves(manifest, plan):
    machine.reset()
    runtime = opened(manifest, plan)
    assert runtime.sizes == batch_sizes(MOST) == (1, 2, 4, 5)
    shapes = machine.calls.count("enqueueV3")
    assert shapes == LANES * len(runtime.sizes) * 2
    runtime.close()
    nothing_is_left_behind()


def test_a_hundred_openings_leave_nothing(manifest, plan, ring):
    machine.reset()
    for _ in range(100):
        runtime = opened(manifest, plan, ring, max_batch=1)
        assert machine.left()["context"] == 1
        runtime.close()
    nothing_is_left_behind()
