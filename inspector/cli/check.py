"""`inspector check`: the file of a station, a signaller or a fleet view, and every fault in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from inspector.addresses import without_passwords
from inspector.cli.check_others import check_fleet, check_signaller
from inspector.cli.doctor import as_document, print_findings, waiting
from inspector.config.faults import Fault, KeyPath, StationFileError
from inspector.config.fleet import is_fleet_file, load_fleet
from inspector.config.load import StationFile, is_signaller_file, load_signaller, read_station
from inspector.config.secrets import Secrets, names_of
from inspector.doctor.finding import status_of
from inspector.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inspector.config.cameras import Inspect
    from inspector.config.station import Station
    from inspector.doctor.finding import Finding

PROBE_S = 3.0
"""How long `--probe` looks at each camera."""


def check(
    file: Annotated[
        Path,
        typer.Argument(help="Station file, or one of `inspector line` or `inspector dashboard`."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ask_secrets: Annotated[
        bool, typer.Option("--secrets/--no-secrets", help="Whether secrets must be set here.")
    ] = True,
    probe: Annotated[
        bool, typer.Option("--probe", help="Also open what it names, as `inspector doctor` does.")
    ] = False,
) -> None:
    """Check a station file and list every fault in it."""
    secrets = Secrets() if ask_secrets else None
    try:
        if is_signaller_file(file):
            signaller = load_signaller(file, secrets)
            raise typer.Exit(check_signaller(file, signaller, as_json=as_json, probe=probe))
        if is_fleet_file(file):
            fleet = load_fleet(file, secrets)
            raise typer.Exit(check_fleet(file, fleet, as_json=as_json, probe=probe))
        loaded = read_station(file, secrets)
    except StationFileError as error:
        if not as_json:
            raise
        print(json.dumps({"file": str(file), "ok": False, "faults": _rows(error.faults)}))
        raise typer.Exit(2) from None
    notes = absent_files(loaded)
    findings = _probe(loaded) if probe else None
    if as_json:
        answer: dict[str, Any] = {"file": str(file), "ok": True, "faults": []}
        answer["notes"] = _rows(notes)
        if findings is not None:
            answer["probe"] = as_document(findings)
        print(json.dumps(answer))
    else:
        _print_summary(loaded, notes, ask_secrets=ask_secrets)
        if findings is not None:
            print_findings(findings, title="probe")
    raise typer.Exit(status_of(findings or ()))


def _probe(file: StationFile) -> list[Finding]:
    from inspector.doctor.checks import examine_station

    with waiting("examining"):
        return examine_station(file.station, file.path, Secrets(), seconds=PROBE_S)


def absent_files(file: StationFile) -> list[Fault]:
    """Files, folders and engines that the station names and that are not there (yet).

    No fault, a note: they may be there where the station runs. A camera whose file is missing is
    reported by the station as `not_found` and tried again; without its engines it does not start.
    """
    notes = [note for key, path in _paths(file.station) if (note := _absent(file, key, path))]
    if all(note.key != ("engine", "folder") for note in notes):
        notes += _absent_engines(file)
    return notes


def _absent(file: StationFile, key: KeyPath, path: Path) -> Fault | None:
    try:
        return None if path.exists() else file.fault(key, f"not there yet: {path}")
    except OSError as error:
        return file.fault(key, f"cannot be looked at: {path}: {error.strerror}")


def _absent_engines(file: StationFile) -> Iterator[Fault]:
    from inspector.engine.folders import find_engine
    from inspector.engine.load import stages_of

    asked = file.station.engine
    for stage, name in stages_of(asked):
        try:
            find_engine(name, asked.folder)
        except UserError as error:
            yield file.fault(("engine", stage), f"not there yet: {error}")


def _paths(station: Station) -> Iterator[tuple[KeyPath, Path]]:
    if station.engine.folder is not None:
        yield ("engine", "folder"), station.engine.folder
    for name, camera in station.cameras.items():
        key: KeyPath = ("cameras", name, "source")
        match camera.source.kind:
            case "video" | "device":
                yield (*key, "path"), camera.source.path
            case "images":
                yield (*key, "folder"), camera.source.folder
            case "rtsp" if camera.source.tls.ca_file is not None:
                yield (*key, "tls", "ca_file"), camera.source.tls.ca_file
            case _:
                pass
    if station.events.kafka is not None:
        tls = station.events.kafka.tls
        for field in ("ca_file", "certificate_file", "key_file"):
            path = getattr(tls, field)
            if path is not None:
                yield ("events", "kafka", "tls", field), path


def _rows(faults: Iterable[Fault]) -> list[dict[str, object]]:
    return [fault.document() for fault in faults]


def _judged(inspect: Inspect) -> str:
    if inspect.on_trigger:
        return "on a trigger"
    if inspect.on_motion is not None:
        return "each part that reaches the barrier"
    return f"every {inspect.every_s:g} s" if inspect.every_s else "every frame"


def _print_summary(file: StationFile, notes: list[Fault], *, ask_secrets: bool) -> None:
    station = file.station
    console = Console(highlight=False, markup=False)
    table = Table(title=f"{file.path}: station {station.station} is in order", title_justify="left")
    for heading in ("camera", "source", "judged", "policy"):
        table.add_column(heading, overflow="fold")
    for name, camera in station.cameras.items():
        rule = station.policy_of(name)
        table.add_row(
            name,
            f"{camera.source.kind} {_address(camera.source)}".strip(),
            _judged(camera.inspect),
            f"{camera.policy}: {rule.needed} of {rule.window}, {rule.recover_after} to recover",
        )
    console.print(table)
    confirm = f", confirmed by {station.engine.confirm}" if station.engine.confirm else ""
    console.print(f"engine    {station.engine.screen}{confirm}, runtime {station.engine.runtime}")
    kafka = station.events.kafka
    target = ", ".join(kafka.bootstrap_servers) if kafka else "no broker: events stay in the outbox"
    console.print(f"events    {target}")
    console.print(f"line      {_line(station)}")
    console.print(f"evidence  {_evidence(station)}")
    console.print(f"web       http://{station.web.listen}/")
    secrets = names_of(file.document.value)
    if secrets:
        console.print(f"secrets   {', '.join(secrets)}{': all set' if ask_secrets else ''}")
    for note in notes:
        console.print(f"note      {note}", style="yellow", soft_wrap=True)


def _evidence(station: Station) -> str:
    kept = station.evidence
    if kept is None:
        return "none: no pictures are kept"
    return (
        f"{kept.folder}{'' if kept.folder.is_absolute() else ' in the state folder'}, "
        f"{kept.format}, {kept.keep_days:g} days, {kept.max_mb} MB at most"
    )


def _line(station: Station) -> str:
    line = station.line
    if line is None:
        return "none: no PLC is told"
    at = line.modbus
    places = line.places(station.cameras)
    parts = ", ".join(
        f"{name} at {places[name]} ({camera.trigger}, {camera.deadline_ms:g} ms)"
        for name, camera in line.signalled(station.cameras).items()
    )
    return f"{at.host}:{at.port} unit {at.unit}: {parts}"


def _address(source: Any) -> str:
    if source.kind == "rtsp":
        return without_passwords(source.url)
    for field in ("path", "folder"):
        place = getattr(source, field, None)
        if isinstance(place, Path) and place.is_relative_to(Path.cwd()):
            return str(place.relative_to(Path.cwd()))
        if place is not None:
            return str(place)
    return f"{source.width}x{source.height}, {source.fps:g} fps"
