"""The HTTP interface over a station with behaviour, through a real listening server."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from inspector.config.faults import Fault
from inspector.engine_room import Activation
from inspector.errors import TriggerError, WebError
from inspector.evidence.store import Picture
from inspector.observe.health import Health, Phase
from inspector.observe.metrics import Metrics
from inspector.reload import Outcome, Word
from inspector.verdict import EngineInfo
from inspector.web.app import make_app
from inspector.web.evidence import READERS
from inspector.web.server import WebServer
from tests.web.viewing import SmallViewing

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNTERS = {
    "frames_in": 12,
    "judged": 7,
    "dropped": {"stale": 2, "superseded": 2},
    "in_flight": 1,
    "parts": 4,
}


URI = "2023-11-14/infeed/018bcfe5-687b-7000-8000-000000000000.jpg"
PICTURE = Picture(b"\xff\xd8 pixels", "ab" * 32, "image/jpeg")


class SmallStation:
    """A station that has one camera and one event."""

    def __init__(self) -> None:
        self.pictures_asked: list[str] = []
        self.disk = threading.Event()
        """Set while the disk answers."""
        self.disk.set()
        self.health = Health()
        self.metrics = Metrics(self.status)
        self.outcome = Outcome("unchanged", "nothing changed")
        self.reloads: list[str] = []
        self.activation = Activation("refused", "it lies")
        self.engines: list[tuple[str, str, str]] = []
        self.journal_fault: OSError | None = None
        self.asked: list[tuple[str, str | None]] = []
        self.refuse: Literal["too_many", "not_serving"] | None = None
        self.answer: Future[dict[str, Any]] = Future()

    def status(self) -> dict[str, Any]:
        return {
            "station": "packing-07",
            "cameras": {
                "infeed": {
                    "state": "running",
                    "quality": "degraded",
                    "counters": COUNTERS,
                    "restarts": {"stalled": 3},
                    "on_motion": True,
                }
            },
            "engines": {
                "screen": {
                    "name": "simplenet",
                    "version": "1.2.3",
                    "sha256": "ab",
                    "runtime": "openvino",
                    "precision": "int8",
                    "degraded": False,
                    "changes": {"activated": 2, "lost": 1},
                }
            },
            "outbox": {
                "waiting": 4,
                "oldest_s": 1.5,
                "bytes": 4096,
                "max_bytes": 8192,
                "fault": "the disk is full",
                "parked_total": 1,
                "sent_total": 9,
                "shed_total": 0,
            },
            "broker": {"state": "authentication", "blocked": {"inspection.status": "not there"}},
            "line": {
                "state": "connected",
                "safe": "stop",
                "cameras": {
                    "infeed": {
                        "counters": {
                            "accept": 5,
                            "reject": 4,
                            "uncertain": 3,
                            "unjudgeable": 2,
                            "no_result": 1,
                            "late": 1,
                            "gave_way": 2,
                        }
                    }
                },
            },
            "evidence": {
                "fault": None,
                "free_bytes": 2 * 10**9,
                "cameras": {
                    "infeed": {
                        "files": 7,
                        "bytes": 4096,
                        "written": 9,
                        "skipped": {"per_minute": 3},
                        "removed": {"age": 2},
                    }
                },
            },
            "free_bytes": 10**9,
        }

    def inspect(self, camera: str, part_id: str | None) -> Future[dict[str, Any]]:
        self.asked.append((camera, part_id))
        if camera != "infeed":
            raise TriggerError("unknown_camera", "no camera outfeed; this station has infeed")
        if self.refuse is not None:
            raise TriggerError(self.refuse, "not now")
        return self.answer

    def recent_events(self, limit: int) -> list[dict[str, Any]]:
        return [{"id": "e1"}, {"id": "e0"}][:limit]

    def reload(self, origin: str) -> Outcome:
        self.reloads.append(origin)
        return self.outcome

    def activate(self, engine: str, stage: str, origin: str) -> Activation:
        self.engines.append((engine, stage, origin))
        return self.activation

    def roll_back(self, stage: str, origin: str) -> Activation:
        self.engines.append(("before", stage, origin))
        return self.activation

    def journal(self, limit: int) -> list[dict[str, Any]]:
        if self.journal_fault:
            raise self.journal_fault
        return [{"at": "later"}, {"at": "earlier"}][:limit]

    def evidence(self, uri: str) -> Picture | None:
        self.pictures_asked.append(uri)
        self.disk.wait(60)
        return PICTURE if uri == URI else None


@pytest.fixture
def station() -> SmallStation:
    return SmallStation()


@pytest.fixture
def page(station: SmallStation) -> Iterator[httpx.Client]:
    yield from _serve(station, None)


@pytest.fixture
def guarded(station: SmallStation) -> Iterator[httpx.Client]:
    yield from _serve(station, "s3cret")


def _serve(station: SmallStation, token: str | None) -> Iterator[httpx.Client]:
    server = WebServer(
        make_app(station, SmallViewing(), host="127.0.0.1", token=token), host="127.0.0.1", port=0
    )
    server.start()
    with httpx.Client(base_url=server.address, timeout=60) as client:
        yield client
    server.stop()


def test_a_disk_that_hangs_keeps_no_trigger_and_no_probe_waiting(
    page: httpx.Client, station: SmallStation
) -> None:
    station.disk.clear()
    station.answer.set_result({"verdict": "accepted"})
    with ThreadPoolExecutor(50) as viewers:
        pictures = [viewers.submit(page.get, f"/api/evidence/{URI}") for _ in range(50)]
        try:
            deadline = time.monotonic() + 60
            while len(station.pictures_asked) < READERS and time.monotonic() < deadline:
                time.sleep(0.01)
            headers = {"Content-Type": "application/json"}
            asked = page.post("/api/cameras/infeed/inspect", headers=headers)
            assert asked.json() == {"verdict": "accepted"}
            assert page.get("/livez").status_code == 200
            assert page.get("/readyz").status_code == 503  # answered: the station has not begun
            assert len(station.pictures_asked) == READERS
            assert page.get("/metrics").status_code == 200
        finally:
            station.disk.set()
        assert {picture.result().status_code for picture in pictures} == {200}


def test_probes_answer_200_and_503_with_reasons(page: httpx.Client, station: SmallStation) -> None:
    assert page.get("/livez").status_code == 200
    station.health.step = "loading engine simplenet"
    for probe in ("/readyz", "/startupz"):
        answer = page.get(probe)
        assert answer.status_code == 503
        assert answer.json()["facts"][0]["detail"] == "loading engine simplenet"
    assert page.head("/readyz").status_code == 503
    station.health.phase = Phase.SERVING
    assert page.get("/readyz").status_code == 200
    assert page.head("/livez").status_code == 200
    assert page.head("/livez").content == b""
    assert page.get("/startupz").json()["ok"] is True


def test_metrics_are_prometheus_text_and_the_audit_sum_holds(page: httpx.Client) -> None:
    answer = page.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {f.name: f for f in text_string_to_metric_families(answer.text)}
    frames = {s.labels["result"]: s.value for s in families["inspector_frames"].samples}
    in_flight = families["inspector_frames_in_flight"].samples[0].value
    assert frames.pop("in") == sum(frames.values()) + in_flight == 12
    assert families["inspector_parts"].samples[0].value == 4
    assert families["inspector_camera_up"].samples[0].value == 1
    assert families["inspector_reconnects"].samples[0].labels["cause"] == "stalled"
    assert families["inspector_outbox_oldest_seconds"].samples[0].value == 1.5
    assert families["inspector_engine_info"].samples[0].labels["version"] == "1.2.3"
    assert families["inspector_broker_up"].samples[0].value == 0
    assert families["inspector_broker_state"].samples[0].labels == {"state": "authentication"}
    assert families["inspector_topics_blocked"].samples[0].value == 1
    assert families["inspector_camera_degraded"].samples[0].labels == {"camera": "infeed"}
    assert families["inspector_camera_degraded"].samples[0].value == 1
    assert families["inspector_outbox_max_bytes"].samples[0].value == 8192
    assert families["inspector_outbox_writable"].samples[0].value == 0
    assert families["inspector_evidence_free_bytes"].samples[0].value == 2 * 10**9
    signals = {s.labels["result"]: s.value for s in families["inspector_signals"].samples}
    assert signals == {"accept": 5, "reject": 4, "uncertain": 3, "unjudgeable": 2, "no_result": 1}
    assert families["inspector_signals_late"].samples[0].labels == {"camera": "infeed"}
    assert families["inspector_signals_gave_way"].samples[0].value == 2
    assert families["inspector_line_up"].samples[0].value == 1
    assert families["inspector_line_safe"].samples[0].value == 2
    figures = {
        "files": 7,
        "bytes": 4096,
        "written": 9,
        "skipped": 3,
        "removed": 2,
    }
    for name, value in figures.items():
        (sample,) = families[f"inspector_evidence_{name}"].samples
        assert (sample.labels["camera"], sample.value) == ("infeed", value)
    assert families["inspector_evidence_writable"].samples[0].value == 1


def test_cameras_and_events(page: httpx.Client) -> None:
    assert page.get("/api/cameras").json()["infeed"]["state"] == "running"
    assert page.get("/api/cameras/infeed").json()["counters"] == COUNTERS
    missing = page.get("/api/cameras/outfeed")
    assert missing.status_code == 404
    assert missing.json()["detail"] == "no camera outfeed; this station has infeed"
    assert [e["id"] for e in page.get("/api/events?limit=1").json()] == ["e1"]
    assert page.get("/api/events?limit=0").status_code == 422


def test_a_picture_is_served_once_and_then_known(page: httpx.Client) -> None:
    answer = page.get(f"/api/evidence/{URI}")
    assert (answer.status_code, answer.content) == (200, PICTURE.data)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["etag"] == f'"{PICTURE.sha256}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    for tag in (answer.headers["etag"], f'"x", W/{answer.headers["etag"]}', "*"):
        known = page.get(f"/api/evidence/{URI}", headers={"if-none-match": tag})
        assert (known.status_code, known.content) == (304, b"")
    other = page.get(f"/api/evidence/{URI}", headers={"if-none-match": '"cd"'})
    assert other.status_code == 200
    head = page.head(f"/api/evidence/{URI}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(PICTURE.data))


def test_evidence_can_only_be_read_and_only_by_its_name(
    page: httpx.Client, station: SmallStation
) -> None:
    for path in ("..%2f..%2fetc%2fpasswd", "%2e%2e/outbox.db", "x%00", ""):
        missing = page.get(f"/api/evidence/{path}")
        assert missing.status_code == 404, path
        assert "no such evidence" in missing.json()["detail"]
    assert "../../etc/passwd" in station.pictures_asked, "the store itself must refuse it, and does"
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert page.request(method, f"/api/evidence/{URI}").status_code == 405


INSPECT = "/api/cameras/infeed/inspect"
JSON = {"content-type": "application/json"}


def test_a_trigger_is_answered_with_its_verdict(page: httpx.Client, station: SmallStation) -> None:
    station.answer.set_result({"verdict": "accepted"})
    assert page.post(INSPECT, headers=JSON).json() == {"verdict": "accepted"}
    assert page.post(INSPECT, json={"part_id": "part-7"}).status_code == 200
    assert station.asked == [("infeed", None), ("infeed", "part-7")]
    assert page.get(INSPECT).status_code == 405


def test_triggers_that_wait_keep_nobody_else_waiting(
    page: httpx.Client, station: SmallStation
) -> None:
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(page.post, INSPECT, headers=JSON, timeout=120) for _ in range(60)]
        while len(station.asked) < 60:
            assert page.get("/livez").status_code == 200
        station.answer.set_result({"verdict": "rejected"})
        assert {one.result().json()["verdict"] for one in waiting} == {"rejected"}


@pytest.mark.parametrize(
    "body", [b"what", b"[]", b'{"part": 7}', b'{"part_id": ""}', b'{"part_id": 7}']
)
def test_a_trigger_with_a_faulty_body_is_refused(
    page: httpx.Client, station: SmallStation, body: bytes
) -> None:
    answer = page.post(INSPECT, content=body, headers=JSON)
    assert answer.status_code == 422
    assert station.asked == []


def test_a_trigger_that_is_not_taken_says_why(page: httpx.Client, station: SmallStation) -> None:
    missing = page.post("/api/cameras/outfeed/inspect", headers=JSON)
    assert missing.status_code == 404
    assert missing.json()["detail"] == "no camera outfeed; this station has infeed"
    station.refuse = "too_many"
    assert page.post(INSPECT, headers=JSON).status_code == 429
    station.refuse = "not_serving"
    assert page.post(INSPECT, headers=JSON).status_code == 503


def test_a_trigger_is_not_for_pages_of_other_sites(
    page: httpx.Client, station: SmallStation
) -> None:
    station.answer.set_result({})
    own = str(page.base_url).rstrip("/")
    for origin in ("http://evil.example", "null"):
        assert page.post(INSPECT, headers={**JSON, "origin": origin}).status_code == 403
    assert page.post(INSPECT).status_code == 415
    assert station.asked == []
    assert page.post(INSPECT, headers={**JSON, "origin": own}).status_code == 200


def test_a_trigger_asks_for_the_token(guarded: httpx.Client, station: SmallStation) -> None:
    station.answer.set_result({})
    assert guarded.post(INSPECT, headers=JSON).status_code == 401
    assert station.asked == []
    known = {**JSON, "authorization": "Bearer s3cret"}
    assert guarded.post(INSPECT, headers=known).status_code == 200


def test_the_page_takes_nothing_from_elsewhere(page: httpx.Client) -> None:
    answer = page.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert page.get("/look.css").headers["content-type"] == "text/css; charset=utf-8"
    assert page.get("/icon.svg").headers["content-type"] == "image/svg+xml"
    modules = {"page.js"}
    while modules:
        script = page.get(f"/{modules.pop()}")
        assert script.status_code == 200
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        imported = re.findall(r'^(?:import|export) .*"(.+)";$', script.text, re.MULTILINE)
        assert all(name.startswith("./") for name in imported)
        modules |= {name.removeprefix("./") for name in imported}


def test_a_made_up_host_name_is_refused_on_loopback(page: httpx.Client) -> None:
    assert page.get("/api/status", headers={"host": "evil.example"}).status_code == 400


def test_with_a_token_everything_but_the_probes_asks_for_it(guarded: httpx.Client) -> None:
    assert guarded.get("/livez").status_code == 200
    for path in ("/", "/metrics", "/api/status", "/api/openapi.json", f"/api/evidence/{URI}"):
        assert guarded.get(path).status_code == 401
        assert guarded.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
        assert guarded.get(path, headers={"authorization": "Bearer s3cret"}).status_code == 200
    basic = base64.b64encode(b"anyone:s3cret").decode()
    assert guarded.get("/", headers={"authorization": f"Basic {basic}"}).status_code == 200
    for value in (b"Basic %%%", b"Basic \xe4", b"Bearer \xe4"):
        assert guarded.get("/", headers={b"authorization": value}).status_code == 401


def test_whoever_asks_for_nothing_is_not_kept(
    guarded: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would take a descriptor of the station, before it has shown any token."""
    monkeypatch.setattr("inspector.web.connection.PATIENCE_S", 0.3)
    port = guarded.base_url.port
    asked = b"GET /livez HTTP/1.1\r\nhost: x\r\n"
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    try:
        _silent, half, more = sockets
        half.sendall(asked)
        more.sendall(asked + b"\r\n" + asked)
        for each in sockets:
            each.settimeout(30)
        answers = [b"".join(iter(partial(each.recv, 65536), b"")) for each in sockets]
        assert [answer[:9] for answer in answers] == [b"", b"", b"HTTP/1.1 "]
    finally:
        for each in sockets:
            each.close()
    assert guarded.get("/livez").status_code == 200


