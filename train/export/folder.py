"""The engine folder: written whole beside its place, then moved there.

The contract is DESIGN 5.1; the manifest is checked by the reader that serves it.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import ModelProto

from inspector.engine.derive import derived
from inspector.engine.manifest import MANIFEST, NAME_PATTERN, read_manifest
from inspector.engine.tiling import Join
from train.errors import DataError
from train.export import golden
from train.export.graph import INPUT, OUTPUT
from train.labels import GOOD
from train.measure.calibration import Thresholds
from train.predict import Sampling, by_onnxruntime, by_openvino

FILES = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the manifest says besides the files."""

    name: str
    architecture: str
    version: str
    labels: tuple[str, ...]
    sampling: Sampling
    join: Join
    thresholds: Thresholds
    training: Mapping[str, Any]
    measured: Mapping[str, Any] = field(default_factory=dict)


def write_engine(
    folder: Path,
    models: Mapping[str, ModelProto],
    facts: EngineFacts,
    candidates: Sequence[golden.Candidate],
    *,
    least_golden: int = golden.TILES_A_LABEL,
) -> Path:
    """Write an engine folder, replacing the one that is there.

    Args:
        folder: `engines/NAME`.
        models: By precision: fp32, fp16, int8. Where int8 comes alone the others are derived from
            it: they are in the manifest, but not in the folder.
        facts: The rest of the manifest.
        candidates: Tiles to choose the golden ones from.
        least_golden: Fewest golden tiles that a label may have.

    Returns:
        The manifest.

    Raises:
        DataError: Too few golden tiles that all precisions answer alike; no place for an engine.
        EngineError: The manifest does not keep to its contract.
    """
    refuse_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
        place = Path(made) / folder.name
        place.mkdir()
        contents = _contents(models)
        files = {key: _entry(key, data, models) for key, data in contents.items()}
        for key in models:
            (place / FILES[key]).write_bytes(contents[key])
        whole = {key: onnx.load_from_string(data) for key, data in contents.items()}
        listing = _write_golden(place, whole, facts.labels, candidates, least_golden)
        document = _document(facts, files, listing)
        (place / "manifest.yaml").write_text(
            yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=100),
            encoding="utf-8",
        )
        read_manifest(place)
        old = Path(made) / "old"
        if folder.exists():
            folder.rename(old)
        place.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    return folder / "manifest.yaml"


def refuse_place(folder: Path) -> None:
    """Make sure that an engine can be written there: what it replaces is deleted.

    Raises:
        DataError: Something else than an engine lies there, or its name is no engine's.
    """
    if not re.fullmatch(NAME_PATTERN, folder.name):
        raise DataError(
            f"{folder.name!r} is no name for an engine: small letters, digits and dashes"
        )
    free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not (free or (folder / MANIFEST).is_file()):
        raise DataError(
            f"{folder} is there and is no engine: it would be deleted; choose another --out"
        )


def _contents(models: Mapping[str, ModelProto]) -> dict[str, bytes]:
    contents = {key: model.SerializeToString() for key, model in models.items()}
    if contents.keys() != {"int8"}:
        return contents
    int8 = contents["int8"]
    return {"fp32": derived(int8, "fp32"), "fp16": derived(int8, "fp16"), "int8": int8}


def _entry(key: str, data: bytes, models: Mapping[str, ModelProto]) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    entry = {"path": FILES[key], "sha256": digest, "bytes": len(data)}
    return entry if key in models else {**entry, "derived_from": "int8"}


def _write_golden(
    place: Path,
    models: Mapping[str, ModelProto],
    labels: Sequence[str],
    candidates: Sequence[golden.Candidate],
    least: int,
) -> Path:
    tiles = np.stack([candidate.tile for candidate in candidates])
    expected, others = answers_everywhere(models, tiles)
    chosen = golden.choose(candidates, labels, expected, others, least=least)
    (place / "NOTICE").write_text(golden.notice(candidates, chosen), encoding="utf-8")
    return golden.write(place / "golden", candidates, chosen, expected)


def answers_everywhere(
    models: Mapping[str, ModelProto], tiles: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], dict[str, list[NDArray[np.float32]]]]:
    """The fp32 answers, and by precision those of every other file and runtime at hand."""
    expected = by_onnxruntime(models["fp32"])(tiles)
    others = {
        "fp32": [by_openvino(models["fp32"])(tiles)],
        "bf16": [by_openvino(models["fp32"], "bf16")(tiles)],
    }
    for precision in ("fp16", "int8"):
        if precision in models:
            model = models[precision]
            others[precision] = [by_onnxruntime(model)(tiles), by_openvino(model)(tiles)]
    return expected, others


def _document(
    facts: EngineFacts, files: Mapping[str, dict[str, Any]], listing: Path
) -> dict[str, Any]:
    tile = facts.sampling.tile
    return {
        "manifest": 1,
        "name": facts.name,
        "architecture": facts.architecture,
        "version": facts.version,
        "classes": list(facts.labels),
        "acceptable": [GOOD],
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "layout": "NHWC",
            "colour": "BGR",
            "height": tile,
            "width": tile,
        },
        "output": {"name": OUTPUT, "dtype": "float32"},
        "sampling": {**asdict(facts.sampling), "join": facts.join},
        "thresholds": asdict(facts.thresholds),
        "files": dict(files),
        "golden": {
            "path": f"golden/{listing.name}",
            "sha256": hashlib.sha256(listing.read_bytes()).hexdigest(),
        },
        "training": dict(facts.training),
        "measured": dict(facts.measured),
    }
