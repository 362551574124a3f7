"""Plans: built, proved, compared, refused when damaged, built anew for another platform."""

from __future__ import annotations

import random
import shutil

import onnx
import pytest

from inspector.engine.golden import judge_tiles, read_golden
from inspector.engine.load import load_engine
from inspector.engine.manifest import read_manifest
from inspector.engine.plans.building import BuildStoppedError
from inspector.engine.plans.engine_plans import EnginePlans, platform_of
from inspector.engine.plans.store import Plans
from inspector.errors import EngineError
from tests.engine import tiny_engine
from tests.gpu.box import MAX_BATCH

LARGEST_GAP = {"fp32": 0.01, "fp16": 0.03, "int8": 0.10}


def built(plans, **how):
    return plans.build(on_stage=lambda *_: None, **how)


@pytest.mark.parametrize("precision", LARGEST_GAP)
def test_the_engine_is_built_in_every_precision_and_agrees_with_openvino(box, tmp_path, precision):
    said = []
    plans = box.plans(precision, tmp_path / "plans")
    on_tensorrt = plans.build(on_stage=lambda _, stage: said.append(stage))
    on_openvino = load_engine(box.engine, precision="fp32")
    try:
        tiles = read_golden(plans.manifest).tiles
        gap = abs(
            judge_tiles(on_tensorrt.runtime, tiles) - judge_tiles(on_openvino.runtime, tiles)
        ).max()
        print(f"{box.engine.name} {precision}: {gap:.5f} from OpenVINO in fp32")
        assert gap <= LARGEST_GAP[precision]
        assert on_tensorrt.parity.ok
        percents = [stage.percent for stage in said]
        assert percents == sorted(percents)
        assert percents[-1] == 100
        plan = plans.plan_of(on_tensorrt)
        print(f"{box.engine.name} {precision}: built in {plan.sidecar.build_s:.1f} s")
    finally:
        on_tensorrt.close()
        on_openvino.close()


def test_auto_takes_the_faster_one_and_keeps_it(box):
    plans = box.plans("auto")
    first = built(plans)
    rival = plans.rival(first)
    assert rival is not None
    second = plans.build_rival(rival, on_stage=lambda *_: None)
    try:
        faster, why = plans.faster(first, second)
        print(box.engine.name, why)
    finally:
        first.close()
        second.close()
    ready = plans.open_ready()
    ready.close()
    assert ready.info.precision == (second if faster else first).info.precision
    assert plans.rival(ready) is None


@pytest.fixture
def own(box, tmp_path) -> EnginePlans:
    """The fp16 plan of the engine, in a folder that the test may spoil."""
    box.open("fp16").close()
    shutil.copytree(box.folder / "plans", tmp_path / "plans")
    return box.plans("fp16", tmp_path / "plans")


def test_a_damaged_plan_never_reaches_tensorrt(own):
    (key,) = own.keys
    path = own.store.find(key).plan.path
    whole = path.read_bytes()
    rng = random.Random(3)
    for place in [*range(64), *(rng.randrange(len(whole)) for _ in range(64))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(EngineError, match="is damaged: its sha256 is"):
            own.open_ready()
    path.write_bytes(whole)
    own.open_ready().close()


@pytest.mark.parametrize("field", ["driver", "tensorrt", "cuda", "gpu", "compute_capability"])
def test_a_plan_of_another_platform_is_built_anew(own, field):
    (key,) = own.keys
    other = key.model_copy(
        update={"platform": key.platform.model_copy(update={field: "of another time"})}
    )
    content = own.store.find(key).plan.path.read_bytes()
    for path in own.store.folder.glob(f"{key.stem}.*"):
        path.unlink()
    own.store.add(other, content, engine_version="0", build_s=0)
    with pytest.raises(EngineError, match="of another time, here"):
        own.open_ready()
    engine = built(own)
    engine.close()
    assert engine.parity.ok
    assert own.store.find(key).state == "fits"


def test_what_was_measured_is_kept_for_the_next_build(own):
    (key,) = own.keys
    measured = own.store.timing_cache(key.platform)
    assert measured
    for path in own.store.folder.glob(f"{key.stem}.*"):
        path.unlink()
    built(own).close()
    assert len(own.store.timing_cache(key.platform)) >= len(measured)


def test_what_is_built_again_is_measured_anew(own):
    (key,) = own.keys
    own.store.keep_timing_cache(key.platform, b"of another time")
    built(own, again=True).close()
    assert own.store.timing_cache(key.platform) not in {b"", b"of another time"}


def test_a_build_is_given_up_at_once(own):
    (key,) = own.keys
    said = []
    with pytest.raises(BuildStoppedError):
        own.build(
            on_stage=lambda _, stage: said.append(stage),
            stopped=lambda: len(said) > 0,
            again=True,
        )
    assert not list(own.store.folder.glob(".*.plan.*"))
    assert own.store.find(key).state in {"fits", "missing"}


def test_an_operator_that_tensorrt_does_not_know_is_named_with_its_node(box, tmp_path):
    home = tiny_engine.make(tmp_path)
    model = onnx.load(home / "model.onnx")
    model.graph.node[-1].op_type = "NobodyKnowsThis"
    model.graph.node[-1].domain = "com.example"
    model.graph.node[-1].name = "the-last-node"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, home / "model.onnx")
    document = tiny_engine.read_document(home)
    document["files"]["fp32"] = tiny_engine.entry(home, "model.onnx")
    tiny_engine.write_manifest(home, document)
    store = Plans(tmp_path / "plans", max_bytes=10**9)
    platform = platform_of(box.report())
    plans = EnginePlans.of(home, platform, store, precision="fp32", max_batch=MAX_BATCH)
    with pytest.raises(EngineError, match="operator NobodyKnowsThis at node 'the-last-node'"):
        built(plans)
    assert read_manifest(home).name == "tiny"


def test_a_full_gpu_is_named_with_what_to_do(box, own):
    with box.full():
        with pytest.raises(EngineError, match="end what else uses the GPU, or lower") as caught:
            own.open_ready()
        print(caught.value)
        # Built anew from nothing: the same platform, and not a byte free.
        with pytest.raises(EngineError, match="end what else uses the GPU, or lower") as caught:
            built(own, again=True)
        print(caught.value)
    own.open_ready().close()
