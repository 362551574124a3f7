"""Small pictures of judged frames, for whoever looks; over real slots."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from inspector.slots import Ring
from inspector.verdict import Outcome, Verdict
from inspector.web.stills import EVERY_S, KEPT, WANTED_S, WIDTH, Stills, add_stills
from inspector.web.thumbnails import MOST, Thumbnails
from tests.evidence.making import Loans, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


SAID = Verdict(Outcome.REJECTED, "gblur")


class Looked:
    """Whether somebody looks, and the clock."""

    def __init__(self) -> None:
        self.at = False
        self.now_s = 100.0
        self.stills = Stills(lambda: self.at, clock=lambda: self.now_s)


@pytest.fixture
def looked() -> Iterator[Looked]:
    it = Looked()
    it.stills.start()
    yield it
    it.stills.close()


def test_a_small_picture_is_made_of_a_frame_while_somebody_looks(looked: Looked) -> None:
    loans = Loans(height=540, width=1280)
    looked.at = True
    frame = loans.frame(3)
    given_back = looked.stills.borrow(frame, SAID, loans.release(3))
    given_back()
    still = wait_until(lambda: looked.stills.newest("infeed"))
    assert still.name == "1-3"
    picture = cv2.imdecode(np.frombuffer(still.data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (270, WIDTH, 3)
    wait_until(lambda: loans.back)
    assert loans.back == [3], "the frame goes back once, when both are done with it"
    assert looked.stills.document() == {
        "infeed": {"of": "1-3", "verdict": "rejected", "label": "gblur"}
    }


def test_a_viewer_with_a_slow_link_gets_the_picture_that_he_was_told_of(looked: Looked) -> None:
    loans = Loans()
    looked.at = True
    for sequence in range(KEPT + 1):
        looked.now_s += EVERY_S
        looked.stills.borrow(loans.frame(sequence), SAID, loans.release(sequence))()
        wait_until(lambda: not looked.stills._busy)
    names = [f"1-{sequence}" for sequence in range(KEPT + 1)]
    app = FastAPI()
    add_stills(app, looked.stills)
    page = TestClient(app)
    frame = "/api/cameras/infeed/frame"
    told = [page.get(frame, params={"of": name}) for name in names[1:]]
    assert [answer.headers["etag"] for answer in told] == [f'"{name}"' for name in names[1:]]
    assert page.get(frame).headers["etag"] == f'"{names[-1]}"'
    gone = page.get(frame, params={"of": names[0]})
    assert gone.status_code == 404
    assert "no picture of frame 1-0 of infeed is kept" in gone.json()["detail"]


def test_nobody_looks_and_no_frame_is_touched(looked: Looked) -> None:
    loans = Loans()
    release = loans.release(0)
    assert looked.stills.borrow(loans.frame(0), SAID, release) is release
    assert looked.stills.newest("infeed") is None
    assert looked.stills.newest("no-such-camera") is None
    assert set(looked.stills._wanted_at) == {"infeed"}, "made-up names leave nothing behind"
    assert looked.stills.borrow(loans.frame(1), SAID, release) is not release, (
        "asked for one just now"
    )
    looked.now_s += WANTED_S + EVERY_S
    assert looked.stills.borrow(loans.frame(2), SAID, release) is release, "that was long ago"


def test_one_picture_a_second_of_each_camera(looked: Looked) -> None:
    loans = Loans()
    looked.at = True

    def look(sequence: int, camera: str) -> bool:
        release = loans.release(sequence)
        given = looked.stills.borrow(loans.frame(sequence, camera), SAID, release)
        given()
        wait_until(lambda: sequence in loans.back)
        wait_until(lambda: not looked.stills._busy)
        return given is not release

    assert look(0, "infeed")
    assert not look(1, "infeed")
    assert look(2, "outfeed")
    looked.now_s += EVERY_S
    assert look(3, "infeed")
    looked.stills.forget("infeed")
    assert set(looked.stills.document()) == {"outfeed"}


def test_one_frame_is_borrowed_at_a_time_and_none_of_a_small_ring(looked: Looked) -> None:
    loans = Loans()
    looked.at = True
    hold, begun = threading.Event(), threading.Event()

    class Slow(Ring):
        def picture(self, slot: int, height: int, width: int):  # type: ignore[no-untyped-def]
            begun.set()
            hold.wait(60)
            return loans.ring.picture(slot, height, width)

    slow = Slow.create("infeed/2", slots=8, max_pixels=96 * 128)
    first = looked.stills.borrow(replace(loans.frame(0), ring=slow), SAID, loans.release(0))
    begun.wait(60)
    other = loans.release(1)
    assert looked.stills.borrow(loans.frame(1, "outfeed"), SAID, other) is other
    first()
    assert loans.back == [], "it is still looked at"
    hold.set()
    wait_until(lambda: loans.back)
    small = Ring.create("tight/1", slots=2, max_pixels=96 * 128)
    tight = replace(loans.frame(2, "tight"), ring=small)
    assert looked.stills.borrow(tight, SAID, other) is other


def test_a_picture_that_fails_gives_its_frame_back_and_stops_nothing(looked: Looked) -> None:
    loans = Loans()
    looked.at = True
    broken = replace(loans.frame(0), height=10_000)
    looked.stills.borrow(broken, SAID, loans.release(0))()
    wait_until(lambda: loans.back)
    wait_until(lambda: not looked.stills._busy)
    looked.stills.borrow(loans.frame(1, "outfeed"), SAID, loans.release(1))()
    assert wait_until(lambda: looked.stills.newest("outfeed")).name == "1-1"


def test_what_is_borrowed_comes_back_at_the_end() -> None:
    looked, loans = Looked(), Loans()
    looked.at = True
    looked.stills.start()
    looked.stills.borrow(loans.frame(0), SAID, loans.release(0))()
    looked.stills.close()
    assert loans.back == [0]
    release = loans.release(1)
    assert looked.stills.borrow(loans.frame(1), SAID, release) is release


def test_thumbnails_are_small_remembered_and_bounded() -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    thumbnails = Thumbnails()
    small = thumbnails.of("a", data)
    assert small is not None
    assert len(small) < 40_000
    assert thumbnails.of("a", b"not looked at again") == small
    assert thumbnails.of("b", b"no picture") is None
    tiny = cv2.imencode(".png", picture[:32, :32])[1].tobytes()
    for number in range(MOST + 5):
        assert thumbnails.of(f"n{number}", tiny)
    assert len(thumbnails._known) == MOST
