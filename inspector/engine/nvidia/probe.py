"""Asks the driver for its GPU, and the libraries for their versions. Run as a script of its own.

    python probe.py DEVICE

A broken driver ends the process that asks it, and TensorRT crashes where there is no GPU. So this
runs in a child (`inspector.engine.nvidia.report`), needs the standard library alone, asks the
driver before anything else is imported, and tells what it found line by line: each a JSON object.
What it had not told when it died is what killed it.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Any

_OUT_OF_MEMORY, _NO_DEVICE = 2, 100
_COMPUTE_CAPABILITY = (75, 76)
"""`CUdevice_attribute`: its major and its minor number."""
_NAME_BYTES = 256
_LIBRARY = "libcuda.so.1"


class ProbeError(Exception):
    """What failed, in words for the user; and whether that may pass."""

    def __init__(self, words: str, *, passing: bool = False) -> None:
        super().__init__(words)
        self.passing = passing


def main(device: int) -> None:
    """Tell what there is; ends without the exit handlers of native libraries, which crash."""
    try:
        _say(asking="the NVIDIA driver")
        _say(gpu=_gpu(device))
        _say(asking="TensorRT")
        _say(tensorrt=_tensorrt())
        _say(asking="PyCUDA")
        _say(pycuda=_pycuda())
        _say(asking="")
    except ProbeError as error:
        _say(fault=str(error), passing=error.passing)
    sys.stdout.flush()
    os._exit(0)


def _say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def _gpu(device: int) -> dict[str, Any]:
    driver = _driver()
    version = ctypes.c_int()
    _call(driver, "cuDriverGetVersion", ctypes.byref(version))
    _call(driver, "cuInit", 0)
    count = ctypes.c_int()
    _call(driver, "cuDeviceGetCount", ctypes.byref(count))
    if count.value == 0:
        raise ProbeError("the NVIDIA driver knows no GPU")
    if device >= count.value:
        raise ProbeError(f"there is no GPU {device}: the driver knows 0 to {count.value - 1}")
    handle = ctypes.c_int()
    _call(driver, "cuDeviceGet", ctypes.byref(handle), device)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    _call(driver, "cuDeviceGetName", name, _NAME_BYTES, handle)
    uuid = (ctypes.c_ubyte * 16)()
    _call(driver, "cuDeviceGetUuid", uuid, handle)
    capability = [_attribute(driver, which, handle) for which in _COMPUTE_CAPABILITY]
    free, total = _memory(driver, handle)
    return {
        "index": device,
        "name": name.value.decode(errors="replace"),
        "uuid": bytes(uuid).hex(),
        "compute_capability": ".".join(map(str, capability)),
        "memory_bytes": total,
        "free_bytes": free,
        "driver": _driver_version(),
        "cuda": f"{version.value // 1000}.{version.value % 1000 // 10}",
    }


def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise ProbeError(f"there is no NVIDIA driver: {error}") from None


def _call(driver: ctypes.CDLL, name: str, *arguments: Any, also: int = 0) -> int:
    """Call the driver; `also` is a code that is told instead of being a fault."""
    try:
        code = getattr(driver, name)(*arguments)
    except AttributeError:
        raise ProbeError(f"the NVIDIA driver is too old: it has no {name}") from None
    if code == _NO_DEVICE:
        raise ProbeError("the NVIDIA driver finds no GPU (CUDA_ERROR_NO_DEVICE)")
    if code not in {0, also}:
        raise ProbeError(f"{name} failed: {_word(driver, code)}", passing=True)
    return int(code)


def _word(driver: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    if driver.cuGetErrorName(code, ctypes.byref(text)) or not text.value:
        return f"error {code}"
    return text.value.decode(errors="replace")


def _attribute(driver: ctypes.CDLL, which: int, handle: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(value), which, handle)
    return value.value


def _memory(driver: ctypes.CDLL, handle: ctypes.c_int) -> tuple[int, int]:
    """Free and total bytes. Takes a context; where memory is short even for that, none is free.

    That may pass, and is no reason to call the GPU unfit.
    """
    context = ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    asked = ("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
    if _call(driver, *asked, also=_OUT_OF_MEMORY) == _OUT_OF_MEMORY:
        _call(driver, "cuDeviceTotalMem_v2", ctypes.byref(total), handle)
        return 0, total.value
    _call(driver, "cuCtxSetCurrent", context)
    _call(driver, "cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value


def _driver_version() -> str:
    """Such as 580.95.05; empty where it cannot be told."""
    try:
        return Path("/sys/module/nvidia/version").read_text(encoding="ascii").strip()
    except OSError:
        pass
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        text = ctypes.create_string_buffer(_NAME_BYTES)
        if nvml.nvmlInit_v2() == 0 and nvml.nvmlSystemGetDriverVersion(text, _NAME_BYTES) == 0:
            return text.value.decode(errors="replace")
    except (OSError, AttributeError):
        pass
    return ""


def _tensorrt() -> dict[str, Any]:
    """Its version, and the major version of the CUDA that it was made for (0: not told)."""
    try:
        import tensorrt
    except ImportError as error:
        raise ProbeError(f"TensorRT cannot be loaded: {error}") from None
    made_for = 0
    for major in (11, 12, 13, 14):
        try:
            importlib.metadata.version(f"tensorrt_cu{major}_bindings")
            made_for = major
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"version": str(getattr(tensorrt, "__version__", "0")), "cuda_major": made_for}


def _pycuda() -> dict[str, Any]:
    """Its version, and the major version of the CUDA that it was compiled for."""
    try:
        import pycuda
        import pycuda.driver
    except ImportError as error:
        raise ProbeError(f"PyCUDA cannot be loaded: {error}") from None
    return {"version": str(pycuda.VERSION_TEXT), "cuda_major": pycuda.driver.get_version()[0]}


if __name__ == "__main__":
    main(int(sys.argv[1]))
