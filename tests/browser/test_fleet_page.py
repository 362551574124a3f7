"""The page of all stations in a real browser, fed by a real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import yaml

from inspector.verdict import Outcome
from tests.browser.chromium import chromium
from tests.browser.page import Page
from tests.events.making import topics_of
from tests.fleet.making import FakeClock, Teller
from tests.fleet.test_reader import Plant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.browser, pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

WITHIN_S = 120
NASTY = "<img src=x onerror=alert(1)>"


class Dashboard:
    """`inspector dashboard` on a file, and the plant that it shows."""

    def __init__(self, plant: Plant, folder: Path) -> None:
        self.plant = plant
        self.clock = FakeClock(time.time())
        topics = plant.topics
        self.packing = [
            Teller(f"packing-0{i}", self.clock, ("infeed", "outfeed"), topics=topics)
            for i in (1, 2)
        ]
        self.mould = Teller("mould-01", self.clock, topics=topics)
        file = folder / "fleet.yaml"
        document = {
            "kafka": {"bootstrap_servers": [plant.broker.bootstrap]},
            "topics": topics.model_dump(),
            "lines": {"packing": ["packing-*"], "moulding": ["mould-01", "mould-02"]},
            "shifts": {"starts": {"all-day": "00:00"}},
            "web": {"listen": "127.0.0.1:0"},
        }
        file.write_text(yaml.safe_dump(document))
        log = folder / "log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "inspector.cli",
                    "dashboard",
                    str(file),
                    "--log-format=json",
                ],
                stderr=out,
                env=os.environ,
            )
        deadline = time.monotonic() + WITHIN_S
        self.address = ""
        while not self.address:
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            whole, _, _ = log.read_text().rpartition("\n")
            lines = [json.loads(line) for line in whole.splitlines()]
            self.address = next((x["page"] for x in lines if x["message"] == "ready"), "")
            time.sleep(0.05)

    def tell(self, *events) -> None:
        self.plant.write(*events)

    def beats(self) -> None:
        self.clock.now = time.time()
        self.tell(*(teller.beat() for teller in (*self.packing, self.mould)))


@pytest.fixture(scope="module")
def dashboard(broker_of_session, tmp_path_factory) -> Iterator[Dashboard]:
    plant = Plant(broker_of_session, f"page-{time.time_ns()}")
    assert plant.topics == topics_of(plant.topics.rejects.partition(".")[2])
    plant.make_topics(plant.topics.rejects, plant.topics.status, plant.topics.verdicts)
    made = Dashboard(plant, tmp_path_factory.mktemp("fleet"))
    a, b = made.packing
    for teller in (a, b, made.mould):
        teller.started -= 100
        teller.judged = dict.fromkeys(teller.cameras, 400)
    made.beats()
    rejects = [a.frame(label=label) for label in ("gblur", "gblur", "wn", "gblur")]
    made.tell(*rejects, b.frame(label="motion_blur"), made.mould.frame(label="gblur"))
    made.tell(a.frame("frame_judged", outcome=Outcome.UNCERTAIN))
    made.clock.now = time.time()
    b.states["outfeed"] = "lost"
    made.tell(b.lost("outfeed", detail=NASTY), b.frame("quality_degraded"))
    yield made
    made.process.terminate()
    assert made.process.wait(60) == 0


@pytest.fixture
def page(dashboard: Dashboard, tmp_path: Path) -> Iterator[Page]:
    with chromium(tmp_path / "chromium") as driven:
        page = Page(driven)
        page.size(1440, 1300)
        driven.get(dashboard.address)
        page.until(lambda: page.one("#reading").text == "live")
        page.until(lambda: len(page.all("#rows tr[data-station]")) == 4)
        yield page
        assert page.faults_in_console() == []


def row(page: Page, station: str) -> str:
    return page.one(f"#rows tr[data-station={station}]").text


def test_rejects_by_line_and_shift(page: Page):
    page.until(lambda: page.one("#board tr strong").text == "5")
    rows = [row.text.splitlines() for row in page.all("#board tr")]
    names = [row[0].split()[0] for row in rows]
    assert names == ["packing", "moulding", "All"]
    assert [row[1] for row in rows[:2]] == ["2 stations", "1 station"]
    assert "of 1\u202f600" in page.one("#board tr").text
    assert "all-day, now" in page.one("#shifts").text


def test_labels_most_first(page: Page):
    page.until(lambda: len(page.all("#pareto li")) == 4)
    words = [li.text.replace("\n", " ") for li in page.all("#pareto li")[1:]]
    assert words[0].startswith("out of focus 4 67 % 67 %")
    assert {words[1].split(" 1 ")[0], words[2].split(" 1 ")[0]} == {"noise", "motion blur"}
    assert words[2].endswith("100 %")
    assert "1 more uncertain" in page.one("#pareto-of").text


def test_a_line_can_be_chosen(page: Page):
    page.choose("#line", "moulding")
    page.until(lambda: len(page.all("#rows tr[data-station]")) == 2)
    assert len(page.all("#board tr")) == 1
    assert "moulding, this shift: 1 rejects" in page.one("#pareto-of").text
    page.choose("#line", "")
    page.until(lambda: len(page.all("#rows tr[data-station]")) == 4)


def test_what_needs_attention_is_told_as_text(page: Page):
    page.until(lambda: "bad pictures: infeed" in row(page, "packing-02"))
    assert "lost: outfeed" in row(page, "packing-02")
    told = page.one("#troubles").text
    assert NASTY in told, "what a station says is text and nothing else"
    assert "mould-02\nnothing heard in 3 days" in told
    assert page.all("#troubles img") == []
    assert row(page, "mould-02").splitlines()[-1].endswith("never")


def test_what_a_heartbeat_finds_not_well_is_told(page: Page, dashboard: Dashboard):
    dashboard.clock.now = time.time()
    reasons = ("line: the PLC cannot be reached", f"evidence: {NASTY}", "broker: not reachable")
    dashboard.tell(dashboard.mould.beat(reasons=reasons))
    page.until(lambda: "trouble\nline, evidence" in row(page, "mould-01"))
    told = page.one("#troubles").text
    assert "mould-01\nline: the PLC cannot be reached" in told
    assert f"mould-01\nevidence: {NASTY}" in told
    assert "not reachable" not in told
    dashboard.beats()
    page.until(lambda: "the PLC cannot be reached" not in page.one("#troubles").text)


def test_a_reject_appears_by_itself_and_a_repeat_changes_nothing(page: Page, dashboard: Dashboard):
    dashboard.clock.now = time.time()
    event = dashboard.mould.frame(label="jpeg")
    dashboard.tell(event)
    page.until(lambda: "JPEG damage" in page.one("#pareto").text)
    before = page.one("#pareto-of").text
    dashboard.tell(event)
    page.until(lambda: "1 repeats" in page.one("#counts").text)
    assert page.one("#pareto-of").text == before


def test_a_station_goes_quiet_and_comes_back(page: Page, dashboard: Dashboard):
    for _ in range(4):  # a heartbeat every half second is what it is used to
        dashboard.beats()
        time.sleep(0.5)
    page.until(lambda: "quiet" in row(page, "mould-01"))
    page.until(lambda: "it used to tell of itself every" in page.one("#troubles").text)
    dashboard.beats()
    page.until(lambda: "quiet" not in row(page, "mould-01"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 768, 390])
def test_it_looks_right_and_can_be_used_by_all(page: Page, scheme: str, width: int):
    page.prefers(color_scheme=scheme)
    page.size(width, 1600)
    page.until(lambda: page.one("#board tr"))
    page.screenshot(f"fleet-{width}-{scheme}")
    assert page.accessibility_faults() == []
    assert page.small_targets() == []
    assert page.least_contrast("main td, main th, main dd, main dt, #pareto span, .chip") >= 4.5
    wide = page.script("return document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, "the page itself never scrolls sideways"
