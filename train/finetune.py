"""Fine-tuning on site: an engine's own last layers, on pictures that the site has labelled.

The convolutions stay as they are, so that each tile goes through them once and the dense layers
are then fitted in seconds on what came out. What the engine knew is kept by three means: the
weights are pulled towards the old ones (Li, Grandvalet, Davoine, "Explicit inductive bias for
transfer learning with convolutional networks", ICML 2018), the old golden tiles are fitted along,
and the report names every golden tile whose label changes.
"""

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from inspector.engine.golden import read_golden
from inspector.engine.manifest import Manifest, read_manifest
from inspector.engine.tiling import cut, tiles_of
from train.data.frame import Frame
from train.data.labelled import pictures_of, read_labelled_folder
from train.errors import DataError, TrainingError
from train.export.folder import EngineFacts, refuse_place, write_engine
from train.export.golden import Candidate
from train.export.graph import to_onnx
from train.export.int8 import int8_of
from train.export.precision import to_fp16
from train.measure.answers import Answers
from train.measure.calibration import Thresholds, fit_temperature, set_thresholds
from train.measure.figures import measure
from train.measure.loss import loss_of
from train.models.from_onnx import network_from, temperature_of
from train.models.simplenet import ZERO, SimpleNet
from train.pixels import to_input
from train.predict import Sampling, by_openvino
from train.provenance import code_version

