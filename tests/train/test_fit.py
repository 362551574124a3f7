"""Fitting: it learns, it goes on after a kill with the same data, and refuses foreign weights."""

import re
from dataclasses import replace

import onnx
import pytest
import torch
from typer import BadParameter
from typer.testing import CliRunner

from inspector.engine.folders import shipped_engines_folder
from train.checkpoints import WholeCheckpoints
from train.cli import app
from train.cli.fit import _model_options
from train.data.crops import CropSettings, CropStream
from train.data.references import list_references, load_references
from train.data.tiles import sample_tiles
from train.errors import TrainingError, WeightsError
from train.fit import Fit, FitSettings, fit, load, settings_of, start_from, start_from_engine
from train.head import HeadSettings, features_of, fit_dense_head, with_dense_head
from train.labels import LABEL_SETS
from train.predict import by_onnxruntime
from train.schedule import Budget, rate_at

SIMPLENET = shipped_engines_folder() / "simplenet"
LABELS = ("gblur", "refimgs", "wn")
SETTINGS = FitSettings(
    labels=LABELS,
    model={"head": "pooled", "dropout": (0.0,) * 6, "head_dropout": 0.0},
    crops=CropSettings(crop=64, region=96, crops_a_region=2, batch=8, batches_a_round=2),
    steps_an_epoch=3,
    steps=6,
    workers=0,
)


@pytest.fixture(scope="module")
def validation(references_folder):
    kept, pictures = load_references(list_references(references_folder, "val"), references_folder)
    return sample_tiles(kept, pictures, LABELS, count=6, tile=128, seed=1)


