"""TensorRT and PyCUDA: imported here and nowhere else, in the process that runs them only."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.errors import EngineError

if TYPE_CHECKING:
    from types import ModuleType


@dataclass(frozen=True, slots=True)
class Libraries:
    """The modules `tensorrt` and `pycuda.driver`."""

    trt: ModuleType
    cuda: ModuleType


@functools.cache
def libraries() -> Libraries:
    """Import both, PyCUDA first: it says politely that there is no driver.

    TensorRT crashes where there is no GPU: ask `inspector.engine.nvidia.report` before.

    Raises:
        EngineError: one is missing or cannot be loaded.
    """
    try:
        import pycuda.driver as cuda
        import tensorrt as trt
    except ImportError as error:
        msg = f"TensorRT and PyCUDA cannot be loaded: {error}; install inspector[tensorrt]"
        raise EngineError(msg) from error
    return Libraries(trt, cuda)
