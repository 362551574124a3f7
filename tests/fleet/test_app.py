"""The fleet view over HTTP: guarded as a station's page is."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from inspector.config.fleet import Fleet as Settings
from inspector.fleet.app import DRIFT_S, Document, make_app
from inspector.fleet.fleet import Fleet
from inspector.fleet.reader import Reading
from inspector.web.server import WebServer
from tests.fleet.making import FakeClock, Teller, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "a-secret-of-the-page"
SETTINGS = Settings.model_validate({"kafka": {"bootstrap_servers": ["broker1:9092"]}})


class StillReader:
    """A reader that reads nothing more."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def reading(self) -> Reading:
        return self._reading


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
def fleet(clock: FakeClock) -> Fleet:
    made = Fleet(SETTINGS, clock)
    teller = Teller("packing-07", clock)
    made.take(raw(teller.beat(), teller.frame()), live=True)
    return made


def serve(fleet: Fleet, reading: Reading, token: str | None) -> WebServer:
    app = make_app(fleet, StillReader(reading), host="127.0.0.1", token=token)
    server = WebServer(app, host="127.0.0.1", port=0)
    server.start()
    return server


@pytest.fixture
def page(fleet: Fleet) -> Iterator[str]:
    server = serve(fleet, Reading("connected", caught_up=True), None)
    yield server.address
    server.stop()


@pytest.fixture
def guarded(fleet: Fleet) -> Iterator[str]:
    server = serve(fleet, Reading("timeout", "no answer"), TOKEN)
    yield server.address
    server.stop()


FILES = ("", "fleet.css", "fleet.js", "look.css", "words.js", "dom.js", "theme.js", "icon.svg")


@pytest.mark.parametrize("path", FILES)
def test_a_page_that_loads_nothing_from_elsewhere(page: str, path: str):
    answer = httpx.get(page + path, timeout=60)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "http://" not in answer.text.replace("http://www.w3.org/", "")
    assert "https://" not in answer.text


def test_the_document(page: str):
    told = httpx.get(page + "api/fleet", timeout=60).json()
    assert [one["station"] for one in told["stations"]] == ["packing-07"]
    assert told["lines"][0]["shifts"][0]["rejected"] == 1
    assert told["reading"]["state"] == "connected"


def test_readiness_says_whether_all_has_been_read(page: str, guarded: str):
    assert httpx.get(page + "readyz", timeout=60).status_code == 200
    answer = httpx.get(guarded + "readyz", timeout=60)
    assert (answer.status_code, answer.json()["reason"]) == (503, "no answer")
    assert httpx.head(guarded + "livez", timeout=60).status_code == 200


def test_a_page_of_another_site_does_not_reach_us_by_a_name_that_it_made_up(page: str):
    answer = httpx.get(page + "api/fleet", headers={"host": "evil.example"}, timeout=60)
    assert answer.status_code == 400


def test_another_site_may_not_read_the_answer(page: str):
    answer = httpx.get(page + "api/fleet", headers={"origin": "https://evil.example"}, timeout=60)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(page: str, method: str):
    assert httpx.request(method, page + "api/fleet", timeout=60).status_code == 405


@pytest.mark.parametrize("path", ["", "fleet.js", "api/fleet"])
def test_off_loopback_all_ask_for_the_token(guarded: str, path: str):
    assert httpx.get(guarded + path, timeout=60).status_code == 401
    assert httpx.get(guarded + path, auth=("anyone", "wrong"), timeout=60).status_code == 401
    assert httpx.get(guarded + path, auth=("anyone", TOKEN), timeout=60).status_code == 200
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.get(guarded + path, headers=bearer, timeout=60).status_code == 200


def test_nobody_goes_quiet_while_nothing_can_be_known(fleet: Fleet, clock: FakeClock):
    away = Reading("refused", "no", caught_up=True, heartbeats_read=True, known_until=clock.now)
    clock.now += 3600
    told = json.loads(Document(fleet, StillReader(away), now=clock).body())
    assert told["stations"][0]["state"] == "serving"
    late = Reading("connected", known_until=clock.now)
    told = json.loads(Document(fleet, StillReader(late), now=clock).body())
    assert told["stations"][0]["state"] == "serving", "its heartbeats may be yet to be read"
    here = Reading("connected", caught_up=True, heartbeats_read=True, known_until=clock.now)
    told = json.loads(Document(fleet, StillReader(here), now=clock).body())
    assert told["stations"][0]["state"] == "quiet"


def test_viewers_share_an_answer(fleet: Fleet, clock: FakeClock):
    ticks = FakeClock(0.0)
    reader = StillReader(Reading("connected", caught_up=True))
    document = Document(fleet, reader, now=clock, clock=ticks)
    first = document.body()
    fleet.take(raw(Teller("packing-08", clock).beat()), live=True)
    ticks.now += 0.5
    assert document.body() is first
    ticks.now += DRIFT_S
    assert len(json.loads(document.body())["stations"]) == 2
