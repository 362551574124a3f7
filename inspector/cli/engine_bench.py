"""What `inspector engines bench` tells of a GPU."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.cli.engine_plans import Place
    from inspector.engine.gpu_bench import GpuSpeed

_COLUMNS = {
    "precision": "precision", "batch": "batch", "tiles_per_s": "tiles\n/s",
    "images_per_s": "images\n/s", "p50_ms": "p50\nms", "p99_ms": "p99\nms",
    "ceiling_tiles_per_s": "ceiling\ntiles/s", "of_ceiling": "of\nit", "copy_in": "copy\nin",
    "compute": "compute", "copy_out": "copy\nout",
}  # fmt: skip
_DIGITS = {
    "tiles_per_s": 1, "images_per_s": 1, "p50_ms": 2, "p99_ms": 2, "ceiling_tiles_per_s": 1,
    "of_ceiling": 3, "copy_in": 3, "compute": 3, "copy_out": 3,
}  # fmt: skip


def bench_plans(
    name: str, place: Place, batches: Sequence[int], *, seconds: float, as_json: bool
) -> None:
    """Measure every plan of an engine that fits this box, and print it.

    Raises:
        EngineError: TensorRT cannot run here, no plan fits, or one fails.
    """
    from inspector.engine.gpu_bench import measure_plan, plans_to_measure

    rows: list[dict[str, Any]] = []
    setting: dict[str, str] = {}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for plans in place.plans():
            setting = plans.keys[0].platform.model_dump()
            for plan in plans_to_measure(plans):
                task = progress.add_task(f"measuring {plan.key.what}", total=len(batches))
                for speed in measure_plan(plans, plan, batches, seconds=seconds):
                    rows.append(_row(speed))
                    progress.advance(task)
    if as_json:
        found = {"engine": name, "runtime": "tensorrt", "platform": setting, "speeds": rows}
        print(json.dumps(found, indent=2))
        return
    where = f"{setting['gpu']}, driver {setting['driver']}"
    title = f"{name} on TensorRT {setting['tensorrt']}, {where}"
    table = Table(title=title, title_justify="left", padding=0)
    for heading in _COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(_shown(key, row[key]) for key in _COLUMNS))
    Console().print(table)


def _row(speed: GpuSpeed) -> dict[str, Any]:
    found = asdict(speed)
    return {key: round(found[key], _DIGITS[key]) if key in _DIGITS else found[key] for key in found}


def _shown(key: str, value: Any) -> str:
    return f"{value:.0%}" if key in {"of_ceiling", "copy_in", "compute", "copy_out"} else str(value)