_HELD_BACK = 0.25
_STEPS = 400
_RATE = 5e-4
_PULL = 0.05
_BATCH = 128
_MIRRORED = (False, True)
_LEAST_FRAMES = 2
_INT8_TILES = 128


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of it.

    Attributes:
        before: Accuracy of the old engine on the frames that were kept apart.
        after: The same of the new one.
        changed: A sentence for each old golden tile whose label changed.
        figures: All figures of the new engine on the frames kept apart.
        thresholds: Of the new engine, and what they were set on.
    """

    before: float
    after: float
    changed: tuple[str, ...]
    figures: dict[str, Any]
    thresholds: Thresholds


def finetune(
    old: Path,
    data: Path,
    out: Path,
    *,
    version: str,
    licence: str,
    author: str,
    seed: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> Tuned:
    """Tune an engine on a labelled folder and write a new engine folder.

    Args:
        old: Engine to start from; SimpleNet only.
        data: `LABEL/*.png`; labels of the engine, not necessarily all.
        out: The new engine folder.
        version: Of the new engine.
        licence: Under which the site's pictures may be handed on, for the manifest and NOTICE.
        author: Whom to name for them.
        seed: Orders the fit.
        say: Called with what is being done.

    Raises:
        DataError: Data that cannot be used, or a label with fewer than two frames.
        TrainingError: The engine is not SimpleNet, or `out` is `old`, or has `data` in it.
    """
    refuse_place(out)
    manifest = read_manifest(old)
    if manifest.architecture != "SimpleNet":
        raise TrainingError(f"only SimpleNet is tuned on site, not {manifest.architecture}")
    if out.resolve() == old.resolve():
        raise TrainingError(f"{out} is the engine to start from; choose another folder")
    if data.resolve().is_relative_to(out.resolve()):
        raise TrainingError(f"{data} lies in {out}, which would be replaced; choose another folder")
    model = onnx.load_from_string(manifest.read_model("fp32"))
    network = network_from(model, manifest.architecture, len(manifest.classes))
    assert isinstance(network, SimpleNet)
    temperature = temperature_of(model)
    say("read the labelled frames")
    kept, apart = _split(read_labelled_folder(data, manifest.classes))
    tiles, truth, _ = _tiles_of(kept, manifest, data)
    test_tiles, test_truth, test_frames = _tiles_of(apart, manifest, data)
    golden = read_golden(manifest)
    golden_truth = np.array([manifest.classes.index(label) for label in golden.labels])
    say(f"fit the dense layers on {len(tiles)} tiles of {len(truth)} frames")
    count = manifest.sampling.count
    tuned = _fit_head(
        network,
        np.concatenate([tiles, golden.tiles]),
        np.concatenate([truth.repeat(count), golden_truth]),
        seed,
    )
    say("calibrate and export")
    shape = (len(test_frames), count, -1)
    before = by_openvino(to_onnx(network, manifest.sampling.tile, temperature))(test_tiles)
    plain = by_openvino(to_onnx(tuned, manifest.sampling.tile))(test_tiles).reshape(shape)
    answers = _answers(manifest, plain, test_truth, test_frames)
    how = manifest.sampling.join
    if _are_enough(answers, manifest):
        temperature = fit_temperature(answers, how)
    answers = answers.at_temperature(temperature)
    model = to_onnx(tuned, manifest.sampling.tile, temperature)
    figures = measure(answers, how)
    was = replace(answers, tiles=before.reshape(shape)).joined(how)
    changed = _changed(by_openvino(model)(golden.tiles), golden.files, golden.labels, manifest)
    thresholds = _thresholds(answers, manifest, data.name)
    models = {
        "fp32": model,
        "fp16": to_fp16(model),
        "int8": int8_of(
            manifest.architecture,
            model,
            np.concatenate([golden.tiles, _of_all_labels(tiles, seed)]),
            temperature,
        ),
    }
    came = by_openvino(models["int8"])(test_tiles).reshape(shape)
    figures["int8"] = loss_of(replace(answers, tiles=came), answers, how)
    facts = EngineFacts(
        out.name,
        manifest.architecture,
        version,
        tuple(manifest.classes),
        Sampling(manifest.sampling.tile, count, manifest.sampling.where),
        how,
        thresholds,
        {
            "data": f"{len(truth)} labelled frames of {data.name}",
            "licences": [licence],
            "recipe": "dense layers tuned on site, convolutions as they were",
            "started_from": f"{manifest.name} {manifest.version}",
            "before": dict(manifest.training),
            "seed": seed,
            "code_version": code_version(),
        },
        {**figures, "golden_labels_changed": list(changed)},
    )
    old_notice = (old / "NOTICE").read_text(encoding="utf-8") if (old / "NOTICE").is_file() else ""
    own = [
        Candidate(tile, manifest.classes[i], 0, frame.path.name, author, licence)
        for tile, i, frame in zip(test_tiles[::count], test_truth, test_frames, strict=True)
    ]
    inherited = [
        Candidate(tile, label, 0, f"{manifest.name}/{file}", "see below", "see below")
        for tile, label, file in zip(golden.tiles, golden.labels, golden.files, strict=True)
    ]
    write_engine(out, models, facts, own + inherited, least_golden=1)
    if old_notice:
        with (out / "NOTICE").open("a", encoding="utf-8") as file:
            file.write(f"\nOf {manifest.name} {manifest.version}:\n\n{old_notice}")
    accuracy = float((was.argmax(axis=1) == test_truth).mean())
    return Tuned(round(accuracy, 4), figures["accuracy"], changed, figures, thresholds)


def _of_all_labels(tiles: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Some of the tiles, which lie label by label, for the ranges of int8."""
    drawn = np.random.default_rng(seed).permutation(len(tiles))[:_INT8_TILES]
    return tiles[drawn]


def _are_enough(answers: Answers, manifest: Manifest) -> bool:
    """Whether the good frames kept apart can say what so small a share of them is rejected by."""
    good = int((answers.truth == answers.good).sum())
    return good * manifest.thresholds.false_reject_budget >= 1


def _thresholds(answers: Answers, manifest: Manifest, data: str) -> Thresholds:
    """Set on the frames that were kept apart; the old ones where too few of these are good."""
    old = manifest.thresholds
    if _are_enough(answers, manifest):
        return set_thresholds(
            answers,
            answers,
            manifest.sampling.join,
            budget=old.false_reject_budget,
            set_on=f"{len(answers.truth)} frames of {data} that were kept apart, also used for the"
            " bound",
            independent=0,
        )
    good = int((answers.truth == answers.good).sum())
    return Thresholds(
        accept=old.accept,
        reject=dict(old.reject),
        false_reject_budget=old.false_reject_budget,
        false_reject_upper_95=1.0,
        budget_proven=False,
        good_frames_judged=0,
        set_on=f"those of {manifest.name} {manifest.version}, with its temperature: {good} good"
        f" frames of {data} were kept apart, too few for a budget of {old.false_reject_budget:g}",
    )


