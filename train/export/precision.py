"""The same network in fp16 and int8, precision written into the file.

TensorRT 11 knows only strongly typed networks, so the precision lies in the file and not in a
builder's flag. Normalisation before the first convolution and the softmax after the last dense
layer stay in fp32 in both; input and output are the same in every file.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from train.export.graph import INPUT

_CALIBRATION_BATCH = 8
_PIXEL_STEP_CLOSE = 0.02


def body_of(model: ModelProto) -> tuple[int, int]:
    """First and last node, both included, of the layers with weights."""
    heavy = [
        index
        for index, node in enumerate(model.graph.node)
        if node.op_type in {"Conv", "Gemm", "MatMul"}
    ]
    if not heavy:
        raise ValueError("the graph has no convolution and no dense layer")
    return heavy[0], heavy[-1]


def to_fp16(model: ModelProto) -> ModelProto:
    """A copy whose layers with weights, and all between them, compute in fp16."""
    half = ModelProto()
    half.CopyFrom(model)
    first, last = body_of(half)
    nodes = list(half.graph.node)
    body = nodes[first : last + 1]
    made = {name for node in body for name in node.output}
    weights = {i.name: i for i in half.graph.initializer}
    for node in body:
        for name in node.input:
            if name in weights and weights[name].data_type == TensorProto.FLOAT:
                values = numpy_helper.to_array(weights[name]).astype(np.float16)
                weights[name].CopyFrom(numpy_helper.from_array(values, name))
    entering = {n for node in body for n in node.input if n and n not in made and n not in weights}
    leaving = {n for node in nodes[last + 1 :] for n in node.input if n in made}
    for node in body:
        _rename(node, {name: f"{name}_half" for name in entering | leaving})
    before = [_cast(name, f"{name}_half", TensorProto.FLOAT16) for name in sorted(entering)]
    after = [_cast(f"{name}_half", name, TensorProto.FLOAT) for name in sorted(leaving)]
    del half.graph.node[:], half.graph.value_info[:]
    half.graph.node.extend(nodes[:first] + before + body + after + nodes[last + 1 :])
    onnx.checker.check_model(half, full_check=True)
    return half


def _rename(node: NodeProto, names: dict[str, str]) -> None:
    for side in (node.input, node.output):
        for index, name in enumerate(side):
            side[index] = names.get(name, name)


def _cast(source: str, target: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=to)


def _input_cast_first(model: ModelProto) -> None:
    """Put the cast of the input back in front of the weights' own nodes."""
    nodes = sorted(model.graph.node, key=lambda node: INPUT not in node.input)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _pixels_exactly(model: ModelProto) -> None:
    """Give the first quantiser the pixels' own step, where its range is that of the pixels.

    What enters it is (code - 128) / 255: at a step of 1/255 int8 holds every code exactly.
    """
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    for tensor in model.graph.initializer:
        if tensor.name == first.input[1]:
            step = numpy_helper.to_array(tensor)
            if step.ndim == 0 and abs(float(step) * 255 - 1) < _PIXEL_STEP_CLOSE:
                exact = np.array(1 / 255, dtype=np.float32)
                tensor.CopyFrom(numpy_helper.from_array(exact, tensor.name))


class _Tiles(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not annotated
    """Hands the calibration tiles out in small batches."""

    def __init__(self, tiles: NDArray[np.uint8]) -> None:
        self._batches = self._cut(tiles)

    @staticmethod
    def _cut(tiles: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(tiles), _CALIBRATION_BATCH):
            yield tiles[start : start + _CALIBRATION_BATCH]

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def to_int8(
    model: ModelProto, tiles: NDArray[np.uint8], *, kept: tuple[str, ...] = ()
) -> ModelProto:
    """A copy with signed Q/DQ pairs: zero-point 0, weights per channel, biases in fp32.

    Args:
        model: fp32.
        tiles: (N, H, W, 3) uint8 BGR training tiles whose activations set the ranges.
        kept: Names of nodes that stay in fp32.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(source))
        quantize_static(
            str(source),
            str(target),
            _Tiles(tiles),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            nodes_to_exclude=list(kept),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv", "Gemm", "MatMul"],
            },
        )
        quantised = onnx.load(str(target))
    _input_cast_first(quantised)
    _pixels_exactly(quantised)
    onnx.checker.check_model(quantised, full_check=True)
    return quantised
