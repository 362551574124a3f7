"""The paper's set, networks and report: its counts, its layers, and what happens after a kill."""

import json
import re
import shutil
from collections import Counter
from html import escape

import cv2
import huggingface_hub.constants
import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from train.cli import app
from train.data.frame import Frame
from train.data.references import references_by_split
from train.errors import DataError, WeightsError
from train.models.folding import folded
from train.models.inceptionresnetv2 import InceptionResNetV2
from train.paper.facts import COUNTS, LIVE_UNDISTORTED, PARAMETERS_AT_SIX, TEST_PICTURES
from train.paper.fitting import EpochFit, EpochSettings, fit_epochs
from train.paper.gaps import gaps_of
from train.paper.networks import prepare_inception, simplenet
from train.paper.pictures import LABELS, Side, make_set, read_side
from train.paper.plan import (
    TEST,
    TRAIN,
    counts_of,
    plan_set,
    refuse_shared_sources,
    sides_of,
    sides_of_live,
)
from train.paper.run import reproduce
from train.paper.settings import PaperSettings

NO_SOURCES = {TRAIN: 0, TEST: 0}
FEWEST = 0.001
SETTINGS = PaperSettings(EpochSettings(epochs=(1, 2), batch=8), pictures=FEWEST, inception_px=75)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On a busy machine threads that wait for one another take longer than one alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sides(references_folder):
    return sides_of(references_by_split(references_folder))


def sources_of(plan, side):
    return {planned.source for planned in plan if planned.side == side}


def test_the_whole_set_has_the_papers_counts_and_no_source_on_both_sides(sides):
    plan = plan_set(sides)
    assert len(plan) == 1165
    assert Counter(planned.label for planned in plan) == COUNTS
    assert sum(planned.side == TEST for planned in plan) == TEST_PICTURES
    assert sources_of(plan, TRAIN) & sources_of(plan, TEST) == set()
    assert [source.rsplit("/")[-1] for source in sources_of(plan, TEST)] == ["kingfisher.webp"]


def test_few_references_give_every_severity_and_no_picture_twice(sides):
    plan = [p for p in plan_set(sides) if p.side == TRAIN and p.label == "gblur"]
    assert {p.severity for p in plan} == {1, 2, 3, 4, 5}
    assert len({p.seed for p in plan}) == len(plan)
    per_pair = Counter((p.source, p.severity) for p in plan)
    assert max(per_pair.values()) - min(per_pair.values()) <= 1


def test_a_part_of_the_set_has_every_label_on_both_sides():
    counts = counts_of(FEWEST)
    assert counts[TRAIN] == dict.fromkeys(COUNTS, 2)
    assert counts[TEST] == dict.fromkeys(COUNTS, 1)
    half = counts_of(0.5)
    assert sum(half[TEST].values()) == round(0.2 * sum(sum(c.values()) for c in half.values()))
    with pytest.raises(DataError, match=r"above 0 and up to 1, not 1\.5"):
        counts_of(1.5)


def test_a_folder_without_a_split_is_split_by_source(references_folder, tmp_path):
    for number, path in enumerate(sorted(references_folder.rglob("*.png"))):
        (tmp_path / f"{number}.png").write_bytes(path.read_bytes())
    by_split = references_by_split(tmp_path)
    split = sides_of(by_split)
    assert [len(split[side]) for side in (TRAIN, TEST)] == [4, 1]
    refuse_shared_sources(plan_set(split))
    for path in list(tmp_path.iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match="at least two sources, not 1"):
        sides_of(references_by_split(tmp_path))


@pytest.fixture
def live(tmp_path):
    """Frames of a LIVE of ten scenes, which has as many of each label as the real one."""
    scenes = [f"Scene{number}.bmp" for number in range(29)]
    frames = [Frame(tmp_path / "refimgs" / s, "refimgs", 0, s.lower()) for s in scenes]
    for label, undistorted in LIVE_UNDISTORTED.items():
        distorted = {"gblur": 174}.get(label, COUNTS[label]) - undistorted
        frames += [
            Frame(tmp_path / label / f"img{n}.bmp", label, 0, scenes[n % len(scenes)].lower())
            for n in range(distorted)
        ]
    return frames


