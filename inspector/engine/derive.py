"""The fp32 and fp16 files of an engine that carries its int8 file alone.

The int8 file holds everything: weights as int8 with a scale for each channel, biases in fp32, and
the ranges of the activations. Without the quantisers of the activations it is the fp32 network
whose weights are those same steps; that is the network that was measured and whose answers are
the golden ones. Each product of a weight's step and its scale is one rounding that IEEE 754 fixes,
so that every machine derives the same bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from inspector.engine.graph import (
    FLOAT,
    FLOAT16,
    Graph,
    Node,
    Tensor,
    cast_node,
    read_graph,
    tensor,
    write_graph,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Derived = Literal["fp32", "fp16"]

_HEAVY = frozenset({"Conv", "Gemm", "MatMul"})


def derived(int8: bytes, precision: Derived) -> bytes:
    """The file of another precision, from the int8 file. Pure; takes a second for 50 MB.

    Args:
        int8: an ONNX file with signed Q/DQ pairs, its weights stored as raw bytes.
        precision: of the file that is wanted.

    Raises:
        ValueError: not such a file.
    """
    graph = _unquantised(read_graph(int8))
    return write_graph(graph if precision == "fp32" else _halved(graph))


def halved(fp32: bytes) -> bytes:
    """The fp16 file from the fp32 file: the layers with weights, and all between them, in fp16.

    What comes before the first of them and after the last stays in fp32.

    Raises:
        ValueError: not an ONNX file, or one without a layer that has weights.
    """
    return write_graph(_halved(read_graph(fp32)))


def _unquantised(graph: Graph) -> Graph:
    """Weights as the products of step and scale, activations as they come."""
    stands_for: dict[str, str] = {}
    nodes: list[Node] = []
    tensors = list(graph.tensors.values())
    for node in graph.nodes:
        inputs = tuple(stands_for.get(name, name) for name in node.inputs)
        if node.kind == "DequantizeLinear" and inputs[0] in graph.tensors:
            tensors.append(_dequantised(node, graph.tensors))
        elif node.kind in {"QuantizeLinear", "DequantizeLinear"}:
            stands_for[node.outputs[0]] = inputs[0]
        else:
            nodes.append(replace(node, inputs=inputs))
    return graph.of(nodes, tensors)


def _dequantised(node: Node, tensors: Mapping[str, Tensor]) -> Tensor:
    steps, scale, zero = (tensors[name].values() for name in node.inputs)
    if zero.any():
        msg = f"{node.inputs[0]} has zero-points other than 0"
        raise ValueError(msg)
    shape = [1] * steps.ndim
    if scale.ndim:
        shape[node.integer("axis", default=1)] = len(scale)
    return tensor(node.outputs[0], FLOAT, steps.astype(np.float32) * scale.reshape(shape))


def _halved(graph: Graph) -> Graph:
    heavy = [index for index, node in enumerate(graph.nodes) if node.kind in _HEAVY]
    if not heavy:
        msg = "the graph has no convolution and no dense layer"
        raise ValueError(msg)
    first, end = heavy[0], heavy[-1] + 1
    before, body, after = graph.nodes[:first], graph.nodes[first:end], graph.nodes[end:]
    made = {name for node in body for name in node.outputs}
    read = {name for node in body for name in node.inputs if name}
    weights = {name for name in read & graph.tensors.keys() if graph.tensors[name].kind == FLOAT}
    entering = read - made - graph.tensors.keys()
    leaving = made & {name for node in after for name in node.inputs}
    half = {name: f"{name}_half" for name in weights | entering | leaving}
    tensors = list(graph.tensors.values()) + [
        tensor(half[one.name], FLOAT16, one.values())
        for one in graph.tensors.values()
        if one.name in weights
    ]
    nodes = (
        *before,
        *(cast_node(name, half[name], FLOAT16) for name in sorted(entering)),
        *(_renamed(node, half) for node in body),
        *(cast_node(half[name], name, FLOAT) for name in sorted(leaving)),
        *after,
    )
    return graph.of(nodes, tensors)


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    return replace(
        node,
        inputs=tuple(names.get(name, name) for name in node.inputs),
        outputs=tuple(names.get(name, name) for name in node.outputs),
    )
