"""`baselines`: fit the classical classifiers and measure them like a network."""

from pathlib import Path
from typing import Annotated

import typer

from train.baselines.classify import BASELINES, fit_baseline
from train.cli.options import Labels, References, Seed
from train.cli.progress import bar
from train.data.frame import thinned
from train.data.labelled import read_set
from train.data.references import list_references, load_references
from train.data.tiles import sample_tiles
from train.labels import label_set
from train.measure.answers import ask
from train.predict import Sampling
from train.report.page import write_measured


def baselines(
    references: References,
    data: Annotated[Path, typer.Option(help="What is measured on: as for evaluate.")],
    out: Annotated[Path, typer.Option(help="A folder for each baseline goes here.")],
    labels: Labels = "all",
    tiles: Annotated[int, typer.Option(min=8, help="Training tiles in all.")] = 4000,
    stride: Annotated[int, typer.Option(min=1, help="Judge one in n frames only.")] = 1,
    seed: Seed = 1,
) -> None:
    """Fit BRISQUE with an SVM, and logistic regression on simple measures; measure both."""
    names = label_set(labels)
    kept, pictures = load_references(list_references(references, "train"), references)
    made, truth = sample_tiles(kept, pictures, names, count=tiles, tile=256, seed=seed)
    frames = thinned([f for f in read_set(data, names) if f.variant == 0], stride)
    for name in BASELINES:
        predictor = fit_baseline(name, made.numpy(), truth.numpy(), len(names))
        with bar(name) as on_progress:
            answers = ask(predictor, frames, names, Sampling(), data, on_progress)
        figures = write_measured(out / name, name, answers, "mean")
        typer.echo(f"{name}: accuracy {figures['accuracy']} {figures['accuracy_95']}")
