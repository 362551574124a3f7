"""Tuning on site: the shipped engine learns a site's labelled pictures and stays a whole engine."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from inspector.engine.folders import shipped_engines_folder
from inspector.engine.golden import read_golden
from inspector.engine.manifest import read_manifest
from train.data.frame import Frame
from train.distortions import DISTORTIONS
from train.errors import DataError, TrainingError
from train.finetune import _answers, _of_all_labels, _split, _thresholds, finetune
from train.models.from_onnx import temperature_of

SIMPLENET = shipped_engines_folder() / "simplenet"


@pytest.fixture(scope="module")
def site(tmp_path_factory, train_pictures):
    """Four noisy, four blurred and four good pictures of the site's own scenes."""
    folder = tmp_path_factory.mktemp("site")
    for label in ("gblur", "refimgs", "wn"):
        (folder / label).mkdir()
        for number in range(4):
            rng = np.random.default_rng(number)
            picture = train_pictures[number % len(train_pictures)]
            damaged = DISTORTIONS[label].apply(picture, 3.5, rng)
            cv2.imwrite(str(folder / label / f"{number}.png"), damaged)
    (folder / "wn" / "9.png").write_bytes(b"one picture may always be unreadable")
    return folder


@pytest.fixture(scope="module")
def tuned(site, tmp_path_factory):
    out = tmp_path_factory.mktemp("engines") / "simplenet-site"
    found = finetune(
        SIMPLENET, site, out, version="1.0.0", licence="proprietary", author="The Site"
    )
    return out, found


def test_the_new_engine_is_whole_and_says_where_it_comes_from(tuned):
    out, _ = tuned
    manifest = read_manifest(out)
    manifest.check_files()
    assert manifest.name == "simplenet-site"
    assert manifest.training["started_from"].startswith("simplenet ")
    assert manifest.training["licences"] == ["proprietary"]
    assert not manifest.thresholds.budget_proven
    assert "Of simplenet" in (out / "NOTICE").read_text()


def test_it_has_golden_tiles_for_every_label(tuned):
    golden = read_golden(read_manifest(tuned[0]))
    assert set(golden.labels) == set(read_manifest(SIMPLENET).classes)


def test_it_reports_before_after_and_what_changed(tuned):
    _, found = tuned
    assert 0 <= found.before <= 1
    assert found.after >= found.before
    old = read_golden(read_manifest(SIMPLENET))
    assert len(found.changed) <= len(old.files) // 4
    for sentence in found.changed:
        assert " became " in sentence


def test_without_good_frames_the_old_thresholds_stay_and_prove_nothing():
    manifest = read_manifest(SIMPLENET)
    column = manifest.classes.index("wn")
    tiles = np.zeros((3, 4, len(manifest.classes)), np.float32)
    frames = [Frame(Path(f"wn/{n}.png"), "wn", 0, str(n)) for n in range(3)]
    answers = _answers(manifest, tiles, np.full(3, column), frames)
    found = _thresholds(answers, manifest, "site")
    assert found.reject == manifest.thresholds.reject
    assert found.false_reject_upper_95 == 1
    assert not found.budget_proven
    assert "0 good frames of site were kept apart" in found.set_on


def test_a_few_good_frames_change_neither_thresholds_nor_temperature(tuned):
    """On four frames that are all right any temperature looks too high, and any threshold too."""
    out, found = tuned
    new, old = read_manifest(out), read_manifest(SIMPLENET)
    assert new.thresholds.reject == old.thresholds.reject
    models = [onnx.load_from_string(one.read_model("fp32")) for one in (new, old)]
    assert temperature_of(models[0]) == pytest.approx(temperature_of(models[1]))
    assert "1 good frames of" in found.thresholds.set_on


def test_a_hundred_good_frames_set_the_thresholds_of_a_budget_of_one_in_a_hundred():
    shipped = read_manifest(SIMPLENET)
    of_one_percent = shipped.thresholds.model_copy(update={"false_reject_budget": 0.01})
    manifest = shipped.model_copy(update={"thresholds": of_one_percent})
    good = manifest.classes.index("refimgs")
    tiles = np.full((100, 4, len(manifest.classes)), 0.01, np.float32)
    tiles[:, :, good] = 0.93
    frames = [Frame(Path(f"refimgs/{n}.png"), "refimgs", 0, str(n)) for n in range(100)]
    answers = _answers(manifest, tiles, np.full(100, good), frames)
    found = _thresholds(answers, manifest, "site")
    assert "100 frames of site that were kept apart" in found.set_on
    assert found.false_reject_upper_95 == 1, "nobody knows of how many scenes"


def test_nothing_but_an_engine_is_written_over(site, tmp_path):
    for out, why in [
        (site, "is there and is no engine"),
        (tmp_path / "Site_2", "is no name for an engine"),
    ]:
        with pytest.raises(DataError, match=why):
            finetune(SIMPLENET, site, out, version="1", licence="x", author="x")
    around = tmp_path / "engine"
    (around / "site").mkdir(parents=True)
    (around / "manifest.yaml").touch()
    with pytest.raises(TrainingError, match="which would be replaced"):
        finetune(SIMPLENET, around / "site", around, version="1", licence="x", author="x")


def test_the_ranges_of_int8_see_tiles_of_all_labels():
    lying = np.repeat(np.arange(8, dtype=np.uint8), 100)
    assert set(_of_all_labels(lying, seed=1)) == set(lying)


def test_neighbours_by_name_stay_on_one_side():
    frames = [Frame(Path(f"wn/infeed-{n}.png"), "wn", 0, str(n)) for n in range(1, 13)]
    kept, apart = _split(frames[::-1])
    assert [frame.path.stem for frame in apart] == ["infeed-10", "infeed-11", "infeed-12"]
    assert [frame.path.stem for frame in kept] == [f"infeed-{n}" for n in range(1, 10)]


def test_it_is_not_written_over_the_engine_it_came_from(site):
    with pytest.raises(TrainingError, match="choose another folder"):
        finetune(SIMPLENET, site, SIMPLENET, version="1", licence="x", author="x")


def test_a_label_with_one_frame_is_refused(site, tmp_path):
    one = tmp_path / "wn"
    one.mkdir()
    cv2.imwrite(str(one / "a.png"), np.zeros((256, 256, 3), np.uint8))
    with pytest.raises(DataError, match="wn: 1 frame, but at least 2"):
        finetune(SIMPLENET, tmp_path, tmp_path / "new", version="1", licence="x", author="x")
