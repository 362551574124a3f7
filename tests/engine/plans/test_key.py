from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from inspector.engine.plans.key import BatchProfile, BuilderSettings, PlanKey, differences
from tests.engine.plans.conftest import PLATFORM, key

OTHERS = {
    "engine": {"engine": "tiny2"},
    "model file": {"model_sha256": "cd" * 32},
    "precision": {"precision": "fp16"},
    "smallest batch": {"batch": BatchProfile(least=2, best=16, most=16)},
    "best batch": {"batch": BatchProfile(best=8, most=16)},
    "largest batch": {"batch": BatchProfile(best=16, most=32)},
    "workspace_mb": {"settings": BuilderSettings(workspace_mb=512)},
    "optimization_level": {"settings": BuilderSettings(optimization_level=4)},
    "recipe of this program": {"settings": BuilderSettings(recipe=0)},
    **{
        words: {"platform": PLATFORM.model_copy(update={field: "other"})}
        for words, field in {
            "TensorRT": "tensorrt",
            "GPU": "gpu",
            "compute capability": "compute_capability",
            "CUDA": "cuda",
            "driver": "driver",
        }.items()
    },
}


def _leaves(model) -> int:
    return sum(
        _leaves(value) if hasattr(value, "model_dump") else 1
        for value in (getattr(model, name) for name in type(model).model_fields)
    )


@pytest.mark.parametrize("ingredient", OTHERS)
def test_each_ingredient_changes_the_key_and_is_named(ingredient):
    other = key(**OTHERS[ingredient])
    assert other.sha256 != key().sha256
    assert other.stem != key().stem
    (said,) = differences(other, key())
    assert said.startswith(ingredient + " ")
    assert ", here " in said


def test_no_ingredient_is_left_out_of_that_list():
    assert len(OTHERS) == _leaves(key())


def test_the_same_key_has_no_differences():
    assert differences(key(), key()) == ()


def test_a_key_is_the_same_in_another_process():
    code = "from tests.engine.plans.conftest import key; print(key().sha256)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == key().sha256


def test_a_key_survives_being_written():
    assert PlanKey.model_validate_json(key().model_dump_json()) == key()


def test_a_batch_profile_is_ordered():
    with pytest.raises(ValidationError, match="least <= best <= most, came 1, 8, 4"):
        BatchProfile(best=8, most=4)
