"""The station's page in a real browser, served by a real station."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import pytest
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
    """One camera with good pictures, one with blurred ones, one that cannot be reached."""
    tiny_engine.make(tmp_path / "engines", name="tiny")
    for label in ("refimgs", "gblur"):
        folder = tmp_path / label
        folder.mkdir()
        for i in range(3):
            cv2.imwrite(str(folder / f"{i}.png"), tiny_engine.picture(label, seed=i))
    config = {
        "engine": {"screen": "tiny", "folder": str(tmp_path / "engines"), "threads": 1},
        "cameras": {
            "good": _folder(tmp_path / "refimgs"),
            "blurred": _folder(tmp_path / "gblur"),
            "away": {"source": {"kind": "rtsp", "url": "rtsp://127.0.0.1:9/none"}},
        },
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
    wait.until(lambda b: "rejected: out of focus" in _card(b, "blurred").text)
    wait.until(lambda b: "camera lost" in _card(b, "away").text)
    assert "Connection refused" in _card(browser, "away").text
    wait.until(lambda b: "degraded" in _card(b, "blurred").text)
    assert browser.find_element(By.ID, "station").text == "test-01"
    assert browser.find_element(By.ID, "phase").text == "serving"
    events = browser.find_element(By.ID, "events")
    wait.until(lambda _: "frame rejected" in events.text)
    meters = _card(browser, "good").find_elements(By.TAG_NAME, "meter")
    assert float(meters[0].get_attribute("value") or 0) > 0.9
    severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert severe == []


def test_the_page_says_when_the_station_is_gone(browser: Chrome, station: StationProcess) -> None:
    browser.get(station.page + "/")
    wait = WebDriverWait(browser, WITHIN_S, ignored_exceptions=[Exception])
    wait.until(lambda b: b.find_element(By.ID, "phase").text == "serving")
    station.kill()
    wait.until(lambda b: b.find_element(By.ID, "phase").text == "station does not answer")
    assert "stale" in (browser.find_element(By.TAG_NAME, "body").get_attribute("class") or "")
