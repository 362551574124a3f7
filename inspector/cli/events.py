"""`inspector events`: what lies in a station's outbox, sending it again, and what was marked."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inspector.cli.paths import is_file
from inspector.errors import EventsError, UserError

if TYPE_CHECKING:
    from inspector.events.reading import Reader, Row
    from inspector.events.resending import Selection

app = typer.Typer(
    no_args_is_help=True,
    help="Read the events in a station's outbox, send them again, export what was marked.",
)

TAIL_S = 0.2
WIDE_COLUMNS = 110
"""From this width on a table has room for ids."""
PIPE_COLUMNS = 240
"""Width of a table that goes into a file or another program."""
_STATES = ("waiting", "sent", "parked")

StationFile = Annotated[
    Path | None, typer.Argument(help="Station file; its state folder is looked at.")
]
StateFolder = Annotated[
    Path | None, typer.Option("--state", help="State folder, where no station file is given.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", help="Only this type, such as frame.rejected. May be repeated."),
]
Since = Annotated[
    str | None, typer.Option(help="From this time: 2026-01-31T12:00Z, or an age such as 15m, 2h.")
]
Until = Annotated[str | None, typer.Option(help="Up to this time, in the same forms.")]


@app.command("list")
def list_events(
    file: StationFile = None,
    state: StateFolder = None,
    types: Types = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="Show the newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the newest events, oldest of them first."""
    selection = _selection(types=types, since=since, until=until)
    reader = _reader(file, state)
    condition, values = selection.condition()
    rows = reader.rows(f"{condition} ORDER BY seq DESC LIMIT ?", (*values, limit))
    _show(rows[::-1], as_json=as_json)