def test_pictures_of_live_come_first_and_its_references_stay_on_their_side(live):
    plan = plan_set(sides_of_live(live), live)
    assert Counter(p.label for p in plan) == COUNTS
    assert sources_of(plan, TRAIN) & sources_of(plan, TEST) == set()
    made = Counter(p.label for p in plan if p.made)
    assert made["bad_lighting"] == 22
    assert made["refimgs"] == 128 - 29
    assert LIVE_UNDISTORTED["jp2k"] <= made["jp2k"] < 80


def test_references_that_are_those_of_live_stay_on_their_side(live, tmp_path):
    """The same scenes as a plain folder: other suffixes, the same keys, the same split."""
    (tmp_path / "plain").mkdir()
    for frame in live[:29]:
        (tmp_path / "plain" / f"{frame.path.stem}.png").write_bytes(b"")
    plan = plan_set(sides_of(references_by_split(tmp_path / "plain")), live)
    assert sources_of(plan, TRAIN) & sources_of(plan, TEST) == set()


def test_a_source_on_both_sides_is_refused(sides):
    mixed = {TRAIN: [*sides[TRAIN], *sides[TEST]], TEST: sides[TEST]}
    with pytest.raises(DataError, match=r"sources on both sides of the split: .*kingfisher\.webp"):
        plan_set(mixed)


def test_a_killed_making_makes_what_is_missing_and_the_same(sides, tmp_path):
    plan = plan_set(sides, share=FEWEST)
    make_set(plan, tmp_path, processes=1)
    first = {p.file: (tmp_path / p.file).read_bytes() for p in plan}
    (tmp_path / plan[3].file).unlink()
    told = []
    make_set(
        plan, tmp_path, processes=1, on_progress=lambda done, total: told.append((done, total))
    )
    assert told == [(21, 21)]
    assert {p.file: (tmp_path / p.file).read_bytes() for p in plan} == first
    with pytest.raises(DataError, match="begun with other settings"):
        make_set(plan_set(sides, share=FEWEST, seed=2), tmp_path, processes=1)


def test_only_pictures_that_could_be_read_are_counted(references_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def counted():
        reproduce(references_folder, None, tmp_path, SETTINGS, processes=1)
        return json.loads((tmp_path / "paper.json").read_text())["pictures"]

    whole = counted()
    broken = next((tmp_path / "pictures" / TRAIN / "jpeg").glob("*.png"))
    broken.write_bytes(broken.read_bytes()[:100])
    begun = "simplenet was begun with other pictures than can be read now"
    with pytest.raises(DataError, match=begun):
        counted()
    for file in (tmp_path / "simplenet").glob("after-*.npz"):  # as if it had been killed
        file.unlink()
    with pytest.raises(DataError, match=begun):
        counted()
    shutil.rmtree(tmp_path / "simplenet")
    left = counted()
    assert left[TRAIN]["jpeg"] == left["made"]["jpeg"] - left[TEST]["jpeg"]
    assert left["made"] == whole["made"] | {"jpeg": whole["made"]["jpeg"] - 1}


def test_references_that_cannot_be_read_are_named(sides, tmp_path):
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"\x89PNG no more")
    bad = {side: [type(r)(r.name, torn, r.source, "", "") for r in sides[side]] for side in sides}
    with pytest.raises(DataError, match=r"21 of 21 pictures(?s:.*)torn.png: not a readable"):
        make_set(plan_set(bad, share=FEWEST), tmp_path / "set", processes=1)


def test_simplenet_has_exactly_the_papers_layers():
    for network in (folded(simplenet(6)), simplenet(6, plain=True)):
        assert sum(p.numel() for p in network.parameters()) == PARAMETERS_AT_SIX
        dropout = [m.p for m in network.modules() if isinstance(m, nn.Dropout)]
        assert dropout == [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.4]


