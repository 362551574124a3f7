"""The one tiling: what training and serving both rely on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engine.tiling import Tile, TooSmallError, cut, join, tiles_of

WHERES = ("spread", "centre", "sharpest")


@given(
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    count=st.integers(1, 12),
    where=st.sampled_from(WHERES),
)
def test_gives_the_asked_number_of_tiles_inside_the_picture(height, width, count, where):
    picture = np.zeros((height, width, 3), np.uint8)
    tiles = tiles_of(height, width, size=16, count=count, where=where, picture=picture)
    assert len(tiles) == count
    for tile in tiles:
        assert tile.size == 16
        assert 0 <= tile.x <= width - 16
        assert 0 <= tile.y <= height - 16


def test_spread_takes_the_middle_of_each_cell():
    tiles = tiles_of(1080, 1920, size=256, count=4, where="spread")
    assert {t.x + 128 for t in tiles} == {480, 1440}
    assert {t.y + 128 for t in tiles} == {270, 810}


def test_spread_reaches_every_edge_of_a_picture_that_is_hardly_larger_than_a_tile():
    tiles = tiles_of(300, 400, size=256, count=4, where="spread")
    assert [(t.x, t.y) for t in tiles] == [(0, 0), (144, 0), (0, 44), (144, 44)]


def test_spread_follows_the_shape_of_the_picture():
    wide = tiles_of(256, 2048, size=256, count=4, where="spread")
    assert [t.y for t in wide] == [0] * 4
    tall = tiles_of(2048, 256, size=256, count=4, where="spread")
    assert [t.x for t in tall] == [0] * 4


def test_a_single_tile_lies_in_the_middle():
    assert tiles_of(300, 400, size=256, count=1, where="spread") == (Tile(72, 22, 256),)
    assert tiles_of(300, 400, size=256, count=1, where="centre") == (Tile(72, 22, 256),)


def test_centre_lays_tiles_side_by_side_around_the_middle():
    tiles = tiles_of(1000, 1000, size=100, count=4, where="centre")
    assert {(t.x, t.y) for t in tiles} == {(400, 400), (500, 400), (400, 500), (500, 500)}


def test_sharpest_finds_the_detail():
    picture = np.zeros((512, 512, 3), np.uint8)
    picture[256:, 256:] = np.random.default_rng(1).integers(0, 256, (256, 256, 3))
    tiles = tiles_of(512, 512, size=256, count=1, where="sharpest", picture=picture)
    assert tiles == (Tile(256, 256, 256),)


def test_the_same_frame_always_gives_the_same_tiles():
    picture = np.random.default_rng(2).integers(0, 256, (300, 500, 3)).astype(np.uint8)
    for where in WHERES:
        first = tiles_of(300, 500, size=128, count=5, where=where, picture=picture)
        assert first == tiles_of(300, 500, size=128, count=5, where=where, picture=picture)


@pytest.mark.parametrize(("height", "width"), [(255, 1000), (1000, 255)])
def test_a_picture_smaller_than_a_tile_is_refused(height, width):
    with pytest.raises(TooSmallError, match=f"{width}x{height} pixels is smaller than one tile"):
        tiles_of(height, width, size=256, count=4, where="spread")


def test_sharpest_without_its_picture_is_refused():
    with pytest.raises(ValueError, match="needs the picture"):
        tiles_of(300, 300, size=256, count=1, where="sharpest")


def test_an_unknown_place_is_refused():
    with pytest.raises(ValueError, match="spread, centre or sharpest"):
        tiles_of(300, 300, size=256, count=1, where="corner")


def test_cut_copies_the_pixels_of_each_tile():
    picture = np.random.default_rng(3).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    out = cut(picture, [Tile(0, 0, 32), Tile(48, 28, 32)])
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(out[1], picture[28:60, 48:80])
    out[0] = 0
    assert picture[:32, :32].any()


def test_cut_writes_where_it_is_told():
    picture = np.full((40, 40, 3), 7, np.uint8)
    out = np.zeros((1, 32, 32, 3), np.uint8)
    assert cut(picture, [Tile(4, 4, 32)], out) is out
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ([], "no tiles"),
        ([Tile(0, 0, 32), Tile(0, 0, 16)], "different sizes"),
        ([Tile(20, 0, 32)], "leaves a picture"),
        ([Tile(-1, 0, 32)], "leaves a picture"),
    ],
)
def test_cut_refuses_what_it_cannot_cut(tiles, message):
    with pytest.raises(ValueError, match=message):
        cut(np.zeros((40, 40, 3), np.uint8), tiles)


def test_mean_averages_and_worst_takes_the_tile_least_likely_good():
    tiles = np.array([[0.1, 0.9], [0.7, 0.3], [0.2, 0.8]], np.float32)
    np.testing.assert_allclose(join(tiles, "mean", [1]), [1 / 3, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(join(tiles, "worst", [1]), [0.7, 0.3])
    assert join(tiles, "mean", [1]).dtype == np.float32


def test_geometric_lets_a_certain_tile_outweigh_others_that_have_seen_nothing():
    tiles = np.array([[0.999, 0.001], [0.4, 0.6], [0.4, 0.6], [0.4, 0.6]], np.float32)
    assert join(tiles, "mean", [1]).argmax() == 0
    joined = join(tiles[[0, 1, 1, 1]], "geometric", [1])
    odds = (999 * (4 / 6) ** 3) ** 0.25
    np.testing.assert_allclose(joined, [odds / (1 + odds), 1 / (1 + odds)], rtol=1e-5)
    assert joined.dtype == np.float32


def test_geometric_lets_no_tile_rule_a_label_out():
    tiles = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]], np.float32)
    joined = join(tiles, "geometric", [1])
    assert joined.argmax() == 1
    np.testing.assert_allclose(joined.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(joined, [0.0099, 0.99, 0.0001], rtol=0.02)


def test_worst_adds_the_probabilities_of_all_acceptable_labels():
    tiles = np.array([[0.5, 0.3, 0.2], [0.4, 0.0, 0.6]], np.float32)
    np.testing.assert_allclose(join(tiles, "worst", [1, 2]), [0.5, 0.3, 0.2])


def test_join_needs_a_tile():
    with pytest.raises(ValueError, match="at least one tile"):
        join(np.zeros((0, 3), np.float32), "mean", [0])
