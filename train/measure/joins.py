"""Ways to make one answer for a frame out of its tiles' answers, held against one another.

A station has `mean`, `geometric` and `worst` (`inspector.engine.tiling.join`); the others are there
to see whether another way would pay.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.engine.tiling import LEAST_IN_PRODUCT
from train.errors import DataError
from train.measure.answers import Answers

Floats = NDArray[np.float64]

_TOGETHER = 2
_POWER = 3


def _even_out(joined: Floats) -> Floats:
    return joined / joined.sum(axis=1, keepdims=True)


def _worst(tiles: Floats, good: int, count: int) -> Floats:
    """Mean of the tiles that are least likely good."""
    order = np.argsort(tiles[:, :, good], axis=1)[:, :count]
    return np.take_along_axis(tiles, order[:, :, None], axis=1).mean(axis=1)


JOINS: dict[str, Callable[[Floats, int], Floats]] = {
    "mean": lambda tiles, good: tiles.mean(axis=1),
    "geometric mean": lambda tiles, good: _even_out(
        np.exp(np.log(np.clip(tiles, LEAST_IN_PRODUCT, 1)).mean(axis=1))
    ),
    "median": lambda tiles, good: _even_out(np.median(tiles, axis=1)),
    "mean of cubes": lambda tiles, good: _even_out((tiles**_POWER).mean(axis=1)),
    "two worst tiles": lambda tiles, good: _worst(tiles, good, _TOGETHER),
    "worst tile": lambda tiles, good: _worst(tiles, good, 1),
}
"""By name: (F, T, C) probabilities of tiles and the good label's column to (F, C) of frames."""


@dataclass(frozen=True, slots=True)
class Joined:
    """How well one way does.

    Attributes:
        accuracy: On the test set, labels and severities equally often.
        false_rejects, rejects: Shares of the test set's good frames, and of its others, that are
            rejected with the threshold of the validation set.
    """

    name: str
    accuracy: float
    false_rejects: float
    rejects: float


def compare(val: Answers, test: Answers, budget: float) -> list[Joined]:
    """Hold all ways against one another.

    Each gets its own threshold on 1 - p(good), such that `budget` of the validation set's good
    frames lie above it.

    Raises:
        DataError: The sets are of different networks, or the validation set has no good frames.
    """
    if not (val.truth == val.good).any():
        raise DataError("the validation set has no good frames: no threshold can be set on it")
    if val.labels != test.labels or val.tiles.shape[1:] != test.tiles.shape[1:]:
        raise DataError(
            f"answers of different networks: {val.tiles.shape[1]} tiles of "
            f"{', '.join(val.labels)}, and {test.tiles.shape[1]} of {', '.join(test.labels)}"
        )
    found = []
    for name, join in JOINS.items():
        bad = 1 - join(val.tiles.astype(np.float64), val.good)[:, val.good]
        threshold = np.quantile(bad[val.truth == val.good], 1 - budget)
        joined = join(test.tiles.astype(np.float64), test.good)
        rejected = 1 - joined[:, test.good] > threshold
        is_good = test.truth == test.good
        hits = joined.argmax(axis=1) == test.truth
        found.append(
            Joined(
                name,
                float(hits[test.variant == 0].mean()),
                float(rejected[is_good].mean()),
                float(rejected[~is_good].mean()),
            )
        )
    return found
