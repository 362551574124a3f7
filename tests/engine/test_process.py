"""An engine process that dies, hangs or talks nonsense: its owner says so, and waits no longer."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from inspector.engine.manifest import read_manifest
from inspector.engine.process.client import EngineProcess
from inspector.engine.process.limits import Limits
from inspector.engine.process.opening import open_engine
from inspector.engine.process.spec import OpenVinoSpec, TensorRtSpec
from inspector.engine.runtime import TileRef
from inspector.engine.tiling import Tile
from inspector.errors import EngineError, EngineLostError
from inspector.slots import Ring
from tests.engine import tiny_engine
from tests.engine.faulty import Faulty

WAIT_S = 30


@pytest.fixture
def ring():
    ring = Ring.create("cam/1", slots=1, max_pixels=96 * 128)
    ring.picture(0, 96, 128)[:] = tiny_engine.picture("wn")
    yield ring
    ring.close()


@pytest.fixture
def opened(ring):
    made = []

    def make(spec, **limits):
        process = EngineProcess(spec, limits=Limits(**limits))
        made.append(process)
        process.map_ring(ring)
        assert process.submit(refs(ring)).result(WAIT_S).shape == (2, 8)
        process.expect_answers_within(0.8)
        return process

    yield make
    for process in made:
        process.close()


def refs(ring):
    return [TileRef(ring.key, 0, 96, 128, Tile(x, 0, 64)) for x in (0, 64)]


def alive(pid):
    """Whether a process is there; one that waits for its parent is not."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter between opening and reading
        return False


def until(truth):
    deadline = time.monotonic() + WAIT_S
    while not truth():
        assert time.monotonic() < deadline
        time.sleep(0.01)


FATAL = {
    "segfaults": "killed by signal 11",
    "ends": "ended with status 7",
    "never answers": "no answer within 0.8 s",
    "blocks": "no answer within 0.8 s",
    "keeps the interpreter's lock": "no sign of life for 0.7 s",
    "sends garbage": "what it answers is nonsense",
    "answers too many rows": "3 rows for batch 2, expected 2 rows",
    "answers no rows": "what it answers is nonsense",
    "is lost": "CUDA_ERROR_LAUNCH_FAILED",
}


@pytest.mark.parametrize("fault", FATAL)
def test_a_process_that_goes_wrong_is_lost_with_all_that_was_in_flight(
    engines, tmp_path, opened, ring, fault
):
    flag = tmp_path / "flag"
    process = opened(Faulty(engines / "tiny", fault, flag))
    told = []
    process.when_lost(told.append)
    flag.touch()
    waiting = [process.submit(refs(ring)) for _ in range(3)]
    for future in waiting:
        if fault != "sends garbage":  # it may have answered by then
            with pytest.raises(EngineLostError, match=FATAL[fault]):
                future.result(WAIT_S)
    until(lambda: process.lost)
    with pytest.raises(EngineLostError, match=FATAL[fault]):
        process.submit(refs(ring)).result(WAIT_S)
    until(lambda: not alive(process.pid))
    until(lambda: told)
    late = []
    process.when_lost(late.append)
    assert late == told, "once, and the same to whoever asks later"


@pytest.mark.parametrize(
    ("number", "why"), [(signal.SIGKILL, "killed by signal 9"), (signal.SIGSTOP, "no sign of life")]
)
@pytest.mark.parametrize("busy", [True, False])
def test_a_process_that_is_killed_or_stopped_is_lost_also_when_it_has_nothing_to_do(
    engines, tmp_path, opened, ring, number, why, busy
):
    flag = tmp_path / "flag"
    process = opened(Faulty(engines / "tiny", "never answers", flag), answer_s=WAIT_S)
    process.expect_answers_within(WAIT_S)
    told = threading.Event()
    process.when_lost(lambda _: told.set())
    flag.touch()
    future = process.submit(refs(ring)) if busy else None
    os.kill(process.pid, number)
    assert told.wait(WAIT_S)
    assert why in process.lost
    if future is not None:
        with pytest.raises(EngineLostError, match=why):
            future.result(WAIT_S)
    until(lambda: not alive(process.pid))