@pytest.fixture(scope="module")
def fitted(train_pictures, validation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    return fit(SETTINGS, train_pictures, validation, folder, progress=False)


def test_a_fit_leaves_a_checkpoint_with_its_settings_and_a_log(fitted):
    assert replace(settings_of(fitted), pictures="") == SETTINGS
    rows = (fitted.parent / "logs" / "csv-1" / "metrics.csv").read_text().splitlines()
    assert "val_accuracy" in rows[0]
    assert len(rows) >= 3
    assert load(fitted).network(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_a_killed_fit_goes_on_to_the_same_data(
    fitted, train_pictures, validation, tmp_path, monkeypatch
):
    """The half fit and its continuation see the batches of the whole fit, once each, in order."""
    seen = []
    step = Fit.training_step

    def watched(self, batch, batch_idx):
        seen.append(int(batch[0].long().sum()))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Fit, "training_step", watched)
    fit(replace(SETTINGS, steps=3), train_pictures, validation, tmp_path, progress=False)
    assert len(seen) == 3
    fit(SETTINGS, train_pictures, validation, tmp_path, progress=False)
    stream = CropStream(train_pictures, LABELS, SETTINGS.crops, batches=6)
    assert seen == [int(pixels.long().sum()) for pixels, _ in stream]


def _loses(monkeypatch, *losses):
    told = iter(losses)
    monkeypatch.setattr(
        Fit, "validation_step", lambda self, batch, batch_idx: self.log("val_loss", next(told))
    )


def test_the_last_checkpoint_is_the_last_one_though_the_best_was_earlier(
    train_pictures, validation, tmp_path, monkeypatch
):
    _loses(monkeypatch, 1.0, 2.0)
    last = fit(SETTINGS, train_pictures, validation, tmp_path, progress=False)
    step = {p.name: torch.load(p, weights_only=False)["global_step"] for p in tmp_path.glob("*.*")}
    assert step == {last.name: 6, "best.ckpt": 3}


def test_the_best_stays_the_best_when_a_fit_goes_on(
    train_pictures, validation, tmp_path, monkeypatch
):
    _loses(monkeypatch, 3.0, 1.0, 2.0)
    fit(SETTINGS, train_pictures, validation, tmp_path, progress=False)
    fit(replace(SETTINGS, steps=9), train_pictures, validation, tmp_path, progress=False)
    best = torch.load(tmp_path / "best.ckpt", weights_only=False)
    assert best["global_step"] == 6


def test_more_patience_counts_when_a_fit_goes_on(train_pictures, validation, tmp_path, monkeypatch):
    _loses(monkeypatch, 1.0, *([2.0] * 9))
    settings = replace(SETTINGS, steps=None, minutes=60, patience=1)
    last = fit(settings, train_pictures, validation, tmp_path, progress=False)
    assert torch.load(last, weights_only=False)["global_step"] == 2 * 3
    fit(replace(settings, patience=4), train_pictures, validation, tmp_path, progress=False)
    assert torch.load(last, weights_only=False)["global_step"] == 5 * 3


def test_the_end_is_validated_though_it_comes_within_an_epoch(
    train_pictures, validation, tmp_path, monkeypatch
):
    _loses(monkeypatch, 2.0, 1.0)
    fit(replace(SETTINGS, steps=5), train_pictures, validation, tmp_path, progress=False)
    assert torch.load(tmp_path / "best.ckpt", weights_only=False)["global_step"] == 5


def test_patience_does_without_a_validation(train_pictures, validation, tmp_path):
    settings = replace(SETTINGS, steps=2, patience=3)
    last = fit(settings, train_pictures, validation, tmp_path, progress=False)
    fit(settings, train_pictures, validation, tmp_path, progress=False)  # nothing is left to do
    assert torch.load(last, weights_only=False)["global_step"] == 2


def test_a_fit_goes_on_with_its_own_settings_only(fitted, train_pictures, validation):
    other = replace(SETTINGS, labels=LABEL_SETS["table1"], peak_rate=1e-3, steps=9)
    with pytest.raises(WeightsError, match=r"labels .* not .*; peak_rate 0.002, not 0.001; give"):
        fit(other, train_pictures, validation, fitted.parent, progress=False)


def test_a_fit_goes_on_with_the_same_pictures_only(fitted, train_pictures, validation):
    for pictures, tiles in ((train_pictures[:2], validation), (train_pictures, validation[:1] * 2)):
        with pytest.raises(WeightsError, match="was fitted on other references, or validated on"):
            fit(SETTINGS, pictures, tiles, fitted.parent, progress=False)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--crop", "32"], "takes crops of 64 pixels at least, not 32"),
        (["--minutes", "0"], "minutes"),
        (["--precision", "bf17"], "precision"),
        (["--head", "Dense"], "head"),
        (["--dropout", "2"], "dropout"),
        (["--workers", "-1"], "workers"),
    ],
)
def test_what_no_fit_can_be_made_with_is_refused(references_folder, tmp_path, options, told):
    command = ["fit", "--references", str(references_folder), "--out", str(tmp_path)]
    found = CliRunner().invoke(app, [*command, "--head", "pooled", "--steps", "1", *options])
    assert found.exit_code == 2
    assert told in " ".join(re.sub(r"[│\n]", " ", found.output).split())
    assert not list(tmp_path.iterdir())


def test_a_fit_of_nothing_is_refused():
    with pytest.raises(TrainingError, match="features, head frozen nothing is left"):
        Fit(replace(SETTINGS, frozen=("features", "head")))


def test_what_is_no_checkpoint_of_ours_is_named(tmp_path):
    missing, torn, foreign = (tmp_path / f"{name}.ckpt" for name in ("missing", "torn", "foreign"))
    torn.write_bytes(b"PK\x03\x04 no more")
    torch.save({"state_dict": {}}, foreign)
    for file, told in (
        (missing, "there is no checkpoint"),
        (torn, "is no whole checkpoint"),
        (foreign, "of another program"),
    ):
        with pytest.raises(WeightsError, match=told):
            load(file)
        with pytest.raises(WeightsError, match=told):
            start_from(Fit(SETTINGS), file)


def test_time_that_a_killed_run_spent_counts():
    now = [100.0]
    budget = Budget(minutes=2, spent_s=30, clock=lambda: now[0])
    budget.start()
    now[0] += 30
    assert budget.elapsed_s() == 60
    assert budget.progress(step=7) == pytest.approx(0.5)
    assert Budget(steps=10, minutes=2, clock=lambda: 0.0).progress(9) == pytest.approx(0.9)
    with pytest.raises(ValueError, match="steps or minutes"):
        Budget()


