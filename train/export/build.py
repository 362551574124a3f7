"""From a fitted network to a shipped engine: quantise, calibrate, measure, write.

Temperature and thresholds are set on the val split; the figures in the manifest, and the bound on
false rejects, come from the test split, whose references no other step has seen.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from inspector.engine.tiling import Join, cut, tiles_of
from train.data.frame import Frame, thinned
from train.data.labelled import read_made_set, read_provenance
from train.data.pictures import read_picture
from train.data.references import UNKNOWN
from train.errors import DataError, TrainingError
from train.export.bounding import bounded
from train.export.equalise import equalised
from train.export.folder import EngineFacts, write_engine
from train.export.golden import TILES_A_LABEL, Candidate, may_ship
from train.export.graph import to_onnx
from train.export.int8 import int8_of
from train.export.precision import to_fp16
from train.export.rounding import rounded
from train.labels import LABEL_SETS
from train.measure.answers import Answers, ask, save
from train.measure.calibration import fit_temperature, refuse_shared, set_thresholds
from train.measure.figures import measure
from train.measure.loss import loss_of
from train.models.inceptionresnetv2 import InceptionResNetV2
from train.models.simplenet import SimpleNet
from train.predict import Sampling, by_openvino

LARGEST_INT8_LOSS = 0.005
"""Accuracy that int8 may cost; more is refused where at least this many tiles were compared:"""
INT8_TILES = 5000
_RANGE_TILES = 64


@dataclass(frozen=True, slots=True)
class MadeSets:
    """Folders that `generate` made, of the val and the test split."""

    val: Path
    test: Path


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """What is built, and how it is to be used."""

    name: str
    architecture: str
    version: str
    labels: tuple[str, ...]
    sampling: Sampling
    join: Join
    budget: float
    false_reject_set_on: str = "val split"
    stride: int = 1
    """Only one in so many frames of the sets is judged; 1 for an engine that ships."""
    variants: int | None = None
    """Only the first so many variants of a frame are judged."""
    least_golden: int = TILES_A_LABEL
    golden_candidates: int = 48
    """Tiles a label among which the golden ones are chosen."""
    answers: Path | None = None
    """Where the answers to both sets are kept, as `joins` reads them."""
    own: tuple[str, str] | None = None
    """Author and licence of the references of which nothing else is known: they are the user's, and
    may be golden tiles of an engine that the user hands on."""
    int8_alone: bool = False
    """Only the int8 file is written; fp32 and fp16 are derived from it, with its weights."""


def build_engine(
    network: nn.Module,
    calibration_tiles: NDArray[np.uint8],
    sets: MadeSets,
    settings: BuildSettings,
    training: Mapping[str, Any],
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
    val: Answers | None = None,
) -> dict[str, Any]:
    """Build `folder` from a fitted network.

    Args:
        network: Takes (N, 3, H, W) RGB in [0, 1], gives logits.
        calibration_tiles: (N, H, W, 3) uint8 BGR training tiles that set int8's ranges.
        sets: What temperature and thresholds are set on, and what is measured on.
        settings: Name, labels, sampling.
        training: Provenance for the manifest.
        folder: `engines/NAME`.
        say: Called with what is being done.
        val: Answers of the network at temperature 1 on the val set, where they are at hand.

    Returns:
        The figures that went into the manifest.

    Raises:
        TrainingError: int8 costs too much accuracy.
        DataError: Sets or golden tiles that cannot be used.
    """
    side = settings.sampling.tile
    val_frames, test_frames = _frames(sets.val, settings), _frames(sets.test, settings)
    refuse_shared(_sources(val_frames), _sources(test_frames), "references")
    candidates = golden_candidates(
        (sets.val, sets.test), settings.labels, side, settings.golden_candidates, settings.own
    )
    _refuse_few(candidates, settings)
    say("export fp32")
    if isinstance(network, SimpleNet):
        network = equalised(network, _some_of_each(calibration_tiles))
    if isinstance(network, InceptionResNetV2):
        network = bounded(network, calibration_tiles)
    fitted = network
    if settings.int8_alone:
        network = rounded(network)
    plain = to_onnx(network, side)
    if val is None:
        say(f"judge {len(val_frames)} val frames")
        val = ask(by_openvino(plain), val_frames, settings.labels, settings.sampling, sets.val)
    temperature = fit_temperature(val.even(), settings.join)
    say(f"temperature {temperature:.3f}; judge {len(test_frames)} test frames")
    model = to_onnx(network, side, temperature)
    test = ask(by_openvino(model), test_frames, settings.labels, settings.sampling, sets.test)
    val = val.at_temperature(temperature)
    if settings.answers is not None:
        _keep(val, settings.answers / "val")
        _keep(test, settings.answers / "test")
    thresholds = set_thresholds(
        val,
        test,
        settings.join,
        budget=settings.budget,
        set_on=_set_on(val, test, settings),
        independent=len(set(test.source.tolist())),
    )
    say("quantise")
    models = {"int8": int8_of(settings.architecture, model, calibration_tiles, temperature)}
    reference = test
    if settings.int8_alone:
        say("judge test frames with the weights as they were fitted")
        as_fitted = by_openvino(to_onnx(fitted, side, temperature))
        reference = ask(as_fitted, test_frames, settings.labels, settings.sampling, sets.test)
    else:
        models |= {"fp32": model, "fp16": to_fp16(model)}
    say("judge test frames in int8")
    measured = {**measure(test.even(), settings.join), "temperature": round(temperature, 4)}
    if set(settings.labels) > set(LABEL_SETS["table1"]):
        without = measure(test.even().only(LABEL_SETS["table1"]), settings.join)
        measured["table1_labels"] = {
            "accuracy": without["accuracy"],
            "accuracy_95": without["accuracy_95"],
            "sensitivity": {k: row["sensitivity"] for k, row in without["per_label"].items()},
            "refimgs_specificity": without["per_label"]["refimgs"]["specificity"],
        }
    int8 = ask(
        by_openvino(models["int8"]), test_frames, settings.labels, settings.sampling, sets.test
    )
    measured["int8"] = loss_of(int8, reference, settings.join)
    _refuse_loss("int8", measured["int8"], say)
    if settings.int8_alone:
        measured["weights_of_int8"] = loss_of(test, reference, settings.join)
        _refuse_loss("the weights of int8", measured["weights_of_int8"], say)
    say("choose golden tiles, write the folder")
    facts = EngineFacts(
        settings.name,
        settings.architecture,
        settings.version,
        settings.labels,
        settings.sampling,
        settings.join,
        thresholds,
        training,
        measured,
    )
    write_engine(folder, models, facts, candidates, least_golden=settings.least_golden)
    return measured


def _some_of_each(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`_RANGE_TILES` of tiles that come label by label."""
    return tiles[:: max(1, len(tiles) // _RANGE_TILES)][:_RANGE_TILES]


def _keep(answers: Answers, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save(answers, folder / "answers.npz")


def _frames(folder: Path, settings: BuildSettings) -> list[Frame]:
    frames = read_made_set(folder)
    if settings.variants is not None:
        frames = [frame for frame in frames if frame.variant < settings.variants]
    return thinned(frames, settings.stride)


def _sources(frames: Sequence[Frame]) -> set[str]:
    return {frame.source for frame in frames}


def _set_on(val: Answers, test: Answers, settings: BuildSettings) -> str:
    good = int((val.truth == val.good).sum())
    return (
        f"{settings.false_reject_set_on}: {good} good frames of"
        f" {len(set(val.source.tolist()))} references; bound from"
        f" {int((test.truth == test.good).sum())} good frames of"
        f" {len(set(test.source.tolist()))} other references of the test split"
    )


def _refuse_loss(what: str, found: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Raise where a precision costs more than 0.5 points on at least 5,000 tiles.

    On fewer a loss is chance as likely as not: it is said, and stands in the manifest.

    Raises:
        TrainingError: Names the loss.
    """
    lost, compared = found["tile_accuracy_lost"], found["tiles"]
    if compared < INT8_TILES:
        say(f"{what}: {100 * lost:.2f} points lost on {compared} tiles, too few to prove anything")
    elif lost > LARGEST_INT8_LOSS:
        raise TrainingError(
            f"{what} costs {100 * lost:.2f} points of accuracy on {compared} tiles;"
            f" {100 * LARGEST_INT8_LOSS} are allowed"
        )


def _refuse_few(candidates: Sequence[Candidate], settings: BuildSettings) -> None:
    """Make sure that every label can have its golden tiles, before anything is judged.

    Raises:
        DataError: One cannot.
    """
    counts = Counter(candidate.label for candidate in candidates)
    few = [label for label in settings.labels if counts[label] < settings.least_golden]
    if few:
        raise DataError(
            f"fewer than {settings.least_golden} frames of {', '.join(few)} may become golden"
            " tiles: their references need a free licence in SOURCES.csv (public-domain, CC0, BSD,"
            " MIT or CC-BY); or give --author and --licence for references of your own"
        )


def golden_candidates(
    folders: Sequence[Path],
    labels: Sequence[str],
    side: int,
    each: int,
    own: tuple[str, str] | None = None,
) -> list[Candidate]:
    """The middle tile of frames whose references may ship, `each` a label, drawn evenly.

    Args:
        folders: Made sets.
        labels: Of the network.
        side: Of a tile, in pixels.
        each: Most of a label.
        own: Author and licence of references of which nothing is known, where they may ship.
    """
    rows = []
    for folder in folders:
        for row, known in read_provenance(folder):
            author, licence = known["author"], known["licence"]
            credit = own if own and licence == UNKNOWN else None
            if row["label"] in labels and (credit or may_ship(licence)):
                rows.append((folder, row, *(credit or (author, licence))))
    rng = np.random.default_rng(1)
    candidates = []
    for label in labels:
        mine = [entry for entry in rows if entry[1]["label"] == label]
        for index in rng.permutation(len(mine))[:each]:
            folder, row, author, licence = mine[index]
            picture = read_picture(folder / row["file"], side)
            tiles = tiles_of(*picture.shape[:2], size=side, count=1, where="centre")
            candidates.append(
                Candidate(
                    cut(picture, tiles)[0],
                    label,
                    row["severity"],
                    row["reference"],
                    author,
                    licence,
                )
            )
    return candidates
