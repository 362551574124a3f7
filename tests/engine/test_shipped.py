"""The engines that ship with the package: whole, right in every precision, and usable."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from inspector.engine.folders import engine_names, shipped_engines_folder
from inspector.engine.manifest import read_manifest
from inspector.engine.verify import verify_engine
from tests.int8 import SEVEN_BITS, largest_int8_weight

FOLDER = shipped_engines_folder()
NAMES = engine_names(FOLDER) if FOLDER.is_dir() else []


@pytest.mark.parametrize("name", NAMES)
def test_every_precision_reproduces_the_golden_tiles(name):
    checks = verify_engine(FOLDER / name)
    assert {"fp32", "int8"} <= {check.precision for check in checks}
    assert [check.detail for check in checks if not check.ok] == []


@pytest.mark.parametrize("name", NAMES)
def test_its_int8_is_right_on_processors_without_instructions_for_it(name):
    int8 = read_manifest(FOLDER / name).read_model("int8")
    assert largest_int8_weight(onnx.load_from_string(int8)) <= SEVEN_BITS


@pytest.mark.parametrize("name", NAMES)
def test_the_golden_tiles_leave_no_doubt(name):
    from inspector.engine.golden import read_golden

    manifest = read_manifest(FOLDER / name)
    golden = read_golden(manifest)
    ranked = np.sort(golden.expected, axis=1)
    assert (ranked[:, -1] - ranked[:, -2]).min() >= 0.3
    for label in manifest.classes:
        assert golden.labels.count(label) >= 4, label


def test_there_is_a_simplenet():
    assert "simplenet" in NAMES
