"""InceptionResNetV2: timm's layers, for tiles of any size, from fresh or from ImageNet weights.

Source: Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", AAAI 2017; Elaraby et al. (see `simplenet`) fine-tune it with all but the
top frozen. With eight outputs it has 54,318,760 parameters.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.layers import ConvNormAct
from torch import Tensor, nn
from torch.nn import functional

from train.errors import WeightsError
from train.models.simplenet import ZERO

INPUT_SIDE = 299
"""Pixels a side of the published network; what ships is measured and served at it."""

IMAGENET = "inception_resnet_v2.tf_in1k"
"""timm's name for the ImageNet weights; they lie on the Hugging Face hub below `timm/`."""

LEAST_SIDE = 75
HEAD_DROPOUT = 0.2
"""Dropout before the output, as published."""

_WIDTH = 1536
_TOP = "classif."


class InceptionResNetV2(nn.Module):
    """InceptionResNetV2 on RGB in [0, 1]; gives logits, since softmax belongs to the export.

    The published network takes (x - 0.5) / 0.5. Here code 128 of 255 becomes 0, half a code beside
    that, so that int8 holds every pixel exactly.

    Args:
        classes: Number of outputs.
        head_dropout: Before the output.

    Example:
        >>> net = InceptionResNetV2(8)
        >>> sum(p.numel() for p in net.parameters())
        54318760
    """

    def __init__(self, classes: int, *, head_dropout: float = 0.0) -> None:
        """Make the layers, with timm's initialisation."""
        super().__init__()
        self.features: nn.Module = timm.create_model(
            "inception_resnet_v2", num_classes=0, global_pool=""
        )
        _in_plain_layers(self.features)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(head_dropout),
            nn.Linear(_WIDTH, classes),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [0, 1], 75 pixels a side or more, to (N, classes) logits."""
        logits: Tensor = self.head(self.features(stretched(pictures)))
        return logits

    def start_from_imagenet(self, weights: Path | None = None) -> None:
        """Take over ImageNet weights; the top, which has other classes, keeps what it has.

        Args:
            weights: A file as timm publishes it (safetensors, or a pickled state of tensors);
                None to let timm fetch it.

        Raises:
            WeightsError: The weights cannot be had, or are of another architecture: with both
                shapes.
        """
        where = str(weights or IMAGENET)
        state = _fetched() if weights is None else _read(weights)
        own = self.features.state_dict()
        theirs = {name: value for name, value in state.items() if not name.startswith(_TOP)}
        for name, value in own.items():
            if name not in theirs:
                if name.endswith("num_batches_tracked"):
                    theirs[name] = value  # older files do without
                    continue
                raise WeightsError(
                    f"{where} has no {name}, expected InceptionResNetV2 with {name} of shape"
                    f" {tuple(value.shape)}"
                )
            if theirs[name].shape != value.shape:
                raise WeightsError(
                    f"{where}: {name} has shape {tuple(theirs[name].shape)},"
                    f" but {tuple(value.shape)} is wanted"
                )
        if strangers := theirs.keys() - own.keys():
            name = min(strangers)
            raise WeightsError(
                f"{where} has {name} of shape {tuple(theirs[name].shape)}, which InceptionResNetV2"
                " has not"
            )
        self.features.load_state_dict(theirs)


def stretched(pictures: Tensor) -> Tensor:
    """Values in [0, 1] to about [-1, 1], code 128 of 255 to 0: any shape."""
    return (pictures - ZERO) * 2


class Pointwise(nn.Conv2d):
    """A 1x1 convolution, which in training is a matrix product of the channels.

    oneDNN's gradient of such weights is slow on the small maps of small crops: with the product a
    training step took a fifth less time (107 and 149 px, bf16, one core with AMX).
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W), channels last in memory, to (N, D, H, W)."""
        if not self.training:
            return super().forward(maps)
        product = functional.linear(maps.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return product.permute(0, 3, 1, 2)


def _in_plain_layers(network: nn.Module) -> None:
    """Exchange timm's layers, under the same names, for those that fold and that train fast."""
    for name, child in network.named_children():
        if isinstance(child, ConvNormAct):
            normalisation = nn.BatchNorm2d(child.bn.num_features, child.bn.eps, child.bn.momentum)
            layers = OrderedDict(
                conv=_plain(child.conv), bn=normalisation, act=nn.ReLU(inplace=True)
            )
            setattr(network, name, nn.Sequential(layers))
        elif isinstance(child, nn.Conv2d):
            setattr(network, name, _plain(child))
        else:
            _in_plain_layers(child)


def _plain(convolution: nn.Conv2d) -> nn.Conv2d:
    if convolution.kernel_size != (1, 1):
        return convolution
    plain = Pointwise(convolution.in_channels, convolution.out_channels, 1)
    plain.weight, plain.bias = convolution.weight, convolution.bias
    return plain


def _fetched() -> Mapping[str, Tensor]:
    try:
        return timm.create_model(IMAGENET, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:  # the hub's own errors and those of its transport
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"the ImageNet weights cannot be fetched: {reason[0]}\n"
            "Where there is no network, fetch model.safetensors of the repository"
            f" timm/{IMAGENET} of the Hugging Face hub on another machine, bring it here, and hand"
            " it in with --weights model.safetensors"
        ) from error


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    expected = "expected tensors by name, as safetensors or pickled by torch"
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, SafetensorError, OSError, RuntimeError, EOFError) as error:
        raise WeightsError(f"{path} holds no weights that can be read; {expected}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds {type(state).__name__}; {expected}")
    return state
