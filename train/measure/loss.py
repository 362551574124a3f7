"""What a precision costs: two answers to the same frames, compared tile by tile."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.engine.tiling import Join
from train.measure.answers import Answers


def loss_of(came: Answers, reference: Answers, join: Join) -> dict[str, Any]:
    """Accuracy that a precision costs, on the same tiles; every label counts alike.

    Args:
        came: Answers of the precision.
        reference: Those that it is held against.
        join: How the tiles of a frame are joined.
    """
    truth = reference.truth
    tiles = [_even(a.tiles.argmax(axis=2) == truth[:, None], truth) for a in (reference, came)]
    framed = [_even(a.joined(join).argmax(axis=1) == truth, truth) for a in (reference, came)]
    return {
        "tiles": int(np.prod(reference.tiles.shape[:2])),
        "tile_accuracy_fp32": round(tiles[0], 4),
        "tile_accuracy": round(tiles[1], 4),
        "tile_accuracy_lost": round(tiles[0] - tiles[1], 4),
        "frame_accuracy_lost": round(framed[0] - framed[1], 4),
        "largest_gap": round(float(np.abs(reference.tiles - came.tiles).max()), 4),
    }


def _even(hit: NDArray[np.bool_], truth: NDArray[np.int64]) -> float:
    """Mean over labels: good frames are made more often than others."""
    return float(np.mean([hit[truth == label].mean() for label in np.unique(truth)]))
