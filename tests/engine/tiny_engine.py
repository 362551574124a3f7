"""A tiny but complete engine folder, made on the spot: small enough to load in milliseconds.

Its eight labels are the eight corners of the colour cube: the network averages a tile's colour and
says which corner it is nearest to. So a test knows what a picture must be called, the probabilities
depend on every pixel, and each precision is a real one: fp16 weights, signed Q/DQ int8.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import onnxruntime
import yaml
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

CLASSES = ("bad_lighting", "fastfading", "gblur", "jp2k", "jpeg", "motion_blur", "refimgs", "wn")
SIZE = 64
_SHARPNESS = 3.0
_WEIGHT_STEPS = 64
"""Of int8: seven bits, right on every processor, as in the engines that ship."""
_CORNERS = np.array([[(k >> bit & 1) * 2 - 1 for bit in range(3)] for k in range(8)], np.float32)


def colour_of(label: str) -> tuple[int, int, int]:
    """The BGR colour that the engine calls `label` with certainty."""
    blue, green, red = (_CORNERS[CLASSES.index(label)] * 90 + 128).astype(int)
    return int(blue), int(green), int(red)


def picture(label: str, height: int = 96, width: int = 128, seed: int = 0) -> NDArray[np.uint8]:
    """A noisy picture that the engine calls `label`: (height, width, 3) uint8 BGR."""
    noise = np.random.default_rng(seed).integers(-30, 31, (height, width, 3))
    return (np.array(colour_of(label)) + noise).clip(0, 255).astype(np.uint8)


def doubtful(one: str, other: str, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """A picture halfway between two labels: (height, width, 3) uint8 BGR."""
    middle = (np.array(colour_of(one)) + np.array(colour_of(other))) // 2
    return np.broadcast_to(middle.astype(np.uint8), (height, width, 3)).copy()


def make(
    folder: Path,
    name: str = "tiny",
    *,
    size: int = SIZE,
    classes: tuple[str, ...] = CLASSES,
    sampling: Mapping[str, Any] | None = None,
    thresholds: Mapping[str, Any] | None = None,
) -> Path:
    """Write the engine `name` into `folder`/`name`.

    Args:
        classes: what the eight corners are called, in order; another order makes an engine that
            says other labels of the same picture.
        sampling, thresholds: keys that replace the usual ones.

    Returns:
        The engine folder.
    """
    home = folder / name
    (home / "golden").mkdir(parents=True)
    for precision, path in _PATHS.items():
        (home / path).write_bytes(_network(size, precision).SerializeToString())
    golden = _golden(home, size, classes)
    document = {
        "manifest": 1,
        "name": name,
        "architecture": "Tiny",
        "version": "0.1.0",
        "classes": list(classes),
        "acceptable": ["refimgs"],
        "input": {
            "name": "image",
            "dtype": "uint8",
            "layout": "NHWC",
            "colour": "BGR",
            "height": size,
            "width": size,
        },
        "output": {"name": "probabilities", "dtype": "float32"},
        "sampling": {"tile": size, "count": 2, "where": "spread", "join": "mean"}
        | dict(sampling or {}),
        "thresholds": {
            "accept": 0.5,
            "reject": {label: 0.8 for label in classes if label != "refimgs"},
            "false_reject_budget": 0.001,
            "false_reject_upper_95": 0.0042,
            "budget_proven": False,
            "good_frames_judged": 700,
            "set_on": "synthetic",
        }
        | dict(thresholds or {}),
        "files": {precision: entry(home, path) for precision, path in _PATHS.items()},
        "golden": {"path": "golden/golden.yaml", "sha256": digest(golden)},
        "training": {"data": "none"},
        "measured": {"accuracy": 1.0},
    }
    write_manifest(home, document)
    return home


_PATHS = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}


def read_document(home: Path) -> dict[str, Any]:
    """The manifest as plain data, to be changed and written again."""
    document: dict[str, Any] = yaml.safe_load((home / "manifest.yaml").read_text())
    return document


def write_manifest(home: Path, document: Mapping[str, Any]) -> None:
    """Write the manifest of an engine folder."""
    (home / "manifest.yaml").write_text(yaml.safe_dump(dict(document), sort_keys=False))


def digest(path: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def entry(home: Path, path: str) -> dict[str, Any]:
    """A manifest's entry for a model file."""
    return {"path": path, "sha256": digest(home / path), "bytes": (home / path).stat().st_size}


def _golden(home: Path, size: int, classes: tuple[str, ...]) -> Path:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(home / "model.onnx"), options)
    tiles = []
    for label in classes:
        for number in range(2):
            path = home / "golden" / f"{label}-{number}.png"
            tile = picture(CLASSES[classes.index(label)], size, size, seed=number)
            cv2.imwrite(str(path), tile)
            (row,) = session.run(None, {"image": tile[None]})[0]
            tiles.append(
                {
                    "file": path.name,
                    "sha256": digest(path),
                    "label": label,
                    "probabilities": [float(p) for p in row],
                }
            )
    listing = home / "golden" / "golden.yaml"
    listing.write_text(yaml.safe_dump({"version": 1, "tiles": tiles}, sort_keys=False))
    return listing


def _network(size: int, precision: str) -> onnx.ModelProto:
    """Cast, NCHW, -1..1, a 3x3 mean of each colour, global mean, nearness to corners, softmax."""
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    kind = np.float16 if precision == "fp16" else np.float32
    tensor_kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT

    def constant(name: str, value: NDArray[Any]) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op: str, *inputs: str, out: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def quantised(name: str, scale: float) -> str:
        if precision != "int8":
            return name
        s = constant(f"{name}_scale", np.array(scale, np.float32))
        z = constant(f"{name}_zero", np.array(0, np.int8))
        q = node("QuantizeLinear", name, s, z, out=f"{name}_q")
        return node("DequantizeLinear", q, s, z, out=f"{name}_dq")

    def weight(name: str, value: NDArray[np.float32]) -> str:
        if precision != "int8":
            return constant(name, value.astype(kind))
        scale = np.abs(value).reshape(len(value), -1).max(axis=1) / _WEIGHT_STEPS
        levels = np.round(value / scale.reshape(-1, 1, 1, 1)).astype(np.int8)
        q = constant(f"{name}_q", levels)
        s = constant(f"{name}_scale", scale.astype(np.float32))
        z = constant(f"{name}_zero", np.zeros(len(value), np.int8))
        return node("DequantizeLinear", q, s, z, out=name, axis=0)

    means = np.zeros((3, 3, 3, 3), np.float32)
    means[range(3), range(3)] = 1 / 9
    x = node("Cast", "image", out="float", to=TensorProto.FLOAT)
    x = node("Transpose", x, out="planes", perm=[0, 3, 1, 2])
    x = node("Sub", x, constant("middle", np.array(128, np.float32)), out="centred")
    x = node("Div", x, constant("span", np.array(90, np.float32)), out="scaled")
    if precision == "fp16":
        x = node("Cast", x, out="half", to=tensor_kind)
    x = node("Conv", quantised(x, 1.5 / 127), weight("means", means), out="colours")
    x = node("GlobalAveragePool", quantised(x, 1.5 / 127), out="colour")
    corners = _CORNERS.reshape(8, 3, 1, 1) * _SHARPNESS
    x = node("Conv", quantised(x, 1.5 / 127), weight("corners", corners), out="nearness")
    if precision == "fp16":
        x = node("Cast", x, out="single", to=TensorProto.FLOAT)
    x = node("Flatten", x, out="logits")
    node("Softmax", x, out="probabilities", axis=1)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", size, size, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 8])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
