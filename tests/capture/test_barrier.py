"""The light barrier in the picture: one picture for each part, whatever passes and however lit."""

from __future__ import annotations

import os
import signal
import time

import cv2
import numpy as np
import pytest

from inspector.capture.barrier import CELLS, Barrier, cells_of
from inspector.capture.sources.pattern import SPEED_PX, PatternSource
from inspector.config.cameras import Barrier as CameraBarrier

FPS = 25.0
BARRIER = {"x": 300, "y": 80, "width": 8, "height": 320}


def barrier(**more):
    return Barrier(CameraBarrier(**BARRIER | more).model_dump(mode="json"))


class Belt:
    """A strip over time: a belt of some light, parts of others, and the noise of a sensor."""

    def __init__(self, belt=70.0, seed=1, fps=FPS):
        self.belt, self.fps, self.at_s = belt, fps, 0.0
        self.rng = np.random.default_rng(seed)

    def pictures(self, *spans):
        """Strips and times; each span is (seconds, light of a part or None for the empty belt)."""
        for seconds, light in spans:
            for _ in range(round(seconds * self.fps)):
                rows = np.empty((64, 8, 3))
                rows[:] = np.reshape(self.belt if light is None else light, (-1, 1, 1))
                noisy = rows + self.rng.normal(0, 3, rows.shape)
                yield np.clip(noisy, 0, 255).astype(np.uint8), self.at_s
                self.at_s += 1 / self.fps


def due_times(of, pictures):
    """Times of the pictures that are judged, as the worker does it."""
    found = []
    for strip, at_s in pictures:
        of.look(strip, at_s)
        if of.due(at_s):
            of.take(at_s)
            found.append(at_s)
    return found


LEARN = (3.0, None)
"""Enough to learn the empty belt."""


def test_cells_are_means_along_the_longer_side():
    strip = np.zeros((64, 4, 3), np.uint8)
    strip[:2, :, 1] = 100
    cells = cells_of(strip)
    assert cells.shape == (CELLS,)
    assert cells[0] == 100
    assert not cells[1:].any()
    assert (cells_of(strip.transpose(1, 0, 2).copy()) == cells).all()
    assert cells_of(np.full((5, 3, 3), 9, np.uint8)).tolist() == [9] * 5
    uneven = cells_of(np.full((100, 3, 3), 200, np.uint8))
    assert uneven.tolist() == [200] * CELLS


@pytest.mark.parametrize(("parts", "light"), [("either", 150), ("either", 20), ("lighter", 150)])
def test_one_picture_a_part_when_its_front_arrives(parts, light):
    belt, of = Belt(), barrier(parts=parts)
    passing = [(0.8, light), (1.2, None)] * 5
    found = due_times(of, belt.pictures(LEARN, *passing))
    assert found == pytest.approx([3 + 2 * part for part in range(5)])
    assert of.parts == 5


def test_what_is_on_the_other_side_of_the_belts_light_is_no_part():
    """Such as an arm, or a shadow; with eyes for parts still when it is gone."""
    for parts, other, part in (("lighter", 20, 150), ("darker", 150, 20)):
        belt, of = Belt(), barrier(parts=parts)
        assert due_times(of, belt.pictures(LEARN, LEARN, (1, other), (1, None))) == []
        assert len(due_times(of, belt.pictures((0.5, part), (1, None)))) == 1


def test_the_picture_comes_so_long_after_the_front():
    found = due_times(
        barrier(delay_ms=200),
        Belt().pictures(LEARN, (0.8, 150), (1.2, None), (0.1, 150), (1, None)),
    )
    assert found == pytest.approx([3.2, 5.2]), "the second part is gone by then, and answered too"


def test_parts_follow_each_other_sooner_than_their_pictures_are_due():
    passing = [(0.2, 150), (0.2, None)] * 3
    found = due_times(barrier(delay_ms=600), Belt().pictures(LEARN, *passing, (1, None)))
    assert found == pytest.approx([3.6, 4.0, 4.4])


def test_a_picture_without_room_for_it_is_asked_for_again():
    belt, of = Belt(), barrier()
    for strip, at_s in belt.pictures(LEARN, (0.2, 150)):
        of.look(strip, at_s)
    assert of.due(belt.at_s)
    for strip, at_s in belt.pictures((0.2, None)):
        of.look(strip, at_s)
        assert of.due(at_s), "until one is taken"
    of.take(belt.at_s)
    assert not of.due(belt.at_s)