def test_the_rate_rises_then_falls_to_nothing():
    rates = [rate_at(step, step / 100, 1.0, 10) for step in range(101)]
    assert rates[0] < rates[5] < rates[10]
    assert rates[10] > rates[50] > rates[99]
    assert rates[100] == pytest.approx(0)


def test_weights_of_another_class_count_are_refused(fitted):
    other = Fit(replace(SETTINGS, labels=LABEL_SETS["all"]))
    with pytest.raises(WeightsError, match=r"3 outputs .* but 8 are wanted"):
        start_from(other, fitted)


def test_a_fit_starts_from_an_engine(train_pictures, validation, tmp_path):
    """Its first answers are the engine's own; a pooled head starts fresh."""
    settings = replace(SETTINGS, labels=LABEL_SETS["all"], model={"head": "dense"})
    tiles = validation[0][:, :128, :128].repeat(1, 2, 2, 1)
    dense = Fit(settings)
    assert start_from_engine(dense, SIMPLENET, tiles) == []
    told = by_onnxruntime(onnx.load(SIMPLENET / "model.onnx"))(tiles.numpy())
    with torch.no_grad():
        found = dense.eval()(tiles)
    assert torch.equal(found.argmax(1), torch.from_numpy(told.argmax(1)))
    pooled = Fit(replace(settings, model=SETTINGS.model))
    assert set(start_from_engine(pooled, SIMPLENET, tiles)) == {
        "network.head.output.weight",
        "network.head.output.bias",
    }
    whole = replace(SETTINGS, labels=LABEL_SETS["all"], steps=3)
    last = fit(whole, train_pictures, validation, tmp_path, weights=SIMPLENET, progress=False)
    assert torch.load(last, weights_only=False)["global_step"] == 3


