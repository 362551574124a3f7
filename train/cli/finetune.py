"""`finetune`: tune an engine on pictures labelled on site."""

from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import Seed
from train.finetune import finetune as tune


def finetune(
    start: Annotated[Path, typer.Option("--from", help="Engine folder to start from.")],
    data: Annotated[Path, typer.Option(help="Labelled pictures, LABEL/*.png.")],
    out: Annotated[Path, typer.Option(help="The new engine folder.")],
    version: Annotated[str, typer.Option(help="Version of the new engine.")] = "0.1.0",
    licence: Annotated[str, typer.Option(help="Of the site's pictures.")] = "proprietary",
    author: Annotated[str, typer.Option(help="Whom to name for them.")] = "the site",
    seed: Seed = 1,
) -> None:
    """Tune the dense layers, write a new engine folder, and name what changed."""
    tuned = tune(
        start, data, out, version=version, licence=licence, author=author, seed=seed, say=typer.echo
    )
    typer.echo(f"accuracy on frames kept apart: {tuned.before} before, {tuned.after} after")
    lost, count = (tuned.figures["int8"][key] for key in ("tile_accuracy_lost", "tiles"))
    typer.echo(f"int8 costs {100 * lost:.2f} points of accuracy on their {count} tiles")
    typer.echo(f"thresholds: set on {tuned.thresholds.set_on}")
    typer.echo(f"golden tiles of {start.name} whose label changed: {len(tuned.changed)}")
    for sentence in tuned.changed:
        typer.echo(f"  {sentence}")
