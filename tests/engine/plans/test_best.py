"""Who judges at the start, by what the GPU says then."""

from __future__ import annotations

import pytest

from inspector.config.station import Engine as EngineSection
from inspector.engine import best
from inspector.engine.best import open_best
from inspector.engine.nvidia.report import NvidiaReport
from inspector.engine.plans.store import Plans
from inspector.errors import NoRuntimeError
from tests.engine.simulated_gpu import stand_in

NO_DRIVER = NvidiaReport(fault="there is no NVIDIA driver")
NOT_READY = NvidiaReport(fault="cuInit failed: CUDA_ERROR_SYSTEM_NOT_READY", passing=True)


@pytest.fixture
def opened(simulate, tiny, tmp_path, monkeypatch):
    """Opens the tiny engine where the GPU answers with the given report."""
    occupants = []

    def open_(report, **section):
        monkeypatch.setattr(best, "ask_nvidia", lambda _device: report)
        asked = EngineSection(screen=tiny.name, folder=tiny.parent, max_batch=8, **section)
        store = Plans(tmp_path / "plans", max_bytes=100_000_000)
        occupants.append(open_best(tiny.name, asked, store, on_stage=None))
        return occupants[-1]

    yield open_
    for occupant in occupants:
        for runtime in occupant.runtimes():
            runtime.close()


def test_without_a_driver_the_processor_is_the_best_there_is(opened):
    occupant = opened(NO_DRIVER, runtime="auto")
    assert occupant.engine.degraded is None
    assert occupant.pending is None


@pytest.mark.parametrize("runtime", ["auto", "tensorrt"])
def test_a_gpu_that_fails_is_said_and_asked_again(opened, monkeypatch, runtime):
    occupant = opened(NOT_READY, runtime=runtime)
    assert occupant.engine.info.runtime == "openvino"
    assert "CUDA_ERROR_SYSTEM_NOT_READY" in occupant.engine.degraded
    monkeypatch.setattr(best, "ask_nvidia", stand_in.report)
    plans = occupant.pending.here()
    engine = plans.build(on_stage=lambda *_: None)
    assert engine.info.runtime == "tensorrt"
    engine.close()
    fresh = occupant.pending.open_ready()
    assert fresh.info.runtime == "tensorrt"
    fresh.close()


def test_where_nothing_may_stand_in_it_is_no_start(opened):
    with pytest.raises(NoRuntimeError, match="NOT_READY"):
        opened(NOT_READY, runtime="tensorrt", fallback="none")
