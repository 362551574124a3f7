"""Make a set of distorted frames on disk: parallel, restartable, with a manifest.

A frame is written to a temporary name and renamed, so that a file that is there is whole. A run
that was killed makes what is missing; a run with other settings in the same folder is refused.
The manifest is written last: a folder without one is not finished.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2

from train.claim import claim
from train.data.frames import FramePlan, make_frame, plan_frames, stem_of
from train.data.labelled import MANIFEST
from train.data.pictures import Lost, read_picture, write_png
from train.data.references import SMALLEST_SIDE, Reference, list_references, say_too_small
from train.errors import DataError
from train.provenance import frames_made_by
from train.whole import part_of, written_whole

_PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class SetSettings:
    """What a made set holds."""

    split: str
    labels: tuple[str, ...]
    variants: int = 1
    good_variants: int | None = None
    seed: int = 1
    smallest_side: int = SMALLEST_SIDE
    """Pixels a side of the smallest frame; references that are smaller are not used."""


def generate(
    references_folder: Path,
    settings: SetSettings,
    out: Path,
    *,
    processes: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Make the set, or what is missing of it.

    Args:
        references_folder: Pristine pictures.
        settings: What to make.
        out: Where to; made where it is not there.
        processes: How many at once; None is one for each processor.
        on_progress: Called with frames done and frames in all.

    Returns:
        The manifest.

    Raises:
        DataError: References that cannot be used, or a folder that was begun with other settings
            or by other code: no set holds frames of two kinds.
        OSError: No space: what is written so far is whole, and the next run goes on.
    """
    references = list_references(references_folder, settings.split)
    _refuse_equal_names(references)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, settings, references)
    by_name = {reference.name: reference for reference in references}
    plans = plan_frames(
        list(by_name),
        settings.labels,
        variants=settings.variants,
        good_variants=settings.good_variants,
        seed=settings.seed,
    )
    jobs = [
        (by_name[name].path, list(mine), out, settings.smallest_side)
        for name, mine in groupby(plans, key=lambda plan: plan.reference)
    ]
    lost = Lost()
    frames: list[dict[str, Any]] = []
    done = small = 0
    with ProcessPoolExecutor(
        processes or os.cpu_count(), mp_context=get_context("spawn")
    ) as executor:
        for job, result in zip(jobs, executor.map(_make_all, jobs), strict=True):
            if isinstance(result, str):
                lost.reasons.append(result)
            else:
                frames += result
                small += not result
            done += len(job[1])
            on_progress(done, len(plans))
    lost.check(len(references), references_folder)
    read = len(references) - len(lost.reasons)
    say_too_small(small, read, settings.smallest_side, references_folder)
    return _write_manifest(out, settings, frames, by_name, lost)


def _refuse_equal_names(references: Iterable[Reference]) -> None:
    """Make sure that no two references' frames would have the same names.

    Raises:
        DataError: Two would; the text names them.
    """
    seen: dict[str, str] = {}
    for reference in references:
        other = seen.setdefault(stem_of(reference.name), reference.name)
        if other != reference.name:
            raise DataError(
                f"frames of {other} and of {reference.name} would have the same names;"
                " rename one of them"
            )


def _claim(out: Path, settings: SetSettings, references: Iterable[Reference]) -> None:
    plan = out / _PLAN
    if not plan.exists() and any(path != part_of(plan) for path in out.iterdir()):
        raise DataError(f"{out} is not empty and holds no made set; choose another folder")
    whole = {
        **asdict(settings),
        "made_by": frames_made_by(),
        # One that cannot be read is told of when its frames are made.
        "references": {r.name: _digest(r.path) for r in references if os.access(r.path, os.R_OK)},
    }
    claim(plan, json.dumps(whole, indent=1, sort_keys=True))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _make_all(job: tuple[Path, list[FramePlan], Path, int]) -> list[dict[str, Any]] | str:
    """All frames of one reference, in a process of its own.

    Empty where it is too small for the frames that are wanted; a text where it cannot be used.
    """
    path, plans, out, smallest_side = job
    cv2.setNumThreads(1)
    try:
        picture = read_picture(path, SMALLEST_SIDE)
    except DataError as error:
        return str(error)
    if min(picture.shape[:2]) < smallest_side:
        return []
    rows = []
    for plan in plans:
        file = out / plan.label / f"{plan.name}.png"
        if not file.exists():
            write_png(file, make_frame(picture, plan, smallest_side))
        name = f"{plan.label}/{file.name}"
        rows.append({"file": name, "sha256": _digest(file), **asdict(plan)})
    return rows


def _write_manifest(
    out: Path,
    settings: SetSettings,
    frames: list[dict[str, Any]],
    references: dict[str, Reference],
    lost: Lost,
) -> Path:
    used = sorted({frame["reference"] for frame in frames})
    document = {
        "version": 1,
        "settings": asdict(settings),
        "left_out": lost.reasons,
        "references": {name: _provenance(references[name]) for name in used},
        "frames": frames,
    }
    manifest = out / MANIFEST
    with written_whole(manifest) as partial:
        partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return manifest


def _provenance(reference: Reference) -> dict[str, str]:
    return {
        "source": reference.source,
        "author": reference.author,
        "licence": reference.licence,
    }


def licences_of(references: Iterable[Reference]) -> list[str]:
    """Each licence once, in order."""
    return sorted({reference.licence for reference in references})
