"""Golden tiles: the proof, before it serves, that a runtime computes what was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inspector.engine.manifest import (
    Inside,
    Label,
    Precision,
    Probability,
    Sha256,
    plain_yaml,
)
from inspector.engine.tile_ring import TileRing
from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from inspector.engine.manifest import Manifest
    from inspector.engine.runtime import Runtime

TOLERANCE: Mapping[Precision, float] = {"fp32": 0.01, "bf16": 0.03, "fp16": 0.03, "int8": 0.10}
"""Largest difference of a probability from its golden value."""

_ANSWER_WITHIN_S = 120.0


class _Tile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    file: Inside
    sha256: Sha256
    label: Label
    probabilities: tuple[Probability, ...]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1]
    tiles: Annotated[tuple[_Tile, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Golden:
    """The golden tiles of an engine.

    Attributes:
        files: file names, in order.
        labels: the label expected of each.
        tiles: (N, size, size, 3) uint8 BGR, read-only.
        expected: (N, C) float32 probabilities, read-only.
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    tiles: NDArray[np.uint8]
    expected: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Parity:
    """How well a runtime reproduces the golden tiles.

    Attributes:
        gap: largest difference of a probability, at `tile` and `label`: `came`, `expected`.
        changed: sentences, one for each tile whose label changed.
    """

    precision: Precision
    tiles: int
    gap: float
    tolerance: float
    tile: str
    label: str
    came: float
    expected: float
    changed: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the runtime may serve."""
        return self.gap <= self.tolerance and not self.changed

    def explain(self) -> str:
        """What is wrong, in one sentence; or how good it is."""
        if self.changed:
            return f"{len(self.changed)} of {self.tiles} labels changed: " + "; ".join(
                self.changed[:3]
            )
        word = "within" if self.ok else "more than the allowed"
        return (
            f"largest gap {self.gap:.4f} ({self.tile}, {self.label}: came {self.came:.4f}, "
            f"expected {self.expected:.4f}), {word} {self.tolerance:.2f}"
        )


def read_golden(manifest: Manifest) -> Golden:
    """Read the golden tiles, each file with its digest.

    Raises:
        EngineError: a file is missing, another one, or not what the manifest says.
    """
    listing = manifest.golden
    content = manifest.read(listing.path, listing.sha256)
    where = f"engine {manifest.name}: {manifest.folder / listing.path}"
    try:
        document = _Document.model_validate(plain_yaml(content, where))
    except ValidationError as error:
        msg = f"{where} is not a list of golden tiles: {error}"
        raise EngineError(msg) from error
    below = listing.path.rpartition("/")[0]
    size = manifest.sampling.tile
    pictures = []
    for tile in document.tiles:
        if len(tile.probabilities) != len(manifest.classes) or tile.label not in manifest.classes:
            msg = (
                f"{where}: tile {tile.file} has label {tile.label} and {len(tile.probabilities)} "
                f"probabilities, expected one of {len(manifest.classes)} classes"
            )
            raise EngineError(msg)
        path = f"{below}/{tile.file}" if below else tile.file
        data = np.frombuffer(manifest.read(path, tile.sha256), dtype=np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if picture is None or picture.shape != (size, size, 3):
            came = "no picture" if picture is None else f"{picture.shape[1]}x{picture.shape[0]}"
            msg = f"{where}: tile {tile.file} is {came}, expected {size}x{size}"
            raise EngineError(msg)
        pictures.append(picture)
    tiles = np.stack(pictures).astype(np.uint8)
    expected = np.array([tile.probabilities for tile in document.tiles], dtype=np.float32)
    tiles.flags.writeable = expected.flags.writeable = False
    labels = tuple(tile.label for tile in document.tiles)
    return Golden(tuple(tile.file for tile in document.tiles), labels, tiles, expected)


def judge_tiles(runtime: Runtime, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Judge loose tiles on the way that frames take: through a ring, in batches.

    Args:
        runtime: any number of tiles is cut into batches that it takes.
        tiles: (N, size, size, 3) uint8 BGR.

    Returns:
        (N, C) float32.

    Raises:
        EngineError: the runtime failed or did not answer.
    """
    ring = TileRing("tiles", slots=1, tiles=len(tiles), size=tiles.shape[1])
    runtime.map_ring(ring.ring)
    try:
        ring.column(0, len(tiles))[:] = tiles
        refs = ring.refs(0, len(tiles))
        step = runtime.max_batch
        answers = [
            runtime.submit(refs[i : i + step]).result(_ANSWER_WITHIN_S)
            for i in range(0, len(refs), step)
        ]
    except TimeoutError as error:
        info = runtime.info
        msg = f"engine {info.name}: no answer from {info.runtime} in {_ANSWER_WITHIN_S:.0f} s"
        raise EngineError(msg) from error
    finally:
        runtime.unmap_ring(ring.ring.key)
        ring.close()
    return np.concatenate(answers)


def compare(
    manifest: Manifest, golden: Golden, came: NDArray[np.float32], precision: Precision
) -> Parity:
    """Hold answers against the golden ones.

    Args:
        manifest: of the engine that answered.
        golden: its golden tiles.
        came: (N, C) float32 answers; a value that is not a number counts as a gap of 1.
        precision: decides the tolerance.
    """
    gaps = np.nan_to_num(np.abs(came - golden.expected), nan=1.0, posinf=1.0)
    row, column = np.unravel_index(int(gaps.argmax()), gaps.shape)
    labels = [manifest.classes[i] for i in came.argmax(axis=1)]
    changed = tuple(
        f"{file} became {label}, expected {expected}"
        for file, label, expected in zip(golden.files, labels, golden.labels, strict=True)
        if label != expected
    )
    return Parity(
        precision=precision,
        tiles=len(golden.files),
        gap=float(gaps[row, column]),
        tolerance=TOLERANCE[precision],
        tile=golden.files[row],
        label=manifest.classes[column],
        came=float(came[row, column]),
        expected=float(golden.expected[row, column]),
        changed=changed,
    )
