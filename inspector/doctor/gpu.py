"""The GPU: driver, libraries, whether they fit one another, and how much memory is free."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from inspector.doctor.finding import Finding, Grade
from inspector.engine.nvidia.report import ask_nvidia

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.config.station import Engine as EngineSection
    from inspector.engine.nvidia.report import NvidiaReport

LEAST_FREE_BYTES = 1_000_000_000
"""TensorRT's own context, a plan of InceptionResNetV2 and two batches of 16 take most of it."""


def check_gpu(asked: EngineSection) -> Iterator[Finding]:
    """Ask driver and libraries; says nothing where TensorRT is not asked for."""
    if asked.runtime != "openvino":
        yield gpu_finding(ask_nvidia(asked.device), wanted=asked.runtime == "tensorrt")


def gpu_finding(report: NvidiaReport, *, wanted: bool) -> Finding:
    """What was found against what is needed. Pure.

    Args:
        wanted: the station file asks for TensorRT, and not only for the best there is.
    """
    expected = "a GPU, and a driver, TensorRT and PyCUDA that fit it and one another"
    facts = asdict(report)
    words = _words(report)
    if report.fault is not None:
        found = "; ".join([report.fault, *words])
        remedy = (
            "mend that (docs/engines.md says what TensorRT needs), or set runtime to openvino"
            if wanted
            else "nothing, if this box is to judge on its processor"
        )
        grade = Grade.MEND if wanted else Grade.NOTE
        return Finding("gpu", "", grade, found, expected, remedy, facts)
    if report.gpu is not None and report.gpu.free_bytes < LEAST_FREE_BYTES:
        expected = f"{LEAST_FREE_BYTES / 1e9:g} GB free, or a station that runs there already"
        remedy = "end what else uses the GPU, or lower engine.max_batch"
        return Finding("gpu", "", Grade.MEND, "; ".join(words), expected, remedy, facts)
    return Finding("gpu", "", Grade.GOOD, "; ".join(words), expected, "", facts)


def _words(report: NvidiaReport) -> list[str]:
    words = []
    if gpu := report.gpu:
        words += [
            f"{gpu.name}, compute capability {gpu.compute_capability}",
            f"driver {gpu.driver or 'of unknown version'}, CUDA {gpu.cuda}",
        ]
    for name, library in (("TensorRT", report.tensorrt), ("PyCUDA", report.pycuda)):
        if library:
            made_for = f" for CUDA {library.cuda_major}" if library.cuda_major else ""
            words.append(f"{name} {library.version}{made_for}")
    if gpu := report.gpu:
        words.append(f"{gpu.free_bytes / 1e9:.1f} of {gpu.memory_bytes / 1e9:.1f} GB free")
    return words
