"""Networks back from their exported files: the weights of an engine, to be tuned further."""

import torch
from onnx import ModelProto, numpy_helper
from torch import nn

from train.errors import WeightsError
from train.models import build
from train.models.folding import folded

_PREFIX = "network."
"""Of the parameters' names in a file, which are those of `train.export.graph.Whole`."""
_OF_INT8 = "_DequantizeLinear_Output"
"""What the quantiser puts behind the name of a weight that it rounded."""


def network_from(model: ModelProto, architecture: str, classes: int) -> nn.Module:
    """The folded network inside an exported fp32 file, in evaluation mode.

    Bounds that the export gave to the activations of a deep network are left out.

    Raises:
        WeightsError: The file does not hold that architecture with that many outputs.
    """
    network = folded(build(architecture, classes))
    stored = {tensor.name.removesuffix(_OF_INT8): tensor for tensor in model.graph.initializer}
    own = network.state_dict()
    for name, value in own.items():
        tensor = stored.get(_PREFIX + name)
        if tensor is None:
            raise WeightsError(
                f"the file has no {name}, expected {architecture} in fp32 with {name} of shape"
                f" {tuple(value.shape)}"
            )
        if tuple(value.shape) != tuple(tensor.dims):
            raise WeightsError(
                f"{name} has shape {tuple(tensor.dims)} in the file, but {tuple(value.shape)} is"
                " wanted"
            )
        own[name] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    network.load_state_dict(own)
    return network


def temperature_of(model: ModelProto) -> float:
    """What the logits inside an exported fp32 file are divided by."""
    by_name = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Div" and node.input[1] in by_name:
            return float(numpy_helper.to_array(by_name[node.input[1]]).ravel()[0])
    return 1.0
