"""Every command that a page names can be typed: sub-command, options, make target, module."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from inspector import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
RULES = ROOT / "configs" / "prometheus" / "inspector.rules.yml"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def typed(page: Path) -> list[str]:
    """What a page shows to be typed: lines of its blocks, and what it has in backticks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in re.sub(r"\\\n", " ", block).splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    said = [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", prose)]
    return [re.split(r"\s#\s", line)[0] for line in lines + said]


@cache
def options_of(words: tuple[str, ...]) -> frozenset[str] | None:
    """Options of a sub-command; None if there is none of that name."""
    if words[0] not in cli._COMMANDS:
        return None
    command: Any = cli.load_command(words[0])
    for word in words[1:]:
        if word not in command.commands:
            return None
        command = command.commands[word]
    found = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    return frozenset(found | {"--help"})


def faults_of(line: str) -> list[str]:
    """What of a typed line is not there."""
    faults = []
    called = re.search(
        r"(?:^|\s|bin/)inspector ((?:events|engines) [a-z|]+|[a-z|-]+)(?=\s|$)(.*)", line
    )
    if called and not line.startswith("inspector: "):
        *group, last = called[1].split()
        for name in last.split("|"):
            options = options_of((*group, name))
            if options is None:
                faults.append(f"inspector {' '.join((*group, name))}")
                continue
            wrong = set(re.findall(r"(?<!\S)\[?(--[a-z-]+)", called[2])) - options
            faults += [f"inspector {called[1]} {option}" for option in sorted(wrong)]
    faults += [
        f"make {target}"
        for target in re.findall(r"^(?:sudo )?make ([a-z-]+)$", line)
        if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)
    ]
    faults += [
        f"python -m {module}"
        for module in re.findall(r"python3? -m ((?:train|tests|inspector)[\w.]*)", line)
        if importlib.util.find_spec(module) is None
    ]
    return faults


@pytest.mark.parametrize("page", [*PAGES, RULES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_can_be_typed(page):
    assert [fault for line in typed(page) for fault in faults_of(line)] == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("sudo X=y inspector chek a.yaml", "inspector chek"),
        ("inspector engines remake NAME", "inspector engines remake"),
        ("inspector engines build|burn NAME", "inspector engines burn"),
        ("inspector run a.yaml --untilended", "inspector run --untilended"),
        ("make demos", "make demos"),
        ("python -m tests.bench.bench_nothing", "python -m tests.bench.bench_nothing"),
    ],
)
def test_a_command_that_is_not_there_is_found(line, fault):
    assert faults_of(line) == [fault]


def test_the_pages_name_every_command():
    lines = [line for page in PAGES for line in typed(page)]
    named = {name for name in cli._COMMANDS if any(f"inspector {name}" in line for line in lines)}
    assert named == set(cli._COMMANDS)
