"""The tests' own: which TensorRT they take, and that they say so where there is none."""

from __future__ import annotations

import os

import pytest

from inspector.engine.child_environment import child_environment
from tests.engine.nvidia import libraries
from tests.gpu import box


@pytest.fixture
def with_tensorrt_10(monkeypatch):
    """A driver that knows a GPU, and the bindings of TensorRT 10 without PyCUDA."""
    environment = libraries.environment("10", driver="one")
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "STUB_CUDA"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.delenv(box.FOLDER_OF.format("11"), raising=False)
    box._installed.cache_clear()
    yield
    box._installed.cache_clear()


@pytest.mark.usefixtures("with_tensorrt_10")
def test_the_other_major_version_comes_from_a_folder(tmp_path, monkeypatch):
    def real(major):
        with pytest.raises(pytest.skip.Exception) as caught:
            box.real(major, "simplenet", tmp_path, monkeypatch)
        return str(caught.value)

    assert real("10") == (
        "TensorRT 10 cannot run here: PyCUDA cannot be loaded: No module named 'pycuda'"
    )
    assert real("11") == (
        "TensorRT 11 is not installed: pip install --target FOLDER 'tensorrt==11.*', and "
        "INSPECTOR_TEST_TENSORRT_11=FOLDER"
    )
    eleven = os.pathsep.join(map(str, (libraries.CACHE / "11" / "shim", libraries.CACHE / "11")))
    monkeypatch.setenv(box.FOLDER_OF.format("11"), eleven)
    assert real("11") == (
        "TensorRT 11 cannot run here: PyCUDA cannot be loaded: No module named 'pycuda'"
    )
    _, *found = child_environment()["PYTHONPATH"].split(os.pathsep)
    assert found[:2] == eleven.split(os.pathsep), "the builder and the engine see it first"


@pytest.mark.usefixtures("with_tensorrt_10")
def test_an_engine_that_is_not_shipped_is_said(tmp_path, monkeypatch):
    with pytest.raises(pytest.skip.Exception, match="there is no engine none in "):
        box.real("10", "none", tmp_path, monkeypatch)
