"""How the dashboard looks: every view in light and dark, on a phone, a tablet and a screen.

What is seen is kept below build/screenshots.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.browser.page import Page
    from tests.integration.station_process import StationProcess

pytestmark = pytest.mark.browser

VIEWS = ("cameras", "events", "station")
TEXTS = {
    "cameras": (".verdict .word", ".what", ".why", ".chip", ".figures dt", ".card .small"),
    "events": (".told", ".detail", ".when", "th, label", ".thumb", ".heading p"),
    "station": (".facts dt", ".facts dd", ".checks p", ".keys", ".chip"),
}


def arrive(page: Page, station: StationProcess, view: str) -> None:
    """Open a view, and wait until it has all that it will show."""
    page.open(station.page, view)
    if view == "cameras":
        page.until(lambda: "degraded" in page.card("blurred").text)
        page.until(lambda: page.shown("[data-camera=good] .view img"))
        page.until(lambda: "Camera lost" in page.card("away").text)
    elif view == "events":
        page.until(lambda: page.shown(".event .thumb img"))
    else:
        page.until(lambda: page.all("#charts .curve[d^=M]"))


@pytest.mark.parametrize("width", [1440, 820, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_fits_and_can_be_read_touched_and_heard(
    page: Page, shared_station: StationProcess, width: int, scheme: str
) -> None:
    page.size(width)
    page.prefers(color_scheme=scheme)
    for view in VIEWS:
        arrive(page, shared_station, view)
        page.screenshot(f"{view}-{width}-{scheme}")
        assert page.script("return document.documentElement.scrollWidth") <= width, view
        for text in (*TEXTS[view], "h1", ".ways a", ".foot a", "#troubles dt", "#troubles dd"):
            assert page.least_contrast(text) >= 4.5, (view, text)
        assert page.small_targets() == [], view
        assert page.accessibility_faults() == [], view
    assert page.faults_in_console() == []


@pytest.mark.parametrize("width", [1440, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_large_picture_fits_and_can_be_read_touched_and_heard(
    page: Page, shared_station: StationProcess, width: int, scheme: str
) -> None:
    page.size(width)
    page.prefers(color_scheme=scheme)
    arrive(page, shared_station, "events")
    page.script("document.querySelector('.event .thumb img').click()")
    page.until(lambda: page.shown("#look figure img"))
    page.screenshot(f"picture-{width}-{scheme}")
    assert page.script("return document.querySelector('#look').scrollWidth") <= width
    assert page.small_targets() == []
    assert page.accessibility_faults() == []
    assert page.faults_in_console() == []


def test_a_bad_camera_is_told_from_two_metres(page: Page, shared_station: StationProcess) -> None:
    page.size(1440)
    arrive(page, shared_station, "cameras")
    for camera, word in (("good", "Accepted"), ("blurred", "Rejected"), ("away", "Camera lost")):
        told = page.card(camera).find_element("css selector", ".verdict .word")
        assert told.text == word
        assert float(told.value_of_css_property("font-size").removesuffix("px")) >= 40
        bottom = page.script("return arguments[0].getBoundingClientRect().bottom", told)
        assert bottom < 900, "it is on the first screen"
    shapes = {
        camera: page.card(camera).find_element("css selector", "use").get_attribute("href")
        for camera in ("good", "blurred", "away")
    }
    assert len(set(shapes.values())) == 3, "no colour speaks alone"


def test_light_and_dark_follow_the_system_and_can_be_switched(
    page: Page, shared_station: StationProcess
) -> None:
    def ground() -> str:
        return str(page.script("return getComputedStyle(document.body).backgroundColor"))

    page.prefers(color_scheme="dark")
    page.open(shared_station.page)
    dark = ground()
    page.prefers(color_scheme="light")
    light = ground()
    assert dark != light
    page.one("#theme").click()
    assert "Colours: light" in (page.one("#theme").get_attribute("title") or "")
    page.one("#theme").click()
    assert ground() == dark
    page.open(shared_station.page)
    assert ground() == dark, "it is remembered"
    page.one("#theme").click()
    assert ground() == light


def test_nothing_moves_for_who_wants_less_motion(
    page: Page, shared_station: StationProcess
) -> None:
    page.prefers(reduced_motion="reduce")
    for view in VIEWS:
        arrive(page, shared_station, view)
        moving = "return document.getAnimations().filter((a) => a.playState === 'running').length"
        assert page.script(moving) == 0
        assert page.script(_MOVERS) == 0


_MOVERS = """
return [...document.querySelectorAll("*")].filter((element) => {
  const { transitionDuration, animationDuration } = getComputedStyle(element);
  return parseFloat(transitionDuration) || parseFloat(animationDuration);
}).length;
"""


def test_the_accessibility_check_finds_what_it_is_to_find(
    page: Page, shared_station: StationProcess
) -> None:
    arrive(page, shared_station, "cameras")
    page.script(
        "document.querySelector('#main').insertAdjacentHTML('beforeend',"
        " '<img src=icon.svg><button></button>')"
    )
    found = page.accessibility_faults()
    assert {fault.split(":")[0] for fault in found} == {"image-alt", "button-name"}


LINE = {
    "state": "connected",
    "address": "10.0.0.5:502",
    "detail": "",
    "since": "2026-11-24T10:00:00Z",
    "heartbeat": 1712,
    "safe": "normal",
    "observing": False,
    "cameras": {
        "infeed": {
            "phase": "valid",
            "part": 4711,
            "result": "reject",
            "label": "gblur",
            "sequence": 93,
            "acknowledged_ms": 12.4,
            "waiting": 2,
            "counters": {
                "accept": 1200, "reject": 31, "uncertain": 4, "unjudgeable": 1,
                "no_result": 2, "late": 3, "ack_timeouts": 5, "gave_way": 6,
            },
        },
        "outfeed": {
            "phase": "ready", "part": None, "result": None, "label": None, "sequence": 0,
            "acknowledged_ms": None, "waiting": 0, "counters": {},
        },
    },
}  # fmt: skip

_SHOW_LINE = """
const done = arguments[arguments.length - 1], line = arguments[0];
import("./line.js").then(({ makeLine, showLine, lineChip }) => {
  const panel = makeLine();
  document.querySelector("#panels > [aria-label=Line]").remove();
  document.querySelector("#panels").prepend(panel);
  showLine(panel, line);
  done([lineChip(line), panel.innerText, panel.hidden]);
}).catch((error) => done([null, String(error), null]));
"""


def test_the_handshake_of_each_camera_with_the_plc(
    page: Page, shared_station: StationProcess
) -> None:
    arrive(page, shared_station, "station")
    chip, text, hidden = page.browser.execute_async_script(_SHOW_LINE, LINE)
    assert (chip, hidden) == (["line: connected", "good"], False)
    infeed = next(line for line in text.splitlines() if line.startswith("infeed"))
    assert infeed.split("\t") == [
        "infeed", "result given, waits for acknowledge", "4711", "reject (out of focus)",
        "after 12 ms", "2", "1\u202f200", "31", "4", "1", "2", "3", "5", "6",
    ]  # fmt: skip
    assert "10.0.0.5:502" in text
    away = LINE | {"state": "away", "safe": "stop", "detail": "no answer within 500 ms"}
    away["faults"] = ["plc_away"]
    chip, text, _ = page.browser.execute_async_script(_SHOW_LINE, away)
    assert chip == ["line: the line is to stop", "bad"]
    assert "not connected" in text
    assert "no answer within 500 ms" in text
    assert "the PLC cannot be reached. Look whether the PLC runs" in text
    chip, _, hidden = page.browser.execute_async_script(_SHOW_LINE, None)
    assert (chip, hidden) == (None, True), "a station without a line has no such panel"
    assert page.accessibility_faults() == []


_SHOW_CARD = """
const done = arguments[arguments.length - 1], camera = arguments[0];
import("./cameras.js").then(({ showCameras, toneOf }) => {
  const history = { cameras: new Map(), steps: 300, step_s: 2, now: 300 };
  showCameras({ status: { cameras: { shown: camera } }, stills: {}, history });
  const [word, what] = document.querySelectorAll("[data-camera=shown] .verdict p");
  done([word.textContent, what.textContent, toneOf(camera)]);
}).catch((error) => done([String(error)]));
"""

RUNNING: dict[str, Any] = {
    "state": "running", "stream_epoch": 1, "on_trigger": False, "on_motion": False, "fps": 5.0,
    "quality": "good", "detail": "", "last_frame_age_s": 0.2,
    "counters": {"frames_in": 9, "judged": 9, "dropped": {}},
    "last_verdict": {
        "verdict": "accepted", "label": "refimgs", "stream_epoch": 1, "ago_s": 0.3,
        "probabilities": {"refimgs": 0.97}, "reasons": [],
    },
}  # fmt: skip
LAST = RUNNING["last_verdict"]
OLD = {"last_verdict": {**LAST, "ago_s": 28_800}, "last_frame_age_s": 28_800}


@pytest.mark.parametrize(
    ("camera", "told"),
    [
        ({}, ["Accepted", "good", "good"]),
        (OLD, ["Waiting", "for a picture", "none"]),
        ({**OLD, "last_verdict": None}, ["Waiting", "for a picture", "none"]),
        ({**OLD, "last_frame_age_s": 0.2}, ["Accepted", "good", "good"]),
        ({**OLD, "on_trigger": True}, ["Waiting", "for a trigger", "none"]),
        ({**OLD, "state": "ended"}, ["Ended", "no more pictures come", "none"]),
    ],
    ids=["now", "watched folder", "never judged", "long every_s", "trigger", "ended"],
)
def test_a_verdict_of_hours_ago_is_not_told_in_large(
    page: Page, shared_station: StationProcess, camera: dict[str, Any], told: list[str]
) -> None:
    page.open(shared_station.page)
    assert page.browser.execute_async_script(_SHOW_CARD, RUNNING | camera) == told


_HIDE = """
Object.defineProperty(document, "hidden", { configurable: true, get: () => arguments[0] });
document.dispatchEvent(new Event("visibilitychange"));
return [document.querySelector("#main").className, document.querySelector("#phase").innerText];
"""


def test_a_page_that_nobody_sees_is_grey_when_it_is_seen_again(
    page: Page, shared_station: StationProcess
) -> None:
    page.open(shared_station.page)
    classes, phase = page.script(_HIDE, True)
    assert "stale" in classes, "at once, since a tablet that sleeps lets nothing run after this"
    assert phase == "connecting"
    time.sleep(2)  # nothing that was on its way brings the colours back
    classes, phase = page.script(_HIDE, False)
    assert "stale" in classes
    assert phase == "connecting"
    page.until(lambda: "stale" not in (page.one("#main").get_attribute("class") or ""))
    assert page.one("#phase").text == "serving"
