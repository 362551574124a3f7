"""SimpleNet back from its exported file: the weights of an engine, to be tuned further."""

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from train.errors import WeightsError
from train.models.simplenet import SimpleNet


def simplenet_from(model: ModelProto, classes: int) -> tuple[SimpleNet, float]:
    """The network inside an exported fp32 file, and the temperature its logits are divided by.

    Raises:
        WeightsError: The file does not hold SimpleNet with that many outputs.
    """
    network = SimpleNet(classes, head="dense", normalised=False)
    stored = [
        values
        for node in model.graph.node
        if node.op_type in {"Conv", "Gemm"}
        for values in _weights(model, list(node.input[1:]))
    ]
    own = network.state_dict()
    if len(stored) != len(own):
        raise WeightsError(f"the file holds {len(stored)} weight arrays, SimpleNet has {len(own)}")
    for (name, value), array in zip(own.items(), stored, strict=True):
        if tuple(value.shape) != array.shape:
            raise WeightsError(
                f"{name} has shape {array.shape} in the file, but {tuple(value.shape)} is wanted"
            )
        own[name] = torch.from_numpy(array.copy())
    network.load_state_dict(own)
    return network.eval(), _temperature(model)


def _weights(model: ModelProto, names: list[str]) -> list[NDArray[np.float32]]:
    by_name = {tensor.name: tensor for tensor in model.graph.initializer}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise WeightsError(f"the file has no weights {', '.join(missing)}: is it the fp32 file?")
    return [numpy_helper.to_array(by_name[name]) for name in names]


def _temperature(model: ModelProto) -> float:
    by_name = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Div" and node.input[1] in by_name:
            return float(numpy_helper.to_array(by_name[node.input[1]]).ravel()[0])
    return 1.0
