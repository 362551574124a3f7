"""The command that puts the paper's dense head on fitted convolutions."""

import pytest
import torch
from typer.testing import CliRunner

from train import fit
from train.checkpoints import save_weights
from train.cli import app
from train.data.crops import CropSettings
from train.errors import WeightsError
from train.fit import Fit, FitSettings
from train.models.simplenet import DenseHead

LABELS = ("gblur", "refimgs", "wn")


@pytest.fixture
def checkpoint(tmp_path):
    def make(**model):
        settings = FitSettings(
            labels=LABELS, model=model, crops=CropSettings(batch=8), steps=1, workers=0
        )
        path = tmp_path / "last.ckpt"
        save_weights(Fit(settings), path)
        return path

    return make


def run(checkpoint, references_folder, out):
    return CliRunner().invoke(
        app,
        [
            *("head", "--checkpoint", str(checkpoint), "--references", str(references_folder)),
            *("--out", str(out), "--tiles", "32", "--steps", "5", "--workers", "0"),
        ],
    )


def test_it_writes_a_checkpoint_with_the_same_convolutions(checkpoint, references_folder, tmp_path):
    pooled = checkpoint(head="pooled")
    out = tmp_path / "dense" / "head.ckpt"
    result = run(pooled, references_folder, out)
    assert result.exit_code == 0, result.output
    assert "32 tiles" in result.output
    made = fit.load(out)
    assert isinstance(made.network.head, DenseHead)
    assert made.settings.labels == LABELS
    before, after = fit.load(pooled).network.state_dict(), made.network.state_dict()
    for name, value in before.items():
        if name.startswith("features."):
            assert torch.equal(value, after[name]), name
    assert made(torch.zeros(1, 256, 256, 3, dtype=torch.uint8)).shape == (1, 3)


def test_a_network_that_has_a_dense_head_is_refused(checkpoint, references_folder, tmp_path):
    result = run(checkpoint(head="dense"), references_folder, tmp_path / "head.ckpt")
    assert isinstance(result.exception, WeightsError)
    assert "DenseHead; expected SimpleNet with PooledHead" in str(result.exception)
