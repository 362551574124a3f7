"""`inspector engines build|list|verify`, `classify` and the doctor, on a simulated GPU."""

from __future__ import annotations

import json
from io import StringIO

import cv2
import pytest
import yaml
from rich.console import Console

from inspector.cli import status_of
from inspector.cli.engine_plans import Shown
from inspector.engine.plans.request import Stage
from tests.engine import tiny_engine
from tests.engine.plans.conftest import key
from tests.engine.simulated_gpu import stand_in


@pytest.fixture
def command(capfd):
    def run(*arguments):
        status = status_of([*map(str, arguments)])
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def station(tiny, tmp_path):
    """A station file that asks for TensorRT."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), tiny_engine.picture("gblur"))
    document = {
        "version": 1,
        "station": "test-01",
        "state": str(tmp_path / "state"),
        "engine": {
            "screen": "tiny",
            "folder": str(tiny.parent),
            "runtime": "tensorrt",
            "precision": "int8",
            "max_batch": 8,
            "threads": 1,
        },
        "cameras": {"infeed": {"source": {"kind": "images", "folder": str(pictures)}}},
        "web": {"listen": "127.0.0.1:0"},
    }
    file = tmp_path / "station.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def findings(command, station, subject):
    _, out, _ = command("doctor", station, "--json", "--seconds", "1")
    return [f for f in json.loads(out)["findings"] if f["subject"] == subject]


def test_a_plan_is_built_listed_verified_and_used(simulate, command, station, tmp_path):
    (row,) = findings(command, station, "plan")
    assert (row["name"], row["grade"], row["found"]) == (
        "tiny int8", "note", "no plan of tiny serves here",
    )  # fmt: skip
    assert "the station builds it while it judges" in row["remedy"]

    build = ["engines", "build", "--runtime", "tensorrt", "--station", station]
    status, out, err = command(*build)
    assert status == 0
    assert out.startswith("tiny: plan int8 built in 0 s, ")
    assert ", golden tiles within 0.0" in out
    assert "inspector: plan of tiny int8: 0 %, reading" in err
    status, out, _ = command(*build, "--json")
    (built,) = json.loads(out)
    assert (status, built["made"], built["precision"]) == (0, False, "int8")

    status, out, err = command("engines", "list", "--station", station, "--json")
    assert (status, err) == (0, "")
    (plan,) = json.loads(out)["plans"]
    assert (plan["what"], plan["state"]) == ("tiny int8", "good")
    status, out, _ = command("engines", "list", "--station", station)
    assert "Plans in " in out
    assert " good " in out

    status, out, _ = command(
        "engines", "verify", "--runtime", "tensorrt", "--station", station, "--json"
    )
    (check,) = json.loads(out)
    assert (status, check["ok"], check["runtime"], check["precision"]) == (
        0, True, "tensorrt", "int8",
    )  # fmt: skip

    picture = tmp_path / "pictures" / "0.png"
    status, out, _ = command(
        "classify", picture, "--engine", "tiny", "--folder", tmp_path / "engines",
        "--station", station, "--json",
    )  # fmt: skip
    answer = json.loads(out)
    assert (status, answer["label"], answer["engine"]["runtime"]) == (0, "gblur", "tensorrt")

    (row,) = findings(command, station, "plan")
    assert (row["name"], row["grade"]) == ("tiny int8", "good")
    (row,) = [f for f in findings(command, station, "engine") if f["name"] == "screen tiny"]
    assert (row["grade"], row["facts"]["runtime"]) == ("good", "tensorrt")


def test_auto_builds_what_is_worth_comparing_and_says_which_is_to_judge(simulate, command, station):
    document = yaml.safe_load(station.read_text())
    document["engine"]["precision"] = "auto"
    station.write_text(yaml.safe_dump(document))
    simulate(slow=["int8"])
    build = ["engines", "build", "--runtime", "tensorrt", "--station", station]
    status, out, _ = command(*build)
    assert status == 0
    first, second = out.splitlines()
    assert first.startswith("tiny: plan int8 built in 0 s, ")
    assert second.startswith("tiny: plan fp16 built in 0 s, ")
    assert "it is to judge" not in first
    assert "; it is to judge: int8 takes " in second
    status, out, _ = command(*build, "--json")
    assert [(row["precision"], row["made"]) for row in json.loads(out)] == [("fp16", False)]
    _, out, _ = command("engines", "list", "--station", station, "--json")
    details = {row["what"]: row["detail"] for row in json.loads(out)["plans"]}
    assert "it judges: int8 takes " in details["tiny fp16"]
    assert "judges" not in details["tiny int8"]
    simulate(unsupported=["GlobalAveragePool"])
    for plan in (station.parent / "state" / "plans").glob("tiny-fp16-*"):
        plan.unlink()
    status, out, err = command(*build)
    assert status == 0
    assert "inspector: tiny fp16 is not measured: " in err
    assert "operator GlobalAveragePool" in err
    (row,) = out.splitlines()
    assert row.startswith("tiny: plan int8 there, ")


def test_a_terminal_sees_a_bar_with_the_time_that_is_left():
    screen = Console(file=StringIO(), force_terminal=True, width=100)
    with Shown(screen) as on_stage:
        on_stage(key(), Stage(stage="Timing graph nodes", percent=43.0, left_s=170.0))
    told = screen.file.getvalue()
    assert "plan of tiny int8" in told
    assert "43%" in told
    assert "Timing graph nodes, about 3 min left" in told


def test_why_a_plan_does_not_fit_is_told(simulate, command, station, tmp_path):
    build = ["engines", "build", "--runtime", "tensorrt", "--station", station]
    assert command(*build)[0] == 0
    simulate(driver="590.1")
    _, out, _ = command("engines", "list", "--station", station, "--json")
    rows = {(row["state"], row["detail"]) for row in json.loads(out)["plans"]}
    assert ("other", "it is for driver 580.65.06, here 590.1") in rows
    grades = {(f["name"], f["grade"]) for f in findings(command, station, "plan")}
    assert grades == {("tiny int8", "note")}  # the one that is there, and that one is wanted
    status, _, err = command("engines", "verify", "--runtime", "tensorrt", "--station", station)
    assert status == 1
    assert "driver 580.65.06, here 590.1" in err
    (row,) = [f for f in findings(command, station, "engine") if f["name"] == "screen tiny"]
    assert (row["grade"], row["facts"]["runtime"]) == ("mend", "openvino")
    simulate()
    plan = next((tmp_path / "state" / "plans").glob("*.plan"))
    plan.write_bytes(b"x" * plan.stat().st_size)
    _, out, _ = command("engines", "list", "--station", station, "--json")
    assert next(row["state"] for row in json.loads(out)["plans"]) == "damaged"
    before = sorted((tmp_path / "state").rglob("*"))
    assert {f["grade"] for f in findings(command, station, "plan")} == {"note"}
    assert sorted((tmp_path / "state").rglob("*")) == before
    assert command(*build)[0] == 0
    assert command("engines", "verify", "--runtime", "tensorrt", "--station", station)[0] == 0


def test_a_refused_plan_is_built_again_only_when_asked(
    simulate, command, station, tmp_path, monkeypatch
):
    monkeypatch.setenv(stand_in.WRONG, str(tmp_path / "wrong"))
    (tmp_path / "wrong").touch()
    build = ["engines", "build", "--runtime", "tensorrt", "--station", station]
    build += ["--precision", "fp16"]
    status, _, err = command(*build)
    assert status == 1
    assert "does not reproduce its golden tiles and does not serve" in err
    (tmp_path / "wrong").unlink()
    simulate(die_at="Building Engine")
    status, _, err = command(*build)
    assert status == 1
    assert "does not serve: engine tiny on tensorrt (fp16" in err
    (row,) = [f for f in findings(command, station, "plan") if f["name"] == "tiny fp16"]
    assert (row["grade"], "--again" in row["remedy"]) == ("mend", True)
    simulate()
    assert command(*build, "--again")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--runtime", "tensorrt"], "where is the plan to lie"),
        (["--plans", "a", "--station", "b"], "give --station or --plans, not both"),
    ],
)
def test_a_mistake_is_one_message(command, engines, arguments, said):
    status, _, err = command("engines", "build", "--folder", engines, *arguments)
    assert status == 2
    assert said in err


def test_without_a_gpu_auto_derives_and_says_why_there_is_no_plan(command, engines, tmp_path):
    place = ["--folder", engines, "--plans", tmp_path / "plans"]
    status, out, err = command("engines", "build", *place)
    assert status == 0
    assert "nothing to derive: tiny" in out
    assert "no plan was built: TensorRT cannot run here: there is no NVIDIA driver" in err
    status, _, err = command("engines", "build", *place, "--runtime", "tensorrt")
    assert status == 1
    assert "inspector: TensorRT cannot run here: there is no NVIDIA driver" in err
    status, out, err = command("engines", "list", *place)
    assert status == 0
    assert "TensorRT cannot run here" in err
    assert not (tmp_path / "plans").exists()


def test_the_gpu_bench_tells_speed_shares_and_the_ceiling(
    simulate, command, station, tmp_path, monkeypatch
):
    monkeypatch.setenv(stand_in.REAL_RUNTIME, "1")
    bench = ["engines", "bench", "tiny", "--runtime", "tensorrt", "--seconds", "0.05"]
    bench += ["--batch", "1", "--batch", "3"]
    status, _, err = command(*bench)
    assert (status, "Give --station FILE or --plans FOLDER" in err) == (2, True)
    status, _, err = command(*bench, "--station", station)
    assert status == 1
    assert "inspector engines build makes one" in err

    assert command("engines", "build", "--runtime", "tensorrt", "--station", station)[0] == 0
    status, out, err = command(*bench, "--station", station, "--json")
    assert status == 0, err
    told = json.loads(out)
    assert (told["runtime"], told["platform"]["gpu"]) == ("tensorrt", "Simulated GPU")
    assert [(row["precision"], row["batch"]) for row in told["speeds"]] == [
        ("int8", 1),
        ("int8", 3),
    ]
    for row in told["speeds"]:
        assert row["tiles_per_s"] > 0
        assert row["p50_ms"] <= row["p99_ms"]
        assert row["of_ceiling"] == pytest.approx(
            row["tiles_per_s"] / row["ceiling_tiles_per_s"], abs=0.01
        )
        assert row["copy_in"] + row["compute"] + row["copy_out"] == pytest.approx(1, abs=0.01)
    status, out, _ = command(*bench, "--station", station)
    assert status == 0
    assert "tiny on TensorRT 10.15.1.29, Simulated GPU" in out
    print(out)
    assert "ceiling" in out
    assert "…" not in out
