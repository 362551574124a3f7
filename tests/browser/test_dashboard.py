"""What the dashboard tells and takes, in a real browser on a real station."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import config
from tests.integration.station_process import StationProcess
from tests.servers.ports import free_port
from train.data.labelled import read_labelled_folder
from train.labels import label_set

if TYPE_CHECKING:
    from pathlib import Path

    from selenium.webdriver import Chrome

    from tests.browser.page import Page

pytestmark = pytest.mark.browser


def inspect(station: StationProcess, part: str) -> dict[str, Any]:
    """Trigger the camera `asked`, whose pictures are noisy."""
    station.until("pictures", lambda: station.camera("asked")["state"] == "running")
    url = f"{station.page}/api/cameras/asked/inspect"
    return dict(httpx.post(url, json={"part_id": part}, timeout=60).json())


def row_of(page: Page, text: str) -> Any:
    return next((row for row in page.all(".event") if text in row.text), None)


def test_cameras_with_their_verdicts_pictures_and_recent_past(
    page: Page, station: StationProcess
) -> None:
    page.open(station.page)
    page.until(lambda: "Accepted\ngood" in page.card("good").text)
    page.until(lambda: "Rejected\nout of focus" in page.card("blurred").text)
    page.until(lambda: "Camera lost" in page.card("away").text)
    assert "Connection refused" in page.card("away").text
    page.until(lambda: "degraded" in page.card("blurred").text)
    assert "degraded" not in page.card("good").text
    assert page.one("#station").text == "test-01"
    assert page.one("#observing").text == "observing: the line gets no signal"
    assert "(2 bad) test-01" in page.browser.title
    page.until(lambda: "Waiting\nfor a trigger" in page.card("asked").text)
    assert inspect(station, "4711")["verdict"] == "rejected"
    page.until(lambda: "part 4711: " in page.card("asked").text)
    for camera in ("good", "blurred", "asked"):
        page.until(lambda camera=camera: page.shown(f"[data-camera={camera}] .view img"))
    source = page.card("good").find_element(By.CSS_SELECTOR, ".view img")
    first = source.get_attribute("src")
    page.until(lambda: source.get_attribute("src") != first)
    meters = page.card("good").find_elements(By.CSS_SELECTOR, "[role=meter]")
    assert float(meters[0].get_attribute("aria-valuenow") or 0) > 0.9
    assert meters[0].rect["width"] * 0.9 < meters[0].find_element(By.TAG_NAME, "div").rect["width"]
    timeline = page.card("blurred").find_element(By.CSS_SELECTOR, ".timeline")
    page.until(lambda: "100 % rejected" in (timeline.get_attribute("aria-label") or ""))
    assert timeline.find_element(By.CSS_SELECTOR, ".bad").get_attribute("d")
    assert not timeline.find_element(By.CSS_SELECTOR, ".good").get_attribute("d")
    drops = page.card("asked").find_element(By.TAG_NAME, "details")
    drops.find_element(By.TAG_NAME, "summary").click()
    assert "not due: more frames came than are to be judged" in drops.text
    trouble = page.one("#troubles").text
    assert "broker nothing listens at 127.0.0.1:9" in trouble.replace("\n", " ")
    assert "away" not in trouble, "a camera has its own card"
    assert page.faults_in_console() == []


def test_engine_broker_outbox_evidence_and_curves(page: Page, station: StationProcess) -> None:
    page.open(station.page, "station")
    page.until(lambda: page.all("#charts .curve[d^=M]"))
    panels = page.one("#panels").text
    assert "sees every frame\ntiny 0.1.0" in panels
    assert "not reachable" in panels
    page.until(lambda: int(page.script(_FACT, "events waiting").replace("\u202f", "")) > 3)
    page.until(lambda: int(page.script(_FACT, "pictures")) > 0)
    chart = page.one("#charts .chart")
    page.until(lambda: "blurred 0" not in (chart.get_attribute("aria-label") or "blurred 0"))
    assert "Frames judged a second, frames a second, last 10 minutes" in (
        chart.get_attribute("aria-label") or ""
    )
    assert page.faults_in_console() == []


_FACT = """
const terms = [...document.querySelectorAll("#panels dt")];
const term = terms.find((dt) => dt.textContent === arguments[0]);
return term ? term.nextElementSibling.textContent : "0";
"""


def test_a_reject_appears_live_with_its_picture(page: Page, station: StationProcess) -> None:
    page.open(station.page, "events")
    page.until(lambda: page.all(".event"))
    assert inspect(station, "part-7")["reject"] is True
    row = page.until(lambda: row_of(page, "Rejected: noise"))
    assert "part part-7" in row.text
    assert "asked" in row.text
    thumb = row.find_element(By.CSS_SELECTOR, ".thumb img")
    page.until(lambda: page.script("return arguments[0].naturalWidth", thumb) == 240)
    thumb.click()
    page.until(lambda: page.shown("#look figure img"))
    assert page.script("return document.querySelector('#look img').naturalWidth") == 384
    look = page.one("#look").text
    assert "The picture is grainy: add light, or lower the camera's gain." in look
    assert "Part part-7. noise 9" in look
    assert "threshold" in look
    assert page.faults_in_console() == []


def test_like_rejects_are_one_row_and_filters_find_what_is_asked_for(
    page: Page, station: StationProcess
) -> None:
    page.open(station.page, "events")
    page.until(lambda: row_of(page, "Quality degraded: out of focus"))
    page.until(lambda: row_of(page, "Camera lost: the camera refuses the connection"))
    rejects = [row.text for row in page.all(".event") if "Rejected: out of focus" in row.text]
    assert 1 <= len(rejects) <= 2, "like rejects are one row, before and after `degraded`"
    page.until(lambda: page.all(".event .times"))
    assert "status" not in page.one("#events").text, "a heartbeat is no news"
    page.choose("[name=camera]", "away")
    page.until(lambda: {"away"} == {row.text.splitlines()[1][:4] for row in page.all(".event")})
    page.choose("[name=camera]", "")
    page.choose("[name=kind]", "degraded")
    page.until(lambda: [row.text.splitlines()[0] for row in page.all(".event")] == [
        "Quality degraded: out of focus"
    ])  # fmt: skip
    page.choose("[name=kind]", "")
    page.choose("[name=marked]", "any")
    page.until(lambda: "No event fits these filters." in page.one("#events").text)


def test_a_marked_event_is_seen_by_all_and_exported_for_training(
    page: Page, station: StationProcess, tmp_path: Path
) -> None:
    page.open(station.page, "events")
    inspect(station, "part-7")
    row = page.until(lambda: row_of(page, "part part-7"))
    row.find_element(By.CSS_SELECTOR, ".thumb").click()
    page.one("#look [value=wrong]").click()
    page.until(lambda: "Kept by the station." in page.one("#look .said").text)
    page.choose("#look .truth select", "refimgs")
    event = page.until(lambda: marked(station, "wrong", "refimgs"))
    page.one("#look form button").click()
    page.until(lambda: "✗ wrong" in row_of(page, "part part-7").text)

    page.browser.switch_to.new_window("tab")
    page.open(station.page, "events")
    page.choose("[name=marked]", "wrong")
    page.until(lambda: "✗ wrong" in row_of(page, "part part-7").text)

    other = unkept(station)
    body = {"mark": "right"}
    answer = httpx.post(f"{station.page}/api/events/{other}/mark", json=body, timeout=60)
    assert answer.status_code == 200
    page.choose("[name=marked]", "right")
    page.until(lambda: row_of(page, "✓ "))

    out = tmp_path / "labelled"
    told = export(station, out)
    assert told["labels"] == {"refimgs": 1}
    assert told["left_out"] == {"no picture was kept of it": 1}
    (frame,) = read_labelled_folder(out, label_set("all"))
    assert frame.label == "refimgs"
    kept = station.get(f"/api/evidence/{event['data']['evidence']['uri']}")
    assert frame.path.read_bytes() == kept.content

    page.choose("[name=marked]", "wrong")
    page.until(lambda: row_of(page, "part part-7"))
    row_of(page, "part part-7").find_element(By.CSS_SELECTOR, ".thumb").click()
    page.one("#look .buttons .plain").click()
    page.until(lambda: "Taken back." in page.one("#look .said").text)
    page.one("#look form button").click()
    page.until(lambda: "No event fits these filters." in page.one("#events").text)
    assert page.faults_in_console() == []


def marked(station: StationProcess, word: str, label: str) -> dict[str, Any] | None:
    """The event that is marked so, as the state folder knows it."""
    from inspector.marks import Marks

    found = [m for m in Marks(station.state).all() if (m.mark.word, m.mark.label) == (word, label)]
    return dict(found[0].event) if found else None


def unkept(station: StationProcess) -> str:
    """A reject of which no picture was kept: the camera had its pictures of that minute."""

    def find() -> str | None:
        events = station.get("/api/events?limit=500").json()
        return next((e["id"] for e in events if e["data"].get("no_evidence")), None)

    return str(station.until("reject without a picture", find))


def export(station: StationProcess, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "inspector.cli", "events", "export", str(station.file)]
    done = subprocess.run(
        [*command, "--out", str(out), "--json"], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def test_the_keyboard_is_enough(page: Page, station: StationProcess) -> None:
    page.open(station.page, "events")
    page.until(lambda: page.shown(".event .thumb img"))

    def press(*keys: str) -> None:
        page.browser.switch_to.active_element.send_keys(*keys)

    def focused(selector: str) -> bool:
        return bool(page.script("return document.activeElement.matches(arguments[0])", selector))

    page.script("document.activeElement.blur()")
    page.one("body").send_keys(Keys.TAB)
    assert focused(".skip")
    for _ in range(12):
        press(Keys.TAB)
        if focused(".thumb"):
            break
    assert focused(".thumb"), "after name, views, colours and filters comes the first event"
    press(Keys.ENTER)
    page.until(lambda: page.one("#look").is_displayed())
    first = page.one("#look .steps span").text
    if not first.endswith("of 1"):
        press(Keys.ARROW_RIGHT)
        page.until(lambda: page.one("#look .steps span").text != first)
    press(Keys.ESCAPE)
    page.until(lambda: not page.one("#look").is_displayed())
    assert focused(".thumb"), "focus is where it was"
    page.script("document.querySelector('.skip').focus()")
    press(Keys.ENTER)
    page.until(lambda: focused("#main"))
    assert page.one("#view-events").is_displayed(), "the way to the content leaves the view"


def test_what_has_the_focus_keeps_it_when_rows_move(page: Page, station: StationProcess) -> None:
    page.open(station.page)
    focused = page.browser.execute_async_script(
        """
        const done = arguments[0];
        const { keyed, el } = await import("/dom.js");
        const home = document.body.appendChild(el("ul"));
        const show = (...keys) => {
          keyed(home, keys, () => el("li", {}, el("button", {}, "look")), () => {});
          return document.activeElement.closest("li")?.dataset.key ?? null;
        };
        show("a", "b", "c");
        home.querySelector("[data-key=c] button").focus();
        const moves = [["a", "b", "c"], ["c", "a", "b"], ["b", "c"], ["n", "c", "b"], ["b"]];
        done(moves.map((keys) => show(...keys)));
        """
    )
    assert focused == ["c", "c", "c", "c", None]


def test_the_row_that_was_told_of_last_is_the_first_though_the_clock_was_ahead(
    page: Page, station: StationProcess
) -> None:
    page.open(station.page)
    rows = page.browser.execute_async_script(
        """
        const done = arguments[0];
        const { grouped } = await import("/knowledge.js");
        const at = (camera, type, time) => ({ camera, type, time, stream_epoch: 1 });
        const events = [
          at("a", "inspector.frame.rejected.v1", "2026-11-24T15:00:00Z"),
          at("b", "inspector.camera.lost.v1", "2026-11-24T15:00:01Z"),
          at("a", "inspector.frame.rejected.v1", "2026-11-24T12:00:00Z"),
          at("c", "inspector.frame.rejected.v1", "2026-11-24T12:00:01Z"),
        ];
        const rows = grouped(events, (event) => event.type);
        done(rows.map((row) => [row.events[0].camera, row.events.length]));
        """
    )
    assert rows == [["c", 1], ["a", 2], ["b", 1]]


def test_pictures_come_over_a_slow_link_one_at_a_time(page: Page, station: StationProcess) -> None:
    page.open(station.page)
    page.browser.set_network_conditions(latency=1500, throughput=1 << 20)
    page.open(station.page)
    page.until(lambda: page.shown("[data-camera=good] .view img"))
    first = page.one("[data-camera=good] .view img").get_attribute("src")
    page.until(lambda: page.one("[data-camera=good] .view img").get_attribute("src") != first)


def test_the_page_goes_on_by_itself_after_a_restart(page: Page, tmp_path: Path) -> None:
    settings = {**config(tmp_path), "web": {"listen": f"127.0.0.1:{free_port()}"}}
    with StationProcess(tmp_path, settings) as first:
        first.wait_ready()
        page.open(first.page)
        page.until(lambda: "Accepted" in page.card("good").text)
        first.kill()
        page.until(lambda: page.one("#phase").text == "station does not answer")
        page.until(lambda: "stale" in (page.one("#main").get_attribute("class") or ""))
    with StationProcess(tmp_path, settings) as second:
        second.wait_ready()
        page.until(lambda: page.one("#phase").text == "serving")
        page.until(lambda: "stale" not in (page.one("#main").get_attribute("class") or ""))
        page.until(lambda: "Accepted" in page.card("good").text)
        assert second.terminate() == 0, "in time, though a page looks"


def test_a_refused_station_file_stands_on_the_page_until_a_good_one_comes(
    page: Page, station: StationProcess
) -> None:
    good = yaml.safe_load(station.file.read_text())
    page.open(station.page)
    page.until(lambda: page.card("away"))
    station.write({**good, "cameras": {**good["cameras"], "away": {"source": {"kind": "rtps"}}}})
    assert station.reload().status_code == 422
    page.until(lambda: 'did you mean "rtsp"?' in page.one("#troubles").text)
    assert "station file\nrefused at " in page.one("#troubles").text
    del good["cameras"]["away"]
    station.write(good)
    assert station.reload().status_code == 200
    page.until(lambda: "station file" not in page.one("#troubles").text)
    page.until(lambda: not page.all("[data-camera=away]"))


def test_off_loopback_nothing_is_seen_without_the_token(
    browser: Chrome, page: Page, tmp_path: Path
) -> None:
    settings = {**config(tmp_path), "web": {"listen": "0.0.0.0:0", "token": "WEB_TOKEN"}}
    secret = {"WEB_TOKEN": "open-sesame"}
    with StationProcess(tmp_path, settings, secret) as station:
        station.wait_ready()
        port = station.page.rpartition(":")[2]
        address = f"http://127.0.0.1:{port}"
        paths = ["/", "/page.js", "/look.css", "/api/stream", "/api/cameras/good/frame"]
        for path in [*paths, "/api/events", "/api/evidence/x", "/api/status", "/metrics"]:
            assert httpx.get(address + path, timeout=60).status_code == 401, path
        mark = f"{address}/api/events/x/mark"
        assert httpx.post(mark, json={"mark": "right"}, timeout=60).status_code == 401
        browser.get(address + "/")
        assert not page.all("#station"), "nothing of the page is shown"
        browser.get(f"http://operator:open-sesame@127.0.0.1:{port}/")
        page.open(address)
        page.until(lambda: page.shown("[data-camera=good] .view img"))
        page.open(address, "events")
        page.until(lambda: page.shown(".event .thumb img"))
        page.one(".event .thumb").click()
        page.one("#look [value=right]").click()
        page.until(lambda: "Kept by the station." in page.one("#look .said").text)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, "good"),
        ({"stream_epoch": 4}, "none"),
        ({"on_trigger": True}, "good"),
        ({"on_trigger": True, "ago_s": 3600.0}, "none"),
        ({"ago_s": 3600.0}, "good"),
    ],
    ids=[
        "now",
        "from before it was away",
        "a part just now",
        "a part of an hour ago",
        "judged seldom",
    ],
)
def test_a_verdict_stands_large_only_while_it_is_on_what_is_there(
    page: Page, station: StationProcess, change: dict[str, Any], shown: str
) -> None:
    page.open(station.page)
    last = {"verdict": "accepted", "label": "refimgs", "stream_epoch": 3, "ago_s": 1.0}
    last |= {key: change[key] for key in change if key == "ago_s"}
    camera = {"state": "running", "stream_epoch": 3, "on_trigger": False, "on_motion": False}
    camera |= {"last_verdict": last} | {key: change[key] for key in change if key != "ago_s"}
    tone = page.browser.execute_async_script(
        "const [camera, done] = arguments;"
        "import('./cameras.js').then((cameras) => done(cameras.toneOf(camera)), done);",
        camera,
    )
    assert tone == shown
