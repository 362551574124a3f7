"""OpenVINO in TensorRT's place in the engine process, judging what the plan was made from.

Only what does not depend on the runtime is tested with it: the builder's process, proof, swap,
fallback. It opens the plan as the real runtime would, by its digest, and says that it is tensorrt.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from inspector.doctor import gpu
from inspector.engine import best, child_environment
from inspector.engine.nvidia.report import Gpu, Library, NvidiaReport
from inspector.engine.plans import building, engine_plans
from inspector.engine.plans.files import read_plan
from inspector.engine.process.spec import TensorRtSpec
from tests.engine.simulated_gpu import SITE
from tests.engine.simulated_gpu.device import SLOW_S, VARIABLE, Device
from tests.engine.simulated_gpu.plan import open_plan

REAL_RUNTIME = "SIMULATED_GPU_RUNS_THE_PLAN"
"""A variable that is set where our TensorRT runtime is to run the plan on the simulated GPU, and
not OpenVINO in its place."""
WRONG = "SIMULATED_GPU_IS_WRONG"
"""A variable with a file's path: while that is there, new engines compute something else."""


def device() -> Device:
    """The simulated device, as the test says."""
    return Device(**json.loads(os.environ[VARIABLE]))


def report(index: int = 0) -> NvidiaReport:
    """What the probe would find."""
    there = device()
    card = Gpu(
        index=index,
        name=there.gpu,
        uuid="0" * 32,
        compute_capability=there.compute_capability,
        memory_bytes=there.free_mb << 20,
        free_bytes=there.free_mb << 20,
        driver=there.driver,
        cuda="13.0",
    )
    return NvidiaReport(card, Library(there.version, 13), Library("2026.1", 13))


@dataclass(frozen=True)
class StandInSpec:
    """Has the fields of `TensorRtSpec`."""

    folder: Path
    precision: str
    max_batch: int
    plan: Path
    plan_sha256: str
    device: int = 0
    wrong: bool = False
    batch_s: float = 0.0

    def open(self):
        from inspector.engine.manifest import read_manifest
        from inspector.engine.openvino import OpenVinoRuntime

        header, model = open_plan(read_plan(self.plan, self.plan_sha256))
        assert header["most"][0] == self.max_batch
        manifest = read_manifest(self.folder)
        assert model, "the plan holds its network"
        runtime = OpenVinoRuntime(manifest, self.precision, max_batch=self.max_batch, threads=1)
        return _AsTensorRt(runtime, wrong=self.wrong, batch_s=self.batch_s)


class SimulatedSpec(TensorRtSpec):
    """Our TensorRT runtime, over the simulated libraries."""

    def open(self):
        sys.path.insert(0, str(SITE))
        from tests.engine.simulated_gpu.machine import machine

        machine.reset(memory_bytes=device().free_mb << 20)
        return TensorRtSpec.open(self)


class _AsTensorRt:
    def __init__(self, runtime, *, wrong, batch_s):
        self._runtime = runtime
        self._wrong = wrong
        self._batch_s = batch_s
        self.info = replace(runtime.info, runtime="tensorrt")
        self.max_batch = runtime.max_batch
        self.map_ring = runtime.map_ring
        self.unmap_ring = runtime.unmap_ring
        self.close = runtime.close

    def submit(self, tiles):
        time.sleep(self._batch_s)
        future = self._runtime.submit(tiles)
        if not self._wrong:
            return future
        from concurrent.futures import Future

        other = Future()
        future.add_done_callback(lambda done: other.set_result(np.roll(done.result(), 1, axis=1)))
        return other


def _spec(**values):
    if REAL_RUNTIME in os.environ:
        return SimulatedSpec(**values)
    wrong = os.environ.get(WRONG)
    batch_s = SLOW_S if values["precision"] in device().slow else 0.0
    return StandInSpec(**values, wrong=bool(wrong and Path(wrong).exists()), batch_s=batch_s)


def changes():
    """What a simulated GPU puts where this process would look for a real one."""
    kept = child_environment.KEPT_VARIABLES
    yield best, "ask_nvidia", report
    yield gpu, "ask_nvidia", report
    yield building, "BUILDER", "tests.engine.simulated_gpu.builder_process"
    yield child_environment, "KEPT_VARIABLES", kept if VARIABLE in kept else (*kept, VARIABLE)
    yield engine_plans, "TensorRtSpec", _spec


def install() -> None:
    """Give this process a simulated GPU for good."""
    for module, name, value in changes():
        setattr(module, name, value)


assert {f.name for f in fields(TensorRtSpec)} < {f.name for f in fields(StandInSpec)}