@pytest.mark.parametrize(
    ("fault", "said"),
    [("fails", "out of memory"), ("answers no numbers", None), ("answers too few classes", None)],
)
def test_a_batch_that_fails_costs_itself_alone(engines, tmp_path, opened, ring, fault, said):
    """Numbers and classes are held against the manifest by whoever makes a verdict of them."""
    flag = tmp_path / "flag"
    process = opened(Faulty(engines / "tiny", fault, flag))
    flag.touch()
    future = process.submit(refs(ring))
    if said is None:
        assert len(future.result(WAIT_S)) == 2
    else:
        with pytest.raises(EngineError, match=f"in a process of its own: {said}"):
            future.result(WAIT_S)
    flag.unlink()
    assert process.submit(refs(ring)).result(WAIT_S).argmax() == tiny_engine.CLASSES.index("wn")
    assert process.lost is None


def test_whoever_waits_for_room_is_told_too(engines, tmp_path, opened, ring):
    flag = tmp_path / "flag"
    process = opened(Faulty(engines / "tiny", "never answers", flag), answer_s=WAIT_S)
    process.expect_answers_within(WAIT_S)
    flag.touch()
    waiting = [process.submit(refs(ring)) for _ in range(3)]
    came = []

    def submit():
        came.append(process.submit(refs(ring)).exception(WAIT_S))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    os.kill(process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(WAIT_S)
    assert [type(error) for error in came] == [EngineLostError] * 4
    assert all(future.done() for future in waiting)


def test_a_process_that_does_not_end_is_ended(engines, tmp_path, opened, ring):
    flag = tmp_path / "flag"
    process = opened(Faulty(engines / "tiny", "blocks", flag), close_s=0.3)
    process.expect_answers_within(WAIT_S)
    told = []
    process.when_lost(told.append)
    flag.touch()
    future = process.submit(refs(ring))
    process.close()
    assert not alive(process.pid)
    with pytest.raises(EngineLostError, match=r"did not end within 0\.3 s"):
        future.result(0)
    assert told == [], "who closes it has not lost it"


@pytest.mark.parametrize(
    ("fault", "said"),
    [("does not open", "it does not open"), ("crashes at the start", "it ended with status 9")],
)
def test_one_that_cannot_be_opened_says_why(engines, tmp_path, fault, said):
    flag = tmp_path / "flag"
    flag.touch()
    with pytest.raises(EngineError, match=said):
        EngineProcess(Faulty(engines / "tiny", fault, flag))
    with pytest.raises(EngineError, match="manifest"):
        EngineProcess(OpenVinoSpec(tmp_path / "none", "fp32", 4))


def test_one_that_takes_too_long_to_open_is_given_up(engines):
    with pytest.raises(EngineError, match=r"was not ready within 0\.01 s"):
        EngineProcess(OpenVinoSpec(engines / "tiny", "fp32", 4), limits=Limits(start_s=0.01))


def test_another_engine_in_the_folder_is_refused(tmp_path):
    home = tiny_engine.make(tmp_path)
    manifest = read_manifest(home)
    document = tiny_engine.read_document(home)
    tiny_engine.write_manifest(home, document | {"version": "0.2.0"})
    with pytest.raises(EngineError, match=r"tiny 0\.2\.0, expected tiny 0\.1\.0; activate it"):
        open_engine(manifest, OpenVinoSpec(home, "fp32", 4, threads=1))


def test_an_engine_process_that_does_not_reproduce_its_golden_tiles_does_not_serve(
    engines, tmp_path
):
    flag = tmp_path / "flag"
    flag.touch()
    manifest = read_manifest(engines / "tiny")
    with pytest.raises(EngineError, match="does not reproduce its golden tiles"):
        open_engine(manifest, Faulty(engines / "tiny", "answers no numbers", flag))


def test_specs_are_values_that_travel():
    for spec in (
        OpenVinoSpec(Path("engines/simplenet"), "int8", 4, threads=2),
        TensorRtSpec(Path("engines/simplenet"), "fp16", 16, Path("plans/x.plan"), "0" * 64),
    ):
        assert pickle.loads(pickle.dumps(spec)) == spec


_OWNER = """
import os, signal, sys
from pathlib import Path
from inspector.engine.process.client import EngineProcess
from tests.engine.faulty import Faulty
from inspector.slots import Ring
from tests.engine.test_process import refs
home = Path(sys.argv[1])
process = EngineProcess(Faulty(home, "keeps the interpreter's lock", flag=home))
ring = Ring.create("cam/1", slots=1, max_pixels=96 * 128)
process.map_ring(ring)
if sys.argv[2] == "busy":
    process.submit(refs(ring))
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("what", ["busy", "idle"])
def test_it_ends_with_its_owner_however_that_ends(engines, what):
    """Also while a native library has it, and keeps the interpreter's lock."""
    done = subprocess.run(
        [sys.executable, "-c", _OWNER, str(engines / "tiny"), what],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    until(lambda: not alive(pid))
