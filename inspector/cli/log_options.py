"""How a command that runs for long writes its log: the same options wherever there is one."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

LogFormat = Annotated[
    Literal["auto", "json", "text"], typer.Option(help="auto: text on a terminal, else JSON.")
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"], typer.Option(help="Least level to write.")
]
