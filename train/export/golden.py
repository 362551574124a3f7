"""Golden tiles: tiles that every runtime and precision must answer alike before it may serve.

Only tiles whose references may be handed on under terms that bind nothing else are taken:
public domain, CC0, BSD, MIT or CC-BY. Their authors are named in the engine's NOTICE.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from train.errors import DataError

TILES_A_LABEL = 4
LEAST_MARGIN = 0.3
TOLERANCE = {"fp32": 0.01, "fp16": 0.03, "bf16": 0.03, "int8": 0.10}
"""How far a probability may lie from the golden one, by precision (DESIGN 5.1)."""

_SHARE_OF_TOLERANCE = 0.4
"""A tile is taken only where all runtimes at hand stay within this share of the tolerance: on
processors with other int8 kernels the same file may answer by several hundredths otherwise."""

_FREE = re.compile(r"public-domain|CC0-.*|BSD-.*|Expat|MIT|CC-BY-[0-9.]+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tile that may become golden."""

    tile: NDArray[np.uint8]
    label: str
    severity: int
    reference: str
    author: str
    licence: str


def may_ship(licence: str) -> bool:
    """Whether tiles of a picture under this licence may ship with an engine.

    Example:
        >>> may_ship("CC-BY-4.0"), may_ship("CC-BY-SA-4.0")
        (True, False)
    """
    return _FREE.fullmatch(licence) is not None


def choose(
    candidates: Sequence[Candidate],
    labels: Sequence[str],
    expected: NDArray[np.float32],
    others: Mapping[str, Sequence[NDArray[np.float32]]],
    *,
    each: int = TILES_A_LABEL,
    least: int = TILES_A_LABEL,
) -> list[int]:
    """Choose golden tiles: right by a margin, alike everywhere, of many references, small files.

    Args:
        candidates: Tiles to choose from.
        labels: Class names in the order of the columns.
        expected: (N, C) fp32 answers.
        others: By precision, the answers of other runtimes and files.
        each: Tiles a label.
        least: Fewest that a label may have.

    Returns:
        Numbers of the chosen candidates, label by label.

    Raises:
        DataError: A label has too few fit candidates.
    """
    fit = _fit(candidates, labels, expected, others)
    chosen: list[int] = []
    for label in labels:
        mine = [i for i in np.flatnonzero(fit) if candidates[i].label == label]
        picked = _spread(mine, candidates, each)
        if len(picked) < least:
            raise DataError(
                f"only {len(picked)} of {least} golden tiles for {label}: {len(mine)} candidates"
                f" are right by {LEAST_MARGIN} and alike in all precisions"
            )
        chosen += picked
    return chosen


def _fit(
    candidates: Sequence[Candidate],
    labels: Sequence[str],
    expected: NDArray[np.float32],
    others: Mapping[str, Sequence[NDArray[np.float32]]],
) -> NDArray[np.bool_]:
    truth = np.array([list(labels).index(candidate.label) for candidate in candidates])
    ranked = np.sort(expected, axis=1)
    fit = (expected.argmax(axis=1) == truth) & (ranked[:, -1] - ranked[:, -2] >= LEAST_MARGIN)
    for precision, answers in others.items():
        for answer in answers:
            gap = np.abs(answer - expected).max(axis=1)
            fit &= gap <= _SHARE_OF_TOLERANCE * TOLERANCE[precision]
            fit &= answer.argmax(axis=1) == truth
    return np.asarray(fit, dtype=np.bool_)


def _spread(mine: Sequence[int], candidates: Sequence[Candidate], each: int) -> list[int]:
    """Small files first, but a new severity before one that is there, and a new reference."""
    sizes = {i: len(_png(candidates[i].tile)) for i in mine}
    picked: list[int] = []
    while len(picked) < each and len(picked) < len(mine):
        severities = {candidates[i].severity for i in picked}
        references = {candidates[i].reference for i in picked}
        rest = [i for i in mine if i not in picked]
        picked.append(
            min(
                rest,
                key=lambda i: (
                    candidates[i].reference in references,
                    candidates[i].severity in severities,
                    sizes[i],
                ),
            )
        )
    return picked


def write(
    folder: Path,
    candidates: Sequence[Candidate],
    chosen: Sequence[int],
    expected: NDArray[np.float32],
) -> Path:
    """Write the chosen tiles as PNG with `golden.yaml` beside them, and give its path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for index in chosen:
        candidate = candidates[index]
        number = counts[candidate.label] = counts.get(candidate.label, -1) + 1
        file = f"{candidate.label}-{number}.png"
        data = _png(candidate.tile)
        (folder / file).write_bytes(data)
        rows.append(
            {
                "file": file,
                "sha256": hashlib.sha256(data).hexdigest(),
                "label": candidate.label,
                "probabilities": [round(float(p), 6) for p in expected[index]],
            }
        )
    listing = folder / "golden.yaml"
    listing.write_text(
        yaml.safe_dump({"version": 1, "tiles": rows}, sort_keys=False, default_flow_style=None),
        encoding="utf-8",
    )
    return listing


def _png(tile: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".png", tile, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return data.tobytes()


def notice(candidates: Sequence[Candidate], chosen: Sequence[int]) -> str:
    """Who is to be named for the golden tiles."""
    lines = sorted(
        {
            f"{candidates[i].reference}: {candidates[i].author} ({candidates[i].licence})"
            for i in chosen
        }
    )
    return (
        "The tiles in golden/ were made from these pictures: each was cropped, may have been made"
        "\nsmaller, and was distorted as its label says. Author and licence of each picture:\n\n"
        + "\n".join(f"* {line}" for line in lines)
        + "\n"
    )
