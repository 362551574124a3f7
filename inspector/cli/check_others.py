"""`inspector check` of the files that are no station's: of `inspector line`, of the fleet view."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from inspector.cli.doctor import as_document, print_findings, waiting
from inspector.config.secrets import Secrets
from inspector.doctor.finding import status_of
from inspector.line.registers import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inspector.config.fleet import Fleet
    from inspector.config.signaller import Signaller
    from inspector.doctor.finding import Finding


def check_signaller(file: Path, config: Signaller, *, as_json: bool, probe: bool) -> int:
    """Tell what a file without faults asks for.

    Args:
        probe: whether to reach broker and PLC, too.

    Returns:
        The exit status.
    """
    from inspector.doctor.signaller import examine_signaller

    findings = _examined(lambda: examine_signaller(config, Secrets())) if probe else None
    return _tell(file, lambda: _print_signaller(file, config), findings, as_json=as_json)


def check_fleet(file: Path, config: Fleet, *, as_json: bool, probe: bool) -> int:
    """The same for the file of a fleet view; the probe reaches the broker."""
    from inspector.doctor.reading import check_reading

    topics = (config.topics.rejects, config.topics.status)
    findings = None
    if probe:
        findings = _examined(lambda: [*check_reading(config.kafka, topics, Secrets(), "topics")])
    return _tell(file, lambda: _print_fleet(file, config), findings, as_json=as_json)


def _examined(examine: Callable[[], list[Finding]]) -> list[Finding]:
    with waiting("examining"):
        return examine()


def _tell(
    file: Path, summary: Callable[[], None], findings: list[Finding] | None, *, as_json: bool
) -> int:
    if as_json:
        answer: dict[str, Any] = {"file": str(file), "ok": True, "faults": [], "notes": []}
        if findings is not None:
            answer["probe"] = as_document(findings)
        print(json.dumps(answer))
    else:
        summary()
        if findings is not None:
            print_findings(findings, title="probe")
    return status_of(findings or ())


def _print_signaller(file: Path, config: Signaller) -> None:
    console = Console(highlight=False, markup=False)
    layout = Layout.of(config.line.as_line(), config.line.cameras)
    title = f"{file}: signaller {config.signaller} is in order"
    table = Table(title=title, title_justify="left")
    for heading in ("camera", "registers", "deadline"):
        table.add_column(heading, overflow="fold")
    for name, camera in config.line.cameras.items():
        table.add_row(name, f"from {layout.cameras[name]}", f"{camera.deadline_ms:g} ms")
    console.print(table)
    servers = ", ".join(config.kafka.bootstrap_servers)
    console.print(f"kafka   {config.consume.topic} of {servers}")
    console.print(f"group   {config.group}, member {config.member}")
    modbus = config.line.modbus
    console.print(f"plc     {modbus.host}:{modbus.port} unit {modbus.unit}, {config.mode}")
    if config.web is not None:
        console.print(f"web     http://{config.web.listen}/readyz, /metrics")


def _print_fleet(file: Path, config: Fleet) -> None:
    console = Console(highlight=False, markup=False)
    table = Table(title=f"{file}: fleet view is in order", title_justify="left")
    for heading in ("line", "stations"):
        table.add_column(heading, overflow="fold")
    for name, stations in config.lines.items():
        table.add_row(name, ", ".join(stations))
    table.add_row("each other station", "a line of its own")
    console.print(table)
    topics, shifts = config.topics, config.shifts
    servers = ", ".join(config.kafka.bootstrap_servers)
    console.print(f"kafka   {topics.rejects}, {topics.status}, {topics.verdicts} of {servers}")
    starts = ", ".join(f"{name} {begins}" for name, begins in shifts.starts.items())
    console.print(f"shifts  {starts}; {shifts.zone}")
    console.print(f"kept    {config.look_back_days:g} days")
    console.print(f"web     http://{config.web.listen}/")
