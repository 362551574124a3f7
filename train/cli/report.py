"""`report`: several measured networks in one table."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

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
        try:
            figures.append(json.loads(text))
        except ValueError as error:
            raise DataError(
                f"{folder}/figures.json is torn ({error}); run evaluate again"
            ) from error
    _refuse_other_frames(measured, figures)
    answers = load(measured[0] / "answers.npz").even().only(figures[0]["labels"])
    others = [(folder.name, f) for folder, f in zip(measured[1:], figures[1:], strict=True)]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_page(out, measured[0].name, answers, figures[0]["join"], figures[0], others)
    typer.echo(out)


def _refuse_other_frames(measured: list[Path], figures: list[dict[str, Any]]) -> None:
    """Make sure that what stands in one table was counted on the same frames.

    Raises:
        DataError: Two were not; names both.
    """
    asked = [
        Counter(
            Path(file).parts[-2:]
            for file in load(folder / "answers.npz").even().only(known["labels"]).files
        )
        for folder, known in zip(measured, figures, strict=True)
    ]
    for folder, files in zip(measured[1:], asked[1:], strict=True):
        if files != asked[0]:
            raise DataError(
                f"{folder} was asked about {files.total()} frames, {measured[0]} about"
                f" {asked[0].total()}, {(files & asked[0]).total()} of them the same: their figures"
                " cannot stand side by side"
            )
