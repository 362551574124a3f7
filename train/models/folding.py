"""Batch normalisation folded into the convolution before it, and put back to fit on.

At inference a batch normalisation is y = g (x - m) / sqrt(v + e) + b, with the running mean m and
variance v: an affine map of each channel, which the convolution before it can carry itself
(Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", CVPR 2018, section 3.2).
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from train.models.inceptionresnetv2 import InceptionResNetV2
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
def unfolded(network: nn.Module, pictures: Tensor) -> nn.Module:
    """A copy of a folded network with batch normalisation again, which answers as it did.

    The normalisations hold mean and variance of the given pictures, so that the copy can be fitted
    further as if it had been normalised all the time.

    Args:
        network: SimpleNet with its dense head, or InceptionResNetV2, without normalisation and
            in evaluation mode. It is not changed.
        pictures: (N, 3, H, W) RGB in [0, 1], of all labels, of a size that the network takes.

    Raises:
        ValueError: The network is normalised, or another.
    """
    if not _is_normalised(network):
        if isinstance(network, SimpleNet) and isinstance(network.head, DenseHead):
            return _simplenet(network, network.head, pictures)
        if isinstance(network, InceptionResNetV2):
            return _inceptionresnetv2(network, pictures)
    raise ValueError(
        "only a folded SimpleNet with its dense head or a folded InceptionResNetV2 can be unfolded"
    )


def _is_normalised(network: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def _simplenet(network: SimpleNet, head: DenseHead, pictures: Tensor) -> SimpleNet:
    """Each normalisation scales by one.

    What scale a channel had goes into the next layer, since ReLU and maximum pool let it pass: the
    export has given the channels scales that suit int8, which have no meaning in a fit.
    """
    whole = SimpleNet(head.output.out_features, dropout=(0.0,) * 6, head_dropout=0.0)
    scale, seen = torch.ones(3), (pictures - ZERO).split(_BATCH)
    for old, new in zip(network.features, whole.features, strict=True):
        if isinstance(old, ConvolutionBlock) and isinstance(new, ConvolutionBlock):
            convolution, activation = old
            assert isinstance(convolution, nn.Conv2d)
            seen = tuple(convolution(part) for part in seen)
            weight = convolution.weight * scale.view(1, -1, 1, 1)
            norm = _normalise(new, weight, convolution.bias, seen)
            scale = norm.weight.clone()
            norm.weight.fill_(1.0)
            norm.bias.div_(scale)
            seen = tuple(activation(part) for part in seen)
        else:
            seen = tuple(old(part) for part in seen)
    whole.head.load_state_dict(head.state_dict())
    hidden = whole.head.get_submodule("hidden")
    assert isinstance(hidden, nn.Linear)
    hidden.weight.mul_(scale.repeat_interleave(hidden.in_features // len(scale)))
    return whole.eval()


def _inceptionresnetv2(network: InceptionResNetV2, pictures: Tensor) -> InceptionResNetV2:
    """Each normalisation scales by what its channel spreads, as it did before it was folded."""
    whole = InceptionResNetV2(network.head[-1].out_features)
    blocks = {
        name: module
        for name, module in whole.named_modules()
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d)
    }

    def fill(block: nn.Sequential) -> Callable[..., None]:
        def hook(convolution: nn.Conv2d, came: tuple[Tensor, ...], gave: Tensor) -> None:
            del came
            _normalise(block, convolution.weight, convolution.bias, [gave])

        return hook

    hooks = [
        network.get_submodule(f"{name}.0").register_forward_hook(fill(block))
        for name, block in blocks.items()
    ]
    network(pictures)
    for hook in hooks:
        hook.remove()
    plain = {
        name: value
        for name, value in network.state_dict().items()
        if name.rpartition(".")[0].rpartition(".")[0] not in blocks
    }
    whole.load_state_dict(plain, strict=False)
    return whole.eval()


def _normalise(
    block: nn.Sequential, weight: Tensor, bias: Tensor | None, gave: Sequence[Tensor]
) -> nn.BatchNorm2d:
    """Let a convolution and its normalisation give what a weight and a bias gave.

    Args:
        block: What is filled; it begins with the two.
        weight: (outputs, inputs, H, W).
        bias: (outputs,).
        gave: What they gave for the pictures, bias included, (N, outputs, H, W) each.

    Returns:
        The normalisation.
    """
    convolution, norm = block[0], block[1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert bias is not None
    length = (_LENGTH / weight.flatten(1).norm(dim=1)).nan_to_num(posinf=1.0)
    found = torch.cat([part.transpose(0, 1).flatten(1) for part in gave], dim=1)
    variance, mean = torch.var_mean(found, dim=1)
    convolution.weight.copy_(weight * length.view(-1, 1, 1, 1))
    norm.running_mean.copy_((mean - bias) * length)
    norm.running_var.copy_(variance * length**2)
    norm.weight.copy_((variance * length**2 + norm.eps).sqrt() / length)
    norm.bias.copy_(mean)
    return norm
