"""One labelled picture of a set, whatever the set was read from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Frame:
    """A file, its label, and what is known of it; severity 0 where it is not known.

    Attributes:
        source: The photograph that it shows, as far as is known: frames of one are not independent.
    """

    path: Path
    label: str
    severity: int
    source: str
    variant: int = 0


def thinned(frames: Sequence[Frame], stride: int) -> list[Frame]:
    """One in `stride` of the frames, drawn once for all, in their order.

    Not every n-th: sets are listed by label and severity, five after five.
    """
    if stride == 1:
        return list(frames)
    chosen: list[int] = []
    # Apart, so that whoever looks at the first variants alone has the same ones.
    for first in (True, False):
        mine = [i for i, frame in enumerate(frames) if (frame.variant == 0) is first]
        count = -(-len(mine) // stride)
        chosen += [mine[i] for i in np.random.default_rng(1).permutation(len(mine))[:count]]
    return [frames[i] for i in sorted(chosen)]
