"""`average`: the mean of the weights before and after a fit."""

from pathlib import Path
from typing import Annotated

import typer

from train.average import between
from train.checkpoints import save_weights
from train.cli.options import References
from train.data.references import load_split
from train.fit import settings_of


def average(
    engine: Annotated[Path, typer.Option(help="Engine folder that the fit started from.")],
    checkpoint: Annotated[Path, typer.Option(help="Of that fit, with --keep-statistics.")],
    references: References,
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")],
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the engine in the mean.")] = 0.5,
) -> None:
    """Average what a fit started from and what it came to; `export` may then ship it."""
    _, pictures = load_split(references, "train", settings_of(checkpoint).crops.crop)
    save_weights(between(engine, checkpoint, pictures, share), out)
    typer.echo(f"{out}: {share:.0%} of {engine}, {1 - share:.0%} of {checkpoint}")
