"""The int8 file as OpenVINO computes it best: what layers take that is never negative, in uint8.

An engine's int8 file is signed throughout, as TensorRT wants it, so that behind a ReLU half of the
256 steps are never used. OpenVINO takes both kinds. With unsigned steps, half as wide over the same
range, it rounds less; and it computes what the file says, which of signed ones it does not:
of inceptionresnetv2 they moved the probabilities by 0.014 on average, unsigned ones by
0.00003 (docs/training-results.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inspector.engine.graph import (
    FLOAT,
    INT8,
    UINT8,
    Graph,
    Node,
    Tensor,
    read_graph,
    tensor,
    write_graph,
)

_SIGNED_STEPS, _UNSIGNED_STEPS = 127, 255
_NEVER_NEGATIVE = frozenset({"Relu", "Sigmoid", "Softmax"})
_AS_WHAT_COMES = frozenset(
    {
        "AveragePool", "Concat", "DequantizeLinear", "Flatten", "GlobalAveragePool", "Identity",
        "MaxPool", "QuantizeLinear", "ReduceMean", "Reshape",
    }
)  # fmt: skip
"""Operators whose first output is never negative where what comes in is not."""


def unsigned(int8: bytes) -> bytes:
    """The file with unsigned steps wherever nothing negative can come. Pure.

    Args:
        int8: an ONNX file; quantisers that are not signed around 0 are left as they are.

    Raises:
        ValueError: not an ONNX file.
    """
    graph = read_graph(int8)
    positive: set[str] = set()
    steps: dict[str, tuple[str, str]] = {}
    """By what a quantiser gives, the names of its new scale and zero-point."""
    tensors = list(graph.tensors.values())
    nodes = []
    for node in graph.nodes:
        if _is_positive(node, positive, graph):
            positive.update(node.outputs)
        inputs = node.inputs
        if node.kind == "QuantizeLinear" and inputs[0] in positive and _is_signed(node, graph):
            scale, zero = (f"{name}_of_{node.outputs[0]}" for name in inputs[1:3])
            signed = graph.tensors[inputs[1]].values()
            tensors.append(tensor(scale, FLOAT, signed * (_SIGNED_STEPS / _UNSIGNED_STEPS)))
            tensors.append(tensor(zero, UINT8, np.zeros(signed.shape)))
            steps[node.outputs[0]] = scale, zero
            inputs = inputs[0], scale, zero
        elif node.kind == "DequantizeLinear" and inputs[0] in steps:
            inputs = inputs[0], *steps[inputs[0]]
        nodes.append(replace(node, inputs=inputs))
    return write_graph(graph.of(nodes, tensors)) if steps else int8


def _is_signed(quantiser: Node, graph: Graph) -> bool:
    """Whether scale and zero-point lie in the file, and the zero-point is 0 of int8."""
    match [graph.tensors.get(name) for name in quantiser.inputs[1:]]:
        case [Tensor(), Tensor() as zero]:
            return zero.kind == INT8 and not zero.values().any()
    return False


def _is_positive(node: Node, positive: set[str], graph: Graph) -> bool:
    if node.kind == "Clip":
        least = graph.tensors.get(node.inputs[1]) if len(node.inputs) > 1 else None
        return least is not None and bool((least.values() >= 0).all())
    if node.kind == "Concat":
        return set(node.inputs) <= positive
    return node.kind in _NEVER_NEGATIVE or (
        node.kind in _AS_WHAT_COMES and node.inputs[0] in positive
    )
