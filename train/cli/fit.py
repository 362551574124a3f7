"""`fit`: fit a network on crops made on the fly."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from train.cli.options import FitPrecision, Labels, References, Seed
from train.data.crops import CropSettings
from train.data.references import load_split
from train.data.tiles import sample_tiles
from train.fit import FitSettings
from train.fit import fit as run
from train.labels import label_set
from train.models import ARCHITECTURES, INPUT_SIDES, LEAST_SIDES
from train.models.inceptionresnetv2 import HEAD_DROPOUT
from train.models.simplenet import INPUT_SIDE, PAPER_DROPOUT, PAPER_HEAD_DROPOUT
from train.precision import fastest_precision

Head = Literal["dense", "pooled"]
_USUAL_PRECISION = fastest_precision()
_USUAL_CROP = CropSettings().crop


def fit(
    references: References,
    out: Annotated[Path, typer.Option(help="Logs and checkpoints; a fit begun here goes on.")],
    architecture: Annotated[str, typer.Option(help=f"{' or '.join(ARCHITECTURES)}.")] = "SimpleNet",
    labels: Labels = "all",
    head: Annotated[
        Head | None,
        typer.Option(help="Of SimpleNet: dense (the paper's, the default) or pooled."),
    ] = None,
    dropout: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the published dropout, 0 to 1.")
    ] = 0.0,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint (*.ckpt), ImageNet weights (a file of timm's) or engine of SimpleNet"
            " (its folder) to start from."
        ),
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Start from ImageNet weights; timm fetches them.")
    ] = False,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            help="Part that stays as it is: features (the head alone is fitted) or one layer of it,"
            " as features.0. Can be given several times."
        ),
    ] = None,
    keep_statistics: Annotated[
        bool,
        typer.Option(
            "--keep-statistics",
            help="Keep mean and variance of the batch normalisations: for a short fit of weights"
            " that are good already.",
        ),
    ] = False,
    as_int8: Annotated[
        bool,
        typer.Option(
            "--as-int8",
            help="Round what the layers take to the steps of int8: for a last fit of a network that"
            " loses in int8.",
        ),
    ] = False,
    crop: Annotated[
        int | None,
        typer.Option(
            help=f"Side of a crop in pixels; {INPUT_SIDE} for the dense head, else {_USUAL_CROP}."
        ),
    ] = None,
    region: Annotated[int, typer.Option(help="Side of a distorted region in pixels.")] = 384,
    crops_a_region: Annotated[int, typer.Option(min=1)] = 4,
    anywhere: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of crops cut anywhere, not where there is detail."),
    ] = 0.0,
    recolour: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of regions whose colour channels change places."),
    ] = 0.0,
    batch: Annotated[int, typer.Option(min=1)] = 64,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    smoothing: Annotated[float, typer.Option(help="Label smoothing.")] = 0.03,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Wall time to spend.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps to take.")] = None,
    steps_an_epoch: Annotated[int, typer.Option(min=1, help="A checkpoint after each.")] = 200,
    patience: Annotated[int | None, typer.Option(help="Epochs without gain; stops early.")] = None,
    val_tiles: Annotated[int, typer.Option(min=1)] = 240,
    val_tile: Annotated[
        int | None, typer.Option(help="Side of a validation tile; as the exported network takes.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make crops.")] = 1,
    precision: FitPrecision = _USUAL_PRECISION,
    devices: Annotated[str, typer.Option(help="Lightning's word for them.")] = "auto",
    nodes: Annotated[int, typer.Option(min=1)] = 1,
    seed: Seed = 1,
) -> None:
    """Fit a network; a run that was killed goes on from its last checkpoint when run again."""
    if minutes is None and steps is None:
        raise typer.BadParameter("give --minutes, --steps or both")
    if weights is not None and pretrained:
        raise typer.BadParameter("give --weights or --pretrained, not both")
    model = _model_options(architecture, head, dropout)
    side = val_tile or INPUT_SIDES[architecture]
    dense = model.get("head") == "dense"
    crop = crop or (INPUT_SIDE if dense else _USUAL_CROP)
    if dense and not crop == side == INPUT_SIDE:
        raise typer.BadParameter(
            f"the dense head is made for {INPUT_SIDE} pixels: give --crop {INPUT_SIDE} and no other"
            " --val-tile, or --head pooled"
        )
    least = LEAST_SIDES[architecture]
    if crop < least:
        raise typer.BadParameter(
            f"{architecture} takes crops of {least} pixels at least, not {crop}"
        )
    if crop > region:
        raise typer.BadParameter(f"a crop of {crop} pixels does not fit into a region of {region}")
    names = label_set(labels)
    settings = FitSettings(
        labels=names,
        architecture=architecture,
        model=model,
        crops=CropSettings(
            crop, region, crops_a_region, batch, seed=seed, anywhere=anywhere, recolour=recolour
        ),
        peak_rate=rate,
        smoothing=smoothing,
        frozen=tuple(freeze or ()),
        keep_statistics=keep_statistics,
        as_int8=as_int8,
        steps_an_epoch=steps_an_epoch,
        steps=steps,
        minutes=minutes,
        patience=patience,
        workers=workers,
        precision=precision,
        seed=seed,
    )
    _, pictures = load_split(references, "train", crop)
    val, val_pictures = load_split(references, "val", side)
    validation = sample_tiles(val, val_pictures, names, count=val_tiles, tile=side, seed=seed)
    typer.echo(
        run(
            settings,
            pictures,
            validation,
            out,
            weights=weights,
            pretrained=pretrained,
            devices=devices,
            nodes=nodes,
        )
    )


def _model_options(architecture: str, head: Head | None, dropout: float) -> dict[str, Any]:
    """What the network is built with; each architecture has options of its own."""
    if architecture == "SimpleNet":
        return {
            "head": head or "dense",
            "dropout": tuple(dropout * share for share in PAPER_DROPOUT),
            "head_dropout": dropout * PAPER_HEAD_DROPOUT,
        }
    if architecture not in ARCHITECTURES:
        raise typer.BadParameter(
            f"no architecture {architecture!r}; there are: {', '.join(ARCHITECTURES)}"
        )
    if head is not None:
        raise typer.BadParameter(f"--head is an option of SimpleNet, not of {architecture}")
    return {"head_dropout": dropout * HEAD_DROPOUT}