def test_a_killed_fit_goes_on_to_the_same_result(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    truth = torch.from_numpy(rng.integers(0, 3, 24))
    features = torch.from_numpy(rng.normal(0, 1, (24, 5)).astype(np.float32))
    settings = EpochSettings(epochs=(2, 4), batch=8, precision="32-true")

    def run(folder):
        torch.manual_seed(7)
        network = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 3))
        data = (features, truth)
        return fit_epochs(network, data, data, settings, folder, progress=False)

    whole = run(tmp_path / "whole")
    start = EpochFit.on_train_epoch_start

    def killed(self):
        if self.current_epoch == 3:
            raise RuntimeError("killed")
        start(self)

    monkeypatch.setattr(EpochFit, "on_train_epoch_start", killed)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "cut")
    assert (tmp_path / "cut" / "after-2.npz").exists()
    monkeypatch.undo()
    resumed = run(tmp_path / "cut")
    assert [row["train_loss"] for row in resumed.history] == [
        row["train_loss"] for row in whole.history
    ]
    assert [row["epoch"] for row in whole.history] == [1, 2, 3, 4]
    np.testing.assert_array_equal(resumed.outputs[4]["test"], whole.outputs[4]["test"])
    (tmp_path / "cut" / "after-4.npz").unlink()  # killed between the last epoch and the look
    again = run(tmp_path / "cut")
    assert again.history == resumed.history
    np.testing.assert_array_equal(again.outputs[4]["test"], whole.outputs[4]["test"])


def test_from_scratch_all_layers_are_fitted(tmp_path):
    pixels = np.zeros((2, 75, 75, 3), np.uint8)
    side = Side(pixels, np.array([0, 1]), ())
    prepared = prepare_inception(side, side, 7, tmp_path, seed=1, from_scratch=True)
    assert sum(p.requires_grad * p.numel() for p in prepared.network.parameters()) == (
        prepared.parameters
    )
    assert prepared.train[0].shape == (2, 75, 75, 3)
    assert "all layers" in prepared.weights


@pytest.fixture(scope="module")
def without_weights(references_folder, tmp_path_factory):
    """A reproduction where the ImageNet weights cannot be had."""
    out = tmp_path_factory.mktemp("paper")
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        page = reproduce(references_folder, None, out, SETTINGS, processes=1, say=said.append)
    return out, page.read_text(), said


def test_the_report_has_all_tables_figures_and_gaps(without_weights):
    out, page, _ = without_weights
    for heading in ("Table 1", "Table 3", "Table 4", "Filled gaps"):
        assert f"<h2>{heading}" in page
    assert "SimpleNet, paper" in page
    assert "<tr><td>fastfading</td><td>0.38</td>" in page
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions == [
        "Figure 4: SimpleNet",
        "Figure 6 a: SimpleNet after epoch 1",
        "Figure 6 b: SimpleNet after epoch 2",
    ]
    assert len(re.findall(r'<img src="data:image/png;base64,', page)) == len(captions)
    assert "http" not in page
    for gap in gaps_of(SETTINGS, dict.fromkeys(COUNTS, 3), {TRAIN: 4, TEST: 1}):
        assert escape(gap.missing) in page
        assert escape(gap.filled) in page
    document = json.loads((out / "paper.json").read_text())
    found = document["networks"]["SimpleNet"]
    assert found["parameters"] == PARAMETERS_AT_SIX + 65
    assert [row["epoch"] for row in found["history"]] == [1, 2]
    assert np.sum(found["after"]["2"]["test"]["confusion"]) == len(LABELS)


def test_missing_weights_leave_out_that_half_and_say_how_to_get_it(without_weights):
    out, page, said = without_weights
    document = json.loads((out / "paper.json").read_text())
    reason = document["networks"]["InceptionResNetV2"]["left_out"]
    assert "cannot be fetched" in reason
    assert "--weights" in reason
    assert "--from-scratch" in reason
    assert any(text.startswith("InceptionResNetV2 is left out") for text in said)
    assert "Figure 7: InceptionResNetV2 is left out." in page
    assert "<strong>InceptionResNetV2 is left out: the ImageNet weights cannot" in page


