"""`inspector bench`: how fast and how lean the station is on this machine, against its bounds."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inspector.cli.paths import is_folder
from inspector.engine.load import PrecisionChoice
from inspector.errors import UserError

if TYPE_CHECKING:
    from inspector.bench.figure import Figure

NAMES = ("pipeline", "overload", "decode", "outbox", "idle", "soak")


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help=f"What to measure: {', '.join(NAMES)}. All but soak if not given.",
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="Engine to measure with.")] = "simplenet",
    engines: Annotated[
        Path | None, typer.Option(help="Folder of engine folders; the shipped ones if not given.")
    ] = None,
    precision: Annotated[PrecisionChoice, typer.Option(help="auto: the fastest.")] = "auto",
    seconds: Annotated[float, typer.Option(min=0.05, help="Time for a side of a round.")] = 1.0,
    rounds: Annotated[
        int, typer.Option(min=1, max=1000, help="Times that both sides are measured in turn.")
    ] = 7,
    soak_frames: Annotated[int, typer.Option(min=100, help="Frames of soak.")] = 100_000,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder on the disk to measure; the working folder if not given."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit status 1 if a bound is missed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure speed, freshness and memory of the station on this machine, against its bounds."""
    for name in names or ():
        if name not in NAMES:
            msg = f"there is no measurement {name}, expected one of {', '.join(NAMES)}"
            raise UserError(msg)
    where = folder or Path.cwd()
    if not is_folder(where):
        msg = f"{where} is no folder; give --folder one on the disk to measure"
        raise UserError(msg)
    import structlog

    from inspector.bench.setting import Setting
    from inspector.bench.suite import machine, measure

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    begin = machine()
    figures: list[Figure] = []
    with (
        tempfile.TemporaryDirectory(dir=where, prefix="bench-") as scratch,
        Console(stderr=True).status("measuring …") as status,
    ):
        setting = Setting(
            Path(scratch),
            engine=engine,
            engines=engines,
            precision=precision,
            seconds=seconds,
            rounds=rounds,
            soak_frames=soak_frames,
            say=lambda what: status.update(f"{what} …"),
        )
        figures += measure(names or (), setting)
    answer = {"machine": begin | {"load_1_min_after": machine()["load_1_min"]}}
    if as_json:
        print(json.dumps({**answer, "figures": [f.to_json() for f in figures]}, indent=2))
    else:
        _print(figures, answer["machine"])
    if strict and not all(figure.met for figure in figures):
        raise typer.Exit(1)


def _print(figures: list[Figure], on: dict[str, object]) -> None:
    table = Table(title_justify="left")
    for heading in ("", "measured", "bound", "what", "from"):
        table.add_column(heading, overflow="fold")
    for one in figures:
        sign = "≥" if one.at_least else "≤"
        table.add_row(
            Text(one.word, "green" if one.met else "yellow"),
            Text(f"{one.measured:g} {one.unit}".strip()),
            Text(f"{sign} {one.bound:g} {one.unit}".strip()),
            Text(f"{one.name}: {one.what}"),
            Text(", ".join(f"{name} {value}" for name, value in one.details.items())),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{on['processors']} processors, {on['processor']}; load {on['load_1_min']} at the start, "
        f"{on['load_1_min_after']} at the end; version {on['version']}, {on['date_utc']}"
    )
