"""Crops made on the fly: endless, in an order that depends on the seed alone.

A *region* of a reference is distorted once and several crops are cut from it, since a distortion
costs more than a crop. The regions of a *round* (every label equally often) are cut, their crops
shuffled and handed out as batches. Batch number `n` is the same in every run with the same seed,
sizes and worker count, so that a run that was killed goes on where it stopped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from train.camera import draw_scale, rescale, take
from train.data.references import SMALLEST_SIDE
from train.distortions import DISTORTIONS, MILDEST, WORST, Picture

_REGION_CANDIDATES = 3
_CROP_CANDIDATES = 6
_LEAST_CHANGE = {"bad_lighting": 2.0, "fastfading": 0.5}
"""Labels whose damage may be local, and by how many codes a crop's pixels have changed on average
at least: one that it spared would be labelled wrongly."""
_TRIES = 4


@dataclass(frozen=True, slots=True)
class CropSettings:
    """How crops are made: sizes in pixels, and counts."""

    crop: int = 128
    region: int = 384
    crops_a_region: int = 4
    batch: int = 64
    batches_a_round: int = 4
    seed: int = 1
    anywhere: float = 0.0
    """Share of the crops cut wherever chance has it, as a station cuts its tiles (where a label's
    damage may be local, wherever there is some); the others where there is more to see."""
    recolour: float = 0.0
    """Share of the regions whose colour channels change places before anything else is done: the
    same shapes in other colours, as if there were more references."""


Batch = tuple[torch.Tensor, torch.Tensor]
"""(B, crop, crop, 3) uint8 BGR, and (B,) int64 label numbers."""


class CropStream(IterableDataset[Batch]):
    """Batches of distorted crops from `first_batch` on, for ever or `batches` of them."""

    def __init__(
        self,
        references: Sequence[Picture],
        labels: Sequence[str],
        settings: CropSettings,
        *,
        first_batch: int = 0,
        batches: int | None = None,
    ) -> None:
        """Keep the references; nothing is made before the stream is read."""
        super().__init__()
        self._references = references
        self._labels = tuple(labels)
        self._settings = settings
        self._first = first_batch
        self._end = None if batches is None else first_batch + batches

    def __iter__(self) -> Iterator[Batch]:
        """Yield this worker's share: every n-th batch, where there are n workers."""
        cv2.setNumThreads(1)
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        batch = self._first + worker
        made: tuple[int, list[Batch]] | None = None
        while self._end is None or batch < self._end:
            mine, rank = divmod(batch, workers)
            number, place = divmod(mine, self._settings.batches_a_round)
            if made is None or made[0] != number:
                made = (number, self._round(number * workers + rank))
            yield made[1][place]
            batch += workers

    def _round(self, number: int) -> list[Batch]:
        """All batches of one round: every label equally often (within one), shuffled."""
        settings = self._settings
        rng = np.random.default_rng((settings.seed, number))
        total = settings.batch * settings.batches_a_round
        regions = -(-total // settings.crops_a_region)
        offset = int(rng.integers(len(self._labels)))
        crops: list[Picture] = []
        numbers: list[int] = []
        for region in range(regions):
            label = (region + offset) % len(self._labels)
            picture = self._references[int(rng.integers(len(self._references)))]
            made = crops_of(picture, self._labels[label], settings, rng)
            crops += made
            numbers += [label] * len(made)
        order = rng.permutation(len(crops))[:total]
        pixels = torch.from_numpy(np.stack([crops[i] for i in order]))
        answers = torch.tensor([numbers[i] for i in order])
        return list(zip(pixels.split(settings.batch), answers.split(settings.batch), strict=True))


def crops_of(
    picture: Picture, label: str, settings: CropSettings, rng: np.random.Generator
) -> list[Picture]:
    """Distort a region of a reference by a severity drawn evenly, and cut crops from it."""
    region = _region(picture, settings.region, max(settings.crop, SMALLEST_SIDE), rng)
    if settings.recolour and rng.random() < settings.recolour:
        region = np.ascontiguousarray(region[:, :, rng.permutation(3)])
    distortion = DISTORTIONS[label]
    severity = float(rng.uniform(MILDEST, WORST))
    least = _LEAST_CHANGE.get(label, 0.0)
    for _ in range(_TRIES):
        clean, damaged, seen = take(
            region, label, lambda one: distortion.apply(one, severity, rng), rng
        )
        weight = _change(distortion.base(clean), damaged) if least else _detail(clean)
        if _most(weight, settings.crop) >= least:
            break
    return [
        _turned(_cut(seen, weight, settings.crop, settings.anywhere, least, rng), rng)
        for _ in range(settings.crops_a_region)
    ]


def _region(picture: Picture, side: int, least: int, rng: np.random.Generator) -> Picture:
    """A region of a reference, of some candidates the one with the most detail, re-scaled.

    It has `side` pixels each way, or as many as the reference has at its scale. As with whole
    frames, the scale is bounded by the reference alone, which keeps `least` pixels each way.
    """
    height, width = picture.shape[:2]
    scale = max(draw_scale(rng), min(1.0, least / min(height, width)))
    rows, columns = min(height, round(side / scale)), min(width, round(side / scale))
    best: tuple[float, int, int] | None = None
    for _ in range(int(rng.integers(1, _REGION_CANDIDATES + 1))):
        y, x = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        detail = float(_detail(picture[y : y + rows, x : x + columns]).mean())
        if best is None or detail > best[0]:
            best = (detail, y, x)
    assert best is not None
    _, y, x = best
    cut = np.ascontiguousarray(picture[y : y + rows, x : x + columns])
    return rescale(cut, min(side, round(rows * scale)), min(side, round(columns * scale)))


def _detail(picture: Picture) -> NDArray[np.float32]:
    """(H/16, W/16) map of fine detail, the square root taken so that one edge does not rule."""
    fine = cv2.Laplacian(np.ascontiguousarray(picture[:, :, 1]), cv2.CV_32F)
    return _reduced(np.sqrt(np.abs(fine)))


def _change(before: Picture, after: Picture) -> NDArray[np.float32]:
    """(H/16, W/16) map of how far a distortion moved the picture."""
    return _reduced(cv2.absdiff(before, after).max(axis=2).astype(np.float32))


def _most(weight: NDArray[np.float32], side: int) -> float:
    """The largest mean weight that a crop of `side` pixels can have."""
    cells = (min(side // 16, weight.shape[1]), min(side // 16, weight.shape[0]))
    return float(cv2.blur(weight, cells).max())


def _reduced(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    size = (max(plane.shape[1] // 16, 1), max(plane.shape[0] // 16, 1))
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def _cut(
    picture: Picture,
    weight: NDArray[np.float32],
    side: int,
    anywhere: float,
    least: float,
    rng: np.random.Generator,
) -> Picture:
    """A crop at a random place, of some candidates the one with the most weight.

    `anywhere` is the chance of the first place that has at least as much weight as `least`.
    """
    height, width = picture.shape[:2]
    first = bool(anywhere) and rng.random() < anywhere
    best: tuple[float, int, int] | None = None
    for _ in range(_CROP_CANDIDATES):
        y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        inside = weight[y // 16 : (y + side) // 16, x // 16 : (x + side) // 16]
        score = float(inside.mean()) if inside.size else 0.0
        if best is None or score > best[0]:
            best = (score, y, x)
        if (first and score >= least) or rng.random() < 0.5 / _CROP_CANDIDATES:
            break
    assert best is not None
    _, y, x = best
    return picture[y : y + side, x : x + side]


def _turned(crop: Picture, rng: np.random.Generator) -> Picture:
    """Mirrored and turned by chance; no distortion here has a preferred side but for flicker."""
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return np.ascontiguousarray(np.rot90(crop, int(rng.integers(4))))
