from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inspector.engine.plans.files import read_plan
from inspector.engine.plans.sidecar import Broken, Plan
from inspector.engine.plans.store import Plans
from inspector.errors import EngineError
from tests.engine.plans.conftest import PLATFORM, key
from tests.engine.plans.test_key import OTHERS
from tests.rights import only_as_the_mode_says
from tests.servers.disk import occupy

CONTENT = random.Random(1).randbytes(4096)


def add(plans, wanted=None, content=CONTENT) -> Plan:
    return plans.add(wanted or key(), content, engine_version="1.0.0", build_s=83.2)


def names(plans) -> set[str]:
    return {path.name for path in plans.folder.iterdir()}


# --- what fits ------------------------------------------------------------------------------------


def test_a_plan_that_was_added_is_found_with_all_that_is_known_of_it(plans):
    assert plans.find(key()).state == "missing"
    add(plans)
    found = Plans(plans.folder, max_bytes=1).find(key())
    assert found.state == "fits"
    assert found.plan.key == key()
    assert read_plan(found.plan.path, found.plan.sidecar.sha256) == CONTENT
    said = json.loads(found.plan.path.with_suffix(".json").read_text())
    assert said["build_s"] == 83.2
    assert said["key"]["platform"] == PLATFORM.model_dump()
    assert (said["built_at"], said["size_bytes"]) == ("2026-01-31T00:01:00Z", 4096)


@pytest.mark.parametrize("ingredient", OTHERS)
def test_a_plan_for_anything_else_does_not_fit(plans, ingredient):
    add(plans, key(**OTHERS[ingredient]))
    found = plans.find(key())
    assert found.plan is None
    if ingredient in {"engine", "precision"}:
        assert (found.state, found.detail) == ("missing", "no plan of tiny int8 yet")
    else:
        assert found.state == "other"
        assert found.detail.startswith(f"the plan of tiny int8 is for {ingredient} ")


def test_of_several_plans_the_nearest_explains(plans):
    far = PLATFORM.model_copy(update={"gpu": "NVIDIA L4", "driver": "550.1", "cuda": "12.4"})
    add(plans, key(platform=far))
    add(plans, key(platform=PLATFORM.model_copy(update={"driver": "570.1"})))
    said = plans.find(key()).detail
    assert said == "the plan of tiny int8 is for driver 570.1, here 580.65.06"


# --- damage ---------------------------------------------------------------------------------------


def test_each_byte_of_the_header_and_random_others_are_guarded(plans):
    plan = add(plans)
    rng = random.Random(2)
    places = [*range(256), *(rng.randrange(len(CONTENT)) for _ in range(64))]
    for place in places:
        damaged = bytearray(CONTENT)
        damaged[place] ^= 1 << rng.randrange(8)
        plan.path.write_bytes(damaged)
        found = plans.find(key())
        assert (found.state, found.plan) == ("damaged", None)
        with pytest.raises(EngineError, match=r"is damaged: its sha256 is .*it is not loaded"):
            read_plan(plan.path, plan.sidecar.sha256)
    plan.path.write_bytes(CONTENT)
    assert plans.find(key()).state == "fits"


@pytest.mark.parametrize("length", [0, 1, 4095, 4097])
def test_another_length_is_damage(plans, length):
    plan = add(plans)
    plan.path.write_bytes((CONTENT + b"x")[:length])
    found = plans.find(key())
    assert found.state == "damaged"
    assert f"it has {length} bytes, expected 4096" in found.detail


def test_no_byte_of_the_sidecar_can_change_what_is_loaded(plans):
    plan = add(plans)
    sidecar = plan.path.with_suffix(".json")
    whole = sidecar.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        sidecar.write_bytes(damaged)
        found = plans.find(key())
        if found.state == "fits":  # a date, the time it took, the version of what built it
            assert found.plan.key == key()
            assert found.plan.sidecar.sha256 == plan.sidecar.sha256


def test_a_sidecar_of_another_plan_is_not_believed(plans):
    plan = add(plans)
    other = add(plans, key(precision="fp16"), b"another")
    plan.path.with_suffix(".json").write_bytes(other.path.with_suffix(".json").read_bytes())
    plan.path.write_bytes(b"another")
    found = plans.find(key())
    assert found.state == "damaged"
    assert "is of another key than its name says: precision fp16, here int8" in found.detail


@pytest.mark.parametrize("missing", [".plan", ".json"])
def test_one_without_the_other_is_nothing(plans, missing):
    plan = add(plans)
    plan.path.with_suffix(missing).unlink()
    assert plans.find(key()).state == "damaged"
    assert [type(entry) for entry in plans.all()] == [Broken]
    add(plans)
    assert plans.find(key()).state == "fits"


def test_a_link_is_not_followed(plans, tmp_path):
    plan = add(plans)
    plan.path.rename(tmp_path / "elsewhere")
    plan.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError, match=r"cannot read the plan .*symbolic links"):
        read_plan(plan.path, plan.sidecar.sha256)


