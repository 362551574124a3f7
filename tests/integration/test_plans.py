"""A station that builds its plan while it judges, on a simulated GPU with OpenVINO behind it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.engine import tiny_engine
from tests.engine.simulated_gpu import program, stand_in
from tests.engine.simulated_gpu.device import VARIABLE, Device
from tests.integration.station_process import StationProcess
from tests.integration.test_engines import engine_processes, post


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """One camera, whose pictures are all blurred; TensorRT is asked for."""
    tiny_engine.make(tmp_path / "engines", name="tiny")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), tiny_engine.picture("gblur"))
    source = {"kind": "images", "folder": str(pictures), "loop": True, "every_s": 0.02}
    engine = {
        "screen": "tiny",
        "folder": str(tmp_path / "engines"),
        "threads": 1,
        "runtime": "tensorrt",
        "precision": "int8",
        "max_batch": 4,
    }
    return {"engine": engine, "cameras": {"infeed": {"source": source}}}


def station(
    folder: Path, config: dict[str, Any], env: dict[str, str] | None = None, **device: Any
) -> StationProcess:
    env = (env or {}) | {
        VARIABLE: Device(**device).to_json(),
        stand_in.WRONG: str(folder / "wrong"),
    }
    return StationProcess(folder, config, env, program=program.__name__)


def fact(running: StationProcess, name: str) -> dict[str, Any]:
    facts = {fact["name"]: fact for fact in running.get("/readyz").json()["facts"]}
    return dict(facts.get(name, {"ok": None, "detail": ""}))


def building(running: StationProcess, what: str) -> dict[str, Any] | None:
    """What readiness says while a plan is built."""
    told = fact(running, "plan screen")
    return told if f"the plan of {what} is being built: " in told["detail"] else None


def engine(running: StationProcess) -> dict[str, Any]:
    return dict(running.get("/api/status").json()["engines"]["screen"])


def balanced(running: StationProcess) -> dict[str, Any]:
    """The camera's counters, once nothing is missing in them; what was lost is nothing."""
    counters = dict(running.camera("infeed")["counters"])
    dropped = sum(counters["dropped"].values())
    assert counters["frames_in"] == counters["judged"] + dropped + counters["in_flight"]
    assert counters["dropped"].get("engine_error", 0) == 0
    return counters


