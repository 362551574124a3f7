"""Each distortion does what its protocol says, and nothing else."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from train.distortions import DISTORTIONS, MILDEST, WORST, jp2k, jpeg
from train.distortions.bad_lighting import expose
from train.distortions.base import MOST_PSNR_DB, on_log_scale
from train.distortions.fastfading import as_sent, flip_stream_bits, lose_coefficients, snr_db
from train.distortions.gblur import blur
from train.distortions.light import from_linear, to_linear
from train.distortions.motion_blur import kernel_of
from train.distortions.wavelet import forward, inverse
from train.distortions.wn import add_noise
from train.labels import LABEL_SETS

DAMAGING = sorted(set(DISTORTIONS) - {"refimgs"})


def rng(seed=1):
    return np.random.default_rng(seed)


def test_there_is_one_for_every_label():
    assert tuple(sorted(DISTORTIONS)) == LABEL_SETS["all"]


@pytest.mark.parametrize("label", sorted(DISTORTIONS))
def test_the_same_seed_gives_the_same_picture_and_the_argument_stays(label, picture):
    before = picture.copy()
    apply = DISTORTIONS[label].apply
    first, second = apply(picture, 3.0, rng(7)), apply(picture, 3.0, rng(7))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(picture, before)
    assert first.shape == picture.shape
    assert first.dtype == np.uint8


@pytest.mark.parametrize("label", DAMAGING)
def test_every_severity_does_damage(label, picture):
    for severity in (MILDEST, 1, 2, 3, 4, 5, WORST):
        damaged = DISTORTIONS[label].apply(picture, severity, rng(3))
        assert not np.array_equal(damaged, picture)


@pytest.mark.parametrize("label", ["gblur", "wn", "jpeg", "jp2k"])
def test_more_severity_is_more_damage(label, picture):
    quality = [
        cv2.PSNR(picture, DISTORTIONS[label].apply(picture, s, rng(3))) for s in (1, 2, 3, 4, 5)
    ]
    assert quality == sorted(quality, reverse=True)


@pytest.mark.parametrize("severity", [0.49, 5.51, float("nan")])
def test_a_severity_out_of_range_is_refused(severity, picture):
    with pytest.raises(ValueError, match="severity must lie between"):
        DISTORTIONS["gblur"].apply(picture, severity, rng())


def test_the_range_is_lives_own():
    ends = {label: (d.mildest, d.worst) for label, d in DISTORTIONS.items()}
    assert ends["gblur"] == (0.42, 15.0)
    assert ends["wn"] == (0.012, 2.0)
    assert ends["jpeg"] == (3.34, 0.15)
    assert ends["jp2k"] == (3.15, 0.028)
    assert ends["fastfading"] == (26.1, 15.5)
    assert ends["motion_blur"] == (3.0, 60.0)
    assert on_log_scale(MILDEST, 0.42, 15.0) == pytest.approx(0.42)
    assert on_log_scale(WORST, 0.42, 15.0) == pytest.approx(15.0)
    assert snr_db(WORST) == pytest.approx(15.5)


def test_blur_spreads_a_line_by_its_sigma_and_both_ways_alike():
    line = np.zeros((65, 65, 3), np.uint8)
    line[:, 32] = 255
    spread = blur(line, 2.0)[32, :, 0].astype(float)
    x = np.arange(65) - 32
    assert (spread * x * x).sum() / spread.sum() == pytest.approx(4.0, rel=0.1)
    across = blur(np.ascontiguousarray(line.transpose(1, 0, 2)), 2.0)
    np.testing.assert_array_equal(across, blur(line, 2.0).transpose(1, 0, 2))


def test_noise_has_its_sigma_and_is_independent_between_channels():
    grey = np.full((256, 256, 3), 128, np.uint8)
    noise = add_noise(grey, 0.05, rng()).astype(float) - 128
    assert noise.std() == pytest.approx(0.05 * 255, rel=0.02)
    assert abs(np.corrcoef(noise[:, :, 0].ravel(), noise[:, :, 1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_jpeg_keeps_to_its_rate(rate, picture):
    bits = 8 * len(jpeg.encode_at(picture, rate)) / (picture.shape[0] * picture.shape[1])
    assert 0.8 * rate <= bits <= rate


@pytest.mark.parametrize("rate", [0.1, 0.5, 2.0])
def test_jpeg_2000_keeps_to_its_rate_and_encodes_as_others_do(rate, picture):
    data = jp2k.encode_at(picture, rate)
    bits = 8 * len(data) / (picture.shape[0] * picture.shape[1])
    assert bits == pytest.approx(rate, rel=0.15)
    coding_style = data.index(b"\xff\x52")
    assert data[coding_style + 8] == 1  # T.800 table A.17: colours are taken apart
    assert data[coding_style + 13] == 0  # table A.20: 0 is the 9-7 irreversible filter


@pytest.mark.parametrize("label", ["gblur", "jpeg", "jp2k"])
def test_of_a_plain_picture_the_mild_is_seen_too_and_more_is_worse(label):
    plain = cv2.GaussianBlur(rng().integers(0, 256, (256, 256, 3), dtype=np.uint8), (0, 0), 4)
    near = jp2k.decode(jp2k.encode_at(plain, jp2k.MILDEST_BITS_A_PIXEL))
    assert cv2.PSNR(plain, near) > MOST_PSNR_DB, "of itself the mildest is not seen"
    damaged = [DISTORTIONS[label].apply(plain, s, rng()) for s in (0.5, 1, 1.5, 2, 3, 4, 5, 5.5)]
    psnr_db = [cv2.PSNR(plain, one) for one in damaged]
    assert max(psnr_db) <= MOST_PSNR_DB
    assert psnr_db[0] > MOST_PSNR_DB - 4
    assert all(a >= b - 0.3 for a, b in pairwise(psnr_db)), psnr_db


@pytest.mark.parametrize("label", ["gblur", "jp2k"])
def test_what_nothing_damages_stays_as_it_is(label):
    same = np.full((64, 64, 3), 100, np.uint8)
    np.testing.assert_array_equal(DISTORTIONS[label].apply(same, 1, rng()), same)


@pytest.mark.parametrize("halved_chroma", [True, False])
def test_jpeg_reaches_its_worst_rate_on_a_tile(halved_chroma, picture):
    tile = np.ascontiguousarray(picture[:288, :288])
    data = jpeg.encode_at(tile, jpeg.WORST_BITS_A_PIXEL, halved_chroma=halved_chroma)
    assert 8 * len(data) / (288 * 288) < 1.15 * jpeg.WORST_BITS_A_PIXEL


def test_the_wavelet_is_undone_by_its_inverse_and_keeps_energy():
    plane = rng().normal(0, 50, (64, 96)).astype(np.float32)
    pyramid = forward(plane, 4)
    np.testing.assert_allclose(inverse(pyramid), plane, atol=1e-2)
    energy = (pyramid.coarse**2).sum() + sum((b**2).sum() for d in pyramid.details for b in d)
    assert energy == pytest.approx((plane**2).sum(), rel=0.15)


def test_the_wavelet_of_a_flat_plane_has_no_detail():
    pyramid = forward(np.full((32, 32), 9.0, np.float32), 3)
    for bands in pyramid.details:
        for band in bands:
            assert np.abs(band).max() < 1e-3


def test_the_wavelet_refuses_sides_that_do_not_halve():
    with pytest.raises(ValueError, match="multiples of 8"):
        forward(np.zeros((30, 32), np.float32), 3)


def test_severe_fading_loses_the_finest_detail(picture):
    def finest(p):
        return np.abs(cv2.Laplacian(p[:, :, 1], cv2.CV_32F)).mean()

    seen = [finest(lose_coefficients(picture, WORST, rng(i))) for i in range(10)]
    assert np.median(seen) < 0.6 * finest(picture)


def test_what_is_sent_over_a_fading_channel_is_a_real_stream_and_then_damaged(picture):
    sent = as_sent(picture)
    at_its_rate = jp2k.decode(jp2k.encode_at(picture, 2.5))
    np.testing.assert_array_equal(sent, at_its_rate)
    for seed in range(10):
        seen = DISTORTIONS["fastfading"].apply(picture, MILDEST, rng(seed))
        change = cv2.absdiff(seen, sent).max(axis=2).astype(np.float32)
        assert cv2.blur(change, (32, 32)).max() > 3, "to be seen in some place, at the mildest"


def test_flipped_bits_show_in_some_place_but_not_everywhere(picture):
    seen = [flip_stream_bits(picture, 2.0, rng(i)) for i in range(8)]
    damaged = [s for s in seen if s is not None]
    assert damaged
    for s in damaged:
        assert s.shape == picture.shape


@pytest.mark.parametrize("length", [3.0, 17.5, 60.0])
def test_a_motion_kernel_sums_to_one_and_has_its_length(length):
    kernel = kernel_of(length, 0.0)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
    across = kernel.sum(axis=0)
    x = np.arange(len(across)) - len(across) // 2
    spread = np.sqrt((across * x * x).sum() - (across * x).sum() ** 2)
    blurred = 1 / 6  # variance that spreading each sample over its pixels adds
    assert spread == pytest.approx(np.sqrt(length**2 / 12 + blurred), rel=0.1)


def test_motion_adds_up_light_and_not_codes():
    """A white spot on black leaves a streak of a share of its light, which is a high code."""
    dark = np.zeros((96, 96, 3), np.uint8)
    dark[40:45, 45:50] = 255
    streak = DISTORTIONS["motion_blur"].apply(dark, severity_of_30_px(), rng()).max(axis=(0, 1))
    assert (streak > 80).all(), "5 of 30 pixels are a sixth of the light, of the codes 42"


def severity_of_30_px():
    return next(s for s in np.arange(0.5, 5.5, 0.01) if on_log_scale(s, 3.0, 60.0) >= 30)


@pytest.mark.parametrize("bend", [0.0, 0.2, 0.35])
def test_a_path_is_as_long_as_it_is_said_to_be(bend):
    """Drawn thin, its pixels by its direction there."""
    kernel = kernel_of(60, 0.0, bend=bend)
    centre = [
        (np.arange(len(kernel)) * column).sum() / column.sum()
        for column in kernel.T
        if column.sum() > 1e-4
    ]
    length = np.hypot(1, np.diff(centre)).sum()
    assert length == pytest.approx(60, rel=0.08)


def test_a_bent_path_leaves_its_chord():
    assert kernel_of(30, 0.0, bend=0.3).shape[0] < kernel_of(30, 0.0).shape[0]
    assert (kernel_of(30, 0.0, bend=0.3).sum(axis=1) > 0.01).sum() > 5


def test_light_survives_the_way_to_linear_and_back(picture):
    np.testing.assert_array_equal(from_linear(to_linear(picture)), picture)


def test_less_light_with_gain_is_as_bright_but_noisier():
    grey = np.full((128, 128, 3), 128, np.uint8)
    right, dark = expose(grey, 1.0, rng()), expose(grey, 1 / 8, rng(), gain=8.0)
    assert dark.mean() == pytest.approx(right.mean(), abs=2)
    assert dark.std() > 2 * right.std()


def test_averaged_frames_keep_their_light_and_lose_their_noise():
    grey = np.full((128, 128, 3), 128, np.uint8)
    seen = {share: expose(grey, 1 / 8, rng(), noise=share) for share in (1.0, 0.5, 0.0)}
    assert seen[0.5].std() == pytest.approx(seen[1.0].std() / 2, rel=0.15)
    assert seen[0.0].std() == 0
    assert seen[0.5].mean() == pytest.approx(seen[1.0].mean(), abs=1)


def test_the_dark_comes_with_noise_and_without():
    grey = np.full((64, 64, 3), 128, np.uint8)
    made = [DISTORTIONS["bad_lighting"].apply(grey, 4.0, rng(seed)) for seed in range(80)]
    dark = [seen for seen in made if seen.max() < 100]
    assert sum(seen.std() < 1 for seen in dark) >= 5
    assert sum(seen.std() > 3 for seen in dark) >= 5
