"""The simulator for people: registers and program, live on a terminal, and a line a transition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.columns import Columns
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from inspector.line.registers import LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rich.console import RenderableType

    from inspector.line.registers import Answer, Control, Layout, PlcBlock, StationBlock, Status
    from inspector.line.simulator.lane import Lane
    from inspector.line.simulator.program import Happening, Program
    from inspector.line.simulator.simulation import PlcSimulator, View

LEAST_LINES = 3
"""Transitions shown below the registers, however low the terminal is."""
OTHER_LINES = 21
"""What is not a transition, with one row of cameras."""
MODE_STYLES = {"run": "green", "observe": "cyan", "reject": "yellow", "stop": "red"}


def line_of(happening: Happening, utc: datetime) -> str:
    """A transition as a line of text."""
    words = [f"{name}={_said(value)}" for name, value in happening.details.items()]
    camera = "" if happening.camera is None else f"{happening.camera}: "
    return f"{utc:%H:%M:%S.%f}"[:-3] + f"  {camera}{happening.what} {' '.join(words)}".rstrip()


def screen(
    simulator: PlcSimulator, layout: Layout, keys: str, *, height: int = 40
) -> RenderableType:
    """Everything at a glance.

    Args:
        keys: told below all.
        height: of the terminal, in lines.
    """
    view, program = simulator.view(), simulator.program
    cameras = [
        _camera(name, layout, view.cameras[name], lane)
        for name, lane in program.lanes.items()
        if name in view.cameras
    ]
    lines = max(height - OTHER_LINES, LEAST_LINES)
    transitions = [line_of(each, simulator.utc(each)) for each in view.happenings[-lines:]]
    return Group(
        _head(simulator, program, view),
        Columns([Group(_station(view.station, layout), _plc(view.plc, layout)), *cameras]),
        Panel(Text("\n".join(transitions), no_wrap=True, overflow="ellipsis"), title="transitions"),
        Text(keys, style="dim"),
    )


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """What became of the parts, in words."""
    lines = []
    for name, tally in summary["cameras"].items():
        answers = ", ".join(f"{count} {word}" for word, count in tally["answers"].items())
        count = tally["parts"] or tally["acted"]
        lines.append(f"camera {name}: {count} parts; answers: {answers or 'none'}")
        lines.append(
            f"  ejected {tally['ejected']}, passed {tally['passed']}; missing {tally['missing']},"
            f" wrong {tally['wrong']}, too late {tally['late']} (rejects {tally['late_rejects']}),"
            f" repeats dropped {tally['repeats']}, spoilt by faults {tally['spoilt']},"
            f" not asked {tally['not_asked']}"
        )
        times = tally["answered_ms"]
        if times["p50"] is not None:
            shares = ", ".join(f"{share} {ms:.1f} ms" for share, ms in times.items())
            lines.append(f"  from trigger to answer: {shares}")
    if made := summary["faults_made"]:
        lines.append("faults on purpose: " + ", ".join(f"{n} {kind}" for kind, n in made.items()))
    return [*lines, summary["verdict"]]


def _head(simulator: PlcSimulator, program: Program, view: View) -> Text:
    text = Text.assemble(
        (" PLC simulator ", "bold reverse"),
        f"  {simulator.host}:{simulator.port}  ",
        (f"{view.connections} connected", "green" if view.connections else "red"),
        "  program: ",
        (program.mode.value, f"bold {MODE_STYLES[program.mode.value]}"),
        f" ({program.why})",
    )
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _station(block: StationBlock, layout: Layout) -> Panel:
    at = layout.station
    rows = (
        (at, "layout", block.layout),
        (at + 1, "heartbeat", block.heartbeat),
        (at + 2, "status", _flags(block, "serving", "degraded", "observing", "fault")),
        (at + 3, "safe", block.safe.word),
        (at + 4, "cameras", block.cameras),
    )
    return _panel("station", rows)


def _plc(block: PlcBlock, layout: Layout) -> Panel:
    rows = (
        (layout.plc, "heartbeat", block.heartbeat),
        (layout.plc + 1, "bits", _flags(block, "running", "reset")),
    )
    return _panel("PLC", rows)


def _camera(name: str, layout: Layout, seen: tuple[Status, Answer, Control], lane: Lane) -> Panel:
    status, answer, control = seen
    at, answer_at, control_at = layout.status(name), layout.answer(name), layout.control(name)
    label = LABELS.get(answer.label, "none" if not answer.label else "?")
    rows = (
        (at, "status", _flags(status, "ready", "busy", "valid", "fault")),
        (answer_at, "sequence", answer.sequence),
        (answer_at + 1, "result", answer.result.word),
        (answer_at + 2, "label", f"{answer.label} {label}"),
        (answer_at + 3, "confidence", f"{answer.confidence} ‰"),
        (answer_at + 4, "part", answer.part),
        (answer_at + 6, "elapsed", f"{answer.elapsed_ms} ms"),
        (control_at, "control", _flags(control, "trigger", "acknowledge", "reset")),
        (control_at + 1, "part", control.part),
        (control_at + 3, "sequence", control.sequence),
    )
    tally = lane.tally
    counts = (
        ("", "program", lane.step.value),
        ("", "parts", tally.parts or tally.acted),
        ("", "ejected", tally.ejected),
        ("", "missing", tally.missing),
        ("", "wrong", tally.wrong),
    )
    return _panel(f"camera {name}", (*rows, *counts))


def _panel(title: str, rows: tuple[tuple[int | str, str, object], ...]) -> Panel:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim")
    table.add_column()
    table.add_column(style="bold", min_width=12)
    for address, name, value in rows:
        table.add_row(str(address), name, str(value))
    return Panel(table, title=title, expand=False)


def _flags(block: object, *names: str) -> str:
    return " ".join(name for name in names if getattr(block, name)) or "-"


def _said(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    text = str(value)
    return f'"{text}"' if " " in text else text