def test_it_judges_at_once_builds_and_swaps_without_losing_a_frame(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with station(tmp_path, config, step_s=0.5) as running:
        running.wait_ready()
        assert running.get("/readyz").status_code == 200
        before = engine(running)
        assert (before["runtime"], before["degraded"]) == ("openvino", True)
        assert before["reason"] == "openvino judges, not tensorrt: no plan of tiny yet"
        running.until("verdict", lambda: running.camera("infeed")["last_verdict"])
        running.until(
            "progress", lambda: "Timing graph nodes" in fact(running, "plan screen")["detail"]
        )
        assert not fact(running, "plan screen")["ok"]
        assert building(running, "tiny int8")
        told = running.get("/metrics").text
        assert "inspector_degraded 1.0" in told
        assert "inspector_plan_building 1.0" in told, "nobody has to be called for that"
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
        after = engine(running)
        assert (after["precision"], after["degraded"], after["reason"]) == ("int8", False, None)
        running.until("word", lambda: fact(running, "plan screen")["ok"])
        assert fact(running, "plan screen") == {
            "name": "plan screen",
            "ok": True,
            "gates": False,
            "detail": "the plan of tiny int8 serves",
        }
        assert after["changes"] == {"upgraded": 1}
        judged = balanced(running)["judged"]
        running.until("verdicts", lambda: balanced(running)["judged"] > judged + 10)
        told = running.get("/metrics").text
        assert "inspector_degraded 0.0" in told
        assert "inspector_plan_building 0.0" in told
        assert running.camera("infeed")["last_verdict"]["label"] == "gblur"
        assert running.terminate() == 0
    lines = running.log()
    messages = [line["message"] for line in lines]
    assert "plan: building" in messages
    assert messages.index("ready") < messages.index("plan: serves")
    # The second start finds it there, and never judges on anything else.
    with station(tmp_path, config, die_at="Building Engine") as running:
        running.wait_ready()
        assert engine(running)["runtime"] == "tensorrt"
        assert engine(running)["plan"] is None
        assert running.terminate() == 0


def test_a_plan_for_something_else_is_built_anew(config: dict[str, Any], tmp_path: Path) -> None:
    with station(tmp_path, config) as running:
        running.wait_ready()
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
    changed = {"version": "11.4.0.106", "gpu": "Other GPU", "driver": "590.1"}
    with station(tmp_path, config, step_s=0.3, **changed) as running:
        running.wait_ready()
        assert (
            "the plan of tiny int8 is for TensorRT 10.15.1.29, here 11.4.0.106; GPU Simulated GPU, "
            "here Other GPU; driver 580.65.06, here 590.1"
        ) in engine(running)["reason"]
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
        assert len(list((running.state / "plans").glob("tiny-int8-*.plan"))) == 2
        assert running.terminate() == 0


def test_a_damaged_plan_is_never_loaded_and_built_anew(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with station(tmp_path, config) as running:
        running.wait_ready()
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
    (plan,) = (running.state / "plans").glob("*.plan")
    content = bytearray(plan.read_bytes())
    content[3] ^= 1  # whoever loads that crashes
    plan.write_bytes(content)
    with station(tmp_path, config, step_s=0.3) as running:
        running.wait_ready()
        assert "is damaged: its sha256 is" in engine(running)["reason"]
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
        assert running.terminate() == 0


def test_a_build_that_fails_keeps_what_judges_and_says_why(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with station(tmp_path, config, free_mb=8) as running:
        running.wait_ready()
        running.until("failure", lambda: running._line("plan: none serves"))
        said = fact(running, "plan screen")
        assert not said["ok"]
        assert "no plan serves yet: " in said["detail"]
        assert "the GPU's memory is full" in said["detail"]
        running.until("note", lambda: "memory is full" in engine(running)["reason"])
        told = running.get("/metrics").text
        assert "inspector_degraded 1.0" in told
        assert "inspector_plan_building 0.0" in told, "somebody has to look at that"
        assert running.get("/readyz").status_code == 200
        judged = balanced(running)["judged"]
        running.until("verdicts", lambda: balanced(running)["judged"] > judged)
        assert running.terminate() == 0


def test_a_gpu_that_is_full_at_the_start_is_said_and_tried_again(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["engine"]["runtime"] = "auto"
    env = {stand_in.REAL_RUNTIME: "1"}
    with station(tmp_path, config, env) as running:
        running.wait_ready()
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
        assert running.terminate() == 0
    with station(tmp_path, config, env, free_mb=0) as running:
        running.wait_ready()
        running.until("try", lambda: (engine(running)["plan"] or {}).get("state") == "failed")
        running.until("note", lambda: "no plan serves yet" in engine(running)["reason"])
        said = engine(running)["reason"]
        assert said.startswith("openvino judges, not tensorrt: no plan serves yet: ")
        assert "failed: out of memory; end what else uses the GPU" in said
        running.until("verdict", lambda: balanced(running)["judged"])
        assert running.terminate() == 0


def test_a_builder_that_is_killed_costs_nothing_but_its_plan(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with station(tmp_path, config, hang_at="Timing graph nodes") as running:
        running.wait_ready()
        lock = running.state / "plans" / "builder.lock"
        running.until("builder", lambda: lock.exists() and lock.read_text())
        running.until("stage", lambda: "Building engine" in fact(running, "plan screen")["detail"])
        os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
        running.until("failure", lambda: fact(running, "plan screen")["detail"].startswith("no "))
        killed = "was killed by SIGKILL while Building engine"
        running.until("note", lambda: killed in engine(running)["reason"])
        assert balanced(running)["judged"] > 0
        assert [path.name for path in lock.parent.iterdir()] == [lock.name]
        assert running.terminate() == 0


def test_a_plan_that_computes_something_else_never_serves(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["engine"]["precision"] = "fp16"
    (tmp_path / "wrong").touch()
    with station(tmp_path, config) as running:
        running.wait_ready()
        running.until("refusal", lambda: fact(running, "plan screen")["detail"].startswith("no "))
        wrong = "does not reproduce its golden tiles"
        running.until("note", lambda: wrong in engine(running)["reason"])
        assert engine(running)["plan"]["state"] == "refused"
        assert running.camera("infeed")["last_verdict"]["label"] == "gblur"
        assert running.terminate() == 0
    # It is not loaded, and not built again either, until somebody asks for that.
    with station(tmp_path, config, die_at="Building Engine") as running:
        running.wait_ready()
        assert "does not serve: " in engine(running)["reason"]
        assert engine(running)["plan"] is None
        assert running.terminate() == 0


def test_auto_takes_the_next_precision_where_one_cannot_be_built(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["engine"]["precision"] = "auto"
    with station(tmp_path, config, unsupported=["DequantizeLinear"]) as running:
        running.wait_ready()
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
        assert engine(running)["precision"] == "fp16"
        assert running.terminate() == 0


def test_auto_serves_by_the_first_plan_at_once_and_by_the_faster_one_after(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["engine"]["precision"] = "auto"
    with station(tmp_path, config, step_s=0.3, slow=["int8"]) as running:
        running.wait_ready()
        running.until("first", lambda: engine(running)["precision"] == "int8")
        running.until("runtime", lambda: engine(running)["runtime"] == "tensorrt")
        told = running.until("rival", lambda: building(running, "tiny fp16"))
        assert told["ok"], "it serves on TensorRT, nothing is wrong"
        assert told["detail"].startswith("the plan of tiny int8 serves, and may be slower; ")
        assert "inspector_degraded 0.0" in running.get("/metrics").text
        running.until("faster", lambda: engine(running)["precision"] == "fp16")
        running.until(
            "word",
            lambda: fact(running, "plan screen")["detail"].startswith(
                "the plan of tiny fp16 serves: int8 takes "
            ),
        )
        assert engine(running)["changes"] == {"upgraded": 2}
        judged = balanced(running)["judged"]
        running.until("verdicts", lambda: balanced(running)["judged"] > judged + 10)
        # A lost one comes back by the same plan.
        (pid,) = engine_processes(running)
        os.kill(pid, signal.SIGKILL)
        running.until("restored", lambda: engine(running)["changes"].get("restored"))
        assert engine(running)["precision"] == "fp16"
        assert running.terminate() == 0
    with station(tmp_path, config, die_at="Building Engine") as running:
        running.wait_ready()
        assert (engine(running)["precision"], engine(running)["plan"]) == ("fp16", None)
        assert running.terminate() == 0


def test_auto_stays_with_the_first_plan_where_the_other_cannot_be_built(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with station(tmp_path, config) as running:
        running.wait_ready()
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
        assert running.terminate() == 0
    config["engine"]["precision"] = "auto"
    with station(tmp_path, config, free_mb=8) as running:
        running.wait_ready()
        running.until("end", lambda: (engine(running)["plan"] or {}).get("state") == "serving")
        told = fact(running, "plan screen")
        assert told["ok"]
        assert "the plan of tiny int8 serves: fp16 is not measured: " in told["detail"]
        assert "the GPU's memory is full" in told["detail"]
        assert not engine(running)["degraded"]
        assert running.terminate() == 0


def test_a_station_that_stops_takes_its_builder_along(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with station(tmp_path, config, hang_at="Timing graph nodes") as running:
        running.wait_ready()
        lock = running.state / "plans" / "builder.lock"
        running.until("builder", lambda: lock.exists() and lock.read_text())
        builder = json.loads(lock.read_text())["pid"]
        assert running.terminate() == 0
    deadline = time.monotonic() + 20
    while Path(f"/proc/{builder}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{builder}").exists()


def test_an_unwritable_plan_folder_is_said_and_the_station_judges(
    config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    config["engine"]["plans"] = str(tmp_path / "file")
    with station(tmp_path, config) as running:
        running.wait_ready()
        assert "is not a folder; give another one under engine.plans" in engine(running)["reason"]
        running.until("verdict", lambda: balanced(running)["judged"])
        assert running.terminate() == 0


def test_without_a_fallback_it_waits_for_the_plan_and_then_serves(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["engine"]["fallback"] = "none"
    with station(tmp_path, config, step_s=0.3) as running:
        running.wait_ready()
        assert engine(running)["runtime"] == "tensorrt"
        assert running.terminate() == 0


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ({"free_mb": 8}, "the GPU's memory is full"),
        ({"unsupported": ["GlobalAveragePool"]}, "operator GlobalAveragePool at node"),
        ({"die_at": "Building Engine"}, "was killed by SIGKILL"),
        ("unwritable", "is not a folder; give another one under engine.plans"),
    ],
    ids=["full", "unsupported", "killed", "unwritable"],
)
def test_without_a_fallback_and_without_a_plan_it_ends_with_status_3(
    config: dict[str, Any], tmp_path: Path, device: Any, why: str
) -> None:
    config["engine"]["fallback"] = "none"
    if device == "unwritable":
        (tmp_path / "file").write_text("no folder")
        config["engine"]["plans"] = str(tmp_path / "file")
        device = {}
    with station(tmp_path, config, **device) as running:
        assert running.process.wait(60) == 3
        said = running.log_path.read_text()
        assert why in said
        assert "mend that, or allow openvino under engine.fallback" in said
        assert "Traceback" not in said


def test_told_to_stop_while_it_waits_for_its_plan_it_ends_at_once(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["engine"]["fallback"] = "none"
    with station(tmp_path, config, hang_at="Timing graph nodes") as running:
        lock = running.state / "plans" / "builder.lock"
        running.until("builder", lambda: lock.exists() and lock.read_text())
        assert running.terminate() == 0
        assert running.log()[-1]["message"] == "stopped before it was ready"


def test_without_a_fallback_an_engine_without_a_plan_is_not_activated(
    config: dict[str, Any], tmp_path: Path
) -> None:
    tiny_engine.make(tmp_path / "engines", "other")
    config["engine"]["fallback"] = "none"
    with station(tmp_path, config) as running:
        running.wait_ready()
        answer = post(running, "/api/engines/other/activate")
        assert answer.status_code == 422
        said = answer.json()["detail"]
        assert said == (
            "no plan of other yet; run inspector engines build other first, for this station"
        )
        assert (engine(running)["name"], engine(running)["runtime"]) == ("tiny", "tensorrt")
        assert running.terminate() == 0


def test_two_stations_share_one_folder_and_one_build(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["engine"]["plans"] = str(tmp_path / "plans")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with (
        station(folders[0], config, step_s=0.5) as one,
        station(folders[1], config, step_s=0.5) as two,
    ):
        for running in (one, two):
            running.wait_ready()
        for running in (one, two):
            running.until("swap", lambda r=running: engine(r)["runtime"] == "tensorrt")
        assert len(list((tmp_path / "plans").glob("*.plan"))) == 1
        (sidecar,) = (tmp_path / "plans").glob("*.json")
        assert json.loads(sidecar.read_text())["proven"]["gap"] < 0.1
        assert one.terminate() == two.terminate() == 0


def test_our_runtime_runs_the_plan_that_our_builder_made(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """The whole way over a simulated GPU: build, prove, swap, judge, stop."""
    with station(tmp_path, config, {stand_in.REAL_RUNTIME: "1"}) as running:
        running.wait_ready()
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
        judged = balanced(running)["judged"]
        running.until("verdicts", lambda: balanced(running)["judged"] > judged + 10)
        assert running.camera("infeed")["last_verdict"]["label"] == "gblur"
        assert running.terminate() == 0


def test_a_lost_gpu_is_stood_in_for_and_comes_back_by_its_plan(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with station(tmp_path, config) as running:
        running.wait_ready()
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
        (pid,) = engine_processes(running)
        os.kill(pid, signal.SIGKILL)
        running.until("stand-in", lambda: engine(running)["changes"].get("lost"))
        judged = balanced(running)["judged"]
        running.until("restored", lambda: engine(running)["changes"].get("restored"))
        running.until("verdicts", lambda: balanced(running)["judged"] > judged)
        assert engine(running)["runtime"] == "tensorrt"
        assert not engine(running)["degraded"]
        assert running.terminate() == 0


def test_an_activated_engine_judges_at_once_and_gets_its_own_plan(
    config: dict[str, Any], tmp_path: Path
) -> None:
    other = (*tiny_engine.CLASSES[1:], tiny_engine.CLASSES[0])
    tiny_engine.make(tmp_path / "engines", "other", classes=other)
    with station(tmp_path, config) as running:
        running.wait_ready()
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
        assert post(running, "/api/engines/other/activate").status_code == 200
        assert engine(running)["name"] == "other"
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt")
        running.until("label", lambda: running.camera("infeed")["last_verdict"]["label"] == "jp2k")
        # The plan of the one before is there: it judges on it from the first batch on.
        assert post(running, "/api/engines/rollback").status_code == 200
        assert (engine(running)["name"], engine(running)["runtime"]) == ("tiny", "tensorrt")
        assert len(list((running.state / "plans").glob("*.plan"))) == 2
        balanced(running)
        assert running.terminate() == 0


def test_a_build_for_an_engine_that_was_replaced_is_given_up(
    config: dict[str, Any], tmp_path: Path
) -> None:
    tiny_engine.make(tmp_path / "engines", "other", size=32)
    with station(tmp_path, config, step_s=5) as running:
        running.wait_ready()
        lock = running.state / "plans" / "builder.lock"
        running.until("builder", lambda: lock.exists() and "tiny" in lock.read_text())
        builder = json.loads(lock.read_text())["pid"]
        assert post(running, "/api/engines/other/activate").status_code == 200
        running.until("end", lambda: not Path(f"/proc/{builder}").exists())
        running.until("next", lambda: "other int8" in fact(running, "plan screen")["detail"])
        assert engine(running)["name"] == "other"
        assert running.terminate() == 0