@pytest.mark.parametrize("which", ["folder", "plan"])
def test_where_others_may_write_nothing_is_loaded(plans, which):
    plan = add(plans)
    (plans.folder if which == "folder" else plan.path).chmod(0o777)
    with pytest.raises(EngineError, match=r"others than this user .* a plan is code"):
        read_plan(plan.path, plan.sidecar.sha256)
    if which == "folder":
        with pytest.raises(EngineError, match="a plan is code; nothing is loaded"):
            plans.find(key())
    else:
        assert plans.find(key()).state == "damaged"


def test_a_plan_of_another_user_is_not_loaded(plans):
    plan = add(plans)
    try:
        os.chown(plan.path, 12345, -1)
    except PermissionError:
        pytest.skip("to give a file away takes root")
    found = plans.find(key())
    assert found.state == "damaged"
    assert "belongs to user 12345" in found.detail


# --- proved, refused ------------------------------------------------------------------------------


def test_proof_and_refusal_outlive_the_process(plans):
    plan = plans.prove(add(plans), gap=0.004)
    assert plan.good
    assert plans.find(key()).plan.sidecar.proven.gap == 0.004
    plans.refuse(plan, "its golden tiles: wn-0.png became gblur, expected wn")
    found = Plans(plans.folder, max_bytes=1).find(key())
    assert found.state == "refused"
    assert "does not serve: its golden tiles: wn-0.png became gblur" in found.detail
    assert not found.plan.good


def test_a_new_build_of_a_refused_plan_is_a_new_one(plans):
    plans.refuse(add(plans), "wrong")
    add(plans, content=b"built again")
    found = plans.find(key())
    assert found.state == "fits"
    assert read_plan(found.plan.path, found.plan.sidecar.sha256) == b"built again"


# --- size -----------------------------------------------------------------------------------------


def _driver(number: int):
    return key(platform=PLATFORM.model_copy(update={"driver": f"580.{number}"}))


def test_the_bound_takes_the_oldest_and_leaves_the_last_good(tmp_path, plans):
    small = Plans(tmp_path / "plans", max_bytes=10_000, now=plans._now)
    good = small.prove(add(small, _driver(0)), gap=0.0)
    _age(good, 100)
    failed = add(small, _driver(1))  # newer, and never proven
    add(small, _driver(2))
    kept = {p.path.name for p in small.all()}
    assert failed.path.name not in kept
    assert good.path.name in kept
    assert len(kept) == 2
    better = small.prove(small.find(_driver(2)).plan, gap=0.0)
    assert good.path.exists()  # what one may want to go back to stays until the next build
    add(small, _driver(3))
    assert not good.path.exists()
    assert better.path.exists()


def test_each_engine_and_precision_keeps_its_own_last_good(tmp_path):
    tight = Plans(tmp_path / "plans", max_bytes=1)
    for precision in ("fp32", "fp16", "int8"):
        for engine in ("screen", "confirm"):
            tight.prove(add(tight, key(engine=engine, precision=precision)), gap=0.0)
    assert len(tight.all()) == 6
    add(tight, _driver(7))
    assert len(tight.all()) == 7  # the new one fits what is here: it stays though the bound is met


def test_used_last_is_kept_longest(tmp_path):
    store = Plans(tmp_path / "plans", max_bytes=9000)
    first, second = add(store, _driver(0)), add(store, _driver(1))
    for plan in (first, second):
        _age(plan, 1000)
    store.used(first)
    add(store, _driver(2))
    assert first.path.exists()
    assert not second.path.exists()


def _age(plan: Plan, seconds: float) -> None:
    at = plan.path.stat().st_mtime - seconds
    os.utime(plan.path, (at, at))


def test_what_a_killed_builder_left_is_removed_by_the_next(plans):
    add(plans)
    for half in (f"{key().stem}.plan", f"{key().stem}.json", "timing-0123456789abcdef.cache"):
        (plans.folder / f".{half}.ab_c1234.part").write_bytes(b"half")
    (plans.folder / ".probe.part").write_bytes(b"full")
    (plans.folder / "tiny-int8-0000000000000000.plan").write_bytes(b"without words")
    (plans.folder / "somebody-elses.txt").write_text("stays")
    add(plans, key(precision="fp16"))
    assert names(plans) == {
        f"{key().stem}.plan",
        f"{key().stem}.json",
        f"{key(precision='fp16').stem}.plan",
        f"{key(precision='fp16').stem}.json",
        "somebody-elses.txt",
    }


