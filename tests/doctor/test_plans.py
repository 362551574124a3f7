"""What the doctor says of each TensorRT plan: whether it fits this box, and why or why not."""

from __future__ import annotations

import pytest

from inspector.config.station import Engine
from inspector.doctor.finding import Grade
from inspector.doctor.plans import check_plans
from inspector.engine.best import plans_here
from inspector.engine.plans.store import Plans


@pytest.fixture
def asked(engines):
    return Engine(screen="tiny", folder=engines, runtime="tensorrt", precision="int8")


@pytest.fixture
def store(simulate, tmp_path):
    return Plans(tmp_path / "plans", max_bytes=1_000_000)


@pytest.fixture
def wanted(asked, store):
    """The key of the plan that would serve here."""
    (key,) = plans_here("tiny", asked, store).keys
    return key


def add(store, key):
    return store.add(key, b"a plan", engine_version="0.1.0", build_s=240.0)


def platform(key, **changes):
    return key.model_copy(update={"platform": key.platform.model_copy(update=changes)})


def test_one_that_is_not_there_is_a_note(asked, store):
    (finding,) = check_plans(asked, store)
    assert (finding.name, finding.grade) == ("tiny int8", Grade.NOTE)
    assert finding.found == "no plan of tiny serves here"
    assert "the station builds it while it judges" in finding.remedy
    assert not store.folder.exists(), "a doctor changes nothing"


def test_one_that_fits_is_good_and_its_proof_is_told(asked, store, wanted):
    plan = add(store, wanted)
    (finding,) = check_plans(asked, store)
    assert (finding.grade, finding.remedy) == (Grade.GOOD, "")
    assert finding.found == f"{plan.path.name}: not held against the golden tiles yet"
    store.choose(store.prove(plan, 0.0123), "fp16 takes 2.00 ms a tile, int8 1.00 ms")
    (finding,) = check_plans(asked, store)
    assert finding.grade is Grade.GOOD
    assert finding.found == (
        f"{plan.path.name}: golden tiles within 0.0123; "
        "it judges: fp16 takes 2.00 ms a tile, int8 1.00 ms"
    )
    assert (finding.facts["build_s"], finding.facts["state"]) == (240.0, "good")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"driver": "550.1"}, "it is for driver 550.1, here 580.65.06"),
        ({"tensorrt": "10.13.3.9"}, "it is for TensorRT 10.13.3.9, here 10.15.1.29"),
        ({"gpu": "Orin"}, "it is for GPU Orin, here Simulated GPU"),
        ({"compute_capability": "7.5"}, "it is for compute capability 7.5, here 8.7"),
        ({"cuda": "12.6"}, "it is for CUDA 12.6, here 13.0"),
    ],
)
def test_one_for_another_platform_is_told_with_both(asked, store, wanted, changes, why):
    plan = add(store, platform(wanted, **changes))
    there, missing = check_plans(asked, store)
    assert (there.grade, there.found) == (Grade.NOTE, f"{plan.path.name}: {why}")
    assert (missing.grade, missing.found) == (Grade.NOTE, "no plan of tiny serves here")


def test_one_for_another_model_batch_or_engine_is_told_too(asked, store, wanted):
    add(store, wanted.model_copy(update={"model_sha256": "ab" * 32}))
    add(store, wanted.model_copy(update={"batch": wanted.batch.up_to(4)}))
    add(store, wanted.model_copy(update={"engine": "elsewhere"}))
    told = "\n".join(finding.found for finding in check_plans(asked, store))
    assert f"it is for model file abababababab, here {wanted.model_sha256[:12]}" in told
    assert "it is for best batch 4, here 16; largest batch 4, here 16" in told
    assert "nothing here asks for elsewhere int8" in told


def test_a_damaged_one_and_one_that_is_refused(asked, store, wanted):
    plan = add(store, wanted)
    store.refuse(plan, "gblur became jp2k")
    (refused, _) = check_plans(asked, store)
    assert (refused.grade, refused.found) == (
        Grade.MEND,
        f"{plan.path.name}: gblur became jp2k",
    )
    assert "--runtime tensorrt --station FILE --again" in refused.remedy
    plan.path.write_bytes(b"b plan")
    (damaged, _) = check_plans(asked, store)
    assert damaged.grade is Grade.NOTE
    assert "is damaged: its sha256 is" in damaged.found
    assert "is built anew" in damaged.remedy


def test_a_folder_that_others_may_write_to_is_to_be_mended(asked, store, wanted):
    add(store, wanted)
    store.folder.chmod(0o777)
    (finding,) = check_plans(asked, store)
    assert (finding.name, finding.grade) == ("folder", Grade.MEND)
    assert "a plan is code" in finding.found
    assert "chmod go-w" in finding.found


def test_nothing_is_said_where_tensorrt_is_not_asked_for_or_cannot_run(asked, store, monkeypatch):
    assert list(check_plans(asked.model_copy(update={"runtime": "openvino"}), store)) == []
    monkeypatch.undo()  # no simulated GPU any more: that is told under gpu
    assert list(check_plans(asked, store)) == []
