"""Pictures that ship with the tests, and networks small enough to be fitted in seconds."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from train.data.references import list_references, load_references
from train.models.simplenet import SimpleNet

PICTURES = Path(__file__).parent / "pictures"


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            # Lightning and the exporter use what their own dependencies have deprecated.
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def references_folder():
    return PICTURES


@pytest.fixture(scope="session")
def train_pictures():
    _, pictures = load_references(list_references(PICTURES, "train"), PICTURES)
    return pictures


@pytest.fixture(scope="session")
def picture(train_pictures):
    return train_pictures[0]


@pytest.fixture(scope="session")
def trained_like_net():
    """SimpleNet whose batch normalisations hold statistics unlike those they start with."""
    torch.manual_seed(3)
    network = SimpleNet(8, head="dense", dropout=(0.0,) * 6, head_dropout=0.0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return network.eval()


@pytest.fixture(scope="session")
def tiles(train_pictures):
    rng = np.random.default_rng(5)
    cut = [p[:256, :256] for p in train_pictures] + [p[-256:, -256:] for p in train_pictures]
    noisy = np.clip(cut[0] + rng.normal(0, 30, cut[0].shape), 0, 255).astype(np.uint8)
    return np.stack([*cut, noisy, cv2.GaussianBlur(cut[1], (0, 0), 3)])
