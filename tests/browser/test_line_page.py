"""What the dashboard tells of the line: a real station, `inspector plc-simulator` as its PLC."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import pytest

from inspector.line.parts import CAUSES_IN_WORDS
from tests.browser.conftest import config
from tests.integration.station_process import StationProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.browser.page import Page

pytestmark = pytest.mark.browser

PATIENT = ("--indexed", "--travel-ms=20000", "--heartbeat-within-ms=20000", "--reset-after-ms=0")
"""A busy machine is no fault of the line, and reset is pressed by the test alone."""


class Simulator:
    """`inspector plc-simulator` as a process of its own, obeying words."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "inspector.cli", "plc-simulator", "--camera=asked"]
        self._told = folder / "plc.jsonl"
        with self._told.open("w") as told:
            self._process = subprocess.Popen(
                [*command, "--port=0", "--rate=4", *PATIENT, "--json"],
                stdin=subprocess.PIPE,
                stdout=told,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def port(self) -> int:
        """Where it listens; 0 before it does."""
        first, ended, _ = self._told.read_text().partition("\n")
        return int(json.loads(first)["port"]) if ended else 0

    def say(self, word: str) -> None:
        """A fault, `reset` or `quit`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()


@pytest.fixture
def plc(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as simulator:
        yield simulator


@pytest.fixture
def station(page: Page, plc: Simulator, tmp_path: Path) -> Iterator[StationProcess]:
    port = page.until(lambda: plc.port)
    settings = config(tmp_path) | {
        "mode": "inspect",
        "line": {
            "modbus": {"host": "127.0.0.1", "port": port, "timeout_ms": 20_000},
            "acknowledge_ms": 8000,
            "cameras": {"asked": {"trigger": "plc", "deadline_ms": 15_000}},
        },
    }
    with StationProcess(tmp_path, settings) as process:
        yield process.wait_ready()


def cell(page: Page, column: str) -> str:
    """What the table of handshakes says of the only camera."""
    return str(page.script(_CELL, column))


_CELL = """
const table = document.querySelector("#panels [aria-label=Line] table");
const at = [...table.tHead.rows[0].cells].findIndex((th) => th.textContent === arguments[0]);
return table.tBodies[0].rows[0]?.cells[at].textContent ?? "";
"""


def count(page: Page, column: str) -> int:
    return int(cell(page, column).replace("\u202f", "") or 0)


def part(page: Page) -> int:
    """The part that is answered; 0 between two."""
    shown = cell(page, "part")
    return int(shown) if shown.isdigit() else 0


def panel(page: Page) -> Any:
    return page.one("#panels [aria-label=Line]")


def show_line(page: Page) -> None:
    page.script("arguments[0].scrollIntoView({block: 'center'})", panel(page))


def test_parts_and_their_answers_are_seen_live(
    page: Page, station: StationProcess, plc: Simulator
) -> None:
    page.open(station.page, "station")
    page.until(lambda: page.one("#line").text == "line: connected")
    page.until(lambda: count(page, "reject") > 2)
    first = page.until(lambda: part(page))
    page.until(lambda: part(page) > first)
    assert cell(page, "result") == "reject (noise)"
    assert cell(page, "last acknowledged").startswith("after ")
    assert count(page, "accept") == count(page, "not acknowledged") == 0
    assert panel(page).find_element("css selector", ".chip").text == "connected"
    assert f"PLC\n127.0.0.1:{plc.port} unit 1" in panel(page).text
    for width, scheme in ((1440, "light"), (360, "dark")):
        page.size(width)
        page.prefers(color_scheme=scheme)
        show_line(page)
        page.screenshot(f"line-{width}-{scheme}")
        assert page.script("return document.documentElement.scrollWidth") <= width
        assert page.accessibility_faults() == []
    page.open(station.page, "cameras")
    page.until(lambda: "part " in page.card("asked").text and ", reject" in page.card("asked").text)
    assert page.faults_in_console() == []


def test_a_missing_acknowledgement_is_told_in_words_until_it_is_over(
    page: Page, station: StationProcess, plc: Simulator
) -> None:
    page.open(station.page, "station")
    page.until(lambda: count(page, "reject") > 0)
    plc.say("no-ack")
    words = CAUSES_IN_WORDS["no_acknowledge"]
    page.until(lambda: cell(page, "handshake") == f"fault: {words}")
    page.until(lambda: page.one("#line").text == "line: every part is rejected")
    assert f"asked: {words}. A result stands" in panel(page).text
    assert "press reset at the PLC" in panel(page).text
    assert (
        f"camera asked: {words}; the PLC is told to reject every part" in page.one("#troubles").text
    )
    assert count(page, "not acknowledged") == 1
    for width, scheme in ((1440, "light"), (1440, "dark"), (360, "light")):
        page.size(width)
        page.prefers(color_scheme=scheme)
        show_line(page)
        page.screenshot(f"line-fault-{width}-{scheme}")
        assert page.script("return document.documentElement.scrollWidth") <= width
        assert page.least_contrast("#panels .complaints li") >= 4.5
        assert page.accessibility_faults() == []
    page.size(1440)
    for view in ("cameras", "events"):
        page.open(station.page, view)
        told = page.card("asked") if view == "cameras" else page.one("#events")
        page.until(lambda told=told: words in told.text)
        page.screenshot(f"line-fault-{view}")
    page.open(station.page, "station")
    before = count(page, "reject")
    plc.say("reset")
    page.until(lambda: page.one("#line").text == "line: connected")
    page.until(lambda: words not in panel(page).text)
    page.until(lambda: count(page, "reject") > before)
    assert count(page, "not acknowledged") == 1, "it has been, and is over"
    page.open(station.page, "events")
    page.until(lambda: f"it was that {words}" in page.one("#events").text)
    assert page.faults_in_console() == []


@pytest.mark.parametrize("cause", CAUSES_IN_WORDS)
def test_the_page_has_the_station_s_words_for_each_fault(
    page: Page, shared_station: StationProcess, cause: str
) -> None:
    page.open(shared_station.page)
    said = page.browser.execute_async_script(_WORDS, cause)
    assert said[0] == CAUSES_IN_WORDS[cause]
    assert said[1].endswith(".")


_WORDS = """
const [cause, done] = arguments;
import("./words.js").then((of) => done([of.lineFault(cause), of.lineAdvice(cause)]));
"""
