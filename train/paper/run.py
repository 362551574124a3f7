"""The whole reproduction: pictures, networks, figures, report."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from train.claim import claim
from train.data.live import read_live
from train.data.references import references_by_split
from train.errors import DataError, WeightsError
from train.measure.answers import Answers
from train.measure.figures import measure
from train.paper import facts
from train.paper.fitting import fit_epochs
from train.paper.gaps import gaps_of
from train.paper.networks import Prepared, prepare_inception, prepare_simplenet
from train.paper.page import write_paper
from train.paper.pictures import LABELS, Progress, Side, make_set, place_of, read_side
from train.paper.plan import TEST, TRAIN, Planned, plan_set, sides_of, sides_of_live
from train.paper.settings import PaperSettings
from train.provenance import code_version
from train.whole import written_whole

PAGE, FIGURES = "paper.html", "paper.json"
_SIMPLENET_PX = 256

Bar = Callable[[str], AbstractContextManager[Progress]]
"""What shows the progress of one piece of work."""


def reproduce(
    references: Path | None,
    live: Path | None,
    out: Path,
    settings: PaperSettings,
    *,
    processes: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    bar: Bar | None = None,
) -> Path:
    """Reproduce the paper, or go on with what was begun in `out`.

    Args:
        references: Pristine pictures to make the set from; None where LIVE's own are used.
        live: LIVE release 2, whose pictures are taken first; None to make all.
        out: Where pictures, checkpoints, report and figures go.
        settings: How.
        processes: How many pictures are made at once; None is one for each processor.
        say: Called with what is being done.
        bar: Shows progress; None shows none, for the fits as well.

    Returns:
        The report; the same figures are in `paper.json` beside it.

    Raises:
        DataError: Pictures that cannot be used, or a folder begun with other settings.
        WeightsError: The weights that were named do not fit.
    """
    stored = {**asdict(settings), "weights": None, "from_scratch": None}
    plan = _plan(references, live, settings)
    claim(out / "settings.json", json.dumps(stored, indent=1))
    shown: Bar = bar or (lambda text: nullcontext(lambda done, total: None))
    with shown("pictures") as on_progress:
        plan = make_set(plan, out / "pictures", processes=processes, on_progress=on_progress)
    document: dict[str, Any] = {
        "settings": {**asdict(settings), "weights": str(settings.weights or "")},
        "code_version": code_version(),
        "machine": _machine(),
        "labels": list(LABELS),
        "networks": {},
    }
    ready, read = [], set()
    for name in facts.NETWORKS:
        say(f"{name}: read the pictures")
        side_px = _SIMPLENET_PX if name == facts.SIMPLENET else settings.inception_px
        sides = {
            side: read_side(plan, out / "pictures", side, side_px, native=settings.native)
            for side in (TRAIN, TEST)
        }
        read |= {frame.path for side in sides.values() for frame in side.frames}
        folder = out / _folder_of(name, settings)
        try:
            ready.append((_prepare(name, sides, folder, settings, shown), sides, folder))
        except WeightsError as error:
            if settings.weights is not None:
                raise
            reason = f"{error}; or fit all layers with --from-scratch"
            say(f"{name} is left out: {reason}")
            document["networks"][name] = {"left_out": reason}
    for prepared, sides, folder in ready:
        say(f"{prepared.name}: fit; weights at the start: {prepared.weights}")
        document["networks"][prepared.name] = _fit(
            prepared, sides, folder, settings, progress=bar is not None
        )
    pictures = _counted([p for p in plan if place_of(p, out / "pictures") in read])
    document["pictures"] = pictures
    gaps = gaps_of(settings, pictures["made"], pictures["sources"])
    document["gaps"] = [asdict(gap) for gap in gaps]
    document["paper"] = {
        "counts": facts.COUNTS,
        "table_3": {name: asdict(row) for name, row in facts.TABLE_3.items()},
        "table_4": facts.TABLE_4,
    }
    with written_whole(out / FIGURES) as partial:
        partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    write_paper(out / PAGE, document)
    return out / PAGE


def _plan(references: Path | None, live: Path | None, settings: PaperSettings) -> list[Planned]:
    if references is None and live is None:
        raise DataError("give a folder of references, of LIVE release 2, or both")
    frames = read_live(live, LABELS) if live is not None else []
    if references is None:
        sides = sides_of_live(frames)
    else:
        sides = sides_of(references_by_split(references))
    return plan_set(sides, frames, share=settings.pictures, seed=settings.fit.seed)


def _prepare(
    name: str,
    sides: Mapping[str, Side],
    folder: Path,
    settings: PaperSettings,
    shown: Bar,
) -> Prepared:
    seed, classes = settings.fit.seed, len(LABELS)
    if name == facts.SIMPLENET:
        return prepare_simplenet(
            sides[TRAIN], sides[TEST], classes, seed=seed, plain=settings.plain
        )
    with shown(f"{name}: features") as on_progress:
        return prepare_inception(
            sides[TRAIN],
            sides[TEST],
            classes,
            folder,
            seed=seed,
            weights=settings.weights,
            from_scratch=settings.from_scratch,
            on_progress=on_progress,
        )


def _fit(
    prepared: Prepared,
    sides: Mapping[str, Side],
    folder: Path,
    settings: PaperSettings,
    *,
    progress: bool,
) -> dict[str, Any]:
    """Fit one network; all that the report says of it."""
    _claim(folder, sides)
    fitted = fit_epochs(
        prepared.network,
        prepared.train,
        prepared.test,
        settings.fit,
        folder,
        spent_s=prepared.spent_s,
        progress=progress,
    )
    after = {}
    for epochs, outputs in fitted.outputs.items():
        hits = outputs[TRAIN].argmax(axis=1) == sides[TRAIN].truth
        after[str(epochs)] = {
            "train_accuracy": round(float(hits.mean()), 4),
            "minutes": round(fitted.history[epochs - 1]["minutes"], 2),
            "test": measure(_answers(outputs[TEST], sides[TEST]), "mean"),
        }
    return {
        "parameters": prepared.parameters,
        "weights": prepared.weights,
        "history": fitted.history,
        "after": after,
    }


def _claim(folder: Path, sides: Mapping[str, Side]) -> None:
    """Write down which pictures a fit was begun with: its answers go with these.

    Raises:
        DataError: Others can be read now.
    """
    names = {
        name: [f"{frame.path.parent.name}/{frame.path.name}" for frame in side.frames]
        for name, side in sides.items()
    }
    try:
        claim(folder / "pictures.json", json.dumps(names, indent=1))
    except DataError as error:
        raise DataError(
            f"{folder} was begun with other pictures than can be read now: mend those that are"
            f" named above, or remove {folder} to fit anew"
        ) from error


def _answers(outputs: NDArray[np.float32], side: Side) -> Answers:
    """One whole frame is one tile."""
    return Answers(
        LABELS,
        outputs[:, None],
        side.truth,
        np.array([frame.severity for frame in side.frames]),
        np.array([frame.source for frame in side.frames]),
        np.zeros(len(side.frames), np.int64),
        np.array([str(frame.path) for frame in side.frames]),
    )


def _counted(plan: Sequence[Planned]) -> dict[str, Any]:
    def by_label(planned: Sequence[Planned]) -> dict[str, int]:
        counts = Counter(p.label for p in planned)
        return {label: counts[label] for label in LABELS}

    sides = {side: [p for p in plan if p.side == side] for side in (TRAIN, TEST)}
    return {
        **{side: by_label(mine) for side, mine in sides.items()},
        "made": by_label([p for p in plan if p.made]),
        "sources": {side: len({p.source for p in mine}) for side, mine in sides.items()},
    }


def _folder_of(name: str, settings: PaperSettings) -> str:
    scratch = name == facts.INCEPTION and settings.from_scratch
    return f"{name.lower()}-from-scratch" if scratch else name.lower()


def _machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} processor cores"
