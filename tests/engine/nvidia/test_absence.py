"""No driver, no GPU, no library, or one that does not fit: a sentence each, and nothing crashes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from inspector.engine.nvidia.report import Gpu, GpuFailsError, Library, ask_nvidia, misfit
from inspector.errors import EngineError
from tests.engine.nvidia import libraries

GPU = Gpu(0, "Stub GPU", "ab" * 16, "8.7", 4 << 30, 3 << 30, "", "13.0")


@pytest.fixture
def box(monkeypatch):
    """Make this box one with some libraries and a driver; see `libraries.environment`."""

    def make(*parts, driver=None, **variables):
        environment = libraries.environment(*parts, driver=driver)
        for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "STUB_CUDA"):
            monkeypatch.setenv(name, environment[name])
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return make


def test_no_driver(box):
    box("10")
    report = ask_nvidia()
    assert report.gpu is None
    assert report.fault == (
        "there is no NVIDIA driver: libcuda.so.1: cannot open shared object file: "
        "No such file or directory"
    )
    with pytest.raises(EngineError, match="TensorRT cannot run here: there is no NVIDIA driver"):
        report.require()


def test_a_driver_without_a_gpu(box):
    box("10", driver="none")
    assert ask_nvidia().fault == "the NVIDIA driver finds no GPU (CUDA_ERROR_NO_DEVICE)"


def test_a_gpu_of_another_number(box):
    box("10", driver="one")
    assert ask_nvidia(3).fault == "there is no GPU 3: the driver knows 0 to 0"


def test_a_driver_that_hangs_is_ended(box):
    box("10", driver="hang")
    fault = ask_nvidia(within_s=1).fault
    assert fault == "the NVIDIA driver did not answer within 1 s when it was asked for its version"


def test_a_driver_that_crashes_takes_nothing_along(box):
    box("10", driver="crash")
    fault = ask_nvidia().fault
    assert fault == "the NVIDIA driver crashed (-6) when it was asked for its version"


@pytest.mark.parametrize(
    ("driver", "passing"), [("early", True), ("hang", True), ("none", False), (None, False)]
)
def test_what_may_pass_is_told_from_what_stays(box, driver, passing):
    box("10", driver=driver)
    report = ask_nvidia(within_s=1)
    assert report.fault
    with pytest.raises(EngineError) as told:
        report.require()
    assert isinstance(told.value, GpuFailsError) == passing, report.fault


def test_a_gpu_that_is_full_to_the_brim_is_still_one(box):
    box("10", driver="one", STUB_CUDA_FULL="1")
    report = ask_nvidia()
    assert report.gpu == replace(GPU, free_bytes=0)
    assert report.tensorrt is not None, "what is asked after it was asked"


def test_a_gpu_without_libraries(box):
    box(driver="one")
    report = ask_nvidia()
    assert report.gpu == GPU
    assert report.fault == "TensorRT cannot be loaded: No module named 'tensorrt'"


@pytest.mark.parametrize("part", ["10", "11", "lean"])
def test_the_real_bindings_tell_their_version(box, part):
    box(part, driver="one")
    report = ask_nvidia()
    assert report.tensorrt is not None
    assert report.tensorrt.version.startswith("10.15." if part == "10" else "11.4.")
    assert report.tensorrt.cuda_major == 13
    assert report.fault == "PyCUDA cannot be loaded: No module named 'pycuda'"


def test_a_library_that_is_too_old(box):
    box("old", driver="one")
    assert ask_nvidia().fault == (
        "TensorRT is 10.9.0.34, expected 10.13 or later, below 12: install inspector[tensorrt]"
    )


def test_a_driver_that_is_too_old(box):
    box("10", driver="one", STUB_CUDA_VERSION="12020")
    assert ask_nvidia().fault == (
        "TensorRT 10.15.1.29 was made for CUDA 13, driver of unknown version takes CUDA 12.2; "
        "update the driver"
    )


def test_a_gpu_that_is_too_old(box):
    box("10", driver="one", STUB_CUDA_CAPABILITY="61")
    assert ask_nvidia().fault == ("Stub GPU has compute capability 6.1, TensorRT needs 7.5 or more")


@pytest.mark.parametrize(
    ("tensorrt", "pycuda", "fault"),
    [
        ("11.4.0.106", 13, None),
        ("10.13.0.35", 12, None),
        ("10.13.0.35", 0, None),
        ("12.0.0.1", 13, "TensorRT is 12.0.0.1, expected 10.13 or later, below 12"),
        ("10.12.9", 13, "TensorRT is 10.12.9, expected 10.13 or later"),
        ("10.15.1.29", 14, "PyCUDA 2026.1 was made for CUDA 14, driver of unknown version"),
    ],
)
def test_what_fits(tensorrt, pycuda, fault):
    found = misfit(GPU, Library(tensorrt, 13), Library("2026.1", pycuda))
    assert found is None if fault is None else found.startswith(fault)


_OPEN = """
import hashlib, pathlib, sys
from inspector.engine.manifest import read_manifest
from inspector.engine.tensorrt import TensorRtRuntime
from inspector.errors import EngineError

plan = pathlib.Path(sys.argv[2])
digest = hashlib.sha256(plan.read_bytes()).hexdigest()
manifest = read_manifest(pathlib.Path(sys.argv[1]))
try:
    TensorRtRuntime(manifest, "fp32", plan=plan, plan_sha256=digest, max_batch=4)
except EngineError as error:
    print(error)
"""


def opened(home, tmp_path, environment):
    plan = tmp_path / "some.plan"
    plan.write_bytes(b"a plan")
    command = [sys.executable, "-W", "error", "-c", _OPEN, str(home), str(plan)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


def test_the_runtime_without_libraries_says_so_and_ends_well(tiny, tmp_path):
    told = opened(tiny, tmp_path, dict(os.environ))
    assert "engine tiny on tensorrt (fp32) cannot be opened: TensorRT and PyCUDA cannot be" in told
    assert "install inspector[tensorrt]" in told


@pytest.mark.slow
@pytest.mark.timeout(1800)  # they are fetched, and PyCUDA is compiled, the first time
@pytest.mark.parametrize("part", ["lean", "whole"])
@pytest.mark.parametrize("driver", [None, "none"])
def test_the_real_libraries_without_a_gpu_say_so_and_end_well(tiny, tmp_path, part, driver):
    told = opened(tiny, tmp_path, libraries.environment(part, "pycuda", driver=driver))
    if driver is None:
        assert "libcuda.so.1: cannot open shared object file" in told
    else:
        assert "cuInit failed: no CUDA-capable device is detected" in told
