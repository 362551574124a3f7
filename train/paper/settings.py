"""What can be set of a reproduction; the defaults are the paper's, where it states them."""

from dataclasses import dataclass, field
from pathlib import Path

from train.errors import DataError
from train.models.inceptionresnetv2 import INPUT_SIDE
from train.paper.fitting import EpochSettings


@dataclass(frozen=True, slots=True)
class PaperSettings:
    """How the paper is reproduced.

    Attributes:
        fit: Epochs, and the parts of the recipe that the paper does not state.
        pictures: Share of the paper's 1,165 pictures.
        plain: SimpleNet without batch normalisation while it is trained.
        weights: ImageNet weights of InceptionResNetV2; None lets timm fetch them.
        from_scratch: Fit InceptionResNetV2 whole, without ImageNet weights.
        inception_px: Side of the pictures that InceptionResNetV2 takes.
        native: Each frame's middle as it is instead of the whole frame resized; not the paper's.
    """

    fit: EpochSettings = field(default_factory=EpochSettings)
    pictures: float = 1.0
    plain: bool = False
    weights: Path | None = None
    from_scratch: bool = False
    inception_px: int = INPUT_SIDE
    native: bool = False

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            DataError: Epochs that do not ascend from 1, or weights for a network from scratch.
        """
        epochs = self.fit.epochs
        if not epochs or epochs[0] < 1 or sorted(set(epochs)) != list(epochs):
            raise DataError(f"epochs must ascend from 1 or more, not {list(epochs)}")
        if self.weights is not None and self.from_scratch:
            raise DataError("give --weights or --from-scratch, not both")
