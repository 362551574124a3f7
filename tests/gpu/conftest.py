"""What TensorRT is held against: on real GPUs, and on the simulated one for the tests' own sake."""

from __future__ import annotations

import functools

import pytest

from tests.gpu.box import BOXES

BUILD_S = 3600
"""A cold build of the larger network takes many minutes on a small GPU."""


def _param(name: str):
    real = name != "simulated"
    marks = [pytest.mark.xdist_group("gpu" if real else "simulated-gpu")]  # one GPU, one at a time
    if real:
        marks += [pytest.mark.gpu, pytest.mark.timeout(BUILD_S)]
    return pytest.param(name, marks=marks)


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """A folder for each box, where its plans are built once for all tests."""
    return functools.cache(tmp_path_factory.mktemp)


@pytest.fixture(params=[_param(name) for name in BOXES])
def box(request, folder_of, monkeypatch):
    """A box with a GPU and an engine."""
    return BOXES[request.param](folder_of(request.param), monkeypatch)


@pytest.fixture
def opened(box):
    """Open the engine in a precision; closed after the test."""
    engines = []

    def open_one(precision):
        engines.append(box.open(precision))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()
