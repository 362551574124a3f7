"""A tiny engine, made once a session, and helpers to break copies of it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.engine import tiny_engine
from tests.engine.simulated_gpu import SITE


@pytest.fixture(scope="session")
def engines(tmp_path_factory) -> Path:
    """Folder with one whole engine, `tiny`. Read-only for tests."""
    folder = tmp_path_factory.mktemp("engines")
    tiny_engine.make(folder)
    return folder


@pytest.fixture
def tiny(engines, tmp_path) -> Path:
    """A copy of the engine folder `tiny` that a test may break."""
    return Path(shutil.copytree(engines / "tiny", tmp_path / "engines" / "tiny"))


@pytest.fixture(scope="module")
def simulated_libraries():
    """`tensorrt` and `pycuda` are the simulated ones, in one test module."""
    sys.path.insert(0, str(SITE))
    yield
    sys.path.remove(str(SITE))
    for name in list(sys.modules):
        own = name.split(".")[0] in {"tensorrt", "pycuda"}
        if own or name == "inspector.engine.nvidia.device":
            del sys.modules[name]
