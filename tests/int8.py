"""Where an engine's int8 file can be held against its golden tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from inspector.doctor.box import cpu_finding

SEVEN_BITS = 64


def largest_int8_weight(model: onnx.ModelProto) -> int:
    """Magnitude of the largest int8 weight, in steps."""
    weights = [
        numpy_helper.to_array(tensor).astype(int)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1
    ]
    return max(int(np.abs(weight).max()) for weight in weights)


def int8_is_exact_here(int8: bytes) -> bool:
    """Whether this processor computes the file as it stands there.

    Without instructions for int8 two products are added in 16 bits: only weights of seven bits
    cannot overflow them. `auto` takes another precision where the golden tiles say so.
    """
    words = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    if cpu_finding(words, 1).facts["int8"]:
        return True
    return largest_int8_weight(onnx.load_from_string(int8)) <= SEVEN_BITS
