"""Server-sent events to many viewers, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from inspector.web.app import make_app
from inspector.web.server import WebServer
from tests.evidence.making import wait_until
from tests.web.test_app import SmallStation
from tests.web.viewing import SmallViewing

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def served(viewing: SmallViewing, token: str | None = None) -> Iterator[httpx.Client]:
    app = make_app(SmallStation(), viewing, host="127.0.0.1", token=token)
    server = WebServer(app, host="127.0.0.1", port=0)
    viewing.start()
    server.start()
    with httpx.Client(base_url=server.address, timeout=60) as client:
        yield client
    viewing.close()
    server.stop()


@pytest.fixture
def viewing() -> SmallViewing:
    return SmallViewing()


@pytest.fixture
def page(viewing: SmallViewing) -> Iterator[httpx.Client]:
    with served(viewing) as client:
        yield client


def messages(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        if line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


def test_a_viewer_is_greeted_and_then_told_every_update_in_order(page: httpx.Client) -> None:
    with page.stream("GET", "/api/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        told = messages(answer)
        kind, hello = next(told)
        assert kind == "hello"
        numbers = [document["number"] for kind, document in (next(told) for _ in range(5))]
        first = hello["begins"] + 1
        assert numbers == list(range(first, first + 5)), "none is missing after the greeting"


def test_an_update_is_made_once_for_all_and_none_for_nobody(
    page: httpx.Client, viewing: SmallViewing
) -> None:
    seen: dict[int, list[int]] = {0: [], 1: []}
    both_look = threading.Barrier(len(seen), timeout=60)

    def look(who: int) -> None:
        with page.stream("GET", "/api/stream") as answer:
            told = messages(answer)
            next(told)
            both_look.wait()
            last = viewing.updates + 10
            while not seen[who] or seen[who][-1] < last:
                seen[who].append(next(told)[1]["number"])

    threads = [threading.Thread(target=look, args=(who,)) for who in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(seen[0]) & set(seen[1])) >= 5, "both were told the same ones"
    wait_until(lambda: viewing.stream.viewers == 0)
    made = viewing.updates
    time.sleep(0.3)
    assert viewing.updates <= made + 1


def test_one_more_than_may_look_is_told_so_and_may_when_one_has_gone(
    page: httpx.Client, viewing: SmallViewing
) -> None:
    with page.stream("GET", "/api/stream"), page.stream("GET", "/api/stream"):
        with page.stream("GET", "/api/stream"):
            wait_until(lambda: viewing.stream.viewers == 3)
            refused = page.get("/api/stream")
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "10"
            assert "3 pages look at this station already" in refused.json()["detail"]
        wait_until(lambda: viewing.stream.viewers == 2)
        with page.stream("GET", "/api/stream") as again:
            assert next(messages(again))[0] == "hello"


def test_a_viewer_that_does_not_read_is_let_go_and_holds_up_nobody() -> None:
    viewing = SmallViewing(bulk=200_000, period_s=0.2)
    with served(viewing) as page:
        host, port = page.base_url.host, page.base_url.port
        with socket.create_connection((host, port)) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            with page.stream("GET", "/api/stream") as answer:
                told = messages(answer)
                wait_until(lambda: viewing.stream.viewers == 2)
                next(told)
                numbers = [next(told)[1]["number"]]
                while viewing.stream.viewers == 2:
                    numbers.append(next(told)[1]["number"])
                    assert len(numbers) < 5000, "the deaf one was never let go"
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_end_of_the_station_ends_every_answer(viewing: SmallViewing) -> None:
    app = make_app(SmallStation(), viewing, host="127.0.0.1", token=None)
    server = WebServer(app, host="127.0.0.1", port=0)
    viewing.start()
    server.start()
    ended = threading.Event()

    def look() -> None:
        with httpx.stream("GET", server.address + "api/stream", timeout=60) as answer:
            kinds = [kind for kind, _ in messages(answer)]
        if kinds[0] == "hello":
            ended.set()

    thread = threading.Thread(target=look)
    thread.start()
    wait_until(lambda: viewing.stream.viewers == 1)
    viewing.close()
    wait_until(lambda: viewing.stream.viewers == 0)
    server.stop()
    thread.join(60)
    assert ended.is_set(), "the answer ended as answers do, and was not torn"
    wait_until(lambda: server._thread is not None and not server._thread.is_alive())


def test_the_stream_and_what_it_names_ask_for_the_token(viewing: SmallViewing) -> None:
    with served(viewing, token="s3cret") as page:
        for path in ("/api/stream", "/api/cameras/infeed/frame", "/page.js", "/look.css"):
            assert page.get(path).status_code == 401
        assert page.post("/api/events/e1/mark", json={"mark": "right"}).status_code == 401
        known = {"authorization": "Bearer s3cret"}
        with page.stream("GET", "/api/stream", headers=known) as answer:
            assert answer.status_code == 200
        assert viewing.marks == []


def test_a_mark_is_taken_and_a_refusal_says_why(page: httpx.Client, viewing: SmallViewing) -> None:
    mark = "/api/events/e1/mark"
    assert page.post(mark, json={"mark": "right"}).json()["mark"] == "right"
    assert page.post(mark, json={"mark": "wrong", "label": "wn"}).json()["label"] == "wn"
    assert page.post(mark, json={"mark": None}).status_code == 200
    said = [("e1", "right", None), ("e1", "wrong", "wn"), ("e1", None, None)]
    assert viewing.marks == said
    assert page.post("/api/events/e9/mark", json={"mark": "right"}).status_code == 404
    refused = page.post(mark, json={"mark": "wrong", "label": "nope"})
    assert (refused.status_code, refused.json()["detail"]) == (422, "no label 'nope'")
    for body in (
        {},
        {"mark": "perhaps"},
        {"mark": "right", "more": 1},
        {"mark": "wrong", "label": ""},
    ):
        assert page.post(mark, json=body).status_code == 422
    foreign = {"origin": "https://evil.example"}
    assert page.post(mark, json={"mark": "right"}, headers=foreign).status_code == 403
    assert page.post(mark, data={"mark": "right"}).status_code == 415
    assert viewing.marks == said


def test_a_camera_without_a_picture_says_so(page: httpx.Client) -> None:
    answer = page.get("/api/cameras/infeed/frame")
    assert answer.status_code == 404
    assert "no picture of infeed yet" in answer.json()["detail"]
