"""`inspector engines`: what there are, whether they compute right, how fast; and which judges."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from inspector.cli.activation import activate, rollback
from inspector.cli.engine_bench import bench_plans
from inspector.cli.engine_plans import (
    Device,
    MaxBatch,
    PlansFolder,
    StationFile,
    asked_of,
    build_plans,
    place_of,
    plan_documents,
    plan_rows,
    print_built,
    print_plans,
)
from inspector.engine.load import PrecisionChoice, RuntimeChoice
from inspector.errors import EngineError, UserError
from inspector.owners import leave_to_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.cli.engine_plans import Place
    from inspector.engine.bench import Speed
    from inspector.engine.build import Built
    from inspector.engine.verify import Check

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Folder = Annotated[
    Path | None,
    typer.Option(
        help="The only folder of engines; if not given --station's own, then the shipped."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@contextmanager
def engine_faults() -> Iterator[None]:
    """Turn a fault of an engine into one message and exit status 1."""
    try:
        yield
    except EngineError as error:
        print(f"inspector: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@app.callback()
def engines() -> None:
    """List, build, verify, measure and activate the engines."""


app.command()(activate)
app.command()(rollback)


@app.command("list")
def list_engines(
    folder: Folder = None,
    station: StationFile = None,
    plans: PlansFolder = None,
    as_json: AsJson = False,
) -> None:
    """List the engines: versions, precisions, accuracy, and what their thresholds are worth.

    With --station or --plans also the TensorRT plans that are there, and why each fits or not.
    """
    from inspector.engine.folders import engines_asked, shipped_engines_folder
    from inspector.engine.manifest import read_manifest

    place = place_of(
        name=None, engines=folder, station=station, plans=plans,
        precision="auto", max_batch=None, device=None,
    )  # fmt: skip
    own = place.asked.folder if place else None
    where = folder or own or shipped_engines_folder()
    rows: list[dict[str, Any]] = []
    for name, home in engines_asked(folder, own).items():
        try:
            manifest = read_manifest(home)
        except EngineError as error:
            rows.append({"name": name, "error": str(error)})
            continue
        limits = manifest.thresholds
        rows.append(
            {
                "name": manifest.name,
                "folder": str(home),
                "version": manifest.version,
                "architecture": manifest.architecture,
                "tile": manifest.sampling.tile,
                "tiles_a_frame": manifest.sampling.count,
                "files": {p: f.bytes for p, f in manifest.files.present().items()},
                "derived": list(manifest.files.derived()),
                "accuracy": _accuracy(manifest.measured),
                "false_reject_budget": limits.false_reject_budget,
                "budget_proven": limits.budget_proven,
            }
        )
    with engine_faults():
        found, fault = plan_rows(place) if place else ([], None)
    if as_json:
        there = {"plans": plan_documents(found), "tensorrt": fault} if place else {}
        print(json.dumps({"folder": str(where), "engines": rows, **there}, indent=2))
    else:
        _print_list(where, rows)
        if place:
            print_plans(place, found, fault)
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _accuracy(measured: dict[str, Any]) -> float | None:
    """The accuracy that training states, at the top or under `test`: the mapping is free."""
    for place in (measured, measured.get("test")):
        if isinstance(place, dict) and isinstance(place.get("accuracy"), int | float):
            return float(place["accuracy"])
    return None


def _print_list(where: Path, rows: list[dict[str, Any]]) -> None:
    places = dict.fromkeys(Path(row["folder"]).parent for row in rows if "folder" in row)
    title = " and ".join(map(str, places or [where]))
    table = Table(title=f"Engines in {title}", title_justify="left", padding=0)
    for column in ("engine", "version", "tiles", "files", "accuracy", "false rejects", "proven"):
        table.add_column(column, no_wrap=column in {"engine", "files"})  # names are typed by hand
    for row in rows:
        if "error" in row:
            continue
        accuracy = row["accuracy"]
        table.add_row(
            row["name"],
            row["version"],
            f"{row['tiles_a_frame']} of {row['tile']}²",
            "\n".join(
                f"{p} derived" if p in row["derived"] else f"{p} {size / 1e6:.1f} MB"
                for p, size in row["files"].items()
            ),
            "-" if accuracy is None else f"{accuracy:.3f}",
            f"{row['false_reject_budget']:.2%}",
            "yes" if row["budget_proven"] else "no",
        )
    Console().print(table)
    for row in rows:
        if "error" in row:
            print(f"inspector: {row['error']}", file=sys.stderr)


@app.command()
def build(
    name: Annotated[str | None, typer.Argument(help="Engine; all of them if not given.")] = None,
    folder: Folder = None,
    runtime: Annotated[
        RuntimeChoice,
        typer.Option(help="openvino: derived files; tensorrt: plans; auto: what this box runs."),
    ] = "auto",
    station: StationFile = None,
    plans: PlansFolder = None,
    precision: Annotated[
        PrecisionChoice, typer.Option(help="Of a plan; auto: the fastest, of those that serve.")
    ] = "auto",
    max_batch: MaxBatch = None,
    device: Device = None,
    again: Annotated[
        bool, typer.Option("--again", help="Build plans though they are there, or refused.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make what an engine needs once, so that no start has to: derived files, TensorRT plans.

    A plan is built for this box; with --station as that station would build it, which may run.
    """
    place = place_of(
        name=name, engines=folder, station=station, plans=plans,
        precision=precision, max_batch=max_batch, device=device,
    )  # fmt: skip
    if runtime == "tensorrt" and place is None:
        raise UserError("where is the plan to lie? Give --station FILE or --plans FOLDER")
    if station is not None and place is not None and runtime != "openvino":
        leave_to_owner([place.store.folder, place.store.folder.parent])
    rows: list[dict[str, Any]] = []
    with engine_faults():
        if runtime != "tensorrt":
            rows += _derive(_homes(name, folder, place), quiet=as_json)
        if place is not None and runtime != "openvino":
            try:
                built = build_plans(place, again=again)
            except EngineError as error:
                if runtime == "tensorrt":
                    raise
                print(f"inspector: no plan was built: {error}", file=sys.stderr)
            else:
                rows += built
                if not as_json:
                    print_built(built)
    if as_json:
        print(json.dumps(rows, indent=2))


