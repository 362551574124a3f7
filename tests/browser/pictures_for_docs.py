"""Makes the pictures of the dashboard in docs/images anew, from the demo stations.

    python -m tests.browser.pictures_for_docs [MINUTES]

The station runs for some minutes first (10), so that its timelines are full. With 0 minutes only
the picture of the line is made.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.browser.chromium import chromium
from tests.browser.page import Page
from tests.integration.station_process import StationProcess

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT, QUALITY, TRIES = 1440, 900, 82, 20


def demo(name: str = "demo") -> dict[str, Any]:
    """A demo station's file, with its paths as they are from anywhere."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    for camera in document["cameras"].values():
        for key in ("path", "folder"):
            if key in camera["source"]:
                camera["source"][key] = str(ROOT / "configs" / camera["source"][key])
    return document | {"web": {"listen": "127.0.0.1:0"}, "station": "packing-07"}


def take(page: Page, name: str, selector: str | None = None) -> None:
    """Write what is seen, or one part of the page."""
    picture: dict[str, Any] = {"format": "webp", "quality": QUALITY}
    if selector is not None:
        picture["clip"] = page.one(selector).rect | {"scale": 1}
    shot = page.browser.execute_cdp_cmd("Page.captureScreenshot", picture)
    (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))


def worth_a_picture(page: Page) -> bool:
    """One camera is good and another is bad, so that both are seen."""
    words = [word.text for word in page.all("#cameras .word")]
    return "Accepted" in words and "Rejected" in words and not page.all(".view img[hidden]")


def line() -> None:
    """The PLC's panel while an acknowledgement is missing; the simulator is the PLC."""
    words = ["plc-simulator", str(ROOT / "configs" / "demo-line.yaml"), "--reset-after-ms=0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-m", "inspector.cli", *words, "--fault=no-ack@40"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        ) as plc,
        StationProcess(Path(folder), demo("demo-line")) as station,
        chromium(Path(folder) / "chromium") as browser,
    ):
        page = Page(browser)
        page.size(WIDTH, HEIGHT)
        page.prefers(color_scheme="light")
        page.open(station.wait_ready().page, "station")
        page.until(lambda: page.all("#panels .complaints li"))
        take(page, "dashboard-line", "#panels [aria-label=Line]")
        station.terminate()
        plc.terminate()


def main(minutes: float = 10.0) -> None:
    """Run the stations, wait, take the pictures."""
    line()
    if minutes:
        cameras(minutes)


def cameras(minutes: float) -> None:
    """Every view of the station without a line."""
    with (
        tempfile.TemporaryDirectory() as folder,
        StationProcess(Path(folder), demo()) as station,
    ):
        station.wait_ready()
        time.sleep(60 * minutes)
        with chromium(Path(folder) / "chromium") as browser:
            page = Page(browser)
            page.size(WIDTH, HEIGHT)
            views: dict[str, Callable[[], Any]] = {
                "cameras": lambda: worth_a_picture(page),
                "events": lambda: page.shown(".event .thumb img"),
                "station": lambda: page.all("#charts .curve[d^=M]"),
            }
            for view, ready in views.items():
                for scheme in ("light", "dark") if view == "cameras" else ("light",):
                    page.prefers(color_scheme=scheme)
                    page.open(station.page, view)
                    for _ in range(TRIES):  # what is seen changes while it is taken
                        page.until(ready)
                        take(page, f"dashboard-{view}" + ("-dark" if scheme == "dark" else ""))
                        if ready():
                            break
            page.open(station.page, "events")
            page.until(lambda: page.shown(".event .thumb img"))
            page.script("document.querySelector('.event .thumb img').click()")
            page.until(lambda: page.shown("#look figure img"))
            page.one("#look [value=wrong]").click()
            page.until(lambda: "Kept by the station." in page.one("#look .said").text)
            take(page, "dashboard-picture")
        station.terminate()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
