"""Tiles of made frames, held in memory: validation while fitting, calibration of int8."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from inspector.engine.tiling import cut, tiles_of
from train.data.crops import Batch
from train.data.frames import make_frame, plan_frames
from train.data.references import Reference
from train.distortions import Picture


def sample_tiles(
    references: Sequence[Reference],
    pictures: Sequence[Picture],
    labels: Sequence[str],
    *,
    count: int,
    tile: int,
    seed: int,
) -> Batch:
    """About `count` tiles, one a frame, labels as even as can be, frames drawn by the seed.

    Returns:
        (N, tile, tile, 3) uint8 BGR and (N,) int64 label numbers.
    """
    cv2.setNumThreads(1)
    by_name = {r.name: p for r, p in zip(references, pictures, strict=True)}
    plans = plan_frames([r.name for r in references], labels, seed=seed)
    rng = np.random.default_rng(seed)
    each = max(1, count // len(labels))
    pixels, answers = [], []
    for number, label in enumerate(labels):
        mine = [plan for plan in plans if plan.label == label]
        for index in rng.permutation(len(mine))[:each]:
            frame = make_frame(by_name[mine[index].reference], mine[index], tile)
            tiles = tiles_of(*frame.shape[:2], size=tile, count=4, where="spread")
            pixels.append(cut(frame, [tiles[int(rng.integers(4))]])[0])
            answers.append(number)
    return torch.from_numpy(np.stack(pixels)), torch.tensor(answers)
