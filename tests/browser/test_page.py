"""The station's page in a real browser, served by a real station."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import httpx
import pytest
import yaml
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.engine import tiny_engine
from tests.integration.station_process import StationProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.browser

WITHIN_S = 20


@pytest.fixture
def station(tmp_path: Path) -> Iterator[StationProcess]:
    """Cameras with good pictures, with blurred ones, not reachable, waiting for a trigger."""
    tiny_engine.make(tmp_path / "engines", name="tiny")
    for label in ("refimgs", "gblur"):
        folder = tmp_path / label
        folder.mkdir()
        for i in range(3):
            cv2.imwrite(str(folder / f"{i}.png"), tiny_engine.picture(label, seed=i))
    config = {
        "mode": "observe",
        "engine": {"screen": "tiny", "folder": str(tmp_path / "engines"), "threads": 1},
        "cameras": {
            "good": _folder(tmp_path / "refimgs"),
            "blurred": _folder(tmp_path / "gblur"),
            "away": {"source": {"kind": "rtsp", "url": "rtsp://127.0.0.1:9/none"}},
            "asked": {**_folder(tmp_path / "refimgs"), "inspect": {"on_trigger": True}},
        },
        "events": {
            "kafka": {
                "bootstrap_servers": ["127.0.0.1:9"],
                "security_protocol": "PLAINTEXT",
            },
            "heartbeat_s": 1,
        },
        "evidence": {"min_free_mb": 0},
    }
    with StationProcess(tmp_path, config) as process:
        yield process.wait_ready()


def _folder(folder: Path) -> dict[str, object]:
    source = {"kind": "images", "folder": str(folder), "loop": True, "every_s": 0.1}
    return {"source": source}


def _card(browser: Chrome, camera: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, f"[data-camera={camera}]")


def test_the_page_shows_what_the_station_sees(browser: Chrome, station: StationProcess) -> None:
    browser.get(station.page + "/")
    wait = WebDriverWait(browser, WITHIN_S, ignored_exceptions=[Exception])
    wait.until(lambda b: "accepted" in _card(b, "good").text)
    wait.until(lambda b: "rejected\nout of focus" in _card(b, "blurred").text)
    wait.until(lambda b: "lost" in _card(b, "away").text)
    assert "Connection refused" in _card(browser, "away").text
    wait.until(lambda b: "degraded" in _card(b, "blurred").text)
    assert "degraded" not in _card(browser, "good").text
    assert browser.find_element(By.ID, "station").text == "test-01"
    assert browser.find_element(By.ID, "phase").text == "serving"
    observing = browser.find_element(By.ID, "observing")
    assert observing.text == "observing: the line gets no signal"
    wait.until(lambda b: "waits for a trigger" in _card(b, "asked").text)
    part = {"part_id": "4711"}
    httpx.post(f"{station.page}/api/cameras/asked/inspect", json=part, timeout=20)
    wait.until(lambda b: "part 4711: " in _card(b, "asked").text)
    events = browser.find_element(By.ID, "events")
    wait.until(lambda _: "quality degraded out of focus" in events.text)
    rejects = [row for row in events.text.splitlines() if "blurred rejected" in row]
    assert 1 <= len(rejects) <= 2, "like rejects are one line, before and after `degraded`"
    assert max(int(row.split()[-1]) for row in rejects) > 1
    assert "status" not in events.text, "a heartbeat is no news"
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "#events a.picture"))
    link = browser.find_element(By.CSS_SELECTOR, "#events a.picture").get_attribute("href")
    assert link
    picture = httpx.get(link)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    trouble = browser.find_element(By.ID, "troubles").text
    assert "broker nothing listens at 127.0.0.1:9" in trouble.replace("\n", " ")
    assert "away" not in trouble, "a camera has its own card"
    meters = _card(browser, "good").find_elements(By.CSS_SELECTOR, "[role=meter]")
    assert float(meters[0].get_attribute("aria-valuenow") or 0) > 0.9
    assert meters[0].rect["width"] * 0.9 < meters[0].find_element(By.TAG_NAME, "div").rect["width"]
    severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert severe == []


@pytest.mark.parametrize("width", [1440, 820, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_can_be_read(
    browser: Chrome, station: StationProcess, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(station.page + "/")
    wait = WebDriverWait(browser, WITHIN_S, ignored_exceptions=[Exception])
    wait.until(lambda b: "degraded" in _card(b, "blurred").text)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for part in (
        ".verdict",
        ".label",
        ".why",
        ".chip",
        ".counts dt",
        "th",
        "a.picture",
        "#troubles dt",
    ):
        assert browser.execute_script(_CONTRAST, part) >= 4.5, part
    verdict = browser.find_element(By.CSS_SELECTOR, ".verdict")
    assert float(verdict.value_of_css_property("font-size").removesuffix("px")) >= 40


_CONTRAST = """
const parse = (text) => text.match(/[0-9.]+/g).map(Number);
const light = ([r, g, b]) => {
  const line = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  return 0.2126 * line(r) + 0.7152 * line(g) + 0.0722 * line(b);
};
const ground = (element) => {
  for (; element; element = element.parentElement) {
    const colour = parse(getComputedStyle(element).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const shown = [...document.querySelectorAll(arguments[0])].filter((e) => e.offsetParent);
return Math.min(...shown.map((element) => {
  const [ink, paper] = [parse(getComputedStyle(element).color), ground(element)].map(light);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}));
"""


def test_a_refused_station_file_stands_on_the_page_until_a_good_one_comes(
    browser: Chrome, station: StationProcess
) -> None:
    good = yaml.safe_load(station.file.read_text())
    browser.get(station.page + "/")
    wait = WebDriverWait(browser, WITHIN_S, ignored_exceptions=[Exception])
    wait.until(lambda b: _card(b, "away"))
    station.write({**good, "cameras": {**good["cameras"], "away": {"source": {"kind": "rtps"}}}})
    assert station.reload().status_code == 422
    troubles = browser.find_element(By.ID, "troubles")
    wait.until(lambda _: 'did you mean "rtsp"?' in troubles.text)
    assert "station file\nrefused at " in troubles.text
    del good["cameras"]["away"]
    station.write(good)
    assert station.reload().status_code == 200
    wait.until(lambda _: "station file" not in troubles.text)
    wait.until(lambda b: not b.find_elements(By.CSS_SELECTOR, "[data-camera=away]"))


def test_the_page_says_when_the_station_is_gone(browser: Chrome, station: StationProcess) -> None:
    browser.get(station.page + "/")
    wait = WebDriverWait(browser, WITHIN_S, ignored_exceptions=[Exception])
    wait.until(lambda b: b.find_element(By.ID, "phase").text == "serving")
    station.kill()
    wait.until(lambda b: b.find_element(By.ID, "phase").text == "station does not answer")
    assert "stale" in (browser.find_element(By.TAG_NAME, "body").get_attribute("class") or "")
