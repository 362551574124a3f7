"""The network as ONNX, with everything inside that a runtime could do differently.

In: `image`, uint8, (N, H, W, 3), BGR. Out: `probabilities`, float32, (N, C), a softmax at the
calibrated temperature. The first node is the cast of the input, since TensorRT takes uint8 no
other way.
"""

import io
from typing import Any

import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn

from train.models.folding import folded

INPUT = "image"
OUTPUT = "probabilities"
OPSET = 17
BATCH = "N"


class Whole(nn.Module):
    """A network with its pre-processing before it and its softmax after it."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        """Keep the network, folded."""
        super().__init__()
        self.network = folded(network)
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 BGR to (N, C) probabilities."""
        planes = image.float().permute(0, 3, 1, 2)
        rgb = planes[:, [2, 1, 0]]
        return torch.softmax(self.network(rgb * (1 / 255)) / self.temperature, dim=1)


def to_onnx(network: nn.Module, side: int, temperature: float = 1.0) -> ModelProto:
    """Export a fitted network.

    Args:
        network: Takes (N, 3, H, W) RGB in [0, 1], gives logits.
        side: Height and width of its input in pixels.
        temperature: What the logits are divided by.

    Returns:
        A checked fp32 model.
    """
    whole = Whole(network.to("cpu"), temperature).eval()
    stream = io.BytesIO()
    options: dict[str, Any] = {
        "input_names": [INPUT],
        "output_names": [OUTPUT],
        "dynamic_axes": {INPUT: {0: BATCH}, OUTPUT: {0: BATCH}},
        "opset_version": OPSET,
        "dynamo": False,
    }
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    torch.onnx.export(whole, (example,), stream, **options)
    model = onnx.load_from_string(stream.getvalue())
    model.producer_name, model.producer_version = "inspector", ""
    for node in model.graph.node:
        node.ClearField("doc_string")
    _constants_to_initializers(model)
    _without_identities(model)
    onnx.checker.check_model(model, full_check=True)
    if model.graph.node[0].op_type != "Cast":
        raise RuntimeError(f"the first node is {model.graph.node[0].op_type}, not Cast")
    return model


def _constants_to_initializers(model: ModelProto) -> None:
    """Turn constant nodes into initializers, which every runtime folds alike."""
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _without_identities(model: ModelProto) -> None:
    """Let weights that are equal, which the exporter stores once, be read without an Identity."""
    kept, stands_for = [], {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = stands_for.get(name, name)
        if node.op_type == "Identity":
            stands_for[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
