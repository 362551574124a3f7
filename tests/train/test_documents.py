"""The pages about training name commands, options and ranges that are there."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from train.cli import app
from train.distortions import DISTORTIONS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = "\n".join(
    (DOCS / name).read_text(encoding="utf-8") for name in ("training.md", "training-results.md")
)
COMMANDS = typer.main.get_command(app).commands
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
LINES = [line for line in BLOCKS.splitlines() if line.startswith("python ")]


def test_every_command_has_an_example():
    assert {line.split()[3] for line in LINES} == set(COMMANDS)


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.split()[3:7]))
def test_an_example_has_the_options_that_its_command_needs(line):
    python, _, package, name, *words = shlex.split(line)
    assert (python, package) == ("python", "train")
    COMMANDS[name].make_context(name, words)


@pytest.mark.parametrize("label", sorted(set(DISTORTIONS) - {"refimgs"}))
def test_ranges_are_those_of_the_code(label):
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{label}` "))
    distortion = DISTORTIONS[label]
    assert f" {distortion.mildest:g} to {distortion.worst:g}" in row


def test_options_that_the_text_names_are_there():
    known = {option for c in COMMANDS.values() for p in c.params for option in p.opts}
    for option in set(re.findall(r"(?<!\w)--[a-z][a-z0-9-]+", PAGE)):
        assert option in known | {"--help", "--json"}, option
