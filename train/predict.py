"""Answers of an engine's ONNX file, by either runtime.

ONNX Runtime is the reference that the golden tiles are made by. OpenVINO is faster on a processor
and measures whole sets; that the two agree is checked for every engine.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnxruntime
import openvino
from numpy.typing import NDArray
from onnx import ModelProto

from inspector.engine.tiling import Where, cut, tiles_of
from inspector.engine.unsigned import unsigned
from train.distortions import Picture
from train.export.graph import INPUT

_BATCH = 16

Predictor = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(N, H, W, 3) uint8 BGR to (N, C) float32 probabilities."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Tiles of a frame: side in pixels, how many, and where."""

    tile: int = 256
    count: int = 4
    where: Where = "spread"


def by_onnxruntime(model: ModelProto) -> Predictor:
    """Load a model into ONNX Runtime, on the processor."""
    session = quiet_session(model)
    return lambda tiles: _batched(lambda batch: session.run(None, {INPUT: batch})[0], tiles)


def quiet_session(model: ModelProto) -> onnxruntime.InferenceSession:
    """A model in ONNX Runtime, on the processor, without its advice."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def by_openvino(model: ModelProto, precision: Literal["f32", "bf16"] = "f32") -> Predictor:
    """Load a model into OpenVINO, on the processor, as serving does.

    Args:
        model: Any of an engine's files.
        precision: What it computes in where the file does not say; told explicitly, since its
            default on some processors is bf16.
    """
    core = openvino.Core()
    read = core.read_model(unsigned(model.SerializeToString()), b"")
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda tiles: _batched(
        lambda batch: next(iter(compiled({INPUT: batch}).values())).copy(), tiles
    )


def _batched(
    answer: Callable[[NDArray[np.uint8]], NDArray[np.float32]], tiles: NDArray[np.uint8]
) -> NDArray[np.float32]:
    parts = [answer(tiles[start : start + _BATCH]) for start in range(0, len(tiles), _BATCH)]
    return np.concatenate(parts)


def answers_to_frames(
    predictor: Predictor, frames: Iterable[Picture], sampling: Sampling
) -> Iterator[NDArray[np.float32]]:
    """(count, C) probabilities of each frame's tiles, in the order of the frames."""
    for frame in frames:
        tiles = tiles_of(
            *frame.shape[:2],
            size=sampling.tile,
            count=sampling.count,
            where=sampling.where,
            picture=frame,
        )
        yield predictor(cut(frame, tiles))
