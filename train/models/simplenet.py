"""SimpleNet: the paper's layers exactly, and the form in which they are trained.

Source: Elaraby et al., "An Optimized Deep Learning Approach for Robust Image Quality
Classification", Traitement du Signal 40(4), 2023. Six 3x3 "same" convolutions after the first
(3-32-64, then 64-64, 64-128, 128-128, 128-256, 256-256), each of the last six followed by a
2x2 maximum pool, then 4096-64-N: with six outputs 1,425,606 parameters.

Without normalisation these layers train very slowly. In training each convolution is therefore
followed by a batch normalisation, which `train.models.folding` folds into the convolution for
export: what ships has the paper's layers and no others.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Head = Literal["dense", "pooled"]

WIDTHS = (32, 64, 64, 128, 128, 256, 256)
"""Output channels of the seven convolutions."""

LEAST_SIDE = 64
"""Six pools leave one of so many pixels."""
PAPER_DROPOUT = (0.2, 0.2, 0.3, 0.3, 0.4, 0.4)
"""Dropout after each of the six pools, as the paper gives it."""

PAPER_HEAD_DROPOUT = 0.4
"""Dropout before the output, as the paper gives it."""

ZERO = 128 / 255
"""What is taken off the pixels: so that code 128 becomes 0, and int8 holds every pixel exactly."""

INPUT_SIDE = 256
"""Pixels a side the dense head is made for: six pools leave 4x4."""


class ConvolutionBlock(nn.Sequential):
    """A 3x3 "same" convolution, an optional batch normalisation, and a ReLU."""

    def __init__(self, inputs: int, outputs: int, *, normalised: bool) -> None:
        """Make the layers; with normalisation the convolution has no bias of its own."""
        layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=not normalised)]
        if normalised:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class PooledHead(nn.Module):
    """Mean and maximum over the map, then one dense layer: takes pictures of any size.

    It is used in the first phase of training, on small crops; it is not in the paper.
    """

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        """Make a head for maps of `channels` channels."""
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * channels, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) features to (N, classes) logits."""
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return self.output(self.dropout(pooled))


class DenseHead(nn.Module):
    """The paper's head: flatten 4096, dense 64 with ReLU, dropout, dense N."""

    def __init__(self, classes: int, dropout: float) -> None:
        """Make a head for maps of 256 channels and 4x4 places."""
        super().__init__()
        self.hidden = nn.Linear(WIDTHS[-1] * (INPUT_SIDE // 64) ** 2, 64)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(64, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(N, 256, 4, 4) features to (N, classes) logits."""
        hidden = torch.relu(self.hidden(features.flatten(1)))
        return self.output(self.dropout(hidden))


class SimpleNet(nn.Module):
    """SimpleNet on RGB in [0, 1]; gives logits, since softmax belongs to the exported graph.

    Args:
        classes: Number of outputs.
        head: `dense` is the paper's (256x256 only), `pooled` takes any multiple of 64 pixels.
        normalised: Batch normalisation after each convolution.
        dropout: After each of the six pools.
        head_dropout: Before the output.

    Example:
        >>> net = SimpleNet(6, normalised=False)
        >>> sum(p.numel() for p in net.parameters())
        1425606
    """

    def __init__(
        self,
        classes: int,
        *,
        head: Head = "dense",
        normalised: bool = True,
        dropout: Sequence[float] = PAPER_DROPOUT,
        head_dropout: float = PAPER_HEAD_DROPOUT,
    ) -> None:
        """Make the layers, with He initialisation for the convolutions."""
        super().__init__()
        self.features = _features(normalised=normalised, dropout=dropout)
        self.head: nn.Module = (
            DenseHead(classes, head_dropout)
            if head == "dense"
            else PooledHead(WIDTHS[-1], classes, head_dropout)
        )
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [0, 1] to (N, classes) logits."""
        logits: Tensor = self.head(self.features(pictures - ZERO))
        return logits


def _features(*, normalised: bool, dropout: Sequence[float]) -> nn.Sequential:
    if len(dropout) != len(WIDTHS) - 1:
        raise ValueError(f"expected {len(WIDTHS) - 1} dropout rates, got {len(dropout)}")
    layers: list[nn.Module] = [ConvolutionBlock(3, WIDTHS[0], normalised=normalised)]
    for inputs, outputs, rate in zip(WIDTHS, WIDTHS[1:], dropout, strict=False):
        layers.append(ConvolutionBlock(inputs, outputs, normalised=normalised))
        layers.append(nn.Sequential(nn.MaxPool2d(2), nn.Dropout(rate)))
    return nn.Sequential(*layers)
