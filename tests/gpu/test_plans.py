"""Plans on a real GPU: built, proved, refused when damaged, built anew for another platform."""

from __future__ import annotations

import random
import shutil

import pytest

from inspector.engine.golden import judge_tiles, read_golden
from inspector.engine.load import Engine, load_engine
from inspector.engine.manifest import engine_names, shipped_engines_folder
from inspector.engine.nvidia.report import ask_nvidia
from inspector.engine.plans.building import BuildStoppedError
from inspector.engine.plans.engine_plans import EnginePlans, platform_of
from inspector.engine.plans.store import Plans
from inspector.errors import EngineError

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(3600)]

MAX_BATCH = 8
LARGEST_GAP = {"fp32": 0.01, "fp16": 0.03, "int8": 0.10}
ENGINES = engine_names(shipped_engines_folder())


@pytest.fixture(scope="module")
def platform():
    report = ask_nvidia()
    if report.fault is not None:
        pytest.skip(f"no GPU to build on: {report.fault}")
    return platform_of(report)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Plans:
    """Shared: a plan is built once."""
    return Plans(tmp_path_factory.mktemp("gpu") / "plans", max_bytes=10_000_000_000)


def plans_of(name, precision, platform, store) -> EnginePlans:
    return EnginePlans.of(
        shipped_engines_folder() / name, platform, store, precision=precision, max_batch=MAX_BATCH
    )


def built(plans, **how) -> Engine:
    return plans.build(on_stage=lambda _key, _said: None, **how)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_is_built_in_every_precision_and_agrees_with_openvino(
    platform, store, name, precision
):
    said = []
    plans = plans_of(name, precision, platform, store)
    on_tensorrt = plans.build(on_stage=lambda _key, stage: said.append(stage.percent))
    on_openvino = load_engine(plans.manifest.folder, precision="fp32")
    try:
        tiles = read_golden(plans.manifest).tiles
        gap = abs(
            judge_tiles(on_tensorrt.runtime, tiles) - judge_tiles(on_openvino.runtime, tiles)
        ).max()
        assert gap <= LARGEST_GAP[precision]
        assert on_tensorrt.parity.ok
        assert said == sorted(said)
        assert len(set(said)) > 2
    finally:
        on_tensorrt.close()
        on_openvino.close()


@pytest.fixture
def own(platform, store, tmp_path) -> EnginePlans:
    """The fp16 plan of the first engine, in a folder that the test may spoil."""
    built(plans_of(ENGINES[0], "fp16", platform, store)).close()
    shutil.copytree(store.folder, tmp_path / "plans")
    return plans_of(ENGINES[0], "fp16", platform, Plans(tmp_path / "plans", max_bytes=10**10))


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


@pytest.mark.parametrize("field", ["driver", "tensorrt", "gpu"])
def test_a_plan_of_another_platform_is_built_anew(own, field):
    (key,) = own.keys
    other = key.model_copy(
        update={"platform": key.platform.model_copy(update={field: "of another time"})}
    )
    found = own.store.find(key)
    content = found.plan.path.read_bytes()
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
    built(own, again=True).close()
    assert len(own.store.timing_cache(key.platform)) >= len(measured)


def test_a_build_is_given_up_at_once(own):
    (key,) = own.keys
    said = []
    with pytest.raises(BuildStoppedError):
        own.build(
            on_stage=lambda _key, stage: said.append(stage),
            stopped=lambda: len(said) > 1,
            again=True,
        )
    assert not list(own.store.folder.glob(".*"))
    assert own.store.find(key).state in {"fits", "missing"}
