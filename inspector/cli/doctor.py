"""`inspector doctor`: is this box, with its cameras, engine and broker, fit to run the station?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inspector.doctor.finding import Finding, Grade, status_of, worst

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS = {
    Grade.GOOD: "green",
    Grade.NOTE: "cyan",
    Grade.MEND: "yellow",
    Grade.MISTAKE: "bold red",
}

Seconds = Annotated[
    float, typer.Option(min=1.0, max=60.0, help="How long each camera is looked at.")
]


def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Station file, or a file of `inspector line`; the demo station if absent."
        ),
    ] = None,
    seconds: Seconds = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Examine cameras, engine, broker, PLC, disks, service, clock, memory; say what to mend."""
    from inspector.config.load import is_signaller_file
    from inspector.config.secrets import Secrets
    from inspector.config.shipped import demo_file
    from inspector.doctor.checks import examine_file
    from inspector.doctor.signaller import examine_signaller_file

    path, secrets = file or demo_file(), Secrets()
    with waiting("examining"):
        if is_signaller_file(path):
            findings = examine_signaller_file(path, secrets)
        else:
            findings = examine_file(path, secrets, seconds=seconds)
    if as_json:
        print(json.dumps({"file": str(path), **as_document(findings)}))
    else:
        print_findings(findings, title=str(path))
    raise typer.Exit(status_of(findings))


def waiting(what: str) -> Any:
    """A sign of life on a terminal's standard error, as a context."""
    return Console(stderr=True).status(f"{what} …")


def as_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Findings as one JSON object: the exit status, the worst grade, and each finding."""
    return {
        "status": status_of(findings),
        "worst": worst(findings).word,
        "findings": [finding.to_json() for finding in findings],
    }


def print_findings(findings: Sequence[Finding], *, title: str) -> None:
    """Findings as a table for people, each with its grade in colour and in a word.

    Of what is good the figures are told and not what was expected.
    """
    table = Table(title=title, title_justify="left")
    for heading in ("", "what", "found", "expected", "what to do"):
        table.add_column(heading, overflow="fold")
    for one in findings:
        colour = _COLOURS[one.grade]
        what = f"{one.subject} {one.name}".strip()
        expected = one.expected if one.grade > Grade.NOTE else ""
        table.add_row(
            Text(one.grade.word, colour),
            *(Text(text) for text in (what, one.found, expected)),
            Text(one.remedy, colour),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(Text(_summary(findings), _COLOURS[worst(findings)]))


def _summary(findings: Sequence[Finding]) -> str:
    """All findings in a sentence.

    >>> _summary([Finding("cpu", "", Grade.GOOD, "")])
    'all good'
    """
    counts = [
        f"{count} {words}"
        for grade, words in ((Grade.MISTAKE, "to correct in the file"), (Grade.MEND, "to mend"))
        if (count := sum(finding.grade is grade for finding in findings))
    ]
    return ", ".join(counts) or "all good"
