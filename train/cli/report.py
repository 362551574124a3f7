"""`report`: several measured networks in one table."""

import json
from pathlib import Path
from typing import Annotated

import typer

from train.errors import DataError
from train.measure.answers import load
from train.report.page import write_page


def report(
    measured: Annotated[
        list[Path], typer.Argument(help="Folders of evaluate; the first is shown in full.")
    ],
    out: Annotated[Path, typer.Option(help="The HTML page.")],
) -> None:
    """Write one page that shows the first network in full and the others beside it."""
    figures = []
    for folder in measured:
        try:
            text = (folder / "figures.json").read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(f"{folder}: {error.strerror}; run evaluate first") from error
        figures.append(json.loads(text))
    answers = load(measured[0] / "answers.npz").even().only(figures[0]["labels"])
    others = [(folder.name, f) for folder, f in zip(measured[1:], figures[1:], strict=True)]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_page(out, measured[0].name, answers, figures[0]["join"], figures[0], others)
    typer.echo(out)
