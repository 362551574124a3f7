"""A tiny engine, made once a session, and helpers to break copies of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.engine import tiny_engine


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
