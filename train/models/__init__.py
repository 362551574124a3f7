"""The networks, one module an architecture."""

from typing import Any

from torch import nn

from train.errors import TrainingError
from train.models import inceptionresnetv2, simplenet
from train.models.inceptionresnetv2 import InceptionResNetV2
from train.models.simplenet import SimpleNet

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "SimpleNet": SimpleNet,
    "InceptionResNetV2": InceptionResNetV2,
}

INPUT_SIDES = {
    "SimpleNet": simplenet.INPUT_SIDE,
    "InceptionResNetV2": inceptionresnetv2.INPUT_SIDE,
}
"""Pixels a side of the tiles that an exported network takes."""

LEAST_SIDES = {"SimpleNet": simplenet.LEAST_SIDE, "InceptionResNetV2": inceptionresnetv2.LEAST_SIDE}
"""Pixels a side of the smallest picture that a network with a pooled head can be asked about."""


def build(architecture: str, classes: int, **options: Any) -> nn.Module:
    """A network with fresh weights.

    Raises:
        TrainingError: No such architecture.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise TrainingError(f"no architecture {architecture!r}; there are: {known}")
    return ARCHITECTURES[architecture](classes, **options)
