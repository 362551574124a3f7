"""How far the inputs of int8's layers reach, from training tiles.

The largest value that any tile gives is no measure: the garbage of a broken stream or extreme noise
reaches hundreds of times as far as all else in a deep network, and a step that holds it rounds
everything else to nothing. So each tile gives its own largest value, and what most tiles reach is
taken: the few values beyond it are clipped, and the step is finer for all others. Pixels are held
whole, each code exactly.
"""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from train.export.graph import INPUT
from train.models.int8 import HELD_WHOLE
from train.predict import quiet_session

QUANTISED = ("Conv", "Gemm", "MatMul")
"""Operators whose inputs are quantised."""

_BATCH = 4


def ranges(model: ModelProto, tiles: NDArray[np.uint8]) -> dict[str, float]:
    """The range of every input that a layer with weights takes.

    Args:
        model: fp32, of opset 17 or less.
        tiles: (N, H, W, 3) uint8 BGR training tiles of all labels alike.

    Returns:
        By tensor name, the r of the range [-r, r]; above 0.
    """
    inputs = list(dict.fromkeys(n.input[0] for n in model.graph.node if n.op_type in QUANTISED))
    session = quiet_session(_asking_for_the_largest(model, inputs))
    parts = [
        np.stack(session.run(None, {INPUT: tiles[start : start + _BATCH]}), axis=1)
        for start in range(0, len(tiles), _BATCH)
    ]
    largest = np.concatenate(parts)
    reached = np.quantile(largest, HELD_WHOLE, axis=0)
    reached[0] = largest[:, 0].max()
    least = float(np.finfo(np.float32).tiny)
    return {name: max(float(r), least) for name, r in zip(inputs, reached, strict=True)}


def _asking_for_the_largest(model: ModelProto, inputs: list[str]) -> ModelProto:
    """A copy whose outputs are, for each of `inputs`, (N,) the largest magnitude in each tile."""
    asking = ModelProto()
    asking.CopyFrom(model)
    del asking.graph.output[:]
    for number, name in enumerate(inputs):
        absolute, flat, largest = (f"{what}_{number}" for what in ("absolute", "flat", "largest"))
        asking.graph.node.extend(
            [
                helper.make_node("Abs", [name], [absolute]),
                helper.make_node("Flatten", [absolute], [flat], axis=1),
                helper.make_node("ReduceMax", [flat], [largest], axes=[1], keepdims=0),
            ]
        )
        value = helper.make_tensor_value_info(largest, TensorProto.FLOAT, ["N"])
        asking.graph.output.append(value)
    return asking
