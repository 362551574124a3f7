"""What happens to every picture, good or bad."""

import cv2
import numpy as np
import pytest

from train.camera import AFTER_H264, after_distortion, demosaic, sense, take, through_h264
from train.distortions import DISTORTIONS


def test_h264_keeps_size_and_quality_and_does_change_pixels(picture):
    odd = picture[:201, :177]
    seen = through_h264(odd, 16)
    assert seen.shape == odd.shape
    assert not np.array_equal(seen, odd)
    assert cv2.PSNR(odd, seen) > 28


@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128), (255, 255, 255), (100, 120, 80)])
def test_h264_casts_no_colour(colour):
    flat = np.full((64, 64, 3), colour, np.uint8)
    np.testing.assert_allclose(through_h264(flat, 12).astype(int), flat, atol=1)


def test_h264_keeps_the_mean_of_colours_that_change_from_pixel_to_pixel():
    checks = np.indices((64, 64)).sum(axis=0) % 2
    picture = np.where(checks[:, :, None], (140, 120, 100), (100, 120, 140)).astype(np.uint8)
    seen = through_h264(picture, 12)
    np.testing.assert_allclose(seen.mean(axis=(0, 1)), picture.mean(axis=(0, 1)), atol=2)


def test_demosaicing_copies_no_border(picture):
    seen = demosaic(picture)
    for line, next_to_it in ((seen[0], seen[1]), (seen[:, -1], seen[:, -2])):
        assert (line != next_to_it).any(axis=1).mean() > 0.5


def test_half_of_what_a_lens_blurs_has_the_sensor_s_noise_on_top(picture):
    flat = np.full((64, 64, 3), 100, np.uint8)

    def noisy(label):
        def blurred(one):
            return cv2.GaussianBlur(one, (0, 0), 6)

        seen = [take(flat, label, blurred, np.random.default_rng(seed))[1:] for seed in range(120)]
        return sum(after.std() > damaged.std() + 0.2 for damaged, after in seen)

    assert 6 <= noisy("gblur") <= 50, "half of two in five"
    assert noisy("jp2k") == 0


def test_codec_damage_is_never_sent_through_h264(picture):
    assert not AFTER_H264 & {"jpeg", "jp2k", "fastfading"}
    for label in ("jpeg", "jp2k", "fastfading"):
        for seed in range(6):
            same = after_distortion(picture, label, np.random.default_rng(seed))
            assert same is picture


def test_half_of_the_good_pictures_go_through_h264(picture):
    small = picture[:64, :64]
    sent = sum(
        after_distortion(small, "refimgs", np.random.default_rng(seed)) is not small
        for seed in range(60)
    )
    assert 18 <= sent <= 42


def test_demosaicing_keeps_the_colours(picture):
    np.testing.assert_allclose(
        demosaic(picture).mean(axis=(0, 1)), picture.mean(axis=(0, 1)), atol=1.5
    )


def test_what_comes_before_stays_below_the_mildest_noise(picture):
    flat = np.full((128, 128, 3), 100, np.uint8)
    for seed in range(20):
        seen = sense(flat, np.random.default_rng(seed))
        assert seen.std() < 0.012 * 255


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_gives_the_same_camera(picture, seed):
    first = sense(picture, np.random.default_rng(seed))
    np.testing.assert_array_equal(first, sense(picture, np.random.default_rng(seed)))


def test_a_colour_filter_spreads_the_noise_that_lies_under_it():
    """As real cameras do: noise of neighbouring pixels is alike where they were interpolated."""
    flat = np.full((96, 96, 3), 100, np.uint8)
    alike = []
    for seed in range(60):
        noise = sense(flat, np.random.default_rng(seed))[:, :, 2].astype(float) - 100
        if noise.std() > 0.5:
            alike.append((noise[:, 1:] * noise[:, :-1]).mean() / noise.var() > 0.3)
    assert 2 <= sum(alike) <= len(alike) / 2, "a quarter"


def test_the_noise_of_bad_light_lies_under_the_colour_filter_too(picture):
    small = np.ascontiguousarray(picture[:64, :64])

    def under(seed):
        chance = np.random.default_rng(seed)
        distort = DISTORTIONS["bad_lighting"].apply
        _, damaged, seen = take(small, "bad_lighting", lambda one: distort(one, 3, chance), chance)
        return np.array_equal(seen, demosaic(damaged))

    assert 2 <= sum(map(under, range(60))) <= 20, "half of a quarter, the others as H.264"
