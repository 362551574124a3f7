"""`inspector engines list|verify|bench` on real engine folders."""

from __future__ import annotations

import json

import pytest

from inspector.cli import status_of
from inspector.engine.load import available_precisions
from inspector.engine.manifest import read_manifest
from tests.engine import tiny_engine


@pytest.fixture
def engines_command(capfd):
    def run(*arguments):
        status = status_of(["engines", *map(str, arguments)])
        return status, *capfd.readouterr()

    return run


def test_list_shows_what_there_is(engines_command, engines):
    status, out, err = engines_command("list", "--folder", engines, "--json")
    assert (status, err) == (0, "")
    (row,) = json.loads(out)["engines"]
    assert (row["name"], row["version"], row["accuracy"]) == ("tiny", "0.1.0", 1.0)
    assert row["files"]["int8"] == (engines / "tiny" / "model.int8.onnx").stat().st_size
    assert row["budget_proven"] is False
    status, out, _ = engines_command("list", "--folder", engines)
    assert status == 0
    (line,) = [line for line in out.splitlines() if "tiny" in line and "0.1.0" in line]
    assert "0.10%" in line
    assert line.strip("│").split("│")[-1].strip() == "no"


def test_list_names_a_faulty_engine_and_shows_the_others(engines_command, tiny):
    tiny_engine.make(tiny.parent, "other")
    document = tiny_engine.read_document(tiny)
    document["manifest"] = 7
    tiny_engine.write_manifest(tiny, document)
    status, out, err = engines_command("list", "--folder", tiny.parent)
    assert status == 1
    assert "other" in out
    assert "manifest: Input should be 1 (came 7)" in err
    status, out, _ = engines_command("list", "--folder", tiny.parent, "--json")
    assert [sorted(row) for row in json.loads(out)["engines"]][1] == ["error", "name"]


def test_list_and_verify_go_on_after_an_engine_that_yaml_cannot_take(engines_command, tiny):
    tiny_engine.make(tiny.parent, "other")
    (tiny / "manifest.yaml").write_text("released: 2026-02-30\n")
    status, out, err = engines_command("list", "--folder", tiny.parent)
    assert (status, "other" in out) == (1, True)
    assert "manifest.yaml holds a value that YAML cannot take" in err
    status, out, _ = engines_command("verify", "--folder", tiny.parent, "--json")
    assert status == 1
    checks = json.loads(out)
    assert {check["engine"] for check in checks if check["ok"]} == {"other"}
    assert {check["engine"] for check in checks if not check["ok"]} == {"tiny"}


def test_verify_holds_every_precision_against_the_golden_tiles(engines_command, engines):
    status, out, err = engines_command("verify", "--folder", engines, "--json")
    assert (status, err) == (0, "")
    checks = json.loads(out)
    precisions = available_precisions(read_manifest(engines / "tiny"))
    assert [check["precision"] for check in checks] == list(precisions)
    assert all(check["ok"] and check["gap"] <= check["tolerance"] for check in checks)
    status, out, _ = engines_command("verify", "tiny", "--folder", engines)
    assert status == 0
    assert out.count("right") == len(precisions)


def test_verify_fails_on_a_damaged_file(engines_command, tiny):
    (tiny / "golden" / "wn-0.png").unlink()
    status, out, err = engines_command("verify", "--folder", tiny.parent)
    assert status == 1
    assert "wrong" in out
    assert "golden/wn-0.png: No such file" in err


def test_verify_fails_where_one_precision_is_off_and_says_how_far(engines_command, tiny):
    # A wrong export: the int8 file of an engine whose labels lie in another order.
    other = tiny_engine.make(tiny.parent, "other", classes=tiny_engine.CLASSES)
    import onnx
    from onnx import numpy_helper

    model = onnx.load(other / "model.int8.onnx")
    for weight in model.graph.initializer:
        if weight.name == "corners_q":
            weight.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(weight)[::-1].copy(), weight.name)
            )
    (tiny / "model.int8.onnx").write_bytes(model.SerializeToString())
    document = tiny_engine.read_document(tiny)
    document["files"]["int8"] = tiny_engine.entry(tiny, "model.int8.onnx")
    tiny_engine.write_manifest(tiny, document)
    status, out, err = engines_command("verify", "tiny", "--folder", tiny.parent, "--json")
    assert status == 1
    wrong = [check for check in json.loads(out) if not check["ok"]]
    assert [check["precision"] for check in wrong] == ["int8"]
    assert "16 of 16 labels changed: bad_lighting-0.png became wn" in wrong[0]["detail"]
    assert err == ""


def test_verify_of_a_runtime_that_is_not_there(engines_command, engines, tmp_path):
    wanted = ["verify", "tiny", "--folder", engines, "--runtime", "tensorrt"]
    status, _, err = engines_command(*wanted, "--plans", tmp_path)
    assert status == 1
    assert "inspector: TensorRT cannot run here: there is no NVIDIA driver" in err
    status, _, err = engines_command(*wanted)
    assert status == 2
    assert "Give --station FILE or --plans FOLDER" in err


def test_verify_of_nothing_is_no_success(engines_command, tmp_path):
    status, _, err = engines_command("verify", "--folder", tmp_path)
    assert status == 1
    assert "no engines in" in err


def test_bench_measures_and_compares(engines_command, engines):
    status, out, err = engines_command(
        "bench", "tiny", "--folder", engines, "--threads", 1, "--batch", 1, "--batch", 4,
        "--seconds", 0.02, "--json",
    )  # fmt: skip
    assert (status, err) == (0, "")
    report = json.loads(out)
    precisions = available_precisions(read_manifest(engines / "tiny"))
    rows = report["speeds"]
    assert sorted((row["precision"], row["batch"]) for row in rows) == sorted(
        (precision, batch) for precision in precisions for batch in (1, 4)
    )
    for row in rows:
        assert row["threads"] == 1
        assert row["batches"] >= 5
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        # two tiles are a frame of this engine
        assert row["frames_per_s"] == pytest.approx(row["tiles_per_s"] / 2, abs=0.1)
    assert [row["times_fp32"] for row in rows if row["precision"] == "fp32"] == [1.0, 1.0]
    status, out, _ = engines_command(
        "bench", "tiny", "--folder", engines, "--threads", 1, "--batch", 1, "--seconds", 0.02,
        "--precision", "int8",
    )  # fmt: skip
    assert status == 0
    assert "tiles/s" in out


@pytest.mark.parametrize("command", ["bench", "verify"])
def test_an_unknown_engine_is_a_users_mistake(engines_command, engines, command):
    status, _, err = engines_command(command, "giant", "--folder", engines)
    assert status == 2
    assert "no engine giant" in err
