"""The mean of an engine's weights and of those that a fit from it ended with."""

from dataclasses import replace

import onnx
import pytest
import torch
from typer.testing import CliRunner

from inspector.engine.folders import shipped_engines_folder
from train import fit
from train.average import between
from train.cli import app
from train.data.crops import CropSettings
from train.data.references import list_references, load_references
from train.data.tiles import sample_tiles
from train.errors import WeightsError
from train.export.graph import Whole
from train.fit import FitSettings
from train.labels import LABEL_SETS
from train.models.from_onnx import temperature_of
from train.predict import by_onnxruntime

ENGINE = shipped_engines_folder() / "simplenet"
CROPS = CropSettings(crop=256, region=272, crops_a_region=2, batch=8, batches_a_round=1)
SETTINGS = FitSettings(
    labels=LABEL_SETS["all"],
    model={"head": "dense", "dropout": (0.0,) * 6, "head_dropout": 0.0},
    crops=CROPS,
    frozen=("features.0", "features.1", "features.3"),
    keep_statistics=True,
    steps_an_epoch=4,
    steps=4,
    peak_rate=0.05,  # far, in few steps
    workers=0,
)


@pytest.fixture(scope="module")
def validation(references_folder):
    kept, pictures = load_references(list_references(references_folder, "val"), references_folder)
    return sample_tiles(kept, pictures, SETTINGS.labels, count=8, tile=256, seed=1)


@pytest.fixture(scope="module")
def fitted(train_pictures, validation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    return fit.fit(SETTINGS, train_pictures, validation, folder, weights=ENGINE, progress=False)


def test_all_of_the_engine_answers_as_the_engine(fitted, train_pictures, tiles):
    mean = between(ENGINE, fitted, train_pictures, 1.0)
    model = onnx.load(ENGINE / "model.onnx")
    told = torch.from_numpy(by_onnxruntime(model)(tiles))
    with torch.no_grad():
        found = Whole(mean.network, temperature_of(model)).eval()(torch.from_numpy(tiles))
    torch.testing.assert_close(found, told, atol=2e-3, rtol=0)


def test_a_mean_lies_between_the_engine_and_the_fit(fitted, train_pictures):
    begun = between(ENGINE, fitted, train_pictures, 1.0).state_dict()
    ended = between(ENGINE, fitted, train_pictures, 0.0).state_dict()
    mean = between(ENGINE, fitted, train_pictures, 0.25).state_dict()
    assert all(
        torch.equal(value, ended[name]) for name, value in fit.load(fitted).state_dict().items()
    )
    moved = 0
    for name, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.25 * begun[name] + 0.75 * ended[name])
            moved += not torch.equal(begun[name], ended[name])
    assert moved > 10


def test_the_command_writes_a_checkpoint_that_can_be_loaded(fitted, references_folder, tmp_path):
    out = tmp_path / "new" / "mean.ckpt"
    result = CliRunner().invoke(
        app,
        [
            *("average", "--engine", str(ENGINE), "--checkpoint", str(fitted), "--share", "0.4"),
            *("--references", str(references_folder), "--out", str(out)),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "40% of" in result.output
    made = fit.load(out)
    assert made.settings == fit.settings_of(fitted)
    assert not torch.equal(
        made.state_dict()["network.head.output.bias"],
        fit.load(fitted).state_dict()["network.head.output.bias"],
    )


@pytest.mark.parametrize(
    ("start", "kept", "message"),
    [
        (None, True, "did not start from .*simplenet with these references: network.features.0"),
        (ENGINE, False, "without --keep-statistics"),
    ],
)
def test_a_fit_of_another_start_or_other_statistics_is_refused(
    start, kept, message, train_pictures, validation, tmp_path
):
    other = replace(SETTINGS, keep_statistics=kept, steps=1)
    last = fit.fit(other, train_pictures, validation, tmp_path, weights=start, progress=False)
    with pytest.raises(WeightsError, match=message):
        between(ENGINE, last, train_pictures, 0.5)
