"""`paper`: reproduce the paper that the networks come from."""

from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import FitPrecision, Seed
from train.cli.progress import bar
from train.errors import DataError
from train.paper.fitting import EpochSettings
from train.paper.run import FIGURES, reproduce
from train.paper.settings import PaperSettings

_USUAL = EpochSettings()


def paper(
    out: Annotated[Path, typer.Option(help="Pictures, checkpoints, report; goes on if begun.")],
    references: Annotated[
        Path | None, typer.Option(help="Folder of pristine pictures to make the set from.")
    ] = None,
    live: Annotated[
        Path | None, typer.Option(help="LIVE release 2; its pictures are taken first.")
    ] = None,
    epochs: Annotated[str, typer.Option(help="When to measure; the last one ends.")] = "50,300",
    pictures: Annotated[float, typer.Option(help="Share of the paper's 1,165, 0 to 1.")] = 1.0,
    weights: Annotated[
        Path | None, typer.Option(help="ImageNet weights of InceptionResNetV2, as timm has them.")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option(help="Fit all of InceptionResNetV2, without ImageNet weights.")
    ] = False,
    plain: Annotated[
        bool, typer.Option(help="SimpleNet without batch normalisation in training.")
    ] = False,
    native: Annotated[
        bool, typer.Option(help="The middle of each frame as it is, not the whole one resized.")
    ] = False,
    rate: Annotated[float, typer.Option(help="Adam's, in every epoch.")] = _USUAL.rate,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a step.")] = _USUAL.batch,
    precision: FitPrecision = _USUAL.precision,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Pictures made at once; default all processors.")
    ] = None,
    seed: Seed = 1,
) -> None:
    """Make the paper's set, fit both networks its way, and write its tables and figures."""
    fit = EpochSettings(_numbers(epochs), rate, batch, precision, seed)
    settings = PaperSettings(fit, pictures, plain, weights, from_scratch, native=native)
    page = reproduce(references, live, out, settings, processes=processes, say=typer.echo, bar=bar)
    typer.echo(f"{page}, {page.with_name(FIGURES)}")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise DataError(
            f"--epochs takes numbers with commas, such as 50,300, not {text!r}"
        ) from None
