"""The two networks, each with the pictures that it takes, ready to be fitted by epochs."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.claim import claim
from train.models.folding import folded
from train.models.inceptionresnetv2 import IMAGENET, InceptionResNetV2
from train.models.simplenet import SimpleNet
from train.paper.facts import INCEPTION, SIMPLENET
from train.paper.fitting import Batch
from train.paper.pictures import Progress, Side
from train.pixels import to_input
from train.whole import written_whole

FROM_SCRATCH = "none: all layers are fitted"
_BATCH = 16
_START = "start.txt"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A network and what it is fitted on.

    Attributes:
        name: The paper's name of the network.
        network: What is fitted, from `train` and `test` to logits.
        train: Inputs and label numbers.
        test: The same of the test side.
        parameters: Parameters of the whole network at inference.
        weights: The weights that it starts from, in words.
        spent_s: Seconds of preparation that count as training.
    """

    name: str
    network: nn.Module
    train: Batch
    test: Batch
    parameters: int
    weights: str
    spent_s: float = 0.0


def simplenet(classes: int, *, plain: bool = False) -> SimpleNet:
    """The paper's layers with the paper's dropout; `plain` leaves batch normalisation out.

    Example:
        >>> sum(p.numel() for p in folded(simplenet(6)).parameters())
        1425606
    """
    return SimpleNet(classes, normalised=not plain)


def prepare_simplenet(train: Side, test: Side, classes: int, *, seed: int, plain: bool) -> Prepared:
    """SimpleNet with weights drawn by the seed, on pictures of 256x256."""
    torch.manual_seed(seed)
    network = simplenet(classes, plain=plain)
    return Prepared(
        SIMPLENET,
        network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        _batch(train),
        _batch(test),
        _count(folded(network)),
        "none: drawn by the seed",
    )


def prepare_inception(
    train: Side,
    test: Side,
    classes: int,
    folder: Path,
    *,
    seed: int,
    weights: Path | None = None,
    from_scratch: bool = False,
    on_progress: Progress = lambda done, total: None,
) -> Prepared:
    """InceptionResNetV2: its top on stored features, or all of it from scratch.

    With everything but the top frozen, running means of the normalisations included, a picture
    gives the same features in every epoch: they are computed once and kept in `folder`.

    Raises:
        WeightsError: The ImageNet weights cannot be had or do not fit.
        DataError: The folder was begun with other weights.
    """
    torch.manual_seed(seed)
    network = InceptionResNetV2(classes)
    parameters = _count(network)
    if from_scratch:
        claim(folder / _START, FROM_SCRATCH)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Prepared(INCEPTION, network, _batch(train), _batch(test), parameters, FROM_SCRATCH)
    network.start_from_imagenet(weights)
    start = f"{IMAGENET} of timm" if weights is None else f"{weights.name}, sha256 {_of(weights)}"
    claim(folder / _START, start)
    top = network.head[-1]
    network.head[-1] = nn.Identity()
    features, spent_s = _features(network, train, test, folder, on_progress)
    return Prepared(
        INCEPTION,
        top,
        (features["train"], torch.from_numpy(train.truth)),
        (features["test"], torch.from_numpy(test.truth)),
        parameters,
        start,
        spent_s,
    )


def _features(
    body: nn.Module, train: Side, test: Side, folder: Path, on_progress: Progress
) -> tuple[dict[str, Tensor], float]:
    """(N, 1536) float32 features of both sides, and the seconds that they took."""
    file = folder / "features.npz"
    if not file.exists():
        began = time.monotonic()
        pixels = np.concatenate([train.pixels, test.pixels])
        found = np.split(_answers(body, pixels, on_progress), [len(train.pixels)])
        spent_s = time.monotonic() - began
        with written_whole(file) as partial, partial.open("wb") as content:
            np.savez(content, train=found[0], test=found[1], spent_s=spent_s)
    with np.load(file) as stored:
        features = {side: torch.from_numpy(stored[side]) for side in ("train", "test")}
        return features, float(stored["spent_s"])


@torch.inference_mode()
def _answers(
    body: nn.Module, pixels: NDArray[np.uint8], on_progress: Progress
) -> NDArray[np.float32]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    body = body.eval().to(device)
    parts = []
    for first in range(0, len(pixels), _BATCH):
        pictures = torch.from_numpy(pixels[first : first + _BATCH]).to(device)
        parts.append(body(to_input(pictures)).float().cpu().numpy())
        on_progress(min(first + _BATCH, len(pixels)), len(pixels))
    return np.concatenate(parts)


def _batch(side: Side) -> Batch:
    return torch.from_numpy(side.pixels), torch.from_numpy(side.truth)


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
