"""What a fit makes small: cross entropy of crops, of the joined answer of several, or of both."""

from math import log

from torch import Tensor
from torch.nn import functional

from inspector.engine.tiling import LEAST_IN_PRODUCT

_LEAST = log(LEAST_IN_PRODUCT)


def loss_of(
    logits: Tensor, answers: Tensor, smoothing: float, *, joined: float, together: int
) -> Tensor:
    """Cross entropy with smoothed labels.

    Args:
        logits: (B, C) of crops.
        answers: (B,) label numbers; the same for crops that are joined.
        smoothing: Share of an answer that is spread over all labels.
        joined: Share of the loss that is of joined answers, 0 to 1; the rest is of crops.
        together: How many crops that follow one another are joined; divides B.

    Returns:
        A scalar.
    """
    if joined == 0:
        return functional.cross_entropy(logits, answers, label_smoothing=smoothing)
    of_regions = functional.cross_entropy(
        joined_logits(logits, together), answers[::together], label_smoothing=smoothing
    )
    of_crops = functional.cross_entropy(logits, answers, label_smoothing=smoothing)
    return joined * of_regions + (1 - joined) * of_crops


def joined_logits(logits: Tensor, together: int) -> Tensor:
    """(B, C) logits of crops to (B / together, C), as `geometric` joins the tiles of a frame."""
    logarithms = functional.log_softmax(logits, dim=1).clamp(min=_LEAST)
    return logarithms.unflatten(0, (-1, together)).mean(dim=1)
