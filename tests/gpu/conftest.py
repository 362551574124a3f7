"""A real GPU: tests of this folder are skipped, with the reason, where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inspector.engine.manifest import engine_names, shipped_engines_folder
from inspector.engine.nvidia.report import ask_nvidia
from inspector.engine.plans.engine_plans import EnginePlans, platform_of
from inspector.engine.plans.store import Plans

MOST = 16
BUILD_S = 3600
"""A cold build of the larger network takes many minutes on a small GPU."""


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.xdist_group("gpu"))  # one GPU, one at a time
            item.add_marker(pytest.mark.timeout(BUILD_S))


@pytest.fixture(scope="session")
def nvidia():
    report = ask_nvidia()
    if report.fault is not None:
        pytest.skip(f"TensorRT cannot run here: {report.fault}")
    return report


@pytest.fixture(scope="session", params=["simplenet", "inceptionresnetv2"])
def engine_folder(request) -> Path:
    folder = shipped_engines_folder()
    if request.param not in engine_names(folder):
        pytest.skip(f"there is no engine {request.param} in {folder}")
    return folder / request.param


@pytest.fixture(scope="session")
def plans_of(nvidia, tmp_path_factory):
    """The plans of an engine folder in a precision; built once a session."""
    store = Plans(tmp_path_factory.mktemp("plans"), max_bytes=20_000_000_000)

    def plans(folder, precision):
        platform = platform_of(nvidia)
        return EnginePlans.of(folder, platform, store, precision=precision, max_batch=MOST)

    return plans


@pytest.fixture
def opened(plans_of):
    """Build, where there is no plan yet, and open an engine; closed after the test."""
    engines = []

    def open_one(folder, precision):
        plans = plans_of(folder, precision)
        if plans.store.find(plans.keys[0]).state != "fits":
            plans.build(on_stage=lambda key, stage: None).close()
        engine = replace(plans, writes=False).open_ready()
        engines.append(engine)
        return plans, engine

    yield open_one
    for engine in engines:
        engine.close()
