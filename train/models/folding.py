"""Batch normalisation folded into the convolution before it.

At inference a batch normalisation is y = g (x - m) / sqrt(v + e) + b, with the running mean m and
variance v: an affine map of each channel, which the convolution before it can carry itself
(Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", CVPR 2018, section 3.2).
"""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, float32, without batch normalisation after convolutions.

    Works on every `nn.Sequential` in which a convolution comes right before a normalisation.
    The argument is not changed.
    """
    network = copy.deepcopy(network).eval().float()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            _fold_sequence(module)
    return network


def _fold_sequence(sequence: nn.Sequential) -> None:
    layers = list(sequence)
    kept: list[nn.Module] = []
    for layer in layers:
        before = kept[-1] if kept else None
        if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            with torch.no_grad():
                kept[-1] = fuse_conv_bn_eval(before, layer)
        else:
            kept.append(layer)
    if len(kept) < len(layers):
        for _ in range(len(layers)):
            del sequence[0]
        sequence.extend(kept)