def test_a_hole_makes_no_second_part():
    passing = [(0.4, 150), (0.12, None), (0.4, 150), (1, None)]
    assert len(due_times(barrier(gap_ms=200), Belt().pictures(LEARN, *passing))) == 1
    assert len(due_times(barrier(gap_ms=0), Belt().pictures(LEARN, *passing))) == 2


def test_what_covers_too_little_is_no_part():
    light = np.full(64, 70.0)
    light[:24] = 160  # three in eight
    assert due_times(barrier(covered=0.5), Belt().pictures(LEARN, (0.5, light), (1, None))) == []
    assert len(due_times(barrier(covered=0.3), Belt().pictures(LEARN, (0.5, light)))) == 1


def test_nothing_is_judged_before_the_empty_belt_is_known():
    of = barrier()
    pictures = Belt().pictures((0.5, None), (0.5, 150), (4, None))
    assert due_times(of, pictures) == []
    assert of.covered == 0.0
    assert barrier().covered is None


def test_light_that_fades_over_minutes_makes_no_part_and_hides_none():
    belt, of = Belt(), barrier()
    found = due_times(of, belt.pictures(LEARN))
    for _ in range(60):
        belt.belt -= 0.8
        found += due_times(of, belt.pictures((1.6, None), (0.4, 170)))
    assert belt.belt < 23
    assert len(found) == 60


@pytest.mark.parametrize("light", [35, 130])
def test_after_the_light_is_switched_it_learns_anew(light):
    belt, of = Belt(), barrier()
    due_times(of, belt.pictures(LEARN, *[(0.4, 200), (1.2, None)] * 15))
    belt.belt = light
    passing = [(0.4, 200), (1.2, None)]
    due_times(of, belt.pictures(*passing * 20))
    found = due_times(of, belt.pictures(*passing * 10))
    assert len(found) == 10


def test_a_part_before_the_barrier_of_a_belt_that_stands_is_not_taken_for_the_belt():
    belt, of = Belt(), barrier()
    passing = [(0.4, 150), (1.2, None)]
    due_times(of, belt.pictures(LEARN, *passing * 10))
    assert due_times(of, belt.pictures((600, 150), (1.2, None))) == pytest.approx([19.0])
    assert len(due_times(of, belt.pictures(*passing * 10))) == 10


def test_a_belt_that_stands_empty_for_hours_still_sees_the_next_part():
    belt, of = Belt(fps=5), barrier()
    due_times(of, belt.pictures(LEARN, (0.4, 150), (7200, None)))
    assert len(due_times(of, belt.pictures((0.4, 150), (1, None)))) == 1


def test_a_stream_that_begins_anew_goes_on_with_what_it_knows():
    belt, of = Belt(), barrier(delay_ms=500)
    due_times(of, belt.pictures(LEARN, (0.3, 150)))
    belt.at_s = 0.0  # its clock begins anew; the part of before is not answered by a later picture
    assert due_times(of, belt.pictures((1, None), (0.3, 150), (1, None))) == pytest.approx(
        [1.5], abs=0.03
    )


@pytest.mark.parametrize("lit", [{}, {"darker": True}])
def test_dense_parts_are_told_apart_where_it_is_known_how_they_look(lit):
    """Nine tenths of the belt are parts, each of another light."""
    rng = np.random.default_rng(3)
    belt = Belt(belt=230 if lit else 50)
    of = barrier(parts="darker" if lit else "lighter", free=0.1)
    lights = rng.uniform(60, 180, 40) if lit else rng.uniform(100, 240, 40)
    passing = [span for light in lights for span in ((0.72, light), (0.08, None))]
    due_times(of, belt.pictures(*passing[:40]))
    before = of.parts
    found = due_times(of, belt.pictures(*passing[40:]))
    assert of.parts - before == len(found) == 20


