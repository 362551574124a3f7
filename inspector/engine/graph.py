"""The graph of an ONNX file: its nodes and weights, read, changed and written again.

It knows the fields that a change of precision touches, and carries all others along. Field numbers
are those of ONNX's onnx.proto, which never change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.engine.protobuf import (
    LENGTH,
    VARINT,
    Field,
    coded,
    decoded,
    message_field,
    text_field,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_VALUE_INFO = 1, 5, 13
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_KIND, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INTEGER, _ATTRIBUTE_TYPE = 1, 3, 20
_TENSOR_DIM, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_INTEGER = 2
"""`AttributeProto.INT`."""

FLOAT, UINT8, INT8, FLOAT16 = 1, 2, 3, 10
"""`TensorProto.DataType`."""

_DTYPES: dict[int, np.dtype[Any]] = {
    FLOAT: np.dtype("<f4"),
    UINT8: np.dtype("u1"),
    INT8: np.dtype("i1"),
    FLOAT16: np.dtype("<f2"),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A weight; its values stay where they lie in the file until they are asked for."""

    name: str
    kind: int
    fields: tuple[Field, ...]

    def values(self) -> NDArray[Any]:
        """The values, read-only.

        Raises:
            ValueError: another type than float32, float16 and int8, or not stored as raw bytes.
        """
        raw = [field for field in self.fields if field.number == _TENSOR_RAW]
        if self.kind not in _DTYPES or len(raw) != 1:
            msg = f"{self.name} has type {self.kind} in {len(raw)} raw parts, expected floats in 1"
            raise ValueError(msg)
        shape = [field.integer() for field in self.fields if field.number == _TENSOR_DIM]
        return np.frombuffer(raw[0].data(), dtype=_DTYPES[self.kind]).reshape(shape)


def tensor(name: str, kind: int, values: NDArray[Any]) -> Tensor:
    """A weight of `kind` with these values, which are cast to it."""
    stored = np.asarray(values, dtype=_DTYPES[kind], order="C")
    fields = [Field(_TENSOR_DIM, VARINT, size) for size in stored.shape]
    fields.append(Field(_TENSOR_TYPE, VARINT, kind))
    fields.append(text_field(_TENSOR_NAME, name))
    fields.append(Field(_TENSOR_RAW, LENGTH, (stored.reshape(-1).view(np.uint8).data,)))
    return Tensor(name, kind, tuple(fields))


@dataclass(frozen=True, slots=True)
class Node:
    """An operation: names of what goes in and comes out; `rest` is name and attributes, as read."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rest: tuple[Field, ...] = ()

    def integer(self, attribute: str, default: int) -> int:
        """An attribute that is a number from 0 on, or its default."""
        for field in self.rest:
            if field.number == _NODE_ATTRIBUTE:
                parts = {part.number: part for part in decoded(field.data())}
                if parts[_ATTRIBUTE_NAME].text() == attribute:
                    return parts[_ATTRIBUTE_INTEGER].integer()
        return default


def cast_node(source: str, target: str, kind: int) -> Node:
    """A node that casts `source` to another type of numbers, as `target`."""
    attribute = [
        text_field(_ATTRIBUTE_NAME, "to"),
        Field(_ATTRIBUTE_INTEGER, VARINT, kind),
        Field(_ATTRIBUTE_TYPE, VARINT, _INTEGER),
    ]
    name = text_field(_NODE_NAME, f"cast_{target}")
    return Node("Cast", (source,), (target,), (name, message_field(_NODE_ATTRIBUTE, attribute)))


@dataclass(frozen=True, slots=True)
class Graph:
    """A model: nodes in the order in which they are computed, weights by name, and the rest."""

    nodes: tuple[Node, ...]
    tensors: dict[str, Tensor]
    rest: tuple[Field, ...]
    model: tuple[Field, ...]

    def of(self, nodes: Sequence[Node], tensors: Sequence[Tensor]) -> Graph:
        """The same model with other nodes, and those of these weights that the nodes use."""
        used = {name for node in nodes for name in node.inputs}
        kept = {one.name: one for one in tensors if one.name in used}
        return replace(self, nodes=tuple(nodes), tensors=kept)


def read_graph(data: bytes) -> Graph:
    """Read an ONNX file; shapes noted of values within the graph are left out.

    Raises:
        ValueError: not an ONNX file, or a damaged one.
    """
    model = decoded(data)
    graphs = [field for field in model if field.number == _MODEL_GRAPH]
    if len(graphs) != 1:
        msg = f"{len(graphs)} graphs in the file, expected one: is it an ONNX file?"
        raise ValueError(msg)
    fields = decoded(graphs[0].data())
    known = {_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_VALUE_INFO}
    tensors = [_tensor(f.data()) for f in fields if f.number == _GRAPH_TENSOR]
    return Graph(
        nodes=tuple(_node(f.data()) for f in fields if f.number == _GRAPH_NODE),
        tensors={one.name: one for one in tensors},
        rest=tuple(field for field in fields if field.number not in known),
        model=tuple(field for field in model if field.number != _MODEL_GRAPH),
    )


def write_graph(graph: Graph) -> bytes:
    """The ONNX file of a graph: the same bytes for the same graph, everywhere."""
    fields = [message_field(_GRAPH_NODE, _node_fields(node)) for node in graph.nodes]
    fields += [message_field(_GRAPH_TENSOR, one.fields) for one in graph.tensors.values()]
    model = [*graph.model, message_field(_MODEL_GRAPH, _ordered([*fields, *graph.rest]))]
    return b"".join(coded(_ordered(model)))


def _ordered(fields: list[Field]) -> list[Field]:
    return sorted(fields, key=lambda field: field.number)


def _tensor(data: memoryview) -> Tensor:
    fields = decoded(data)
    single = {field.number: field for field in fields}
    try:
        name, kind = single[_TENSOR_NAME].text(), single[_TENSOR_TYPE].integer()
    except KeyError as error:
        msg = f"a weight without field {error}"
        raise ValueError(msg) from error
    return Tensor(name, kind, tuple(fields))


def _node(data: memoryview) -> Node:
    fields = decoded(data)
    known = {_NODE_INPUT, _NODE_OUTPUT, _NODE_KIND}
    kinds = [field.text() for field in fields if field.number == _NODE_KIND]
    if len(kinds) != 1:
        msg = f"a node with {len(kinds)} kinds, expected one"
        raise ValueError(msg)
    return Node(
        kind=kinds[0],
        inputs=tuple(field.text() for field in fields if field.number == _NODE_INPUT),
        outputs=tuple(field.text() for field in fields if field.number == _NODE_OUTPUT),
        rest=tuple(field for field in fields if field.number not in known),
    )


def _node_fields(node: Node) -> list[Field]:
    return _ordered(
        [text_field(_NODE_INPUT, name) for name in node.inputs]
        + [text_field(_NODE_OUTPUT, name) for name in node.outputs]
        + [text_field(_NODE_KIND, node.kind), *node.rest]
    )
