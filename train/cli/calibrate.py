"""`calibrate`: set the thresholds of an engine again, on other frames or for another budget."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import onnx
import typer
import yaml

from inspector.engine.manifest import read_manifest
from train.cli.options import Budget, Engine, TestSet, ValSet
from train.cli.progress import bar
from train.data.frame import Frame
from train.data.labelled import MANIFEST, read_set
from train.measure.answers import ask
from train.measure.calibration import DEFAULT_BUDGET, refuse_shared, set_thresholds
from train.predict import Sampling, by_openvino
from train.whole import written_whole


def calibrate(
    engine: Engine,
    val_set: ValSet,
    test_set: TestSet,
    set_on: Annotated[str, typer.Option(help="The data, in words, for the manifest.")],
    budget: Budget = DEFAULT_BUDGET,
    independent: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Good scenes of --test-set that are independent of one another; of a made set its"
            " references, of other pictures nobody knows, and then none.",
        ),
    ] = None,
) -> None:
    """Set thresholds on one set, bound their false rejects on another, write the manifest.

    The files and the temperature inside them stay as they are.
    """
    manifest = read_manifest(engine)
    sampling = Sampling(manifest.sampling.tile, manifest.sampling.count, manifest.sampling.where)
    predictor = by_openvino(onnx.load_from_string(manifest.read_model("fp32")))
    read = [(folder, read_set(folder, manifest.classes)) for folder in (val_set, test_set)]
    setting_made, made = ((folder / MANIFEST).is_file() for folder, _ in read)
    _refuse_shared(*(frames for _, frames in read), by_reference=setting_made and made)
    answers = []
    for folder, frames in read:
        with bar(folder.name) as on_progress:
            answers.append(ask(predictor, frames, manifest.classes, sampling, folder, on_progress))
    setting, checking = answers
    if independent is None:
        independent = len(set(checking.source.tolist())) if made else 0
    thresholds = set_thresholds(
        setting,
        checking,
        manifest.sampling.join,
        budget=budget,
        set_on=set_on,
        independent=independent,
    )
    path = engine / "manifest.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["thresholds"] = asdict(thresholds)
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=100)
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
    typer.echo(
        f"accept {thresholds.accept}, reject {thresholds.reject}; at most"
        f" {thresholds.false_reject_upper_95:.2%} of good frames rejected (95 %),"
        f" budget proven: {thresholds.budget_proven}"
    )


def _refuse_shared(
    setting: Sequence[Frame], checking: Sequence[Frame], *, by_reference: bool
) -> None:
    """By their references, where both sets tell them; else by what is in the files."""
    if by_reference:
        refuse_shared((f.source for f in setting), (f.source for f in checking), "references")
        return
    ours, theirs = (
        {_digest(f.path): str(f.path) for f in frames} for frames in (setting, checking)
    )
    shared = ours.keys() & theirs.keys()
    refuse_shared((ours[one] for one in shared), (ours[one] for one in shared), "pictures")


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
