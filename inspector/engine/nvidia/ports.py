"""What the GPU's side is told of a network, and what it tells: plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """The network's input or output, as the manifest has it.

    Attributes:
        row: shape of one tile's part: (height, width, 3) or (classes,).
    """

    name: str
    row: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shares:
    """Where one batch's time on the GPU went, in seconds: copy in, compute, copy out."""

    copy_in_s: float
    compute_s: float
    copy_out_s: float