def test_there_is_a_bound_of_connections(
    guarded: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.web.connection.MOST_CONNECTIONS", 5)
    with contextlib.ExitStack() as held:
        sockets = [
            held.enter_context(
                contextlib.closing(
                    socket.create_connection(("127.0.0.1", guarded.base_url.port or 0), 30)
                )
            )
            for _ in range(6)
        ]
        assert sockets[-1].recv(1) == b""
    deadline = time.monotonic() + 30
    while True:
        try:
            assert guarded.get("/livez").status_code == 200
        except httpx.TransportError:
            assert time.monotonic() < deadline
        else:
            break


def test_an_address_that_is_taken_may_be_free_another_time(
    page: httpx.Client, station: SmallStation
) -> None:
    port = page.base_url.port
    assert port is not None
    server = WebServer(
        make_app(station, SmallViewing(), host="127.0.0.1", token=None), host="127.0.0.1", port=port
    )
    with pytest.raises(WebError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already"):
        server.start()


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("applied", 200),
        ("unchanged", 200),
        ("refused", 422),
        ("restart needed", 409),
        ("not now", 503),
    ],
)
def test_a_reload_answers_with_its_outcome(
    page: httpx.Client, station: SmallStation, word: Word, status: int
) -> None:
    fault = Fault(("cameras", "a", "slots"), "got the number 1", 7, 5, "the number 1", "at least 2")
    station.outcome = Outcome(word, "said so", [fault])
    answer = page.post("/api/reload", headers=JSON)
    assert answer.status_code == status
    assert (answer.json()["outcome"], answer.json()["detail"]) == (word, "said so")
    assert answer.json()["faults"] == [
        {
            "line": 7,
            "column": 5,
            "key": "cameras.a.slots",
            "problem": "got the number 1",
            "got": "the number 1",
            "expected": "at least 2",
        }
    ]
    assert station.reloads == ["HTTP 127.0.0.1"]