@app.command()
def tail(
    file: StationFile = None,
    state: StateFolder = None,
    types: Types = None,
    last: Annotated[int, typer.Option(min=0, help="Begin with the newest so many.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show events as they come, until Ctrl-C."""
    import time

    condition, values = _selection(types=types).condition()
    reader = _reader(file, state)
    newest = reader.newest(1)
    after = newest[0].seq if newest else 0
    rows = reader.rows(f"{condition} ORDER BY seq DESC LIMIT ?", (*values, last))[::-1]
    while True:
        for row in rows:
            print(_json(row) if as_json else _line(row), flush=True)
        after = max([after, *(row.seq for row in rows)])
        time.sleep(TAIL_S)
        rows = reader.rows(f"{condition} AND seq > ? ORDER BY seq LIMIT 1000", (*values, after))


@app.command()
def parked(file: StationFile = None, state: StateFolder = None, as_json: AsJson = False) -> None:
    """Show the events that the broker refused for good, with the reason."""
    rows = _reader(file, state).rows("state = 2 ORDER BY seq")
    _show(rows, as_json=as_json, why=True)


@app.command()
def resend(
    file: StationFile = None,
    state: StateFolder = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="This event. May be repeated.")
    ] = None,
    types: Types = None,
    since: Since = None,
    until: Until = None,
    only_parked: Annotated[bool, typer.Option("--parked", help="Only parked events.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send events again that were sent or parked; a running station does it at once.

    Each keeps its id, so that readers know it; what had been sent before says `"replay": true`.
    """
    from inspector.events.records import State
    from inspector.events.resending import resend as send_again

    if not (ids or types or since or until or only_parked):
        msg = "say which events to send again: --id, --type, --since, --until or --parked"
        raise UserError(msg)
    path = _path(file, state)
    selection = _selection(
        ids=ids, types=types, since=since, until=until, states=[State.PARKED] if only_parked else []
    )
    try:
        count = send_again(path, selection)
    except EventsError as error:
        raise UserError(str(error)) from error
    if as_json:
        print(json.dumps({"resent": count}))
    else:
        print(f"{count} event{'' if count == 1 else 's'} will be sent again")
    if ids and count < len(set(ids)):
        msg = f"{len(set(ids)) - count} of {len(set(ids))} ids are not in the outbox, or still wait"
        raise UserError(msg)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder for LABEL/PICTURE; made if need be.")],
    file: StationFile = None,
    state: StateFolder = None,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Folder of the pictures, where it is not that of the station file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lay out the pictures of events that operators marked, by what they are in truth.

    The folder is what `python -m train finetune --data` reads. A later run adds new marks, and
    moves pictures whose mark has changed. The station may run meanwhile.
    """
    from inspector.errors import MarkError
    from inspector.labelled import export as lay_out
    from inspector.marked import FOLDER as MARKED
    from inspector.marks import FILE, Marks

    folder, pictures = _folders(file, state)
    if not is_file(folder / FILE):
        msg = f"nothing is marked: {FILE} is not in {folder}; events are marked on the dashboard"
        raise UserError(msg)
    try:
        marked = Marks(folder).all()
    except MarkError as error:
        raise UserError(str(error)) from error
    done = lay_out(marked, evidence or pictures, folder / MARKED, out)
    if as_json:
        print(json.dumps(done.document()))
        return
    labels = ", ".join(f"{count} {label}" for label, count in sorted(done.labels.items()))
    print(f"{out}: {labels or 'no pictures'} ({done.copied} new, {done.moved} moved)")
    for reason, count in done.left_out.items():
        print(f"left out {count}: {reason}")
    if done.lossy:
        print(
            f"{done.lossy} of them were kept as JPEG and have its traces: set evidence.format to "
            "png where pictures are to be trained on"
        )


def _folders(file: Path | None, state: Path | None) -> tuple[Path, Path]:
    """The state folder that the user means, and the folder of its pictures.

    Raises:
        UserError: none or both of the ways to name it were used.
    """
    if file is not None and state is None:
        from inspector.config.load import load_station
        from inspector.config.state import state_folder

        station = load_station(file)
        folder = state_folder(station)
        pictures = station.evidence.folder if station.evidence else "evidence"
        return folder, folder / pictures
    if state is None or file is not None:
        msg = "name the station: give its station file, or its state folder with --state"
        raise UserError(msg)
    return state, state / "evidence"


def _path(file: Path | None, state: Path | None) -> Path:
    """The outbox file that the user means.

    Raises:
        UserError: none or both of the ways to name it were used, or there is no outbox, or none
            that this user may look at.
    """
    from inspector.events.store import FILE

    state, _ = _folders(file, state)
    path = state / FILE
    if not is_file(path):
        msg = f"no outbox in {state}: {FILE} is not there; has the station run with this folder?"
        raise UserError(msg)
    return path


def _reader(file: Path | None, state: Path | None) -> Reader:
    import sqlite3

    from inspector.events.reading import Reader

    path = _path(file, state)
    try:
        reader = Reader(path)
        reader.newest(1)
    except sqlite3.DatabaseError as error:
        msg = f"the outbox {path} cannot be read: {error}"
        raise UserError(msg) from error
    return reader


def _selection(
    *,
    ids: list[str] | None = None,
    types: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    states: list[Any] | None = None,
) -> Selection:
    from inspector.events.resending import Selection

    return Selection(
        ids or (), [_type(name) for name in types or ()], _ms(since), _ms(until), states or ()
    )


def _type(name: str) -> str:
    """The full name of a type, of which `frame.rejected` is enough."""
    from inspector.events.kinds import TYPES

    for known in TYPES:
        if name in {known, known.removesuffix(".v1"), known[len("inspector.") : -len(".v1")]}:
            return known
    short = ", ".join(known[len("inspector.") : -len(".v1")] for known in TYPES)
    msg = f"unknown event type {name!r}; known: {short}"
    raise UserError(msg)


def _ms(text: str | None) -> int | None:
    """UTC milliseconds of a time or of an age.

    Raises:
        UserError: it is neither.
    """
    if text is None:
        return None
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    try:
        if text[-1:] in units and text[:-1].replace(".", "", 1).isdigit():
            moment = datetime.now(UTC) - timedelta(**{units[text[-1]]: float(text[:-1])})
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        msg = f"{text!r} is no time: expected 2026-01-31T12:00Z, or an age such as 90s, 15m, 2h, 1d"
        raise UserError(msg) from None
    # A time without a zone is the local one, as a person at the box means it.
    return int(moment.timestamp() * 1000)


def _show(rows: list[Row], *, as_json: bool, why: bool = False) -> None:
    if as_json:
        for row in rows:
            print(_json(row))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    if not rows:
        console.print("no events")
        return
    wide = console.width >= WIDE_COLUMNS
    cells = [
        (
            _time(row) if wide else _time(row)[5:19],
            _short(row),
            row.key,
            _STATES[row.state],
            row.reason or "" if why else _what(row),
            row.id,
        )
        for row in rows
    ]
    with_ids = wide or why
    if not with_ids:
        taken = sum(max(len(row[i]) for row in cells) + 2 for i in range(4))
        room = max(10, console.width - taken)
        cells = [(*row[:4], _cut(row[4], room), row[5]) for row in cells]
    table = Table(box=None, pad_edge=False)
    for name in ("time", "type", "camera", "state", "what", *(["id"] if with_ids else [])):
        # Ids are there to be copied: folded where they must be, never cut short.
        table.add_column(name, overflow="fold")
    for row_cells in cells:
        table.add_row(*(row_cells if with_ids else row_cells[:-1]))
    console.print(table)
    if not with_ids:
        console.print("(ids: in a wider terminal, or with --json)", style="dim")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _json(row: Row) -> str:
    return json.dumps(
        {
            "seq": row.seq,
            "state": _STATES[row.state],
            "topic": row.topic,
            "key": row.key,
            "reason": row.reason,
            "replay": bool(row.replay),
            "event": json.loads(row.body),
        },
        ensure_ascii=False,
    )


def _line(row: Row) -> str:
    return f"{_time(row)}  {_short(row):18}  {row.key}  {_what(row)}"


def _time(row: Row) -> str:
    at = datetime.fromtimestamp(row.created_ms / 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{row.created_ms % 1000:03d}Z"


def _short(row: Row) -> str:
    return row.type.removeprefix("inspector.").removesuffix(".v1")


def _what(row: Row) -> str:
    """The heart of an event in a few words."""
    data = json.loads(row.body)["data"]
    if "verdict" in data:
        p = data["probabilities"].get(data["label"])
        sure = "" if p is None else f" {p:.2f}"
        return f"{data['verdict']} {data['label'] or data['cause'] or ''}{sure}"
    if "lost_s" in data:
        return "" if data["lost_s"] is None else f"was lost for {data['lost_s']:.1f} s"
    if "detail" in data:
        return data["detail"] or data["cause"] or ""
    if "count" in data:
        count = "an unknown number" if data["count"] is None else data["count"]
        return f"{count} events given up: {data['cause']}"
    return "ready" if data.get("ready") else "; ".join(data.get("reasons", []))
