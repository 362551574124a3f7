"""What the doctor says of a GPU, a driver and libraries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inspector.config.station import Engine
from inspector.doctor.finding import Grade
from inspector.doctor.gpu import check_gpu, gpu_finding
from inspector.engine.nvidia.report import Gpu, Library, NvidiaReport
from tests.engine.nvidia import libraries

GPU = Gpu(0, "NVIDIA L4", "ab" * 16, "8.9", 23_000_000_000, 20_100_000_000, "580.95.05", "13.0")
WHOLE = NvidiaReport(GPU, Library("10.15.1.29", 13), Library("2026.1", 13))


def test_a_gpu_with_all_it_needs_is_good():
    finding = gpu_finding(WHOLE, wanted=True)
    assert (finding.grade, finding.remedy) == (Grade.GOOD, "")
    assert finding.found == (
        "NVIDIA L4, compute capability 8.9; driver 580.95.05, CUDA 13.0; "
        "TensorRT 10.15.1.29 for CUDA 13; PyCUDA 2026.1 for CUDA 13; 20.1 of 23.0 GB free"
    )
    assert finding.facts["gpu"]["free_bytes"] == 20_100_000_000


@pytest.mark.parametrize(("wanted", "grade"), [(True, Grade.MEND), (False, Grade.NOTE)])
def test_what_does_not_fit_is_told_with_what_is_there(wanted, grade):
    report = NvidiaReport(GPU, Library("10.9.0.34", 12), fault="TensorRT is 10.9.0.34")
    finding = gpu_finding(report, wanted=wanted)
    assert finding.grade is grade
    assert finding.found.startswith("TensorRT is 10.9.0.34; NVIDIA L4")
    assert finding.remedy


def test_a_full_gpu_is_to_be_mended():
    full = replace(WHOLE, gpu=replace(GPU, free_bytes=300_000_000))
    finding = gpu_finding(full, wanted=True)
    assert (finding.grade, finding.expected[:9]) == (Grade.MEND, "1 GB free")
    assert "lower engine.max_batch" in finding.remedy


def test_the_driver_is_asked_only_where_tensorrt_may_run(monkeypatch):
    assert list(check_gpu(Engine(runtime="openvino"))) == []
    environment = libraries.environment(driver="none")
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "STUB_CUDA"):
        monkeypatch.setenv(name, environment[name])
    (auto,) = check_gpu(Engine(runtime="auto"))
    (asked,) = check_gpu(Engine(runtime="tensorrt"))
    assert (auto.grade, asked.grade) == (Grade.NOTE, Grade.MEND)
    assert asked.found == "the NVIDIA driver finds no GPU (CUDA_ERROR_NO_DEVICE)"
