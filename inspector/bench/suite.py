"""The measurements by their names, and the machine they are made on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector import __version__
from inspector.bench import decode, outbox, overload, pipeline, station

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from inspector.bench.figure import Figure
    from inspector.bench.setting import Setting

MEASUREMENTS: Mapping[str, Callable[[Setting], Iterator[Figure]]] = {
    "pipeline": pipeline.measure,
    "overload": overload.measure,
    "decode": decode.measure,
    "outbox": outbox.measure,
    "idle": station.measure_idle,
    "soak": station.measure_soak,
}
LONG = ("soak",)
"""Measured only where they are asked for by name."""


def measure(names: Sequence[str], setting: Setting) -> Iterator[Figure]:
    """Measure, one after the other; all but the long ones where no name is given.

    Raises:
        InspectorError: one could not be measured.
    """
    for name in names or [name for name in MEASUREMENTS if name not in LONG]:
        yield from MEASUREMENTS[name](setting)


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was; no host name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "version": __version__,
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": len(os.sched_getaffinity(0)),
        "processor": models[0] if models else platform.machine(),
        "python": platform.python_version(),
        "load_1_min": round(os.getloadavg()[0], 2),
    }
