"""Figures and thresholds on answers whose truth is known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from train.cli import app
from train.data.frame import Frame, thinned
from train.errors import DataError
from train.measure.answers import Answers, load, save
from train.measure.calibration import (
    expected_calibration_error,
    false_rejects,
    fit_temperature,
    rate_upper_95,
    refuse_shared,
    set_thresholds,
)
from train.measure.figures import accept_curve, confusion, measure, rates
from train.measure.joins import JOINS, compare
from train.measure.loss import loss_of

LABELS = ("gblur", "refimgs", "wn")


def answers_from(probabilities, truth, severity=None, source=None):
    tiles = np.asarray(probabilities, np.float32)
    if tiles.ndim == 2:
        tiles = tiles[:, None]
    count = len(truth)
    return Answers(
        LABELS,
        tiles,
        np.asarray(truth),
        np.asarray(severity if severity is not None else [1] * count),
        np.asarray(source if source is not None else [f"r{i}" for i in range(count)]),
        np.zeros(count, np.int64),
        np.asarray([f"f{i}" for i in range(count)]),
    )


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_sensitivity_and_specificity_of_a_known_matrix():
    counts = confusion(np.array([0, 0, 1, 1, 2, 0]), np.array([0, 0, 1, 1, 2, 2]), 3)
    sensitivity, specificity = rates(counts)
    np.testing.assert_allclose(sensitivity, [1, 1, 0.5])
    np.testing.assert_allclose(specificity, [0.75, 1, 1])


def test_a_perfect_order_has_the_whole_area():
    joined = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0]], np.float32)
    assert accept_curve(joined, np.array([0, 2, 1]), 1)[2] == pytest.approx(1.0)
    assert accept_curve(joined, np.array([1, 1, 0]), 1)[2] == pytest.approx(0.0)


def test_figures_of_a_perfect_network():
    probabilities = np.eye(3)[[0, 1, 2, 0, 1, 2]] * 0.97 + 0.01
    figures = measure(answers_from(probabilities, [0, 1, 2, 0, 1, 2], [1, 1, 1, 2, 2, 2]), "mean")
    assert figures["accuracy"] == 1
    assert figures["per_label"]["wn"] == {
        "frames": 2,
        "sensitivity": 1,
        "sensitivity_95": [0.1581, 1],  # of two references: 0.025 ** (1 / 2)
        "specificity": 1,
        "specificity_95": [0.5407, 1],  # of six
    }
    assert figures["good_specificity_from_severity_2"] == 1
    assert figures["by_severity"]["2"]["sensitivity"] == {"gblur": 1, "refimgs": 1, "wn": 1}
    assert figures["confusion"] == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]


def test_a_label_without_frames_has_no_figures_and_json_stays_valid():
    figures = measure(answers_from(np.eye(3)[[0, 1, 1]], [0, 1, 1]), "mean")
    assert figures["per_label"]["wn"]["sensitivity"] is None
    assert figures["per_label"]["wn"]["sensitivity_95"] is None
    assert figures["per_label"]["wn"]["specificity"] == 1
    json.dumps(figures, allow_nan=False)


def test_bounds_are_wider_when_frames_share_a_reference():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 200)
    wrong_source = np.repeat(rng.random(20) < 0.3, 10)
    guessed = np.where(wrong_source, (truth + 1) % 3, truth)
    probabilities = np.eye(3)[guessed]
    alone = measure(answers_from(probabilities, truth), "mean")["accuracy_95"]
    shared = measure(
        answers_from(probabilities, truth, source=[f"r{i // 10}" for i in range(200)]), "mean"
    )["accuracy_95"]
    assert shared[1] - shared[0] > 1.5 * (alone[1] - alone[0])


def test_the_temperature_of_an_overconfident_network_is_found():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 4000)
    logits = rng.normal(0, 1, (4000, 3))
    logits[np.arange(4000), truth] += 1.5
    certain = answers_from(softmax(2.5 * logits), truth)
    temperature = fit_temperature(certain, "mean")
    honest = certain.at_temperature(temperature).joined("mean")
    assert expected_calibration_error(honest, truth) < 0.03
    assert expected_calibration_error(certain.joined("mean"), truth) > 0.05
    assert temperature > 1.5


def test_the_upper_bound_of_a_rate():
    assert rate_upper_95(0, 3000) == pytest.approx(3 / 3000, rel=0.01)
    assert rate_upper_95(0, 0) == 1.0
    assert rate_upper_95(5, 5) == 1.0
    assert rate_upper_95(3, 100) > rate_upper_95(2, 100) > 0.02


def test_thresholds_reject_no_more_good_frames_than_the_budget():
    rng = np.random.default_rng(3)
    good = softmax(rng.normal([0, 2, 0], 1, (2000, 3)))
    bad = softmax(rng.normal([4, 0, 0], 1, (500, 3)))
    answers = answers_from(np.concatenate([good, bad]), [1] * 2000 + [0] * 500)
    thresholds = set_thresholds(
        answers, answers, "mean", budget=0.002, set_on="made", independent=2000
    )
    wrong = false_rejects(good.astype(np.float32), LABELS, 1, thresholds.reject)
    assert wrong.sum() <= 4
    assert set(thresholds.reject) == {"gblur", "wn"}
    assert len(set(thresholds.reject.values())) == 1
    assert 0.5 < thresholds.reject["wn"] < 0.9999
    lower = dict.fromkeys(thresholds.reject, thresholds.reject["wn"] - 0.05)
    assert false_rejects(good.astype(np.float32), LABELS, 1, lower).sum() > 4, "none lower would do"
    assert thresholds.good_frames_judged == 2000
    assert thresholds.false_reject_upper_95 > 0.001
    assert not thresholds.budget_proven


def test_a_budget_is_proven_only_by_enough_independent_frames():
    good = answers_from([[0.01, 0.98, 0.01]] * 5000, [1] * 5000)
    few = set_thresholds(good, good, "mean", budget=0.001, set_on="x", independent=28)
    assert few.false_reject_upper_95 == pytest.approx(rate_upper_95(0, 28), abs=1e-5)
    assert not few.budget_proven
    none = set_thresholds(good, good, "mean", budget=0.001, set_on="x", independent=0)
    assert none.false_reject_upper_95 == 1
    assert set_thresholds(
        good, good, "mean", budget=0.001, set_on="x", independent=5000
    ).budget_proven


def test_frames_of_one_scene_are_one_trial():
    """Ten scenes of fifty frames bound a rate as ten scenes do, however many frames there are."""
    scenes = [f"s{n // 50}" for n in range(500)]
    good = answers_from([[0.01, 0.98, 0.01]] * 500, [1] * 500, source=scenes)
    found = set_thresholds(good, good, "mean", budget=0.01, set_on="x", independent=10)
    assert found.false_reject_upper_95 == pytest.approx(rate_upper_95(0, 10), abs=1e-5)
    assert found.good_frames_judged == 500
    half = answers_from(
        [[0.01, 0.98, 0.01]] * 475 + [[0.999999, 1e-7, 0.0]] * 25, [1] * 500, source=scenes
    )
    found = set_thresholds(good, half, "mean", budget=0.01, set_on="x", independent=10)
    assert found.false_reject_upper_95 == pytest.approx(rate_upper_95(1, 10), abs=1e-5)


def test_the_budget_holds_where_good_frames_are_taken_for_bad_ones_with_certainty():
    good = answers_from([[5e-5, 5e-5, 0.9999]] * 3 + [[0.01, 0.98, 0.01]] * 97, [1] * 100)
    found = set_thresholds(good, good, "mean", budget=0.01, set_on="x", independent=100)
    wrong = false_rejects(good.joined("mean"), LABELS, 1, found.reject)
    assert wrong.sum() <= 1


def test_good_frames_that_are_certainly_bad_are_named_and_not_rejected_in_silence():
    probabilities = np.tile([0.02, 0.96, 0.02], (1000, 1))
    probabilities[:5] = [1 - 1e-8, 1e-8, 0]
    good = answers_from(probabilities, [1] * 1000)
    with pytest.raises(DataError, match=r"5 of 1000 good frames are taken for bad(?s:.*)f0, f1"):
        set_thresholds(good, good, "mean", budget=0.001, set_on="x", independent=0)
    assert set_thresholds(good, good, "mean", budget=0.005, set_on="x", independent=0)


def test_what_a_precision_costs_counts_every_label_alike():
    """Ten good frames for one of each other label, which are the ones that it gets wrong."""
    truth = np.array([1] * 10 + [0, 2])
    right = np.eye(3)[truth]
    came = right.copy()
    came[-2:] = np.eye(3)[[1, 1]]
    lost = loss_of(answers_from(came, truth), answers_from(right, truth), "mean")
    assert (
        lost["tile_accuracy_lost"] == lost["frame_accuracy_lost"] == pytest.approx(2 / 3, abs=1e-4)
    )
    assert lost["tiles"] == 12


def test_frames_of_one_source_have_no_bounds():
    figures = measure(answers_from(np.eye(3)[[0, 1, 2]], [0, 1, 2], source=["a"] * 3), "mean")
    assert figures["accuracy"] == 1
    assert figures["accuracy_95"] is None
    assert figures["per_label"]["wn"]["sensitivity_95"] is None


def test_a_stride_leaves_the_same_first_variants_whoever_looks():
    frames = [Frame(Path(f"{i}.png"), "wn", 1, "a", i % 3) for i in range(90)]
    first = [frame for frame in frames if frame.variant == 0]
    assert thinned(first, 4) == [frame for frame in thinned(frames, 4) if frame.variant == 0]


def test_thresholds_are_not_checked_with_what_they_were_set_on():
    with pytest.raises(DataError, match="1 references are in both sets, c for one"):
        refuse_shared(["a", "b", "c"], ["d", "e", "c"], "references")
    with pytest.raises(DataError, match="3 pictures are in both sets"):
        refuse_shared(["a", "b", "c"], ["a", "b", "c"], "pictures")
    refuse_shared(["a", "b"], ["c"], "references")


def test_the_area_is_that_of_chance_where_all_frames_are_answered_alike():
    for truth in ([1] * 5 + [0] * 5, [0] * 5 + [1] * 5):
        same = answers_from([[0.2, 0.6, 0.2]] * 10, truth)
        assert measure(same, "mean")["accept_reject_area"] == pytest.approx(0.5)
    bad_alone = answers_from([[0.9, 0.05, 0.05]] * 5, [0] * 5)
    assert measure(bad_alone, "mean")["accept_reject_area"] is None


def test_thresholds_want_good_frames():
    bad = answers_from([[0.9, 0.05, 0.05]] * 5, [0] * 5)
    with pytest.raises(DataError, match="no good frames"):
        set_thresholds(bad, bad, "mean", budget=0.01, set_on="x", independent=0)


def test_labels_that_the_network_has_not_are_named():
    with pytest.raises(DataError, match=r"the network has no jpeg; it has gblur"):
        answers_from([[0.9, 0.05, 0.05]], [0]).only(["gblur", "jpeg"])


def test_fewer_frames_are_of_all_severities_and_labels():
    frames = [
        Frame(Path(f"{label}-{source}-{severity}.png"), label, severity, str(source))
        for source in range(28)
        for label in LABELS
        for severity in range(1, 6)
    ]
    for stride in (5, 10):
        some = thinned(frames, stride)
        assert len(some) == len(frames) / stride
        assert {frame.severity for frame in some} == {1, 2, 3, 4, 5}
        assert {frame.label for frame in some} == set(LABELS)
        assert some == sorted(some, key=frames.index)
    assert thinned(frames, 1) == frames


def test_worst_finds_local_damage_that_a_mean_drowns():
    tiles = [[[0.05, 0.9, 0.05]] * 3 + [[0.0, 0.1, 0.9]]]
    answers = answers_from(np.array(tiles), [2])
    assert answers.joined("mean").argmax() == 1
    assert answers.joined("worst").argmax() == 2


def test_answers_are_kept_as_they_are(tmp_path):
    answers = answers_from([[0.1, 0.8, 0.1], [0.7, 0.2, 0.1]], [1, 0])
    save(answers, tmp_path / "a.npz")
    again = load(tmp_path / "a.npz")
    assert again.labels == LABELS
    np.testing.assert_array_equal(again.tiles, answers.tiles)
    assert again.source.tolist() == ["r0", "r1"]


def test_a_label_left_out_takes_its_frames_and_its_probability_along():
    answers = answers_from([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]], [1, 0, 2])
    some = answers.only(("gblur", "refimgs"))
    assert some.labels == ("gblur", "refimgs")
    assert some.truth.tolist() == [1, 0]
    np.testing.assert_allclose(some.tiles[:, 0], [[0.4, 0.6], [2 / 3, 1 / 3]], atol=1e-6)


def test_ways_to_join_tiles_are_held_against_one_another(tmp_path):
    """Damage in one tile of four: seen by the worst tile, drowned in the median."""
    rng = np.random.default_rng(1)

    def answers(frames):
        truth = np.arange(frames) % 2  # good is column 1
        bad = rng.uniform(0.05, 0.25, (frames, 4))
        bad[truth == 0, 0] = rng.uniform(0.9, 1.0, (truth == 0).sum())
        tiles = np.stack([bad, 1 - bad], axis=2).astype(np.float32)
        names = np.array(["x"] * frames)
        zeros = np.zeros(frames, np.int64)
        return Answers(("gblur", "refimgs"), tiles, truth, zeros, names, zeros, names)

    for split in ("val", "test"):
        (tmp_path / split).mkdir()
        save(answers(200), tmp_path / split / "answers.npz")
    val, test = (load(tmp_path / split / "answers.npz") for split in ("val", "test"))
    ways = {way.name: way for way in compare(val, test, 0.01)}
    assert set(ways) == set(JOINS)
    assert ways["worst tile"].rejects == 1
    assert ways["worst tile"].accuracy == 1
    assert ways["median"].rejects < 0.2
    assert ways["median"].accuracy == 0.5
    assert all(way.false_rejects < 0.1 for way in ways.values())

    told = CliRunner().invoke(
        app, ["joins", "--val", str(tmp_path / "val"), "--test", str(tmp_path / "test")]
    )
    assert told.exit_code == 0
    assert "| worst tile | 100.0% |" in told.output
    missing = CliRunner().invoke(
        app, ["joins", "--val", "nowhere", "--test", str(tmp_path / "test")]
    )
    assert "run evaluate first" in str(missing.exception)
    with pytest.raises(DataError, match="different networks"):
        compare(answers(8), replace(answers(8), labels=("wn", "refimgs")), 0.01)
