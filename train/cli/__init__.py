"""The training commands, one file each; a user's mistake gives one message and exit status 2."""

import errno
import sys

import typer

from inspector.errors import EngineError, UserError
from train.cli.average import average
from train.cli.baselines import baselines
from train.cli.calibrate import calibrate
from train.cli.evaluate import evaluate
from train.cli.evidence import evidence
from train.cli.export import export
from train.cli.finetune import finetune
from train.cli.fit import fit
from train.cli.generate import generate
from train.cli.head import head
from train.cli.joins import joins
from train.cli.paper import paper
from train.cli.report import report
from train.errors import TrainingError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Make data sets, fit networks, measure them, and export engines.",
)
for command in (
    generate,
    fit,
    head,
    average,
    baselines,
    evaluate,
    report,
    joins,
    calibrate,
    export,
    evidence,
    finetune,
    paper,
):
    app.command()(command)


def main() -> None:
    """Run a command; a user's mistake or a full disk is told in one message, no traceback.

    So is a file or folder that cannot be used.
    """
    try:
        app()
    except (TrainingError, EngineError, UserError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            if error.filename is None:
                raise
            typer.echo(f"error: {error.filename}: {error.strerror}", err=True)
            sys.exit(2)
        typer.echo(
            f"error: {error.strerror}{f': {error.filename}' if error.filename else ''}; files that"
            " are there are whole: make room and run the same command again",
            err=True,
        )
        sys.exit(1)
