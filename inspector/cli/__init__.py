"""The `inspector` command: one module a sub-command, imported when it is called."""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from inspector import __version__
from inspector.errors import InspectorError, NoRuntimeError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAULT = 1
"""Something in the work failed: a picture, an engine, the broker."""
EXIT_USER = 2
"""The user's mistake: a file, an option, a name."""
EXIT_NO_RUNTIME = 3
"""The runtime asked for cannot be had, and the station file allows no other."""
EXIT_BUG = 70
"""Our mistake: an exception nobody foresaw; its trace is on stderr."""
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141
"""Whoever read our output has gone, as the shell reports it for SIGPIPE."""
EXIT_TERMINATED = 143


@dataclass(frozen=True)
class _Command:
    """Where a sub-command lives: `attribute` of `inspector.cli.NAME` is a function or a group."""

    help: str
    attribute: str


# The help lines stand here too, so that `inspector --help` imports no command.
_COMMANDS = {
    "run": _Command("Run a station until it is stopped; the demo if no file is given.", "run"),
    "check": _Command("Check a station file and list every fault in it.", "check"),
    "doctor": _Command(
        "Examine cameras, engine, broker, PLC, disks, service, clock, memory; say what to mend.",
        "doctor",
    ),
    "classify": _Command("Judge pictures, folders of pictures and videos.", "classify"),
    "engines": _Command("List, build, verify, measure and activate the engines.", "app"),
    "bench": _Command(
        "Measure speed, freshness and memory of the station on this machine, against its bounds.",
        "bench",
    ),
    "events": _Command(
        "Read the events in a station's outbox, send them again, export what was marked.", "app"
    ),
    "dashboard": _Command(
        "Show all stations of a broker on one page: the fleet view.", "dashboard"
    ),
    "line": _Command("Signal the rejects of stations, read from Kafka, to a PLC.", "line"),
    "plc-simulator": _Command(
        "Play the PLC of a line, to try the handshake with, and to make faults.", "plc_simulator"
    ),
    "schema": _Command(
        "Print the JSON Schema of station files, of events, or of files of `inspector line`.",
        "schema",
    ),
}


class _LazyGroup(TyperGroup):
    """Group whose commands are imported when they are called, and not to be listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        command = _COMMANDS.get(cmd_name)
        return command and TyperCommand(cmd_name, help=command.help, callback=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else load_command(name), rest


def load_command(name: str) -> Any:
    """Import a sub-command and make it ready to be invoked."""
    module = importlib.import_module(f"inspector.cli.{name.replace('-', '_')}")
    part = getattr(module, _COMMANDS[name].attribute)
    if isinstance(part, typer.Typer):
        return typer.main.get_group(part)
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(part)
    return typer.main.get_command(single)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"inspector {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="inspector",
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _inspector(
    _version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Camera pictures in, a verdict on every frame, rejects out to Kafka and the line's PLC."""


# Typer leaves a group's commands empty where none was registered; names serve its "did you mean".
_group = typer.main.get_group(app)
_group.commands.update({name: TyperCommand(name) for name in _COMMANDS})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit status.

    SIGTERM ends a command as Ctrl-C does, so that nothing half done is left behind; `run` has its
    own answer to it.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    status = status_of(arguments)
    if status == EXIT_TERMINATED:  # to whoever sent it the process died of it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    _end(status)


def _end(status: int) -> NoReturn:
    """End the process, whatever its threads are at.

    One that was given up at a stop may still be in a library, as at a picture that takes long to
    encode. It would come back into an interpreter that is being taken down, which ends the thread
    in the middle of C++: there, that aborts the process.
    """
    if not any(thread.daemon for thread in threading.enumerate()):
        sys.exit(status)
    # As the interpreter does it: pools are told to end, threads that are no daemons are waited for,
    # then what was registered runs. There is no public way to have that done now.
    threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


def status_of(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    try:
        _group.main(args=None if arguments is None else list(arguments), prog_name="inspector")
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Click and Rich make 1 of it
            return _pipe_gone()
        if isinstance(end.code, str):
            print(f"inspector: {end.code}", file=sys.stderr)
        return _flushed(end.code if isinstance(end.code, int) else int(end.code is not None))
    except InspectorError as error:
        print(f"inspector: {error}", file=sys.stderr)
        _tell_service_manager(error)
        return _status_of_error(error)
    except BrokenPipeError:
        return _pipe_gone()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001 - the edge of the process
        _print_trace()
        return EXIT_BUG
    return _flushed(0)


def _status_of_error(error: InspectorError) -> int:
    if isinstance(error, NoRuntimeError):
        return EXIT_NO_RUNTIME
    return EXIT_USER if isinstance(error, UserError) else EXIT_FAULT


def _tell_service_manager(error: InspectorError) -> None:
    """Why it ended stays in `systemctl status`; nobody need search the journal for it."""
    from inspector.observe.service_manager import ServiceManager

    ServiceManager().tell(status=f"ended: {error}")


def _flushed(status: int) -> int:
    """Find out now whether the last lines reach their reader, and not as a trace at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _pipe_gone()
    return status


def _pipe_gone() -> int:
    # What is still buffered has nowhere to go; the interpreter would complain when it flushes it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_PIPE


def _print_trace() -> None:
    import traceback

    traceback.print_exc()
    print("inspector: this is a fault of the program; the lines above tell where", file=sys.stderr)
