"""`inspector check` of a signaller's file, that of `inspector line`."""

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
    from pathlib import Path

    from inspector.config.signaller import Signaller
    from inspector.doctor.finding import Finding


def check_signaller(file: Path, config: Signaller, *, as_json: bool, probe: bool) -> int:
    """Tell what a file without faults asks for.

    Args:
        probe: whether to reach broker and PLC, too.

    Returns:
        The exit status.
    """
    findings = _examine(config) if probe else None
    if as_json:
        answer: dict[str, Any] = {"file": str(file), "ok": True, "faults": [], "notes": []}
        if findings is not None:
            answer["probe"] = as_document(findings)
        print(json.dumps(answer))
    else:
        _print_summary(file, config)
        if findings is not None:
            print_findings(findings, title="probe")
    return status_of(findings or ())


def _examine(config: Signaller) -> list[Finding]:
    from inspector.doctor.signaller import examine_signaller

    with waiting("examining"):
        return examine_signaller(config, Secrets())


def _print_summary(file: Path, config: Signaller) -> None:
    console = Console(highlight=False)
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