def test_what_is_named_otherwise_is_somebody_elses_and_left_alone(plans):
    plans.folder.mkdir()
    others = {
        "package.json", "engines.json", "film.mkv.part", ".hidden.json", ".film.part", "a.plan",
        "tiny-int8-0000.json", "tiny-int4-0123456789abcdef.plan", "timing-of-belts.cache",
    }  # fmt: skip
    for name in others:
        (plans.folder / name).write_text("theirs")
    wanted = {f"{key().stem}.plan", f"{key().stem}.json"}
    for _ in range(2):  # at the second build there are plans of both kinds
        add(plans)
        assert names(plans) == others | wanted
    assert [entry.path.name for entry in plans.all()] == [f"{key().stem}.plan"]


# --- timing cache ---------------------------------------------------------------------------------


def test_the_timing_cache_is_of_one_platform_and_whole_or_empty(plans):
    other = PLATFORM.model_copy(update={"driver": "590.1"})
    assert plans.timing_cache(PLATFORM) == b""
    plans.keep_timing_cache(PLATFORM, b"measured")
    assert plans.timing_cache(PLATFORM) == b"measured"
    assert plans.timing_cache(other) == b""
    (path,) = plans.folder.glob("*.cache")
    for place in range(len(whole := path.read_bytes())):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert plans.timing_cache(PLATFORM) == b""
    plans.keep_timing_cache(other, b"measured elsewhere")
    add(plans)
    assert plans.timing_cache(other) == b""  # of no use here any more


# --- disks ----------------------------------------------------------------------------------------


def test_a_full_disk_keeps_what_was_there_and_nothing_new(small_disk):
    plans = Plans(small_disk / "plans", max_bytes=1_000_000)
    plans.prove(add(plans), gap=0.0)
    before = names(plans)
    hog = occupy(small_disk)
    with pytest.raises(EngineError, match=r"\(0\.5 MB\) was built and cannot be kept.*No space"):
        add(plans, key(precision="fp16"), bytes(500_000))
    assert names(plans) == before
    assert plans.find(key()).state == "fits"
    hog.unlink()
    add(plans, key(precision="fp16"), bytes(500_000))
    assert plans.find(key(precision="fp16")).state == "fits"


def test_a_read_only_disk_is_read(small_disk):
    plans = Plans(small_disk / "plans", max_bytes=1_000_000)
    plan = add(plans)
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    plans.used(plan)
    assert plans.find(key()).state == "fits"
    with pytest.raises(EngineError, match="Read-only file system"):
        plans.prove(plan, gap=0.0)
    with pytest.raises(EngineError, match=r"cannot be kept.*Read-only file system"):
        add(plans, key(precision="fp16"))


@pytest.mark.parametrize("closed", ["plans", "state"])
def test_a_folder_that_this_user_may_not_look_into_is_named(tmp_path, closed):
    plans = Plans(tmp_path / "state" / "plans", max_bytes=1_000_000)
    add(plans)
    folder = plans.folder if closed == "plans" else plans.folder.parent
    folder.chmod(0)
    with only_as_the_mode_says(), pytest.raises(EngineError) as caught:
        plans.find(key())
    folder.chmod(0o750)
    assert str(caught.value) == f"the plan folder {plans.folder} cannot be read: Permission denied"


def test_a_file_in_the_folders_place_is_named(tmp_path):
    (tmp_path / "plans").write_text("no folder")
    plans = Plans(tmp_path / "plans", max_bytes=1)
    with pytest.raises(EngineError, match="plans is not a folder; give another one under engine"):
        plans.find(key())
    with pytest.raises(EngineError, match="cannot be made: File exists"):
        add(plans)


# --- kill -9 --------------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from pathlib import Path
from inspector.engine.plans.store import Plans
from tests.engine.plans.conftest import key

left = int(sys.argv[2])

def step():
    # Before each thing that is done to the disk; the last one is never done.
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1

def audit(event, arguments):
    if event in {"open", "os.rename", "os.remove"} and sys.argv[1] in str(arguments[0]):
        step()

def fsync(fd, really=os.fsync):
    step()
    really(fd)

plans = Plans(Path(sys.argv[1]), max_bytes=9000)
sys.addaudithook(audit)
os.fsync = fsync
plans.add(key(), bytes(3000), engine_version="1", build_s=1)
"""


def test_a_kill_at_any_step_leaves_a_whole_plan_or_none(tmp_path):
    root = Path(__file__).parents[3]
    kills = 0
    for step in range(100):
        plans = Plans(tmp_path / str(step), max_bytes=9000)
        old = plans.prove(add(plans, _driver(0)), gap=0.0)
        plans.refuse(add(plans), "to be replaced")
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, str(plans.folder), str(step)],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        found = plans.find(key())
        if done.returncode == 0:
            assert found.state == "fits"
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
        # The old one whole and refused, the new one whole, or nothing that would be loaded.
        assert found.state in {"refused", "fits", "other", "damaged"}
        if found.state == "fits":
            assert read_plan(found.plan.path, found.plan.sidecar.sha256) == bytes(3000)
        assert plans.find(_driver(0)).plan == old
        add(plans)
        assert plans.find(key()).state == "fits"
        assert not list(plans.folder.glob(".*"))
    assert kills >= 10
