"""`generate`: make a set of distorted frames."""

from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import Labels, References, Seed
from train.cli.progress import bar
from train.data.references import SMALLEST_SIDE
from train.generate import SetSettings
from train.generate import generate as make
from train.labels import label_set


def generate(
    references: References,
    out: Annotated[Path, typer.Option(help="Where the set goes; a set begun here goes on.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    labels: Labels = "all",
    variants: Annotated[int, typer.Option(min=1, help="Frames a label and severity.")] = 1,
    good_variants: Annotated[
        int | None, typer.Option(min=1, help="The same for refimgs, where it differs.")
    ] = None,
    smallest_side: Annotated[
        int, typer.Option(min=SMALLEST_SIDE, help="Of a frame, in pixels; an engine's tile.")
    ] = SMALLEST_SIDE,
    processes: Annotated[int | None, typer.Option(min=1, help="At once; default all.")] = None,
    seed: Seed = 1,
) -> None:
    """Make every reference of a split with every label at every severity."""
    settings = SetSettings(split, label_set(labels), variants, good_variants, seed, smallest_side)
    with bar("frames") as on_progress:
        manifest = make(references, settings, out, processes=processes, on_progress=on_progress)
    typer.echo(manifest)
