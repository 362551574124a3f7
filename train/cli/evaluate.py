"""`evaluate`: measure an engine on a made set or a labelled folder."""

from pathlib import Path
from typing import Annotated

import onnx
import typer

from inspector.engine.manifest import FilePrecision, read_manifest
from train.cli.options import Engine
from train.cli.progress import bar
from train.data.frame import thinned
from train.data.labelled import read_set
from train.labels import label_set
from train.measure.answers import ask
from train.predict import Sampling, by_onnxruntime, by_openvino
from train.report.page import write_measured


def evaluate(
    engine: Engine,
    data: Annotated[Path, typer.Option(help="Made set, LIVE release 2, or LABEL/*.png.")],
    out: Annotated[Path, typer.Option(help="Where figures, answers and report go.")],
    precision: Annotated[FilePrecision, typer.Option(help="Which of its files.")] = "fp32",
    labels: Annotated[
        str | None,
        typer.Option(help="Count these labels only: table1, abstract or all; the engine's."),
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Judge one in n frames only.")] = 1,
    reference: Annotated[bool, typer.Option(help="By ONNX Runtime, not OpenVINO.")] = False,
) -> None:
    """Measure an engine: figures.json, answers.npz, report.html."""
    manifest = read_manifest(engine)
    model = onnx.load_from_string(manifest.read_model(precision))
    load = by_onnxruntime if reference else by_openvino
    sampling = Sampling(manifest.sampling.tile, manifest.sampling.count, manifest.sampling.where)
    frames = thinned(read_set(data, manifest.classes), stride)
    out.mkdir(parents=True, exist_ok=True)  # now, and not after all frames are judged
    with bar("frames") as on_progress:
        answers = ask(load(model), frames, manifest.classes, sampling, data, on_progress)
    even = answers.even()
    if labels is not None:
        even = even.only(label_set(labels))
    title = f"{manifest.name} {manifest.version} ({precision}) on {data.name}"
    figures = write_measured(out, title, answers, manifest.sampling.join, counted=even)
    typer.echo(f"accuracy {figures['accuracy']} {figures['accuracy_95']}; {out / 'report.html'}")