def _split(frames: Sequence[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Of every label the last quarter by name is kept apart, at least one frame.

    Names count up in time or by scene, so that what is alike lies on one side, where a draw by
    chance would put a frame's own neighbours on the other.
    """
    kept: list[Frame] = []
    apart: list[Frame] = []
    for label in sorted({frame.label for frame in frames}):
        mine = sorted((f for f in frames if f.label == label), key=_natural)
        if len(mine) < _LEAST_FRAMES:
            raise DataError(f"{label}: {len(mine)} frame, but at least {_LEAST_FRAMES} are needed")
        held = max(1, round(_HELD_BACK * len(mine)))
        kept += mine[:-held]
        apart += mine[-held:]
    return kept, apart


def _natural(frame: Frame) -> list[tuple[int, str]]:
    """A key by which `a-9` comes before `a-10`."""
    parts = re.split(r"(\d+)", frame.path.as_posix())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _tiles_of(
    frames: Sequence[Frame], manifest: Manifest, folder: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[Frame]]:
    """All tiles, frame by frame; each frame's column; and the frames that could be used.

    Raises:
        DataError: None could, or too few.
    """
    sampling = manifest.sampling
    tiles, truth, used = [], [], []
    for frame, picture in pictures_of(frames, sampling.tile, folder):
        chosen = tiles_of(
            *picture.shape[:2],
            size=sampling.tile,
            count=sampling.count,
            where=sampling.where,
            picture=picture,
        )
        tiles.append(cut(picture, chosen))
        truth.append(manifest.classes.index(frame.label))
        used.append(frame)
    if not used:
        raise DataError(f"{folder}: none of {len(frames)} pictures can be used")
    return np.concatenate(tiles), np.array(truth), used


def _fit_head(
    network: SimpleNet, tiles: NDArray[np.uint8], truth: NDArray[np.int64], seed: int
) -> SimpleNet:
    """A copy whose dense layers were fitted, pulled towards the old ones."""
    tuned = copy.deepcopy(network)
    features = _features(tuned, tiles)
    answers = torch.from_numpy(truth.astype(np.int64)).repeat(len(_MIRRORED))
    share = 1 / torch.bincount(answers, minlength=int(answers.max()) + 1).clamp(min=1).float()
    chance = torch.Generator().manual_seed(seed)
    old = [p.detach().clone() for p in tuned.head.parameters()]
    optimizer = torch.optim.Adam(tuned.head.parameters(), lr=_RATE)
    tuned.head.train()
    for _ in range(_STEPS):
        batch = torch.multinomial(share[answers], _BATCH, replacement=True, generator=chance)
        loss = functional.cross_entropy(tuned.head(features[batch]), answers[batch])
        pull = sum(((p - o) ** 2).sum() for p, o in zip(tuned.head.parameters(), old, strict=True))
        optimizer.zero_grad()
        (loss + _PULL * pull).backward()
        optimizer.step()
    return tuned.eval()


@torch.no_grad()
def _features(network: SimpleNet, tiles: NDArray[np.uint8]) -> Tensor:
    """(N * views, 256, 4, 4) float32: every tile as it is, then every tile mirrored."""
    parts = []
    for mirrored in _MIRRORED:
        seen = tiles[:, :, ::-1] if mirrored else tiles
        for start in range(0, len(tiles), 16):
            pictures = torch.from_numpy(np.ascontiguousarray(seen[start : start + 16]))
            parts.append(network.features(to_input(pictures) - ZERO))
    return torch.cat(parts).contiguous()


def _answers(
    manifest: Manifest,
    tiles: NDArray[np.float32],
    truth: NDArray[np.int64],
    frames: Sequence[Frame],
) -> Answers:
    return Answers(
        tuple(manifest.classes),
        tiles,
        truth,
        np.zeros(len(truth), dtype=np.int64),
        np.array([frame.source for frame in frames]),
        np.zeros(len(truth), dtype=np.int64),
        np.array([str(frame.path) for frame in frames]),
    )


def _changed(
    came: NDArray[np.float32], files: Sequence[str], labels: Sequence[str], manifest: Manifest
) -> tuple[str, ...]:
    guessed = [manifest.classes[i] for i in came.argmax(axis=1)]
    return tuple(
        f"{file}: {label} became {new}"
        for file, label, new in zip(files, labels, guessed, strict=True)
        if label != new
    )
