"""The builder with the real TensorRT on a machine without a GPU: it says why, and ends well."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from inspector.engine.plans.lock import LOCK
from tests.engine.nvidia import libraries
from tests.engine.plans.conftest import PLATFORM
from tests.engine.plans.test_building import asked


def told(request, environment):
    """What the builder says last, and how it ends."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "inspector.engine.plans.builder"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as builder:
        builder.stdin.write(request.model_dump_json().encode() + b"\n")
        builder.stdin.flush()
        lines = builder.stdout.read().splitlines()  # to its end; its input stays open until then
        assert builder.wait(60) == 1, builder.stderr.read().decode()
    return json.loads(lines[-1])


def test_without_libraries(tiny, tmp_path):
    said = told(asked(tiny, tmp_path / "plans"), dict(os.environ))
    assert said["t"] == "failed"
    assert said["reason"] == "TensorRT cannot be loaded: No module named 'tensorrt'"


@pytest.mark.parametrize("part", ["10", "11"])
def test_the_real_bindings_over_a_library_that_gives_nothing(tiny, tmp_path, part):
    version = "10.15.1.29" if part == "10" else "11.4.0.106"
    request = asked(
        tiny, tmp_path / "plans", platform=PLATFORM.model_copy(update={"tensorrt": version})
    )
    said = told(request, libraries.environment(part, driver="none"))
    assert said["reason"].startswith("TensorRT failed to build engine tiny (int8): TypeError: ")
    assert "factory function returned nullptr" in said["reason"]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # it is fetched the first time
@pytest.mark.parametrize("driver", [None, "none"])
def test_the_real_library_without_a_gpu(tiny, tmp_path, driver):
    plans = tmp_path / "plans"
    said = told(asked(tiny, plans), libraries.environment("whole", driver=driver))
    assert (
        "createInferBuilder: Error Code 6: API Usage Error (CUDA initialization" in said["reason"]
    )
    assert [path.name for path in plans.iterdir()] == [LOCK]
