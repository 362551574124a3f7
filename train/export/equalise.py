"""Channels brought to like ranges before quantisation, without changing what the network computes.

A ReLU and a maximum pool let a positive factor pass. So a channel may be divided by a factor in
one layer and multiplied by it in the next (Nagel et al., "Data-free quantization through weight
equalization and bias correction", ICCV 2019). In int8 all channels of a layer share one scale:
without this, the faint channels that carry fine noise drown in the rounding of the strong ones.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.models.folding import folded
from train.models.simplenet import DenseHead, SimpleNet
from train.pixels import to_input

DEFAULT_STRENGTH = 0.75
_LEAST = 1e-6
_BATCH = 8


def equalised(
    network: SimpleNet, tiles: NDArray[np.uint8], strength: float = DEFAULT_STRENGTH
) -> SimpleNet:
    """A folded copy with like channel ranges, which answers as the network does.

    Args:
        network: With the dense head.
        tiles: (N, H, W, 3) uint8 BGR whose activations give the ranges.
        strength: 0 leaves the channels as they are, 1 makes all ranges equal.
    """
    folded_network = folded(network)
    if not isinstance(folded_network, SimpleNet) or not isinstance(network.head, DenseHead):
        raise TypeError("only SimpleNet with its dense head can be equalised")
    even = copy.deepcopy(folded_network)
    layers = _layers(even)
    for index, peak in enumerate(_peaks(even, tiles)):
        factor = _factor(peak, strength)
        _divide(layers[index], factor)
        _multiply(layers[index + 1], factor)
    return even


def _layers(network: SimpleNet) -> list[nn.Conv2d | nn.Linear]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@torch.no_grad()
def _peaks(network: SimpleNet, tiles: NDArray[np.uint8]) -> list[Tensor]:
    """Largest activation of every channel of every layer but the last."""
    seen: dict[int, Tensor] = {}
    layers = _layers(network)

    def watch(index: int, output: Tensor) -> None:
        peak = output.relu().transpose(0, 1).flatten(1).amax(dim=1)
        seen[index] = torch.maximum(seen[index], peak) if index in seen else peak

    hooks = [
        layer.register_forward_hook(lambda _m, _i, output, index=index: watch(index, output))
        for index, layer in enumerate(layers[:-1])
    ]
    for start in range(0, len(tiles), _BATCH):
        network(to_input(torch.from_numpy(tiles[start : start + _BATCH])))
    for hook in hooks:
        hook.remove()
    return [seen[index] for index in range(len(layers) - 1)]


def _factor(peak: Tensor, strength: float) -> Tensor:
    alive = peak > _LEAST
    factor = torch.where(alive, peak.clamp(min=_LEAST), torch.ones_like(peak)) ** strength
    middle = factor[alive].log().mean().exp() if alive.any() else torch.tensor(1.0)
    return torch.where(alive, factor / middle, torch.ones_like(peak))


@torch.no_grad()
def _divide(layer: nn.Conv2d | nn.Linear, factor: Tensor) -> None:
    layer.weight.div_(factor.view(-1, *[1] * (layer.weight.dim() - 1)))
    if layer.bias is not None:
        layer.bias.div_(factor)


@torch.no_grad()
def _multiply(layer: nn.Conv2d | nn.Linear, factor: Tensor) -> None:
    places = layer.weight.shape[1] // len(factor)
    spread = factor.repeat_interleave(places)
    layer.weight.mul_(spread.view(1, -1, *[1] * (layer.weight.dim() - 2)))
