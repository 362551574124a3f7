"""`joins`: ways to make one answer out of a frame's tiles, in one table."""

from pathlib import Path
from typing import Annotated

import typer

from train.measure.answers import load
from train.measure.joins import compare


def joins(
    val: Annotated[Path, typer.Option(help="Folder of evaluate on the val set.")],
    test: Annotated[Path, typer.Option(help="The same on the test set.")],
    budget: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of the val set's good frames rejected.")
    ] = 0.01,
) -> None:
    """Compare ways to join a frame's tiles, on answers that evaluate has kept."""
    typer.echo("| join | accuracy | good frames rejected | others rejected |")
    typer.echo("| --- | --- | --- | --- |")
    for way in compare(load(val / "answers.npz"), load(test / "answers.npz"), budget):
        typer.echo(
            f"| {way.name} | {way.accuracy:.1%} | {way.false_rejects:.1%} | {way.rejects:.1%} |"
        )
