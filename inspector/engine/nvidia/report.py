"""What this box has to run TensorRT with: driver, GPU, libraries, and whether they fit.

The question is put by a child process (`probe.py`), so that neither a broken driver nor a library
that crashes takes anything along. The station's main process imports neither TensorRT nor PyCUDA.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import EngineError

OLDEST_TENSORRT = (10, 13)
"""The first with all that is used here."""
TENSORRT_BELOW = 12
"""Not known: a major version may change anything."""
OLDEST_CAPABILITY = (7, 5)
"""Turing: what TensorRT 10.13 and later are made for."""

_PROBE = Path(__file__).with_name("probe.py")
_DRIVER = "the NVIDIA driver"
"""What the probe says that it asks first."""
_REAPED_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU and its driver.

    Attributes:
        index: its number; `CUDA_VISIBLE_DEVICES` changes what the numbers mean.
        uuid: 32 hexadecimal digits.
        compute_capability: such as `8.7`.
        memory_bytes, free_bytes: of the GPU; on a Jetson, of the box.
        driver: version of the driver, such as `580.95.05`; empty where it does not tell.
        cuda: newest CUDA version that the driver takes, such as `13.0`.
    """

    index: int
    name: str
    uuid: str
    compute_capability: str
    memory_bytes: int
    free_bytes: int
    driver: str
    cuda: str


@dataclass(frozen=True, slots=True)
class Library:
    """A library's version, and the major version of the CUDA it was made for (0: not told)."""

    version: str
    cuda_major: int


class GpuFailsError(EngineError):
    """There is a driver, and it failed: it may be on its way, or have to be started anew."""


@dataclass(frozen=True, slots=True)
class NvidiaReport:
    """What was found, as far as the question came.

    Attributes:
        fault: why TensorRT cannot run here, in a sentence without a full stop; None where it can.
        passing: the driver failed or hung, which may pass; a box without driver, GPU or libraries
            stays as it is.
    """

    gpu: Gpu | None = None
    tensorrt: Library | None = None
    pycuda: Library | None = None
    fault: str | None = None
    passing: bool = False

    def require(self) -> tuple[Gpu, Library]:
        """The GPU and TensorRT.

        Raises:
            GpuFailsError: the driver failed, which may pass.
            EngineError: TensorRT cannot run here, and why.
        """
        if self.fault is not None or self.gpu is None or self.tensorrt is None:
            msg = f"TensorRT cannot run here: {self.fault or 'nothing was found'}"
            raise GpuFailsError(msg) if self.passing else EngineError(msg)
        return self.gpu, self.tensorrt


def ask_nvidia(device: int = 0, *, within_s: float = 30.0) -> NvidiaReport:
    """Ask driver and libraries, in a child process; about a second. Never raises, any thread.

    Args:
        device: number of the GPU.
        within_s: longest to wait; a driver that hangs is a fault like any other.
    """
    command = [sys.executable, "-P", str(_PROBE), str(device)]
    try:
        child = subprocess.Popen(  # noqa: S603 - our own script
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError as error:
        return NvidiaReport(fault=f"no process could be started to ask: {error.strerror}")
    hung = False
    try:
        said, _ = child.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        hung = True
        said = _killed(child)
    return _judged(_read(said), hung_s=within_s if hung else None, status=child.returncode)


def _killed(child: subprocess.Popen[str]) -> str:
    """What a child said that does not end; one that even a kill does not end is left behind."""
    child.kill()
    try:
        said, _ = child.communicate(timeout=_REAPED_WITHIN_S)
    except subprocess.TimeoutExpired:
        return ""
    return said


def _read(said: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for line in said.splitlines():
        try:
            facts |= json.loads(line)
        except (ValueError, TypeError):
            continue  # a library's own word
    return facts


def _judged(facts: dict[str, Any], *, hung_s: float | None, status: int | None) -> NvidiaReport:
    gpu = Gpu(**facts["gpu"]) if "gpu" in facts else None
    tensorrt = Library(**facts["tensorrt"]) if "tensorrt" in facts else None
    pycuda = Library(**facts["pycuda"]) if "pycuda" in facts else None
    fault = facts.get("fault")
    asking = facts.get("asking", _DRIVER)
    passing = bool(facts.get("passing"))
    if fault is None and asking:
        passing = asking == _DRIVER
        ending = f"did not answer within {hung_s:g} s" if hung_s else f"crashed ({status})"
        fault = f"{asking} {ending} when it was asked for its version"
    if gpu and tensorrt:
        fault = misfit(gpu, tensorrt, pycuda) or fault
    return NvidiaReport(gpu, tensorrt, pycuda, fault, passing)


def misfit(gpu: Gpu, tensorrt: Library, pycuda: Library | None) -> str | None:
    """Why driver, GPU and libraries do not fit one another; None where they do. Pure.

    >>> gpu = Gpu(0, "Orin", "", "8.7", 8, 8, "540.4", "12.6")
    >>> misfit(gpu, Library("10.15.1.29", 13), Library("2026.1", 12))
    'TensorRT 10.15.1.29 was made for CUDA 13, driver 540.4 takes CUDA 12.6; update the driver'
    """
    found = _numbers(tensorrt.version)
    if not found[:2] >= OLDEST_TENSORRT or found[0] >= TENSORRT_BELOW:
        oldest = ".".join(map(str, OLDEST_TENSORRT))
        return (
            f"TensorRT is {tensorrt.version}, expected {oldest} or later, "
            f"below {TENSORRT_BELOW}: install inspector[tensorrt]"
        )
    if _numbers(gpu.compute_capability) < OLDEST_CAPABILITY:
        oldest = ".".join(map(str, OLDEST_CAPABILITY))
        return (
            f"{gpu.name} has compute capability {gpu.compute_capability}, TensorRT needs {oldest} "
            "or more"
        )
    taken = _numbers(gpu.cuda)[0]
    for name, library in (("TensorRT", tensorrt), ("PyCUDA", pycuda)):
        if library is not None and library.cuda_major > taken:
            return (
                f"{name} {library.version} was made for CUDA {library.cuda_major}, "
                f"driver {gpu.driver or 'of unknown version'} takes CUDA {gpu.cuda}; "
                "update the driver"
            )
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit()) or (0,)
