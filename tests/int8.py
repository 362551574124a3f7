"""How many bits the weights of an int8 file take."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

SEVEN_BITS = 64
"""Two products of such a weight and 255 fit into 16 bits, as processors without VNNI add them."""


def largest_int8_weight(model: onnx.ModelProto) -> int:
    """Magnitude of the largest int8 weight, in steps."""
    weights = [
        numpy_helper.to_array(tensor).astype(int)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1
    ]
    return max(int(np.abs(weight).max()) for weight in weights)
