"""`inspector line`: the rejects of stations, from Kafka to the line's PLC."""

from __future__ import annotations

import faulthandler
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from inspector.cli.log_options import LogFormat, LogLevel
from inspector.cli.stopping import asked_to_stop

if TYPE_CHECKING:
    from inspector.config.secrets import Secrets
    from inspector.config.signaller import Signaller
    from inspector.signaller.service import Service
    from inspector.web.server import WebServer


def line(
    file: Annotated[Path, typer.Argument(help="The signaller's file; see docs/line.md.")],
    log_format: LogFormat = "auto",
    log_level: LogLevel = "info",
) -> None:
    """Signal the rejects of stations, read from Kafka, to a PLC.

    A station signals its own line by the section `line` of its file; this is for lines whose PLC
    is nearer to Kafka than to the station. `inspector check FILE` looks the file through.
    SIGTERM and SIGINT stop it.
    """
    from inspector.config.load import load_signaller
    from inspector.config.secrets import Secrets
    from inspector.config.state import signaller_folder
    from inspector.observe import logging
    from inspector.observe.reporting import Reporter
    from inspector.observe.service_manager import ServiceManager
    from inspector.owners import leave_to_owner
    from inspector.signaller.service import Service

    faulthandler.enable()
    stop = asked_to_stop()
    secrets = Secrets()
    config = load_signaller(file, secrets)
    folder = signaller_folder(config)
    leave_to_owner([folder])
    logging.configure(log_format, log_level)
    log = structlog.get_logger("inspector.line")
    log.info("starting", signaller=config.signaller, mode=config.mode, state=str(folder))
    service = Service(config, secrets, folder)
    with Reporter(ServiceManager(), service.health):
        web = _serve(config, secrets, service)
        service.start()
        try:
            page = None if web is None else web.address
            log.info("ready", signaller=config.signaller, group=config.group, web=page)
            while not (stop.wait(0.2) or service.ended.is_set()):
                pass
        finally:
            service.stop()
            if web is not None:
                web.stop()
    if service.failure is not None:
        raise service.failure
    log.info("stopped", signaller=config.signaller)


def _serve(config: Signaller, secrets: Secrets, service: Service) -> WebServer | None:
    """Probes and metrics, where the file asks for them."""
    if config.web is None:
        return None
    from inspector.web.probes import make_probes_app
    from inspector.web.server import WebServer

    app = make_probes_app(
        service.health,
        service.status,
        service.tally.exposition,
        host=config.web.host,
        token=secrets.get(config.web.token) if config.web.token else None,
    )
    web = WebServer(app, host=config.web.host, port=config.web.port)
    web.start()
    return web
