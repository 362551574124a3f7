"""`inspector run`: one station in the foreground, until it is told to stop."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from inspector.cli.log_options import LogFormat, LogLevel
from inspector.cli.stopping import Asked, asked_to_stop

if TYPE_CHECKING:
    from types import FrameType


def run(
    file: Annotated[
        Path | None, typer.Argument(help="Station file; the demo station if absent.")
    ] = None,
    until_ended: Annotated[
        bool,
        typer.Option(
            "--until-ended", help="Stop when every camera has come to its end (files, folders)."
        ),
    ] = False,
    log_format: LogFormat = "auto",
    log_level: LogLevel = "info",
) -> None:
    """Run a station until it is stopped; the demo if no file is given.

    SIGTERM and SIGINT stop it; SIGHUP has it take its changed file.
    """
    from inspector.config.secrets import Secrets
    from inspector.config.settled import read_settled
    from inspector.config.shipped import demo_file
    from inspector.config.state import written_folders
    from inspector.observe import logging
    from inspector.observe.reporting import Reporter
    from inspector.observe.service_manager import ServiceManager
    from inspector.owners import leave_to_owner

    # Where a hung station is aborted by its watchdog, the journal has each thread's place.
    faulthandler.enable()
    stop, reload = asked_to_stop(), Asked()
    reloading = threading.Thread(name="reload")
    on_terminal = sys.stderr.isatty()

    def on_hangup(_number: int, _frame: FrameType | None) -> None:
        # A terminal that was closed sends it too, and takes the station along.
        (stop if on_terminal and not sys.stderr.isatty() else reload).set()

    signal.signal(signal.SIGHUP, on_hangup)

    secrets = Secrets()
    file = file or demo_file()
    config = read_settled(file, secrets).station
    leave_to_owner(written_folders(config))
    logging.configure(log_format, log_level)
    log = structlog.get_logger("inspector.run")

    from inspector.station import Station

    station = Station(config, secrets, file=file, stop_asked=stop.is_set)
    log.info("starting", station=config.station, state=str(station.folder))
    manager = ServiceManager()

    def take_changes() -> None:
        with manager.reloading():
            station.reload("SIGHUP")

    with Reporter(manager, station.health):
        if not station.start():
            log.info("stopped before it was ready", station=config.station)
            return
        try:
            log.info("ready", station=config.station, page=station.address)
            while not stop.wait(0.2):
                if reload.is_set() and not reloading.is_alive():
                    reload.clear()
                    # In a thread of its own: neither the stop nor this loop waits for it.
                    reloading = threading.Thread(target=take_changes, daemon=True)
                    reloading.start()
                if until_ended and station.ended:
                    log.info("every camera has come to its end", station=config.station)
                    break
        finally:
            station.stop()
        if reload.is_set():
            log.warning("reload: not now", origin="SIGHUP", reason="the station stops")
    log.info("stopped", station=config.station)
