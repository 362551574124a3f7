"""`evidence`: lay a station's evidence out by label, to be checked and tuned on."""

from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import Labels
from train.data.evidence import lay_out, read_evidence
from train.labels import label_set


def evidence(
    events: Annotated[Path, typer.Option(help="What `inspector events list --json` printed.")],
    folder: Annotated[Path, typer.Option(help="The station's evidence folder.")],
    out: Annotated[Path, typer.Option(help="LABEL/*, to be checked, then given to finetune.")],
    labels: Labels = "all",
) -> None:
    """Copy judged frames into folders by the station's verdict; a person moves the wrong ones."""
    copied = lay_out(read_evidence(events, folder, label_set(labels)), out)
    typer.echo(
        f"{out}: {', '.join(f'{n} {label}' for label, n in copied.items()) or 'nothing new'}"
    )
    typer.echo("move the frames whose label is wrong, then run finetune on the folder")
