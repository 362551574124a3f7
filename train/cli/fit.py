"""`fit`: fit a network on crops made on the fly."""

from pathlib import Path
from typing import Annotated, Any

import typer

from train.cli.options import Labels, References, Seed
from train.data.crops import CropSettings
from train.data.references import list_references, load_references
from train.data.tiles import sample_tiles
from train.fit import FitSettings
from train.fit import fit as run
from train.labels import label_set
from train.models.simplenet import PAPER_DROPOUT, PAPER_HEAD_DROPOUT


def fit(
    references: References,
    out: Annotated[Path, typer.Option(help="Logs and checkpoints; a fit begun here goes on.")],
    labels: Labels = "all",
    head: Annotated[str, typer.Option(help="dense (the paper's) or pooled.")] = "dense",
    dropout: Annotated[float, typer.Option(help="Share of the paper's dropout, 0 to 1.")] = 0.0,
    weights: Annotated[Path | None, typer.Option(help="Checkpoint to start from.")] = None,
    freeze: Annotated[bool, typer.Option(help="Fit the head alone.")] = False,
    crop: Annotated[int, typer.Option(help="Side of a crop in pixels.")] = 128,
    region: Annotated[int, typer.Option(help="Side of a distorted region in pixels.")] = 384,
    crops_a_region: Annotated[int, typer.Option(min=1)] = 4,
    batch: Annotated[int, typer.Option(min=1)] = 64,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    smoothing: Annotated[float, typer.Option(help="Label smoothing.")] = 0.03,
    minutes: Annotated[float | None, typer.Option(help="Wall time to spend.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps to take.")] = None,
    steps_an_epoch: Annotated[int, typer.Option(min=1, help="A checkpoint after each.")] = 200,
    patience: Annotated[int | None, typer.Option(help="Epochs without gain; stops early.")] = None,
    val_tiles: Annotated[int, typer.Option(min=1)] = 240,
    workers: Annotated[int, typer.Option(help="Processes that make crops.")] = 1,
    precision: Annotated[str, typer.Option(help="Lightning's word for it.")] = "bf16-mixed",
    devices: Annotated[str, typer.Option(help="Lightning's word for them.")] = "auto",
    nodes: Annotated[int, typer.Option(min=1)] = 1,
    seed: Seed = 1,
) -> None:
    """Fit SimpleNet; a run that was killed goes on from its last checkpoint when run again."""
    if minutes is None and steps is None:
        raise typer.BadParameter("give --minutes, --steps or both")
    names = label_set(labels)
    model: dict[str, Any] = {
        "head": head,
        "dropout": tuple(dropout * share for share in PAPER_DROPOUT),
        "head_dropout": dropout * PAPER_HEAD_DROPOUT,
    }
    settings = FitSettings(
        labels=names,
        model=model,
        crops=CropSettings(crop, region, crops_a_region, batch, seed=seed),
        peak_rate=rate,
        smoothing=smoothing,
        frozen=("features",) if freeze else (),
        steps_an_epoch=steps_an_epoch,
        steps=steps,
        minutes=minutes,
        patience=patience,
        workers=workers,
        precision=precision,
        seed=seed,
    )
    _, pictures = load_references(list_references(references, "train"), references)
    val, val_pictures = load_references(list_references(references, "val"), references)
    validation = sample_tiles(val, val_pictures, names, count=val_tiles, tile=256, seed=seed)
    typer.echo(
        run(settings, pictures, validation, out, weights=weights, devices=devices, nodes=nodes)
    )
