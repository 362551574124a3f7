"""`inspector plc-simulator`: a PLC to try the handshake with, before there is a line."""

from __future__ import annotations

import json
import random
import sys
import threading
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.live import Live

from inspector.cli.stopping import Asked, asked_to_stop

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from inspector.line.registers import Layout
    from inspector.line.simulator.program import Happening
    from inspector.line.simulator.simulation import PlcSimulator

REFRESH_S = 0.1
KEYS = {
    "n": "no-ack",
    "l": "late-ack",
    "d": "drop-connection",
    "s": "silent",
    "e": "exception",
    "r": "reset",
    "q": "quit",
}
"""Keys of a terminal; where standard input is none, each of its lines holds one of the words."""


def plc_simulator(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Station file, or file of `inspector line`: its PLC is played, with its cameras,"
            " port and registers."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port; the file's if absent, else 5020; 0: a free one."
        ),
    ] = None,
    camera: Annotated[
        list[str] | None, typer.Option(help="Without a file: a camera; may be given again.")
    ] = None,
    trigger: Annotated[
        bool | None,
        typer.Option(
            "--trigger/--no-trigger",
            help="Announce parts, or act on answers as they come; as the file says if absent.",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="Parts a second.")] = 2.0,
    parts: Annotated[
        int | None, typer.Option(min=1, help="End after so many; without end if absent.")
    ] = None,
    first_part: Annotated[int, typer.Option(min=1, max=2**32 - 1, help="Its number.")] = 1,
    travel_ms: Annotated[float, typer.Option(min=1, help="From camera to ejector.")] = 800.0,
    indexed: Annotated[
        bool, typer.Option("--indexed", help="The belt waits while the station is not ready.")
    ] = False,
    heartbeat_within_ms: Annotated[
        float, typer.Option(min=10, help="The station is gone when its heartbeat stands so long.")
    ] = 1000.0,
    when_lost: Annotated[
        Literal["stop", "reject"], typer.Option(help="What is done then.")
    ] = "stop",
    reset_after_ms: Annotated[
        float, typer.Option(min=0, help="Press reset when `safe` holds so long; 0: never.")
    ] = 2000.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND@PART, KIND:PERCENT% or KIND alone; kinds: no-ack, late-ack,"
            " drop-connection, silent, exception. May be given again."
        ),
    ] = None,
    fault_ms: Annotated[
        float, typer.Option(min=1, help="How long faults of the connection last.")
    ] = 2000.0,
    late_ack_ms: Annotated[
        float, typer.Option(min=1, help="How late late-ack acknowledges.")
    ] = 1000.0,
    seed: Annotated[int | None, typer.Option(help="For faults at a percentage.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Write each transition as a JSON line to this file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print transitions and summary as JSON lines.")
    ] = False,
) -> None:
    """Play the PLC of a line, to try the handshake with, and to make faults.

    It announces parts, reads answers, acknowledges and ejects, as docs/line.md says. Ends with
    exit status 1 where a part got a wrong answer or none in time.
    """
    from inspector.line.simulator.faults import Fault, Plan
    from inspector.line.simulator.played import played
    from inspector.line.simulator.program import Settings
    from inspector.line.simulator.record import document
    from inspector.line.simulator.screen import line_of, summary_lines
    from inspector.line.simulator.simulation import PlcSimulator

    plan = Plan([Fault.parse(word) for word in fault or ()], random.Random(seed))
    plc = played(file, camera or ["camera"], announces=trigger)
    settings = Settings(
        per_s=rate,
        parts=parts,
        first_part=first_part,
        travel_s=travel_ms / 1000,
        indexed=indexed,
        heartbeat_within_s=heartbeat_within_ms / 1000,
        when_lost=when_lost,
        reset_after_s=reset_after_ms / 1000 or None,
        late_ack_s=late_ack_ms / 1000,
        fault_s=fault_ms / 1000,
    )
    console = Console(highlight=False)
    live = console.is_terminal and not as_json

    def show(happening: Happening) -> None:
        utc = simulator.utc(happening)
        if as_json:
            begun_s = utc.timestamp() - happening.at_s
            print(json.dumps(document(happening, begun_s), ensure_ascii=False), flush=True)
        else:
            print(line_of(happening, utc), flush=True)

    simulator = PlcSimulator(
        plc.layout,
        settings,
        plan,
        unannounced=plc.unannounced,
        host=host,
        port=plc.port if port is None else port,
        unit=plc.unit,
        record=record,
        on_happening=None if live else show,
    )
    stop = asked_to_stop()
    with simulator:
        _watch(simulator, plc.layout, console if live else None, stop)
    summary = simulator.summary()
    if as_json:
        print(json.dumps({"what": "summary", **summary}, ensure_ascii=False), flush=True)
    else:
        print("\n".join(summary_lines(summary)))
    raise typer.Exit(0 if summary["well"] else 1)


def _watch(simulator: PlcSimulator, layout: Layout, console: Console | None, stop: Asked) -> None:
    """Show what happens, obey the keys, until all parts have left or someone has had enough."""
    from inspector.line.simulator.screen import screen

    keys = "keys: " + "  ".join(f"{key} {word}" for key, word in KEYS.items())
    with ExitStack() as stack:
        stack.enter_context(_single_keys() if console is not None else nullcontext())
        threading.Thread(target=_obey, args=(simulator, stop), name="keys", daemon=True).start()
        live = None
        if console is not None:
            live = stack.enter_context(
                Live(console=console, auto_refresh=False, screen=False, transient=False)
            )
        while not (stop.is_set() or simulator.wait(0)):
            if live is not None:
                live.update(
                    screen(simulator, layout, keys, height=live.console.height), refresh=True
                )
            stop.wait(REFRESH_S)


def _obey(simulator: PlcSimulator, stop: Asked) -> None:
    """Take keys, or words a line; ends with the input. In a thread of its own."""
    from inspector.line.simulator.faults import Kind

    by_key = sys.stdin.isatty()
    while text := sys.stdin.read(1) if by_key else sys.stdin.readline():
        word = KEYS.get(text, "") if by_key else text.strip()
        if word == "quit":
            stop.set()
        elif word == "reset":
            simulator.press_reset()
        elif word in {kind.value for kind in Kind}:
            simulator.make(Kind(word))
        elif not by_key and word:
            words = ", ".join(KEYS.values())
            print(f"inspector: unknown word {word!r}; known: {words}", file=sys.stderr)


def _single_keys() -> AbstractContextManager[object]:
    """A terminal that gives each key at once and shows none, until the end."""
    import termios
    import tty

    stack = ExitStack()
    if sys.stdin.isatty():
        before = termios.tcgetattr(sys.stdin)
        stack.callback(termios.tcsetattr, sys.stdin, termios.TCSADRAIN, before)
        tty.setcbreak(sys.stdin)
    return stack
