"""Activations of a deep network held to what most tiles reach.

A batch normalisation divides by what its training batches spread on average. The strongest noise
spreads far more than that, and what one layer lets through too large, the next lets through larger:
after some two hundred layers the values are thousands of times the usual and mean nothing. Bounded,
they keep their place among the others: InceptionResNetV2 named 63 % of noisy frames before, 97 %
after, and the others as before (docs/training-results.md). It also keeps fp16 from overflowing.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from train.models.folding import folded
from train.models.int8 import HELD_WHOLE
from train.pixels import to_input

_BATCH = 8


def bounded(network: nn.Module, tiles: NDArray[np.uint8]) -> nn.Module:
    """A folded copy in which no ReLU lets through more than most tiles give.

    Args:
        network: Takes (N, 3, H, W) RGB in [0, 1].
        tiles: (N, H, W, 3) uint8 BGR training tiles of all labels alike.

    Returns:
        The copy, each `ReLU` exchanged for a clip to [0, c], c the largest value in all but
        `1 - HELD_WHOLE` of the tiles.
    """
    network = folded(network)
    largest: dict[str, list[torch.Tensor]] = {}
    hooks = [
        module.register_forward_hook(_noting(largest.setdefault(name, [])))
        for name, module in network.named_modules()
        if isinstance(module, nn.ReLU)
    ]
    with torch.no_grad():
        for start in range(0, len(tiles), _BATCH):
            network(to_input(torch.from_numpy(tiles[start : start + _BATCH])))
    for hook in hooks:
        hook.remove()
    for name, noted in largest.items():
        reached = float(torch.cat(noted).quantile(HELD_WHOLE))
        parent, _, own = name.rpartition(".")
        bound = nn.Hardtanh(0.0, max(reached, torch.finfo(torch.float32).tiny))
        setattr(network.get_submodule(parent), own, bound)
    return network


def _noting(largest: list[torch.Tensor]) -> Callable[..., None]:
    def note(module: nn.Module, came: tuple[torch.Tensor, ...], gave: torch.Tensor) -> None:
        del module, came
        largest.append(gave.flatten(1).amax(dim=1))

    return note