def _homes(name: str | None, folder: Path | None, place: Place | None) -> dict[str, Path]:
    """The engine folders that are meant, by name: one, else all that the user or station has."""
    from inspector.engine.folders import engine_asked, engines_asked

    own = place.asked.folder if place else None
    return engines_asked(folder, own) if name is None else {name: engine_asked(name, folder, own)}


def _derive(homes: dict[str, Path], *, quiet: bool) -> list[dict[str, Any]]:
    from inspector.engine.build import build_engine

    built: list[Built] = []
    with _progress() as progress:
        task = progress.add_task("derived files", total=len(homes))
        for home in homes.values():
            built += build_engine(home)
            progress.advance(task)
    for file in () if quiet else built:
        state = "made" if file.made else "there"
        print(f"{file.engine}: {file.precision} {state}, {file.path} ({file.bytes / 1e6:.1f} MB)")
    if not built and not quiet:
        print(f"nothing to derive: {', '.join(homes) or 'no engines'}")
    return [{**asdict(file), "path": str(file.path)} for file in built]


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="Engine; all of them if not given.")] = None,
    folder: Folder = None,
    runtime: Annotated[RuntimeChoice, typer.Option(help="What is to run it.")] = "auto",
    precision: Annotated[
        PrecisionChoice, typer.Option(help="auto: every one that runs here.")
    ] = "auto",
    station: StationFile = None,
    plans: PlansFolder = None,
    max_batch: MaxBatch = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Check digests and golden tiles, in every precision; exit status 1 if anything is wrong.

    With --runtime tensorrt the plans that lie in --station's or --plans' folder.
    """
    from inspector.engine.verify import verify_engine, verify_plans

    checks: list[Check] = []
    place = place_of(
        name=name, engines=folder, station=station, plans=plans,
        precision=precision, max_batch=max_batch, device=device,
    )  # fmt: skip
    if runtime == "tensorrt" and place is None:
        raise UserError("where do the plans lie? Give --station FILE or --plans FOLDER")
    homes = _homes(name, folder, place)
    with engine_faults(), _progress() as progress:
        task = progress.add_task("golden tiles", total=len(homes))
        if runtime == "tensorrt" and place is not None:
            for found in place.plans():
                checks += verify_plans(found)
        for home in homes.values() if runtime != "tensorrt" else ():
            checks += verify_engine(home, precision=precision)
            progress.advance(task)
    if not checks:
        print(f"inspector: no engines in {folder or 'the shipped folder'}", file=sys.stderr)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        _print_checks(checks)
    if not checks or not all(check.ok for check in checks):
        raise typer.Exit(1)


def _print_checks(checks: list[Check]) -> None:
    table = Table()
    for column in ("engine", "runtime", "precision", "", "largest gap", "allowed"):
        table.add_column(column)
    for check in checks:
        table.add_row(
            check.engine,
            check.runtime,
            check.precision or "-",
            "[green]right[/]" if check.ok else "[red]wrong[/]",
            "-" if check.gap is None else f"{check.gap:.4f}",
            "-" if check.tolerance is None else f"{check.tolerance:.2f}",
        )
    Console().print(table)
    for check in checks:
        if not check.ok:
            print(f"inspector: {check.detail}", file=sys.stderr)


_BENCH_COLUMNS = (
    "precision", "threads", "batch", "tiles/s", "frames/s", "p50 ms", "p99 ms", "batches", "x fp32",
)  # fmt: skip


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="Engine to measure.")],
    folder: Folder = None,
    runtime: Annotated[
        RuntimeChoice, typer.Option(help="What runs it; tensorrt needs plans, auto is openvino.")
    ] = "auto",
    station: StationFile = None,
    plans: PlansFolder = None,
    precision: Annotated[
        PrecisionChoice, typer.Option(help="auto: every one that runs here.")
    ] = "auto",
    max_batch: MaxBatch = None,
    device: Device = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, help="Processor threads; one and all if not given.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, max=256, help="Tiles at once; 1 to 16 if not given.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.02, help="Time for each measurement.")] = 4.0,
    as_json: AsJson = False,
) -> None:
    """Measure tiles and frames a second, and latency, by precision, threads and batch.

    With --runtime tensorrt the plans that lie in --station's or --plans' folder: also where the
    time on the GPU goes, and how much is reached of what it can.
    """
    from inspector.engine import bench as benches
    from inspector.engine.folders import engine_asked

    if runtime == "tensorrt":
        place = place_of(
            name=name, engines=folder, station=station, plans=plans,
            precision=precision, max_batch=max_batch, device=device,
        )  # fmt: skip
        if place is None:
            raise UserError("where do the plans lie? Give --station FILE or --plans FOLDER")
        with engine_faults():
            what = batch or benches.BATCHES
            bench_plans(name, place, what, seconds=seconds, as_json=as_json)
        return
    home = engine_asked(name, folder, asked_of(station, plans)[0].folder)
    speeds: list[Speed] = []
    with engine_faults(), _progress() as progress:
        cases = benches.cases(
            home,
            precisions=() if precision == "auto" else (precision,),
            threads=threads or (),
            batches=batch or benches.BATCHES,
        )
        task = progress.add_task(f"measuring {name}", total=len(cases))
        for speed in benches.measure(home, cases, seconds=seconds):
            speeds.append(speed)
            progress.advance(task)
    fp32 = {
        (s.case.threads, s.case.batch): s.tiles_per_s for s in speeds if s.case.precision == "fp32"
    }
    rows = [
        {
            **asdict(speed.case),
            "tiles_per_s": round(speed.tiles_per_s, 1),
            "frames_per_s": round(speed.frames_per_s, 1),
            "p50_ms": round(speed.p50_ms, 2),
            "p99_ms": round(speed.p99_ms, 2),
            "batches": speed.batches,
            "times_fp32": _ratio(speed, fp32),
        }
        for speed in speeds
    ]
    if as_json:
        print(json.dumps({"engine": name, "runtime": "openvino", "speeds": rows}, indent=2))
        return
    table = Table(title=f"{name} on openvino", title_justify="left", padding=0)
    for column in _BENCH_COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row.values()))
    Console().print(table)


def _ratio(speed: Speed, fp32: dict[tuple[int, int], float]) -> float | None:
    base = fp32.get((speed.case.threads, speed.case.batch))
    return None if base is None else round(speed.tiles_per_s / base, 2)


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    )