def test_the_parts_of_the_test_pattern_are_counted():
    settings = {"width": 640, "height": 480, "fps": FPS, "seed": 1, "period_s": 60.0, "faults": ()}
    source = PatternSource(settings)
    source.open()
    of = barrier(parts="lighter", free=0.2, gap_ms=100)
    judged = []
    turn = 640 // SPEED_PX  # frames until the belt repeats: three parts
    for number in range(10 * turn):
        picture = source.frame(number)
        strip = picture[of.y : of.y + of.height, of.x : of.x + of.width]
        of.look(strip, number / FPS)
        if of.due(number / FPS):
            of.take(number / FPS)
            judged.append(number)
    of_each_turn = [sum(n // turn == t for n in judged) for t in range(10)]
    assert of_each_turn[1:] == [3] * 9, judged


# -- in the worker -------------------------------------------------------------------------------

PATTERN = {"kind": "pattern", "width": 320, "height": 240, "fps": 40}
ACROSS = {
    "x": 150,
    "y": 40,
    "width": 8,
    "height": 160,
    "parts": "lighter",
    "free": 0.2,
    "gap_ms": 50,
}
PART_FRAMES = 640 / SPEED_PX / 3
"""From one part of the pattern to the next."""


def test_a_camera_judges_one_frame_of_each_part(rig):
    camera = {"source": PATTERN, "inspect": {"on_motion": ACROSS}}
    stage = rig({"a": camera, "b": {"source": PATTERN}}).start()
    stage.until_frames(8)
    status = stage.status()
    assert status.on_motion
    assert status.covered is not None
    assert 0 <= status.covered <= 1
    assert status.counters.parts >= 8
    assert status.counters.dropped["not_due"] > status.counters.judged
    other = stage.status("b")
    assert not other.on_motion
    assert other.covered is None
    assert other.counters.parts == 0
    times_s = np.array([frame.pts_s for frame in stage.good()])
    assert (np.diff(times_s) > 0.5 * PART_FRAMES / 40).all(), "none twice"
    turns = np.exp(2j * np.pi * times_s * 40 / PART_FRAMES)
    assert abs(turns.mean()) > 0.8, "each when its part is at the same place"
    stage.check_books()


def test_parts_are_counted_on_over_a_new_worker(rig):
    stage = rig({"a": {"source": PATTERN, "inspect": {"on_motion": ACROSS}}}).start()
    stage.until(lambda: stage.status().counters.parts >= 3, "parts")
    before = stage.status().counters.parts
    os.kill(stage.pid(), signal.SIGKILL)
    stage.until(lambda: stage.status().stream_epoch > 0, "a new connection")
    stage.until(lambda: stage.status().counters.parts > before + 1, "more parts")
    stage.until(lambda: stage.good()[-1].stream_epoch > 0, "a frame of them")
    numbers = [frame.part for frame in stage.good()]
    assert numbers == list(range(1, len(numbers) + 1))
    stage.check_books()


def test_parts_that_come_faster_than_they_are_judged_wait(rig):
    """Another frame shows another part: none takes the place of one that was not judged yet."""
    stage = rig({"a": {"source": PATTERN, "inspect": {"on_motion": ACROSS}}})
    stage.look = lambda frame: time.sleep(1.5 * PART_FRAMES / 40) if len(stage.frames) < 4 else None
    stage.start().until_frames(8)
    assert [frame.part for frame in stage.good()][:8] == list(range(1, 9))
    assert stage.status().counters.dropped["superseded"] == 0
    stage.check_books()


def test_of_a_camera_that_sends_a_picture_a_part_a_missing_number_is_a_part_without_one(rig):
    stage = rig({"a": {"source": PATTERN, "slots": 4}}, counted=("a",)).start(judge=False)
    stage.until(lambda: stage.status().counters.dropped["no_slot"] >= 3, "a full ring")
    numbers = []
    while len(numbers) < 12:
        assert stage.capture.wait(30)
        for frame in stage.capture.take(8):
            numbers.append(frame.part)
            stage.capture.release(frame, "judged")
    assert numbers[:4] == [1, 2, 3, 4], "the first wait, whatever comes after them"
    assert numbers[4] > 7, "those for which there was no room have their numbers"
    assert numbers == sorted(set(numbers))
    assert stage.status().counters.dropped["superseded"] == 0
    stage.check_books()


def test_a_barrier_outside_the_picture_is_told_with_both_sizes(rig, tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((240, 320, 3), np.uint8))
    source = {"kind": "images", "folder": str(tmp_path), "loop": True}
    stage = rig({"a": {"source": source, "inspect": {"on_motion": ACROSS | {"x": 318}}}}).start()
    detail = stage.until_state("failed").detail
    assert "the barrier x=318 y=40 width=8 height=160 lies outside the picture of 320x240" in detail
    assert "inspect.on_motion" in detail
    stage.until(lambda: stage.status().counters.frames_in >= 2, "another try")
    assert stage.status().counters.in_flight <= 1, "those of earlier tries are accounted for"
