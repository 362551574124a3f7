"""Raw tiles to what a network takes: in one place for training, and repeated inside the graph."""

from torch import Tensor


def to_input(pictures_bgr: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 BGR to (N, 3, H, W) float32 RGB in [0, 1], channels last in memory."""
    return pictures_bgr.flip(3).permute(0, 3, 1, 2).float().mul(1 / 255)
