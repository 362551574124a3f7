"""Each architecture as int8: what stays in fp32, what is corrected."""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from train.export.precision import shifted, to_int8
from train.models.int8 import KEPT
from train.predict import by_openvino

_LEAST_P = 1e-6


def int8_of(
    architecture: str, model: ModelProto, tiles: NDArray[np.uint8], temperature: float
) -> ModelProto:
    """The int8 file of a network, the bias of its logits corrected.

    What rounding shifts the answers by on average over the tiles is taken off the last layer (Nagel
    et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019).

    Args:
        architecture: Of the network.
        model: Its fp32 file.
        tiles: (N, H, W, 3) uint8 BGR training tiles of all labels alike.
        temperature: What the file divides its logits by.
    """
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    kept = tuple(convolutions[KEPT[architecture]])
    int8 = to_int8(model, tiles, kept=kept)
    exact, rounded_off = (
        np.log(np.clip(by_openvino(m)(tiles), _LEAST_P, 1)) for m in (model, int8)
    )
    gap = (exact - rounded_off).mean(axis=0)
    return shifted(int8, temperature * (gap - gap.mean()))
