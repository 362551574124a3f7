"""Batch normalisation folded into the convolution before it, and put back to fit on.

At inference a batch normalisation is y = g (x - m) / sqrt(v + e) + b, with the running mean m and
variance v: an affine map of each channel, which the convolution before it can carry itself
(Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", CVPR 2018, section 3.2).
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from train.models.simplenet import ZERO, ConvolutionBlock, DenseHead, SimpleNet

_BATCH = 32
_LENGTH = 2**0.5
"""Of a channel's weights, as He's initialisation draws them: a rate then turns them as fast."""


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


@torch.no_grad()
def unfolded(network: SimpleNet, pictures: Tensor) -> SimpleNet:
    """A copy of a folded SimpleNet with batch normalisation again, which answers as it did.

    The normalisations hold mean and variance of the given pictures and scale by one: what scale
    a channel had goes into the next layer, since ReLU and maximum pool let it pass. So it can be
    fitted further as if it had been normalised all the time.

    Args:
        network: Without normalisation, with the dense head, in evaluation mode. It is not changed.
        pictures: (N, 3, H, W) RGB in [0, 1], of all labels; H and W multiples of 64.

    Raises:
        ValueError: The network is normalised, or has another head.
    """
    if not isinstance(network.head, DenseHead) or _is_normalised(network):
        raise ValueError("only a folded SimpleNet with its dense head can be unfolded")
    whole = SimpleNet(network.head.output.out_features, dropout=(0.0,) * 6, head_dropout=0.0)
    scale, seen = torch.ones(3), (pictures - ZERO).split(_BATCH)
    for old, new in zip(network.features, whole.features, strict=True):
        if isinstance(old, ConvolutionBlock) and isinstance(new, ConvolutionBlock):
            convolution, activation = old
            seen = tuple(convolution(part) for part in seen)
            scale = _normalise(new, convolution, scale, seen)
            seen = tuple(activation(part) for part in seen)
        else:
            seen = tuple(old(part) for part in seen)
    whole.head.load_state_dict(network.head.state_dict())
    hidden = whole.head.get_submodule("hidden")
    assert isinstance(hidden, nn.Linear)
    hidden.weight.mul_(scale.repeat_interleave(hidden.in_features // len(scale)))
    return whole.eval()


def _is_normalised(network: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def _normalise(
    block: ConvolutionBlock, old: nn.Conv2d, scale: Tensor, gave: Sequence[Tensor]
) -> Tensor:
    """Fill a normalised block from a convolution whose inputs have become `scale` times smaller.

    Args:
        block: What is filled.
        old: The convolution, with its bias.
        scale: (inputs,).
        gave: What the convolution gave for the pictures, (N, outputs, H, W) each.

    Returns:
        (outputs,) by how much the block's outputs are smaller than the convolution's.
    """
    convolution, norm = block[0], block[1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert old.bias is not None
    weight = old.weight * scale.view(1, -1, 1, 1)
    length = (_LENGTH / weight.flatten(1).norm(dim=1)).nan_to_num(posinf=1.0)
    found = torch.cat([part.transpose(0, 1).flatten(1) for part in gave], dim=1)
    variance, mean = torch.var_mean(found, dim=1)
    deviation = (variance * length**2 + norm.eps).sqrt() / length
    convolution.weight.copy_(weight * length.view(-1, 1, 1, 1))
    norm.running_mean.copy_((mean - old.bias) * length)
    norm.running_var.copy_(variance * length**2)
    norm.weight.fill_(1.0)
    norm.bias.copy_(mean / deviation)
    return deviation
