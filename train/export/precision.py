"""The same network in fp16 and int8, precision written into the file.

TensorRT 11 knows only strongly typed networks, so the precision lies in the file and not in a
builder's flag. Normalisation before the first convolution and the softmax after the last dense
layer stay in fp32 in both; input and output are the same in every file.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from inspector.engine.derive import halved
from train.export.graph import INPUT
from train.export.ranges import QUANTISED, ranges

WEIGHT_STEPS = 64
"""Largest weight of int8, in steps: one bit is left unused.

Processors without instructions for int8 add two products of a weight and an activation in 16 bits,
which two of 127 times 255 exceed, and two of 64 times 255 do not: with whole weights
inceptionresnetv2 answered one of its golden tiles 0.93 otherwise on such a processor (AVX2).
"""
_PIXEL_STEPS = (1 / 255, 2 / 255)
_PIXEL_STEP_CLOSE = 0.02


def to_fp16(model: ModelProto) -> ModelProto:
    """A copy whose layers with weights, and all between them, compute in fp16."""
    half = onnx.load_from_string(halved(model.SerializeToString()))
    onnx.checker.check_model(half, full_check=True)
    return half


def _input_cast_first(model: ModelProto) -> None:
    """Put the cast of the input back in front of the weights' own nodes."""
    nodes = sorted(model.graph.node, key=lambda node: INPUT not in node.input)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _pixels_exactly(model: ModelProto) -> None:
    """Give the first quantiser the pixels' own step, where its range is that of the pixels.

    What enters it is (code - 128) / 255, or twice that: at a step of 1/255, or twice that, int8
    holds every code exactly.
    """
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    for tensor in model.graph.initializer:
        if tensor.name == first.input[1]:
            step = numpy_helper.to_array(tensor)
            for exact in _PIXEL_STEPS:
                if step.ndim == 0 and abs(float(step) / exact - 1) < _PIXEL_STEP_CLOSE:
                    value = np.array(exact, dtype=np.float32)
                    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _rounded_for_layers_alone(model: ModelProto, kept: tuple[str, ...]) -> None:
    """Give every operator without weights, and those that are kept, its inputs as they come.

    onnxruntime rounds a tensor for all that take it: the sums of a residual network too, whose
    rounding adds up from block to block.
    """
    came = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}
    }
    takes_steps = {*QUANTISED, "QuantizeLinear", "DequantizeLinear"}
    for node in model.graph.node:
        if node.op_type not in takes_steps or node.name in kept:
            for number, name in enumerate(node.input):
                node.input[number] = came.get(came.get(name, ""), name)


def _as_raw_bytes(model: ModelProto) -> None:
    """Store all weights alike, in the form that serving derives the other precisions from."""
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))


def shifted(model: ModelProto, by: NDArray[np.float32]) -> ModelProto:
    """A copy whose last dense layer adds `by`, (classes,) float32, to its logits."""
    copy = ModelProto()
    copy.CopyFrom(model)
    last = [node for node in copy.graph.node if node.op_type == "Gemm"][-1]
    bias = next(i for i in copy.graph.initializer if i.name == last.input[2])
    values = numpy_helper.to_array(bias) + by.astype(np.float32)
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    return copy


class _OneTile(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not annotated
    """What onnxruntime asks to run, though every range is told to it."""

    def __init__(self, tile: NDArray[np.uint8]) -> None:
        self._left: list[NDArray[np.uint8]] = [tile]

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return {INPUT: self._left.pop()} if self._left else None


def to_int8(
    model: ModelProto,
    tiles: NDArray[np.uint8],
    *,
    kept: tuple[str, ...] = (),
) -> ModelProto:
    """A copy with signed Q/DQ pairs: zero-point 0, weights per channel, biases in fp32.

    Weights take seven of the eight bits, see `WEIGHT_STEPS`.

    Args:
        model: fp32.
        tiles: (N, H, W, 3) uint8 BGR training tiles of all labels alike, which set the ranges.
        kept: Names of nodes that stay in fp32.
    """
    told = {
        name: [{"quant_type": QuantType.QInt8, "rmin": np.float32(-r), "rmax": np.float32(r)}]
        for name, r in ranges(model, tiles).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(source))
        quantize_static(
            str(source),
            str(target),
            _OneTile(tiles[:1]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=list(kept),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": list(QUANTISED),
                "TensorQuantOverrides": told,
            },
        )
        quantised = onnx.load(str(target))
    _rounded_for_layers_alone(quantised, kept)
    _input_cast_first(quantised)
    _pixels_exactly(quantised)
    _as_raw_bytes(quantised)
    onnx.checker.check_model(quantised, full_check=True)
    return quantised
