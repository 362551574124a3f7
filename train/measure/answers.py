"""What a network answered to every tile of every frame of a set, kept for all figures after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from inspector.engine.tiling import Join, join
from train.data.frame import Frame
from train.data.labelled import pictures_of
from train.errors import DataError
from train.labels import GOOD
from train.predict import Predictor, Sampling, answers_to_frames
from train.whole import written_whole


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to a set of frames.

    Attributes:
        labels: Class names in the order of the columns.
        tiles: (F, T, C) float32 probabilities.
        truth: (F,) column of each frame's true label.
        severity: (F,) 1 to 5, or 0 where it is not known.
        source: (F,) name of the reference that each frame was made from.
        variant: (F,) 0 but for frames made again with another seed.
        files: (F,) path of each frame.
    """

    labels: tuple[str, ...]
    tiles: NDArray[np.float32]
    truth: NDArray[np.int64]
    severity: NDArray[np.int64]
    source: NDArray[np.str_]
    variant: NDArray[np.int64]
    files: NDArray[np.str_]

    @property
    def good(self) -> int:
        """Column of the good label."""
        return self.labels.index(GOOD)

    def joined(self, how: Join) -> NDArray[np.float32]:
        """(F, C) probabilities of the frames."""
        return np.stack([join(tiles, how, [self.good]) for tiles in self.tiles])

    def where(self, mask: NDArray[np.bool_]) -> "Answers":
        """Only some of the frames."""
        return Answers(
            self.labels,
            self.tiles[mask],
            self.truth[mask],
            self.severity[mask],
            self.source[mask],
            self.variant[mask],
            self.files[mask],
        )

    def even(self) -> "Answers":
        """Only the first variant: labels and severities equally often."""
        return self.where(self.variant == 0)

    def only(self, labels: Sequence[str]) -> "Answers":
        """Frames of some labels, answered as if the network had no others.

        The probabilities of the labels that are left are made to sum to 1 again.

        Raises:
            DataError: The network does not have one of them, or no frame has any.
        """
        missing = [label for label in labels if label not in self.labels]
        if missing:
            raise DataError(
                f"the network has no {', '.join(missing)}; it has {', '.join(self.labels)}"
            )
        columns = [self.labels.index(label) for label in labels]
        some = self.where(np.isin(self.truth, columns))
        if not len(some.truth):
            raise DataError(f"none of {len(self.truth)} frames has a label of {', '.join(labels)}")
        tiles = some.tiles[:, :, columns]
        total = np.clip(tiles.sum(axis=2, keepdims=True), 1e-12, None)
        truth = np.array([columns.index(column) for column in some.truth], dtype=np.int64)
        return Answers(
            tuple(labels),
            (tiles / total).astype(np.float32),
            truth,
            some.severity,
            some.source,
            some.variant,
            some.files,
        )

    def at_temperature(self, temperature: float) -> "Answers":
        """The answers that the same network gives with its logits divided by a temperature.

        The answers at hand must come from temperature 1.
        """
        powered = np.clip(self.tiles.astype(np.float64), 1e-12, 1) ** (1 / temperature)
        tiles = (powered / powered.sum(axis=2, keepdims=True)).astype(np.float32)
        return Answers(
            self.labels, tiles, self.truth, self.severity, self.source, self.variant, self.files
        )


def ask(
    predictor: Predictor,
    frames: Sequence[Frame],
    labels: Sequence[str],
    sampling: Sampling,
    folder: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Answers:
    """Ask a network about every frame of a set.

    Frames of labels that the network does not have are passed over.

    Raises:
        DataError: More than 1 % of the frames cannot be read or are smaller than a tile, or none
            is left.
    """
    wanted = [frame for frame in frames if frame.label in labels]
    kept: list[Frame] = []
    tiles: list[NDArray[np.float32]] = []
    for frame, picture in pictures_of(wanted, sampling.tile, folder):
        tiles.append(next(answers_to_frames(predictor, [picture], sampling)))
        kept.append(frame)
        on_progress(len(kept), len(wanted))
    if not kept:
        raise DataError(f"{folder}: none of {len(frames)} pictures can be judged")
    return Answers(
        tuple(labels),
        np.stack(tiles),
        np.array([list(labels).index(frame.label) for frame in kept]),
        np.array([frame.severity for frame in kept]),
        np.array([frame.source for frame in kept]),
        np.array([frame.variant for frame in kept]),
        np.array([str(frame.path) for frame in kept]),
    )


def save(answers: Answers, path: Path) -> None:
    """Write answers to an .npz file, whole or not at all."""
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            labels=np.array(answers.labels),
            tiles=answers.tiles,
            truth=answers.truth,
            severity=answers.severity,
            source=answers.source,
            variant=answers.variant,
            files=answers.files,
        )


def load(path: Path) -> Answers:
    """Read answers that `save` wrote.

    Raises:
        DataError: There are none, or they are torn.
    """
    try:
        stored = np.load(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; run evaluate first") from error
    except (ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is torn ({error}); run evaluate again") from error
    with stored:
        return Answers(
            tuple(str(label) for label in stored["labels"]),
            *(stored[k] for k in ("tiles", "truth", "severity", "source", "variant", "files")),
        )
