"""`precision: auto` on TensorRT: the fastest plan that reproduces the golden tiles, kept."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from inspector.engine.plans.engine_plans import EnginePlans, platform_of
from inspector.engine.plans.store import Plans
from inspector.errors import EngineError, EngineLostError, ParityError
from tests.engine.simulated_gpu import stand_in


@pytest.fixture
def plans(simulate, tiny, tmp_path):
    """The plans of the tiny engine on the simulated GPU as it is now."""

    def make(precision="auto", **changes):
        store = Plans(tmp_path / "plans", max_bytes=100_000_000)
        how = {"precision": precision, "max_batch": 8} | changes
        return EnginePlans.of(tiny, platform_of(stand_in.report()), store, **how)

    return make


@pytest.fixture
def opened():
    with ExitStack() as stack:
        yield lambda engine: (stack.callback(engine.close), engine)[1]


def build(plans, opened):
    """The engine that serves first, and the one on the plan that may be faster."""
    first = opened(plans.build(on_stage=lambda *_: None))
    rival = plans.rival(first)
    assert rival is not None
    return first, opened(plans.build_rival(rival, on_stage=lambda *_: None))


@pytest.mark.parametrize(("slow", "fastest"), [("int8", "fp16"), ("fp16", "int8")])
def test_the_faster_of_int8_and_fp16_is_taken_and_kept(simulate, plans, opened, slow, fastest):
    simulate(slow=[slow])
    first, second = build(plans(), opened)
    assert (first.info.precision, second.info.precision) == ("int8", "fp16")
    faster, why = plans().faster(first, second)
    assert faster == (fastest == "fp16")
    assert why.startswith(f"{slow} takes ")
    assert f", {fastest} " in why

    ready = opened(plans().open_ready())
    assert ready.info.precision == fastest
    assert plans().rival(ready) is None, "nothing is measured again"
    assert opened(plans().build(on_stage=lambda *_: None)).info.precision == fastest
    chosen = {
        json.loads(path.read_text())["key"]["precision"]: json.loads(path.read_text())["chosen"]
        for path in plans().store.folder.glob("*.json")
    }
    assert chosen.pop(fastest)["why"] == why
    assert chosen == {slow: None}


def test_a_plan_that_is_built_again_is_measured_again(simulate, plans, opened):
    first, second = build(plans(), opened)
    plans().faster(first, second)
    again = opened(plans().build(on_stage=lambda *_: None, again=True))
    assert again.info.precision == "int8"
    assert plans().rival(again).precision == "fp16"


def test_before_that_the_first_one_serves(plans, opened):
    build(plans(), opened)
    ready = opened(plans().open_ready())
    assert ready.info.precision == "int8"
    assert plans().rival(ready).precision == "fp16"


def test_one_that_is_not_right_is_no_rival(plans, opened, monkeypatch, tmp_path):
    first = opened(plans().build(on_stage=lambda *_: None))
    monkeypatch.setenv(stand_in.WRONG, str(tmp_path / "wrong"))
    (tmp_path / "wrong").touch()
    with pytest.raises(ParityError):
        plans().build_rival(plans().rival(first), on_stage=lambda *_: None)
    assert plans().rival(first) is None


def test_what_failed_before_the_one_that_serves_is_not_built_again(simulate, plans, opened):
    simulate(unsupported=["DequantizeLinear"])
    engine = opened(plans().build(on_stage=lambda *_: None))
    assert engine.info.precision == "fp16"
    assert plans().rival(engine) is None


def test_one_that_cannot_be_loaded_leaves_the_others(plans, opened, monkeypatch):
    whole = EnginePlans.open

    def open_(self, plan):
        if plan.key.precision == "int8":
            raise EngineError("the engine process was killed by signal 11")
        return whole(self, plan)

    monkeypatch.setattr(EnginePlans, "open", open_)
    engine = opened(plans().build(on_stage=lambda *_: None))
    assert engine.info.precision == "fp16"
    with pytest.raises(EngineError, match="killed by signal 11"):
        plans("int8").build(on_stage=lambda *_: None)


@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
def test_a_precision_that_is_named_has_no_rival(plans, opened, precision):
    engine = opened(plans(precision).build(on_stage=lambda *_: None))
    assert engine.info.precision == precision
    assert plans(precision).rival(engine) is None


def test_an_engine_that_is_lost_meanwhile_is_no_loser(plans, opened):
    first, second = build(plans(), opened)
    second.runtime._process.kill()
    with pytest.raises(EngineLostError):
        plans().faster(first, second)
    assert plans().rival(first) is not None


def test_a_choice_that_cannot_be_kept_is_made_all_the_same(plans, opened, monkeypatch):
    first, second = build(plans(), opened)

    def full(*_):
        raise EngineError("No space left on device")

    monkeypatch.setattr(Plans, "choose", full)
    assert "ms a tile" in plans().faster(first, second)[1]
    assert plans().rival(first) is not None
