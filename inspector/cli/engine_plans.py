"""What `inspector engines` does with TensorRT plans: where they lie, how one is built and shown."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from inspector.errors import EngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from inspector.config.station import Engine as EngineSection
    from inspector.engine.load import Engine, PrecisionChoice
    from inspector.engine.plans.engine_plans import EnginePlans
    from inspector.engine.plans.key import PlanKey
    from inspector.engine.plans.overview import Row
    from inspector.engine.plans.request import Stage
    from inspector.engine.plans.store import Plans

StationFile = Annotated[
    Path | None,
    typer.Option(
        "--station", help="Station file: its engines and settings, and where its plans are."
    ),
]
PlansFolder = Annotated[
    Path | None, typer.Option("--plans", help="Folder of TensorRT plans, without a station file.")
]
MaxBatch = Annotated[
    int | None, typer.Option(min=1, max=256, help="Most tiles at once that a plan is for; 16.")
]
Device = Annotated[int | None, typer.Option(min=0, help="Number of the GPU; 0.")]

SAY_EVERY_S = 10.0
"""Where there is no terminal for a bar, progress is a line this often."""


@dataclass(frozen=True, slots=True)
class Place:
    """The plans of a station, or of a folder.

    Attributes:
        engines: their names, by what the user asked for.
        asked: how they are to run.
    """

    store: Plans
    engines: tuple[str, ...]
    asked: EngineSection

    def plans(self) -> Iterator[EnginePlans]:
        """The plans of each engine on this box. Raises EngineError where TensorRT cannot run."""
        from inspector.engine.best import plans_here

        for name in self.engines:
            yield plans_here(name, self.asked, self.store)


def asked_of(station: Path | None, plans: Path | None) -> tuple[EngineSection, Plans | None]:
    """What is asked of engines, and where plans lie; None where the user names no place.

    Raises:
        UserError: the file is wrong, or both places are named.
    """
    from inspector.config.load import load_station
    from inspector.config.state import state_folder
    from inspector.config.station import Engine as EngineSection
    from inspector.engine.plans.store import Plans

    if station is not None and plans is not None:
        raise UserError("give --station or --plans, not both: a station file says where they lie")
    asked = EngineSection()
    if station is not None:
        config = load_station(station)
        asked = config.engine
        plans = state_folder(config) / asked.plans
    if plans is None:
        return asked, None
    return asked, Plans(plans, max_bytes=asked.plans_max_mb * 1_000_000)


def place_of(
    *,
    name: str | None,
    engines: Path | None,
    station: Path | None,
    plans: Path | None,
    precision: PrecisionChoice,
    max_batch: int | None,
    device: int | None,
) -> Place | None:
    """The plans that the user means; None where no place is named. Raises UserError."""
    from inspector.engine.folders import engine_asked, engines_asked
    from inspector.engine.load import stages_of

    asked, store = asked_of(station, plans)
    if store is None:
        return None
    if name is not None:
        names = [name]
    elif station is not None:
        names = [one for _, one in stages_of(asked)]
    else:
        names = list(engines_asked(engines))
    wanted = {
        "precision": None if precision == "auto" else precision,
        "max_batch": max_batch,
        "device": device,
        "folder": engines,
    }
    changed = {key: value for key, value in wanted.items() if value is not None}
    for one in names:
        engine_asked(one, engines, asked.folder)
    return Place(store, tuple(names), asked.model_copy(update=changed))


def build_plans(place: Place, *, again: bool) -> list[dict[str, Any]]:
    """Build, for each engine, the plans that a station would, and prove them. Takes minutes.

    Raises:
        EngineError: why there is no plan that serves.
    """
    rows: list[dict[str, Any]] = []
    for plans in place.plans():
        before = {plan.stem for plan in place.store.folder.glob("*.plan")} if not again else set()
        with ExitStack() as stack, Shown() as on_stage:
            opened = [plans.build(on_stage=on_stage, again=again)]
            stack.callback(opened[0].close)
            rival = plans.rival(opened[0])
            if rival is not None:
                try:
                    opened.append(plans.build_rival(rival, on_stage=on_stage, again=again))
                    stack.callback(opened[1].close)
                    plans.faster(*opened)
                except EngineError as error:
                    print(f"inspector: {rival.what} is not measured: {error}", file=sys.stderr)
            rows += [_built_row(plans, engine, before) for engine in opened]
    return rows


def _built_row(plans: EnginePlans, engine: Engine, before: Container[str]) -> dict[str, Any]:
    plan = plans.plan_of(engine)
    sidecar = plan.sidecar
    return {
        "engine": plan.key.engine,
        "runtime": "tensorrt",
        "precision": plan.key.precision,
        "path": str(plan.path),
        "bytes": sidecar.size_bytes,
        "made": plan.path.stem not in before,
        "build_s": sidecar.build_s,
        "gap": engine.parity.gap,
        "chosen": sidecar.chosen.why if sidecar.chosen else None,
    }


class Shown:
    """Shows how far a build is: a bar on a terminal, else a line every ten seconds.

    Args:
        console: standard error if None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)

    def __enter__(self) -> Callable[[PlanKey, Stage], None]:
        console = self._console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[stage]}"),
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("plan", total=100, stage="")
        self._lines = not console.is_terminal
        self._said_s = float("-inf")
        self._bar.start()
        return self._tell

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _tell(self, key: PlanKey, said: Stage) -> None:
        self._bar.update(
            self._task, completed=said.percent, description=f"plan of {key.what}", stage=said.words
        )
        now_s = time.monotonic()
        if self._lines and now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            line = f"inspector: plan of {key.what}: {said.percent:.0f} %, {said.words}"
            print(line, file=sys.stderr, flush=True)


def print_built(rows: Sequence[dict[str, Any]]) -> None:
    """One line a plan."""
    for row in rows:
        made = f"built in {row['build_s']:.0f} s" if row["made"] else "there"
        print(
            f"{row['engine']}: plan {row['precision']} {made}, {row['path']} "
            f"({row['bytes'] / 1e6:.1f} MB), golden tiles within {row['gap']:.4f}"
            + (f"; it is to judge: {row['chosen']}" if row["chosen"] else "")
        )


def plan_rows(place: Place) -> tuple[list[Row], str | None]:
    """Every plan of the place with why it fits, and why TensorRT cannot run here, if so.

    Raises:
        EngineError: the folder cannot be read.
    """
    from inspector.engine.plans.overview import overview

    fault = None
    wanted: list[Sequence[PlanKey]] = []
    try:
        wanted = [plans.keys for plans in place.plans()]
    except EngineError as error:
        fault = str(error)
    return overview(place.store, wanted), fault


_COLOURS = {
    "good": "green", "unproven": "yellow", "other": "yellow", "missing": "yellow",
    "damaged": "red", "refused": "red",
}  # fmt: skip


def print_plans(place: Place, rows: Sequence[Row], fault: str | None) -> None:
    """A table of plans."""
    table = Table(title=f"Plans in {place.store.folder}", title_justify="left")
    for column in ("plan", "", "MB", "built", "why"):
        table.add_column(column)
    for row in rows:
        table.add_row(
            row.what or row.file,
            f"[{_COLOURS[row.state]}]{row.state}[/]",
            "-" if row.bytes is None else f"{row.bytes / 1e6:.1f}",
            "-" if row.built is None else f"{row.built[:10]}, {row.build_s:.0f} s",
            row.detail,
        )
    Console().print(table)
    if fault is not None:
        print(f"inspector: {fault}", file=sys.stderr)


def plan_documents(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as JSON-able data."""
    return [asdict(row) for row in rows]
