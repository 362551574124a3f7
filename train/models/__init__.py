"""The networks, one module an architecture."""

from typing import Any

from torch import nn

from train.errors import TrainingError
from train.models.simplenet import SimpleNet

ARCHITECTURES = ("SimpleNet",)


def build(architecture: str, classes: int, **options: Any) -> nn.Module:
    """A network with fresh weights.

    Raises:
        TrainingError: No such architecture.
    """
    if architecture == "SimpleNet":
        return SimpleNet(classes, **options)
    known = ", ".join(ARCHITECTURES)
    raise TrainingError(f"no architecture {architecture!r}; there are: {known}")