def test_a_later_run_with_weights_adds_the_other_half(without_weights, references_folder, tmp_path):
    out, _, _ = without_weights
    network = InceptionResNetV2(3)
    torch.save(network.features.state_dict(), tmp_path / "weights.pth")
    fitted = (out / "simplenet" / "last.ckpt").stat().st_mtime_ns
    settings = PaperSettings(
        SETTINGS.fit, FEWEST, weights=tmp_path / "weights.pth", inception_px=SETTINGS.inception_px
    )
    page = reproduce(references_folder, None, out, settings, processes=1).read_text()
    assert (out / "simplenet" / "last.ckpt").stat().st_mtime_ns == fitted
    assert "left out" not in page
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions[:2] == ["Figure 4: SimpleNet", "Figure 5: InceptionResNetV2"]
    assert captions[-1] == "Figure 7 b: InceptionResNetV2 after epoch 2"
    found = json.loads((out / "paper.json").read_text())["networks"]["InceptionResNetV2"]
    assert found["weights"].startswith("weights.pth, sha256 ")
    assert found["after"]["1"]["minutes"] >= 0


def test_weights_that_were_named_and_do_not_fit_are_an_error(without_weights, references_folder):
    out, _, _ = without_weights
    settings = PaperSettings(
        SETTINGS.fit, FEWEST, weights=out / "none.pth", inception_px=SETTINGS.inception_px
    )
    with pytest.raises(WeightsError, match="there is no file"):
        reproduce(references_folder, None, out, settings, processes=1)


def test_a_folder_begun_with_other_settings_is_refused(without_weights, references_folder):
    out, _, _ = without_weights
    other = PaperSettings(EpochSettings(epochs=(3,)), pictures=FEWEST)
    with pytest.raises(DataError, match="begun with other settings"):
        reproduce(references_folder, None, out, other, processes=1)


def test_settings_that_contradict_themselves_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"epochs must ascend from 1 or more, not \[300, 50\]"):
        PaperSettings(EpochSettings(epochs=(300, 50)))
    with pytest.raises(DataError, match="not both"):
        PaperSettings(weights=tmp_path / "w.pth", from_scratch=True)
    with pytest.raises(DataError, match="references, of LIVE release 2, or both"):
        reproduce(None, None, tmp_path, PaperSettings())


def test_the_command_tells_what_epochs_look_like(tmp_path):
    done = CliRunner().invoke(app, ["paper", "--out", str(tmp_path), "--epochs", "fifty"])
    assert isinstance(done.exception, DataError)
    assert "such as 50,300, not 'fifty'" in str(done.exception)


def test_whole_frames_are_resized_without_regard_to_their_shape(tmp_path, sides):
    plan = [p for p in plan_set(sides, share=FEWEST) if p.side == TEST][:1]
    file = tmp_path / plan[0].file
    file.parent.mkdir(parents=True)
    cv2.imwrite(str(file), np.full((100, 300, 3), (1, 2, 3), np.uint8))
    side = read_side(plan, tmp_path, TEST, 64)
    assert side.pixels.shape == (1, 64, 64, 3)
    assert side.pixels[0, 0, 0].tolist() == [1, 2, 3]


def test_native_pictures_are_the_middle_as_it_is(tmp_path, sides):
    plan = [p for p in plan_set(sides, share=FEWEST) if p.side == TEST][:1]
    file = tmp_path / plan[0].file
    file.parent.mkdir(parents=True)
    picture = np.random.default_rng(1).integers(0, 256, (80, 301, 3), dtype=np.uint8)
    cv2.imwrite(str(file), picture)
    (pixels,) = read_side(plan, tmp_path, TEST, 64, native=True).pixels
    assert (pixels == picture[8:72, 118:182]).all()
    (pixels,) = read_side(plan, tmp_path, TEST, 128, native=True).pixels
    assert (pixels[24:104] == picture[:, 86:214]).all()
    assert (pixels[23] == pixels[24]).all()
    told = {gap.missing: gap.filled for gap in gaps_of(PaperSettings(native=True), {}, NO_SOURCES)}
    assert "--native" in told["Size of the pictures"]
