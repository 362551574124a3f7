"""What int8 will do to a network's layers, done to their inputs while the network is fitted.

Fitted with inputs that are clipped and rounded already, a network learns weights that do without
what they lose by it (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018). The steps are those of the signed file; OpenVINO is
given finer ones (`inspector/engine/unsigned.py`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

HELD_WHOLE = 0.85
"""Share of the tiles that do not reach beyond what counts as the largest value."""
KEPT = {"SimpleNet": slice(1, 2), "InceptionResNetV2": slice(1, 3)}
"""Convolutions that stay in fp32: those at full resolution which do not see the pixels themselves.

They see the faintest traces: in int8 they lose them.
"""

_STEPS = 127


def round_inputs(network: nn.Module, architecture: str) -> None:
    """Let the layers of a network, while it is in training, take their inputs as int8 holds them.

    Pixels and the layers of `KEPT` are spared. What a range holds is taken from each batch, as the
    export takes it from its tiles: nothing is to be kept with the weights, and asked, the network
    answers as before.

    Args:
        network: Changed in place.
        architecture: Of the network.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    spared = [layers[0], *layers[KEPT[architecture]]]
    taken: dict[int, tuple[Tensor, Tensor]] = {}
    """Inputs of this batch and what became of them: branches take the same one."""

    def take(layer: nn.Module, came: tuple[Tensor]) -> tuple[Tensor] | None:
        del layer
        if not network.training:
            return None
        (values,) = came
        if id(values) not in taken:
            taken[id(values)] = values, rounded(values)
        return (taken[id(values)][1],)

    for layer in layers:
        if layer not in spared:
            layer.register_forward_pre_hook(take)
    network.register_forward_hook(lambda *_: taken.clear())


def rounded(values: Tensor) -> Tensor:
    """Values clipped to a range and rounded to its 127 steps; the gradient passes within it.

    Args:
        values: (N, ...) of N tiles.
    """
    with torch.no_grad():
        largest = values.abs().amax(dim=tuple(range(1, values.dim()))).float()
        reach = float(largest.quantile(HELD_WHOLE))
    if reach <= torch.finfo(torch.float32).tiny:
        return values
    held = functional.hardtanh(values, -reach, reach)
    step = reach / _STEPS
    return held + ((held / step).round() * step - held).detach()
