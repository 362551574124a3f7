"""`inspector dashboard`: all stations of a plant on one page, from Kafka alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer

from inspector.cli.log_options import LogFormat, LogLevel
from inspector.cli.stopping import asked_to_stop
from inspector.errors import UserError

if TYPE_CHECKING:
    from inspector.config.fleet import Fleet as Settings
    from inspector.config.secrets import Secrets

LOOP_LIMIT_S = 60.0
"""A broker may take half a minute to answer."""


def dashboard(
    file: Annotated[
        Path | None,
        typer.Argument(help="File with broker (TLS, log-in), lines, shifts and page."),
    ] = None,
    kafka: Annotated[
        list[str] | None,
        typer.Option("--kafka", metavar="HOST:PORT", help="The broker. May be repeated."),
    ] = None,
    line: Annotated[
        list[str] | None,
        typer.Option(
            "--line",
            metavar="NAME=STATIONS",
            help="Stations of a line, by name or pattern: line-7='packing-*'. May be repeated.",
        ),
    ] = None,
    zone: Annotated[
        str | None, typer.Option(help="Time zone of the shifts, such as Europe/Berlin.")
    ] = None,
    look_back_days: Annotated[
        float | None, typer.Option(help="So many days are read at the start, and kept.")
    ] = None,
    listen: Annotated[str | None, typer.Option(help="ADDRESS:PORT of the page.")] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the secret that callers off loopback must show."
        ),
    ] = None,
    log_format: LogFormat = "auto",
    log_level: LogLevel = "info",
) -> None:
    """Show all stations of a broker on one page: the fleet view.

    Give a FILE, or the broker with --kafka; further options go with --kafka. SIGTERM and Ctrl-C
    stop it.
    """
    import time

    from inspector.config.secrets import Secrets
    from inspector.fleet.app import make_app
    from inspector.fleet.fleet import Fleet
    from inspector.fleet.reader import Reader
    from inspector.observe import logging
    from inspector.observe.health import Health, Loop, Phase
    from inspector.observe.reporting import Reporter
    from inspector.observe.service_manager import ServiceManager
    from inspector.web.server import WebServer

    options = {"line": line, "zone": zone, "look_back_days": look_back_days, "listen": listen}
    settings = _settings(file, kafka, {**options, "token": token})
    secrets = Secrets()
    shown = _token(settings, secrets)
    logging.configure(log_format, log_level)
    log = structlog.get_logger("inspector.fleet")
    stop = asked_to_stop()
    fleet = Fleet(settings, time.time)
    reader = Reader(fleet, secrets)
    web = settings.web
    app = make_app(fleet, reader, host=web.host, token=shown)
    server = WebServer(app, host=web.host, port=web.port)
    health = Health()
    health.watch((Loop("reader", reader.progress_ns, LOOP_LIMIT_S),), reader.facts)
    with Reporter(ServiceManager(), health):
        server.start()
        reader.start()
        health.phase, health.step = Phase.SERVING, "serving"
        log.info("ready", page=server.address)
        stop.wait()
        health.phase, health.step = Phase.STOPPING, "stopping"
        server.stop()
        reader.stop()
    log.info("stopped")


def _settings(file: Path | None, kafka: list[str] | None, options: dict[str, Any]) -> Settings:
    """What file or options say.

    Raises:
        UserError: with every fault.
    """
    from inspector.config.fleet import load_fleet

    if (file is None) == (not kafka):
        msg = "say where the events are: give a FILE, or the broker with --kafka HOST:PORT"
        raise UserError(msg)
    if file is None:
        return _from_options(
            [server for each in kafka or () for server in each.split(",")], options
        )
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        msg = f"{', '.join(given)}: with a FILE, write this into {file}"
        raise UserError(msg)
    return load_fleet(file)


def _from_options(servers: list[str], options: dict[str, Any]) -> Settings:
    from pydantic import ValidationError

    from inspector.config.document import parse
    from inspector.config.explain import faults_of
    from inspector.config.fleet import LISTEN, Fleet

    lines: dict[str, list[str]] = {}
    for text in options["line"] or ():
        name, equals, globs = text.partition("=")
        if not equals:
            msg = f"--line {text}: expected NAME=STATIONS, such as line-7='packing-*'"
            raise UserError(msg)
        lines.setdefault(name, []).extend(globs.split(","))
    given: dict[str, Any] = {
        "kafka": {"bootstrap_servers": servers},
        "lines": lines,
        "web": {"listen": options["listen"] or LISTEN, "token": options["token"]},
    }
    if options["zone"] is not None:
        given["shifts"] = {"zone": options["zone"]}
    if options["look_back_days"] is not None:
        given["look_back_days"] = options["look_back_days"]
    try:
        return Fleet.model_validate(given)
    except ValidationError as error:
        import json

        faults = faults_of(error.errors(include_url=False), parse(json.dumps(given)), Fleet)
        raise UserError("; ".join(_by_option(str(fault)) for fault in faults)) from error


def _by_option(fault: str) -> str:
    """A fault in the words of the command line."""
    text = fault.partition(": ")[2] if fault.startswith("line 1: ") else fault
    for key, option in {
        "kafka.bootstrap_servers": "--kafka",
        "shifts.zone": "--zone",
        "look_back_days": "--look-back-days",
        "web.listen": "--listen",
        "web.token": "--token",
        "web": "--listen",
        "lines": "--line",
    }.items():
        if text.startswith(key):
            rest = re.sub(r"^\[[0-9]+\]", "", text.removeprefix(key))
            return option + (f" {rest[1:]}" if rest.startswith(".") else rest)
    return text


def _token(settings: Settings, secrets: Secrets) -> str | None:
    """The page's token; the broker's secrets are only looked for, so that a lack is told at once.

    Raises:
        UserError: a secret is not set.
    """
    sasl, key = settings.kafka.sasl, settings.kafka.tls.key_password
    names = [] if sasl is None else [sasl.username, sasl.password]
    for name in [*names, *([] if key is None else [key])]:
        secrets.get(name)
    return secrets.get(settings.web.token) if settings.web.token else None
