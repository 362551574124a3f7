"""Making the pictures of the set, and reading a side of it at a network's size.

Pictures are made as LIVE's were: from a crop of a reference, at most 768x512 pixels like LIVE's
own, by the distortion alone, with nothing of what a camera adds. A file is there whole or not at
all, so that a run that was killed makes what is missing.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.engine.tiling import cut, tiles_of
from train.claim import claim
from train.data.frame import Frame
from train.data.labelled import pictures_of
from train.data.pictures import Lost, read_picture, write_png
from train.distortions import DISTORTIONS, MILDEST, Picture
from train.errors import DataError
from train.paper.facts import COUNTS
from train.paper.plan import Planned

LABELS = tuple(COUNTS)
_LONG_PX, _SHORT_PX = 768, 512
_LEAST_OF_SIDE = 0.8
_SMALLEST_SIDE_PX = 64
_PLAN = "plan.json"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the set in memory: (N, side, side, 3) uint8 BGR, (N,) labels, and the frames."""

    pixels: NDArray[np.uint8]
    truth: NDArray[np.int64]
    frames: tuple[Frame, ...]


def make_set(
    plan: Sequence[Planned],
    folder: Path,
    *,
    processes: int | None = None,
    on_progress: Progress = lambda done, total: None,
) -> list[Planned]:
    """Make the pictures that are missing, and write down what each is made from.

    Args:
        plan: The whole set.
        folder: Where made pictures go.
        processes: How many are made at once; None is one for each processor.
        on_progress: Called with pictures done and pictures in all.

    Returns:
        The plan without the pictures whose reference cannot be used.

    Raises:
        DataError: Another set was begun there, or more than 1 % of the pictures cannot be used.
        OSError: No space: what is written so far is whole, and the next run goes on.
    """
    rows = [{**asdict(p), "path": str(p.path)} for p in plan]
    claim(folder / _PLAN, json.dumps(rows, indent=1))
    jobs = [(p, folder) for p in plan if p.made and not (folder / p.file).exists()]
    lost: list[str] = []

    def collect(reasons: Iterable[str | None]) -> None:
        for done, reason in enumerate(reasons, start=len(plan) - len(jobs) + 1):
            lost.extend([reason] if reason else [])
            on_progress(done, len(plan))

    if processes == 1 or not jobs:
        collect(map(_make_file, jobs))
    else:
        count = processes or os.cpu_count()
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as executor:
            collect(executor.map(_make_file, jobs))
    Lost(lost).check(len(plan), folder)
    return [p for p in plan if not p.made or (folder / p.file).exists()]


def read_side(
    plan: Sequence[Planned], folder: Path, side: str, side_px: int, *, native: bool = False
) -> Side:
    """Read one side of the set, every picture resized as a whole.

    Args:
        plan: The whole set.
        folder: Where its made pictures are.
        side: `train` or `test`.
        side_px: What every picture becomes.
        native: Cut the middle out of every picture instead, mirrored beyond its edges.

    Raises:
        DataError: More than 1 % of the pictures cannot be used.
    """
    wanted = [
        Frame(place_of(p, folder), p.label, p.severity, p.source) for p in plan if p.side == side
    ]
    shrink = _middle if native else _resized
    frames, pixels = [], []
    for frame, picture in pictures_of(wanted, _SMALLEST_SIDE_PX, folder):
        frames.append(frame)
        pixels.append(shrink(picture, side_px))
    truth = np.array([LABELS.index(frame.label) for frame in frames], np.int64)
    return Side(np.stack(pixels).astype(np.uint8), truth, tuple(frames))


def place_of(planned: Planned, folder: Path) -> Path:
    """Where the picture lies: in `folder` if it was made, else where it was found."""
    return folder / planned.file if planned.made else planned.path


def _resized(picture: Picture, side_px: int) -> Picture:
    small = cv2.resize(picture, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _middle(picture: Picture, side_px: int) -> Picture:
    missing = [max(0, side_px - side) for side in picture.shape[:2]]
    around = [(less // 2, less - less // 2) for less in missing]
    whole = np.pad(picture, (*around, (0, 0)), mode="symmetric")
    (tile,) = tiles_of(*whole.shape[:2], size=side_px, count=1, where="centre")
    return cut(whole, [tile])[0]


def make_picture(reference: Picture, planned: Planned) -> Picture:
    """Make one picture: a crop at a random place, then the distortion."""
    rng = np.random.default_rng(planned.seed)
    height, width = reference.shape[:2]
    most = (_SHORT_PX, _LONG_PX) if width >= height else (_LONG_PX, _SHORT_PX)
    rows, columns = (
        min(limit, round(side * rng.uniform(_LEAST_OF_SIDE, 1)))
        for side, limit in zip((height, width), most, strict=True)
    )
    y, x = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    crop = np.ascontiguousarray(reference[y : y + rows, x : x + columns])
    severity = planned.severity - MILDEST + float(rng.random())
    return DISTORTIONS[planned.label].apply(crop, severity, rng)


def _make_file(job: tuple[Planned, Path]) -> str | None:
    """Make one picture, in a process of its own; a text where its reference cannot be read."""
    planned, folder = job
    cv2.setNumThreads(1)
    try:
        reference = read_picture(planned.path, _SMALLEST_SIDE_PX)
    except DataError as error:
        return str(error)
    write_png(folder / planned.file, make_picture(reference, planned))
    return None
