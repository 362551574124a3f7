"""The builder, a real process, with a simulated TensorRT in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import onnx
import pytest

from inspector.engine.child_environment import child_environment
from inspector.engine.manifest import read_manifest
from inspector.engine.plans.building import BuildStoppedError, build_plan
from inspector.engine.plans.engine_plans import EnginePlans
from inspector.engine.plans.files import read_plan
from inspector.engine.plans.key import BatchProfile, BuilderSettings, PlanKey
from inspector.engine.plans.lock import LOCK, one_builder
from inspector.engine.plans.request import Request
from inspector.engine.plans.store import Plans
from inspector.errors import EngineError
from tests.engine import tiny_engine
from tests.engine.plans.conftest import PLATFORM
from tests.engine.simulated_gpu.plan import open_plan
from tests.servers.disk import occupy


@pytest.fixture
def request_(tiny, tmp_path) -> Request:
    """To build the tiny engine in int8."""
    return asked(tiny, tmp_path / "plans")


def asked(home: Path, plans: Path, **changes) -> Request:
    manifest = read_manifest(home)
    precision = changes.pop("precision", "int8")
    key = PlanKey(
        engine=manifest.name,
        model_sha256=manifest.file_of(precision).sha256,
        precision=precision,
        batch=BatchProfile.up_to(8),
        platform=PLATFORM,
    )
    again = changes.pop("again", False)
    key = key.model_copy(update=changes)
    return Request(engine_folder=home, plans=plans, max_bytes=10_000_000, key=key, again=again)


def built(request: Request, stages: list | None = None, **options):
    told = [] if stages is None else stages
    return build_plan(request, on_stage=told.append, **options)


def store(request: Request) -> Plans:
    return Plans(request.plans, max_bytes=request.max_bytes)


def test_a_plan_is_built_and_kept_with_its_progress(simulate, request_):
    simulate(step_s=0.2)
    stages = []
    plan, made = built(request_, stages)
    assert made
    header, model = open_plan(read_plan(plan.path, plan.sidecar.sha256))
    assert (header["least"], header["most"]) == ([1, 64, 64, 3], [8, 64, 64, 3])
    assert header["tf32"] is False
    assert onnx.load_model_from_string(model).graph.input[0].name == "image"
    assert stages[0].stage == "reading"
    assert "Timing graph nodes" in {stage.stage for stage in stages}
    percents = [stage.percent for stage in stages]
    assert percents == sorted(percents)
    assert len(set(percents)) > 2
    assert percents[-1] == 100.0
    assert plan.sidecar.engine_version == "0.1.0"
    assert not plan.good  # until its golden tiles say so


def test_how_long_it_still_takes_goes_by_the_last_build_on_this_gpu(simulate, request_):
    simulate(step_s=0.2)
    stages = []
    plan, _ = built(request_, stages)
    told = [stage.left_s for stage in stages if stage.percent < 100]
    assert not any(told), "nothing is known of the first one, so nothing is said"
    path = plan.path.with_suffix(".json")
    sidecar = json.loads(path.read_text()) | {"build_s": 1000.0}
    path.write_text(json.dumps(sidecar))
    for cache in request_.plans.glob("*.cache"):
        cache.unlink()
    stages = []
    built(request_.model_copy(update={"again": True}), stages)
    left = [stage.left_s for stage in stages if stage.left_s is not None]
    assert left
    assert 0 < left[0] <= 1000
    assert left == sorted(left, reverse=True)
    other = PLATFORM.model_copy(update={"gpu": "Another GPU"})
    key = request_.key.model_copy(update={"platform": other})
    assert store(request_).last_build_s(key) is None
    assert store(request_).last_build_s(request_.key) is not None


def test_one_that_is_there_is_not_built_again_unless_asked(simulate, request_):
    first, _ = built(request_)
    simulate(die_at="Building Engine")
    again, made = built(request_)
    assert not made
    assert again.path == first.path
    with pytest.raises(EngineError, match="was killed by SIGKILL while reading"):
        built(request_.model_copy(update={"again": True}))
    assert store(request_).find(request_.key).state == "fits"


def test_what_was_measured_is_used_by_the_next_build(simulate, request_, tiny):
    built(request_)
    (cache,) = request_.plans.glob("*.cache")
    assert len(json.loads(cache.read_bytes()[32:])["measured"]) > 10
    simulate(measures=False)
    settings = BuilderSettings(optimization_level=2)
    assert built(asked(tiny, request_.plans, settings=settings))[1]
    cache.unlink()
    with pytest.raises(EngineError, match="was killed by SIGKILL"):
        built(asked(tiny, request_.plans, settings=BuilderSettings(optimization_level=1)))


def test_what_is_built_again_is_measured_again(simulate, request_):
    built(request_)
    simulate(measures=False)
    with pytest.raises(EngineError, match="was killed by SIGKILL"):
        built(request_.model_copy(update={"again": True}))


@pytest.mark.parametrize(
    ("visible", "device", "seen"),
    [(None, 0, None), (None, 1, "1"), ("4,7", 0, "4,7"), ("4, 7", 1, "7"), ("4,7", 2, "-1")],
)
def test_it_is_built_on_the_gpu_that_will_run_it(
    simulate, tiny, tmp_path, monkeypatch, visible, device, seen
):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    store = Plans(tmp_path / "plans", max_bytes=10_000_000)
    how = {"precision": "int8", "max_batch": 8, "device": device}
    plans = EnginePlans.of(tiny, PLATFORM, store, **how)
    plans.build(on_stage=lambda *_: None).close()
    plan = store.find(plans.keys[0]).plan
    assert open_plan(read_plan(plan.path, plan.sidecar.sha256))[0]["visible"] == seen


def test_its_process_finds_what_the_station_finds(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/opt/tensorrt")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv("BROKER_PASSWORD", "secret")
    environment = child_environment()
    assert environment["PYTHONPATH"].split(os.pathsep)[1:] == ["/opt/tensorrt"]
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "BROKER_PASSWORD" not in environment


def test_a_timing_cache_of_another_library_is_not_used(simulate, request_):
    store(request_).keep_timing_cache(
        PLATFORM, json.dumps({"version": "9", "gpu": "x", "measured": {}}).encode()
    )
    assert built(request_)[1]


@pytest.mark.parametrize("stage", ["Building Engine", "Timing graph nodes"])
def test_a_killed_builder_leaves_nothing_and_is_told(simulate, request_, stage):
    simulate(die_at=stage)
    with pytest.raises(EngineError, match="builder of tiny int8 was killed by SIGKILL while"):
        built(request_)
    assert {path.name for path in request_.plans.iterdir()} == {LOCK}
    simulate()
    assert built(request_)[1]


def test_an_operator_that_tensorrt_does_not_know_is_named_with_its_node(simulate, tiny, tmp_path):
    path = tiny / "model.onnx"
    model = onnx.load(path)
    for number, node in enumerate(model.graph.node):
        node.name = f"node-{number}"
    onnx.save(model, path)
    document = tiny_engine.read_document(tiny)
    document["files"]["fp32"] = tiny_engine.entry(tiny, "model.onnx")
    tiny_engine.write_manifest(tiny, document)
    simulate(unsupported=["GlobalAveragePool"])
    with pytest.raises(EngineError, match="operator GlobalAveragePool at node 'node-5'"):
        built(asked(tiny, tmp_path / "plans", precision="fp32"))


def test_a_full_gpu_is_said_to_be_full(simulate, request_):
    simulate(free_mb=8)
    with pytest.raises(EngineError, match=r"the GPU's memory is full: .*lower engine\.max_batch"):
        built(request_)


def test_another_library_than_the_plan_was_asked_for_is_refused(simulate, request_):
    simulate(version="10.13.3.9")
    with pytest.raises(EngineError, match=r"TensorRT is 10\.13\.3\.9 now, and was 10\.15\.1\.29"):
        built(request_)


def test_tensorrt_11_builds_the_same_way(simulate, tiny, tmp_path):
    simulate(version="11.4.0.106")
    platform = PLATFORM.model_copy(update={"tensorrt": "11.4.0.106"})
    plan, made = built(asked(tiny, tmp_path / "plans", platform=platform))
    assert made
    assert open_plan(plan.path.read_bytes())[0]["version"] == "11.4.0.106"


def test_without_tensorrt_the_reason_is_told(request_):
    with pytest.raises(EngineError, match="TensorRT cannot be loaded: No module named 'tensorrt'"):
        built(request_)


def test_a_model_that_changed_meanwhile_is_not_built(simulate, request_):
    key = request_.key.model_copy(update={"model_sha256": "0" * 64})
    with pytest.raises(EngineError, match="its int8 file changed while its plan was asked for"):
        built(request_.model_copy(update={"key": key}))


def test_a_stop_ends_the_builder_at_once(simulate, request_):
    simulate(hang_at="Timing graph nodes")
    stages = []
    with pytest.raises(BuildStoppedError, match="was given up"):
        built(request_, stages, stopped=lambda: bool(stages))
    assert {path.name for path in request_.plans.iterdir()} <= {LOCK}
    simulate()
    assert built(request_)[1]  # nobody holds the lock


def test_a_builder_that_hangs_is_ended(simulate, request_):
    simulate(hang_at="Building Engine")
    with pytest.raises(EngineError, match="no plan of tiny int8 within 3 s; the builder is ended"):
        built(request_, within_s=3)


def test_two_stations_with_one_folder_build_once(simulate, request_):
    simulate(step_s=0.2)
    results, stages = [], [[], []]
    threads = [
        threading.Thread(target=lambda told=told: results.append(built(request_, told)))
        for told in stages
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(made for _, made in results) == [False, True]
    assert results[0][0].sidecar == results[1][0].sidecar
    (waited,) = [told for told in stages if told[0].stage == "waiting"]
    assert f"builds tiny int8 in {request_.plans}" in waited[-1].detail


def test_the_lock_is_waited_for_longer_than_a_build_may_take(simulate, request_):
    request_.plans.mkdir(mode=0o750)
    stages = []
    released = threading.Event()

    def hold():
        with one_builder(request_.plans, "another", lambda _: None):
            held.set()
            released.wait(60)

    held = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    threading.Timer(5, released.set).start()
    assert built(request_, stages, within_s=4)[1]
    assert stages[0].detail.startswith(f"process {os.getpid()} builds another in ")
    holder.join(60)


def test_an_unwritable_folder_costs_no_build(simulate, tiny, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(EngineError, match=r"give another one under engine\.plans"):
        built(asked(tiny, tmp_path / "file"))
    with pytest.raises(EngineError, match="cannot be made: Not a directory"):
        built(asked(tiny, tmp_path / "file" / "plans"))


def test_a_full_disk_costs_no_build_and_one_that_fills_leaves_nothing(simulate, tiny, small_disk):
    request = asked(tiny, small_disk / "plans")
    request.plans.mkdir(mode=0o750)
    hog = occupy(small_disk)
    simulate(die_at="Building Engine")  # it does not get that far
    with pytest.raises(EngineError, match=r"no plan can be built: .*No space left on device"):
        built(request)
    hog.unlink()
    simulate(step_s=0.2)
    filled = threading.Event()

    def fill(_):
        if not filled.is_set():
            occupy(small_disk)
            filled.set()

    with pytest.raises(EngineError, match=r"was built and cannot be kept: .*No space left"):
        build_plan(request, on_stage=fill)
    assert {path.name for path in request.plans.iterdir()} == {LOCK}
    assert filled.is_set()


_OWNER = """
import sys
from inspector.engine.plans.building import build_plan
from inspector.engine.plans.request import Request
from tests.engine.simulated_gpu import stand_in

stand_in.install()
build_plan(Request.model_validate_json(sys.stdin.readline()), on_stage=lambda _: None)
"""


def test_the_builder_ends_with_its_owner(simulate, request_):
    simulate(hang_at="Timing graph nodes")
    lock = request_.plans / LOCK
    deadline = time.monotonic() + 60
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER], cwd=Path(__file__).parents[3], stdin=subprocess.PIPE
    ) as owner:  # a station that is killed while it builds
        owner.stdin.write(request_.model_dump_json().encode() + b"\n")
        owner.stdin.flush()
        while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        builder = json.loads(lock.read_text())["pid"]
        owner.kill()
    while Path(f"/proc/{builder}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{builder}").exists()
