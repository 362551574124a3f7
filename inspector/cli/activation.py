"""`inspector engines activate` and `rollback`: ask a running station for another engine."""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import typer

from inspector.errors import UserError, WebError

URL = "http://127.0.0.1:8787"
ANSWER_WITHIN_S = 600.0
"""An engine is loaded and proved meanwhile, and another activation may come first."""

File = Annotated[
    Path | None, typer.Argument(help="Station file of the running station; tells its address.")
]
Url = Annotated[
    str | None, typer.Option(help=f"Address of the running station instead; {URL} without both.")
]
Token = Annotated[
    str | None, typer.Option(help="Name of the secret that the station asks for; see web.token.")
]
Stage = Annotated[
    Literal["screen", "confirm"], typer.Option(help="Which of the station's engines is replaced.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the station's answer.")]


def activate(
    name: Annotated[str, typer.Argument(help="Engine folder beside the station's others.")],
    file: File = None,
    url: Url = None,
    stage: Stage = "screen",
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Have a running station judge with another engine: loaded beside, proved, then swapped in."""
    _ask(f"/api/engines/{quote(name, safe='')}/activate", file, url, stage, token, as_json)


def rollback(
    file: File = None,
    url: Url = None,
    stage: Stage = "screen",
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Have a running station judge with the engine that did before the last activation."""
    _ask("/api/engines/rollback", file, url, stage, token, as_json)


def _ask(
    path: str, file: Path | None, url: str | None, stage: str, token: str | None, as_json: bool
) -> None:
    base, secret = _station(file, url, token)
    status, answer = _post(base + path, {"stage": stage}, secret)
    if as_json:
        print(json.dumps(answer, indent=2))
    elif status == 200:  # noqa: PLR2004 - HTTP
        before = answer.get("before") or {}
        print(f"{answer['detail']} (before: {before.get('name')} {before.get('version')})")
    else:
        print(f"inspector: {answer.get('outcome', status)}: {answer['detail']}", file=sys.stderr)
    if status != 200:  # noqa: PLR2004 - HTTP
        raise typer.Exit(2 if status == 404 else 1)  # noqa: PLR2004 - HTTP


def _station(file: Path | None, url: str | None, token: str | None) -> tuple[str, str | None]:
    """Address and secret of the station that is meant. Raises UserError."""
    from inspector.config.load import load_station
    from inspector.config.secrets import Secrets

    if file is not None and url is not None:
        msg = "give a station file or --url, not both"
        raise UserError(msg)
    if file is not None:
        web = load_station(file).web
        token = token or web.token
        if not web.port:
            msg = f"{file}: web: listen takes any free port; give the station's address by --url"
            raise UserError(msg)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(web.host, web.host)  # noqa: S104 - not bound
        url = f"http://[{host}]:{web.port}" if ":" in host else f"http://{host}:{web.port}"
    url = (url or URL).rstrip("/")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        sound = sound and not re.search(r"\s", url)
    except ValueError:
        sound = False
    if not sound:
        msg = f"--url {url}: expected an address such as {URL}"
        raise UserError(msg)
    return url, Secrets().get(token) if token else None


def _post(url: str, body: dict[str, str], secret: str | None) -> tuple[int, dict[str, Any]]:
    """Ask; status and answer. Raises UserError, WebError."""
    headers = {"Content-Type": "application/json"}
    if secret is not None:
        if not (secret.isascii() and secret.isprintable()):  # the library's words would repeat it
            msg = "the token has characters that no HTTP header can hold; correct the secret"
            raise UserError(msg)
        headers["Authorization"] = f"Bearer {secret}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - checked
    # No proxy lies between an engineer and a station.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_WITHIN_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        content = error.read()
        try:
            return error.code, {"detail": error.reason} | json.loads(content)
        except (ValueError, TypeError):
            detail = content.decode(errors="replace").strip() or error.reason
            return error.code, {"detail": detail}
    except (OSError, ValueError, HTTPException) as error:
        why = getattr(error, "reason", error)
        msg = f"no station answers at {url}: {why}; is it running, and is that its address?"
        raise WebError(msg) from error
