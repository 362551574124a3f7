"""The classical features mean what they say, and the classifiers tell plain cases apart."""

import numpy as np
import pytest

from train.baselines.brisque import FEATURES, asymmetric_fit, brisque, symmetric_fit
from train.baselines.classify import BASELINES, fit_baseline
from train.baselines.simple import simple_measures
from train.distortions import DISTORTIONS
from train.errors import TrainingError


def test_a_gaussian_has_shape_two_and_a_laplacian_one():
    rng = np.random.default_rng(1)
    assert symmetric_fit(rng.normal(0, 3, 200_000))[0] == pytest.approx(2, abs=0.05)
    assert symmetric_fit(rng.normal(0, 3, 200_000))[1] == pytest.approx(9, rel=0.02)
    assert symmetric_fit(rng.laplace(0, 3, 200_000))[0] == pytest.approx(1, abs=0.05)


def test_a_lopsided_distribution_is_seen():
    rng = np.random.default_rng(2)
    values = np.abs(rng.normal(0, 1, 100_000)) * np.where(rng.random(100_000) < 0.5, -1.0, 3.0)
    shape, mean, left, right = asymmetric_fit(values)
    assert left == pytest.approx(1, rel=0.05)
    assert right == pytest.approx(9, rel=0.05)
    assert mean > 0
    assert shape > 0


def test_features_are_thirty_six_and_finite_even_on_flat_tiles(picture):
    for tile in (picture[:128, :128], np.full((128, 128, 3), 77, np.uint8)):
        features = brisque(tile)
        assert features.shape == (FEATURES,)
        assert np.isfinite(features).all()
        assert np.isfinite(simple_measures(tile)).all()


def test_simple_measures_see_blur_noise_and_blocks(picture):
    def seen(label, severity):
        damaged = DISTORTIONS[label].apply(picture, severity, np.random.default_rng(1))
        return simple_measures(damaged)

    clean = simple_measures(picture)
    assert seen("gblur", 3)[0] < clean[0]
    assert seen("wn", 3)[1] > clean[1]
    assert seen("jpeg", 5)[5] > 1.5 * clean[5]


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_tells_noise_from_blur(name, train_pictures):
    tiles, truth = [], []
    for number, label in enumerate(("gblur", "wn")):
        for seed, picture in enumerate(train_pictures * 4):
            rng = np.random.default_rng(seed)
            tiles.append(DISTORTIONS[label].apply(picture[:128, :128], 3.0, rng))
            truth.append(number)
    predictor = fit_baseline(name, np.stack(tiles), np.array(truth), 2)
    answers = predictor(np.stack(tiles))
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert (answers.argmax(axis=1) == truth).mean() > 0.9


def test_unknown_baselines_and_missing_labels_are_refused(tiles):
    with pytest.raises(TrainingError, match="brisque_svm, logistic_regression"):
        fit_baseline("forest", tiles, np.zeros(len(tiles), np.int64), 1)
    with pytest.raises(TrainingError, match="1 of 2 labels have tiles"):
        fit_baseline("brisque_svm", tiles, np.zeros(len(tiles), np.int64), 2)