def test_an_engine_of_other_labels_or_architecture_starts_no_fit():
    with pytest.raises(
        WeightsError, match=r"has the labels .*'wn'\), but \('gblur', .* are wanted"
    ):
        start_from_engine(Fit(SETTINGS), SIMPLENET, torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    with pytest.raises(WeightsError, match=r"engine of InceptionResNetV2, but a fit of SimpleNet"):
        start_from_engine(
            Fit(SETTINGS),
            SIMPLENET.parent / "inceptionresnetv2",
            torch.zeros(1, 64, 64, 3, dtype=torch.uint8),
        )


def test_another_head_starts_fresh_and_the_convolutions_are_taken_over(fitted):
    dense = Fit(replace(SETTINGS, model={"head": "dense"}))
    missing = start_from(dense, fitted)
    assert missing
    assert all(name.startswith("network.head.") for name in missing)
    mine, theirs = dense.network.state_dict(), load(fitted).network.state_dict()
    assert torch.equal(mine["features.0.0.weight"], theirs["features.0.0.weight"])


def test_frozen_parts_stay_as_they_are(fitted, train_pictures, validation, tmp_path):
    settings = replace(SETTINGS, frozen=("features",), steps=3)
    tuned = fit(settings, train_pictures, validation, tmp_path, weights=fitted, progress=False)
    before, after = load(fitted).network.state_dict(), load(tuned).network.state_dict()
    for name, value in before.items():
        same = torch.equal(value, after[name])
        assert same == name.startswith("features."), name


def test_a_part_that_is_not_there_cannot_be_frozen():
    with pytest.raises(TrainingError, match=r"'stem' is no part of SimpleNet .* features, .*head"):
        Fit(replace(SETTINGS, frozen=("stem",)))


def test_kept_statistics_stay_and_all_else_learns(fitted, train_pictures, validation, tmp_path):
    settings = replace(SETTINGS, keep_statistics=True, steps=3)
    tuned = fit(settings, train_pictures, validation, tmp_path, weights=fitted, progress=False)
    before, after = load(fitted).network.state_dict(), load(tuned).network.state_dict()
    for name, value in before.items():
        same = torch.equal(value, after[name])
        assert same == ("running" in name or "tracked" in name), name


def test_what_is_fitted_as_int8_leaves_a_plain_network(
    fitted, train_pictures, validation, tmp_path
):
    settings = replace(SETTINGS, as_int8=True, steps=3)
    made = fit(settings, train_pictures, validation, tmp_path, progress=False)
    assert settings_of(made).as_int8
    half = fit(replace(SETTINGS, steps=3), train_pictures, validation, tmp_path / "plain")
    network = load(made).network
    assert not any(m._forward_pre_hooks for m in network.modules())
    ours, theirs = network.state_dict(), load(half).network.state_dict()
    assert ours.keys() == theirs.keys()
    assert not torch.equal(ours["head.output.weight"], theirs["head.output.weight"])
    with pytest.raises(WeightsError, match="as_int8 True, not False"):
        fit(SETTINGS, train_pictures, validation, tmp_path, progress=False)


def test_a_dense_head_learns_what_the_pooled_one_answers(fitted, train_pictures):
    network = load(fitted).network
    crops = CropSettings(crop=256, region=256, crops_a_region=1, batch=12, batches_a_round=2)
    features = features_of(network, CropStream(train_pictures, LABELS, crops, batches=4))
    assert features.maps.shape == (48, 256, 4, 4)
    head = fit_dense_head(features, 3, HeadSettings(steps=150, dropout=0.0, taught=1.0, batch=48))
    whole = with_dense_head(network, head)
    with torch.no_grad():
        told = whole.head(features.maps.float()).softmax(1)
    assert (told - features.taught.softmax(1)).abs().mean() < 0.1
    assert torch.equal(whole.features[0][0].weight, network.features[0][0].weight)


def test_the_options_of_one_architecture_are_refused_for_another():
    assert _model_options("SimpleNet", None, 0.5)["head"] == "dense"
    assert _model_options("InceptionResNetV2", None, 0.5) == {"head_dropout": 0.1}
    with pytest.raises(BadParameter, match="--head is an option of SimpleNet"):
        _model_options("InceptionResNetV2", "pooled", 0.0)
    with pytest.raises(BadParameter, match="no architecture 'AlexNet'; there are: SimpleNet, Inc"):
        _model_options("AlexNet", None, 0.0)


def test_a_full_disk_leaves_the_last_checkpoint_whole(small_disk):
    """The disk of the checkpoints is another one than that of temporary files."""
    last = small_disk / "last.ckpt"
    write = WholeCheckpoints().save_checkpoint
    write({"step": 1, "weights": torch.zeros(250_000)}, last)
    with pytest.raises(OSError, match="No space left"):
        write({"step": 2, "weights": torch.ones(700_000)}, last)
    assert torch.load(last)["step"] == 1
    assert [path.name for path in small_disk.iterdir()] == ["last.ckpt"]
    write({"step": 3, "weights": torch.ones(250_000)}, last)
    assert torch.load(last)["step"] == 3


@pytest.mark.parametrize("size", [("--crop", "128"), ("--val-tile", "128")])
def test_the_dense_head_takes_no_other_crops_than_its_own(references_folder, tmp_path, size):
    found = CliRunner().invoke(
        app,
        [
            *("fit", "--references", str(references_folder), "--out", str(tmp_path / "fit")),
            *("--steps", "1", *size),
        ],
    )
    assert found.exit_code == 2
    assert "dense head" in found.output
    assert "256 pixels" in found.output


def test_a_pooled_head_does_not_ship(fitted, references_folder, tmp_path):
    found = CliRunner().invoke(
        app,
        [
            *("export", "--checkpoint", str(fitted), "--references", str(references_folder)),
            *("--val-set", str(tmp_path), "--test-set", str(tmp_path)),
            *("--out", str(tmp_path / "engine"), "--version", "1.0.0"),
        ],
    )
    assert isinstance(found.exception, WeightsError)
    assert "run head on it first" in str(found.exception)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"there is no checkpoint .*none\.ckpt"):
        start_from(Fit(SETTINGS), tmp_path / "none.ckpt")
