"""A real Chromium, without a window, and real stations for it to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import pytest

from tests.browser.chromium import chromium
from tests.browser.page import Page
from tests.engine import tiny_engine
from tests.integration.station_process import StationProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium import webdriver


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """Chromium, driven; its console is kept."""
    with chromium(tmp_path / "chromium") as driven:
        yield driven


@pytest.fixture
def page(browser: webdriver.Chrome) -> Page:
    return Page(browser)


def config(folder: Path, *, every_s: float = 0.1) -> dict[str, Any]:
    """Cameras with good pictures, with blurred ones, not reachable, waiting for a trigger."""
    tiny_engine.make(folder / "engines", name="tiny")
    for label in ("refimgs", "gblur", "wn"):
        pictures = folder / label
        pictures.mkdir()
        for i in range(3):
            picture = tiny_engine.picture(label, height=216, width=384, seed=i)
            cv2.imwrite(str(pictures / f"{i}.png"), picture)
    return {
        "mode": "observe",
        "engine": {"screen": "tiny", "folder": str(folder / "engines"), "threads": 1},
        "cameras": {
            "good": _looped(folder / "refimgs", every_s),
            "blurred": _looped(folder / "gblur", every_s),
            "away": {"source": {"kind": "rtsp", "url": "rtsp://127.0.0.1:9/none"}},
            "asked": {
                **_looped(folder / "wn", every_s),
                "inspect": {"on_trigger": True, "deadline_ms": 20_000},
            },
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


def _looped(folder: Path, every_s: float) -> dict[str, Any]:
    source = {"kind": "images", "folder": str(folder), "loop": True, "every_s": every_s}
    return {"source": source}


@pytest.fixture
def station(tmp_path: Path) -> Iterator[StationProcess]:
    with StationProcess(tmp_path, config(tmp_path)) as process:
        yield process.wait_ready()


@pytest.fixture(scope="module")
def shared_station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StationProcess]:
    """One for all tests of a module that only look."""
    folder = tmp_path_factory.mktemp("station")
    with StationProcess(folder, config(folder)) as process:
        yield process.wait_ready()