def test_a_page_of_another_site_cannot_ask_for_a_reload(
    page: httpx.Client, station: SmallStation
) -> None:
    """What a browser sends of its own accord for a foreign form, script or sandboxed frame."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert page.post("/api/reload", headers={"content-type": kind}).status_code == 415
    assert page.post("/api/reload").status_code == 415
    for origin in ("https://evil.example", "null", f"http://localhost:{page.base_url.port}"):
        answer = page.post("/api/reload", headers=JSON | {"origin": origin})
        assert answer.status_code == 403, origin
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    consent = page.options("/api/reload", headers=asked)
    assert "access-control-allow-origin" not in consent.headers
    assert page.get("/api/reload").status_code == 405
    assert station.reloads == []
    own = str(page.base_url).rstrip("/")
    assert page.post("/api/reload", headers=JSON | {"origin": own}).status_code == 200


def test_a_reload_wants_the_token_and_is_no_less_guarded_by_it(
    guarded: httpx.Client, station: SmallStation
) -> None:
    """A browser sends the password it remembers for a foreign page too."""
    basic = base64.b64encode(b"anyone:s3cret").decode()
    known = {"authorization": f"Basic {basic}"}
    assert guarded.post("/api/reload", headers=JSON).status_code == 401
    assert guarded.post("/api/reload", headers=known).status_code == 415
    foreign = JSON | known | {"origin": "https://evil.example"}
    assert guarded.post("/api/reload", headers=foreign).status_code == 403
    assert station.reloads == []
    assert guarded.post("/api/reload", headers=JSON | known).status_code == 200
    assert guarded.get("/api/journal").status_code == 401


def test_the_journal_is_served_newest_first(page: httpx.Client, station: SmallStation) -> None:
    assert page.get("/api/journal?limit=1").json() == [{"at": "later"}]
    assert page.get("/api/journal?limit=0").status_code == 422
    station.journal_fault = PermissionError(13, "Permission denied")
    answer = page.get("/api/journal")
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "the journal cannot be read: Permission denied",
    )


def test_series_of_a_camera_that_is_gone_are_dropped(
    page: httpx.Client, station: SmallStation
) -> None:
    for name in ("infeed", "old"):
        station.metrics.verdicts_total.labels(name, "rejected", "wn").inc()
        station.metrics.frame_age_seconds.labels(name).observe(0.1)
        station.metrics.unconfirmed_total.labels(name).inc()
    station.metrics.forget("old")
    text = page.get("/metrics").text
    assert 'camera="old"' not in text
    assert 'inspector_verdicts_total{camera="infeed",label="wn",verdict="rejected"} 1.0' in text


def test_an_address_that_may_come_with_the_network_is_nobodys_mistake(
    station: SmallStation,
) -> None:
    # 192.0.2.0/24 is kept for examples, so no machine has it.
    server = WebServer(
        make_app(station, SmallViewing(), host="192.0.2.1", token="t"), host="192.0.2.1", port=0
    )
    with pytest.raises(WebError, match=r"192\.0\.2\.1:0: this machine does not have that address"):
        server.start()


@pytest.mark.parametrize("path", ["/api/engines/second/activate", "/api/engines/rollback"])
@pytest.mark.parametrize(
    ("word", "status"),
    [("activated", 200), ("rolled back", 200), ("refused", 422), ("unknown engine", 404),
     ("not now", 503)],
)  # fmt: skip
def test_an_activation_answers_with_its_outcome(
    station: SmallStation, page: httpx.Client, path: str, word: Any, status: int
) -> None:
    info = EngineInfo("second", "1", "0" * 64, "openvino", "int8")
    station.activation = Activation(word, "said", None, info if status == 200 else None)
    answer = page.post(path, headers=JSON)
    assert answer.status_code == status
    assert (answer.json()["outcome"], answer.json()["detail"]) == (word, "said")
    assert page.post(path, json={"stage": "confirm"}).status_code == status
    name = "before" if "rollback" in path else "second"
    assert station.engines == [(name, s, "HTTP 127.0.0.1") for s in ("screen", "confirm")]


@pytest.mark.parametrize("path", ["/api/engines/second/activate", "/api/engines/rollback"])
def test_an_activation_is_guarded_as_a_reload_is(
    station: SmallStation, page: httpx.Client, guarded: httpx.Client, path: str
) -> None:
    assert page.post(path).status_code == 415
    assert page.post(path, headers=JSON | {"origin": "http://elsewhere"}).status_code == 403
    assert page.post(path, json={"stage": "third"}).status_code == 422
    assert page.post(path, json={"engine": "third"}).status_code == 422
    assert page.get(path).status_code in {404, 405}
    assert guarded.post(path, headers=JSON).status_code == 401
    assert station.engines == []
