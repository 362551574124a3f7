"""Weights on the steps that int8 has, before anything is measured.

An engine that ships its int8 file alone derives the other precisions from it, so that in these too
the weights are int8's: with them the temperature, the thresholds and the figures are to be set.
"""

import torch
from torch import Tensor, nn

from train.export.precision import WEIGHT_STEPS
from train.models.folding import folded


def rounded(network: nn.Module) -> nn.Module:
    """A folded copy whose weights are the nearest of 129 even steps of their output channel."""
    network = folded(network)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            with torch.no_grad():
                module.weight.copy_(_rounded(module.weight))
    return network


def _rounded(weight: Tensor) -> Tensor:
    """(D, ...) weights of D output channels, each with a scale of its own."""
    scale = weight.flatten(1).abs().amax(dim=1) / WEIGHT_STEPS
    scale = torch.where(scale > 0, scale, 1).view(-1, *[1] * (weight.dim() - 1))
    return (weight / scale).round() * scale
