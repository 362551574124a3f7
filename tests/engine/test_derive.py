"""An engine that carries its int8 file alone serves in every precision."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from inspector.cli import status_of
from inspector.engine.build import build_engine
from inspector.engine.derive import derived, halved
from inspector.engine.graph import read_graph, write_graph
from inspector.engine.load import available_precisions, load_engine
from inspector.engine.manifest import read_manifest
from inspector.engine.protobuf import coded, decoded
from inspector.engine.verify import verify_engine
from inspector.errors import EngineError
from tests.engine import tiny_engine

DERIVED = {"fp32": "model.onnx", "fp16": "model.fp16.onnx"}


@pytest.fixture
def bare(tiny):
    """The tiny engine with its int8 file alone; the manifest derives the others."""
    document = tiny_engine.read_document(tiny)
    int8 = (tiny / "model.int8.onnx").read_bytes()
    for precision, path in DERIVED.items():
        content = derived(int8, precision)
        (tiny / path).unlink()
        document["files"][precision] = {
            "path": path,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "derived_from": "int8",
        }
    tiny_engine.write_manifest(tiny, document)
    return tiny


def answers(model, tiles):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    return session.run(None, {"image": tiles})[0]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_derived_file_is_a_whole_onnx_file_without_quantisers(engines, precision):
    content = derived((engines / "tiny" / "model.int8.onnx").read_bytes(), precision)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert model.SerializeToString() == content  # written as onnx itself writes it
    kinds = [node.op_type for node in model.graph.node]
    assert kinds[0] == "Cast"
    assert not any("Quantize" in kind for kind in kinds)
    assert kinds.count("Cast") == (1 if precision == "fp32" else 3)
    weights = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    wanted = TensorProto.FLOAT if precision == "fp32" else TensorProto.FLOAT16
    heavy = [node for node in model.graph.node if node.op_type == "Conv"]
    for node in heavy:
        assert weights[node.input[1]].dtype == onnx.helper.tensor_dtype_to_np_dtype(wanted)


def test_derived_weights_are_steps_times_scales(engines):
    int8 = onnx.load(engines / "tiny" / "model.int8.onnx")
    stored = {i.name: numpy_helper.to_array(i) for i in int8.graph.initializer}
    fp32 = onnx.load_from_string(derived(int8.SerializeToString(), "fp32"))
    found = {i.name: numpy_helper.to_array(i) for i in fp32.graph.initializer}
    for name in ("means", "corners"):
        expected = stored[f"{name}_q"] * stored[f"{name}_scale"].reshape(-1, 1, 1, 1)
        np.testing.assert_array_equal(found[name], expected)
    assert not any(name.endswith(("_scale", "_zero", "_q")) for name in found)


def test_derived_files_answer_as_the_network_does(engines):
    tiles = np.stack([tiny_engine.picture(label, 64, 64) for label in ("wn", "gblur", "refimgs")])
    expected = answers((engines / "tiny" / "model.onnx").read_bytes(), tiles)
    int8 = (engines / "tiny" / "model.int8.onnx").read_bytes()
    np.testing.assert_allclose(answers(derived(int8, "fp32"), tiles), expected, atol=1e-4)
    np.testing.assert_allclose(answers(derived(int8, "fp16"), tiles), expected, atol=1e-2)


def test_a_weight_that_fp32_layers_read_too_stays_for_them():
    """A number used in the body and after it, such as a scale of 1 and a temperature of 1."""
    shape = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["a"]),
        onnx.helper.make_node("Mul", ["a", "one"], ["b"]),
        onnx.helper.make_node("Conv", ["b", "w"], ["c"]),
        onnx.helper.make_node("Div", ["c", "one"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.full((1, 1, 1, 1), 0.5, np.float32), "w"),
        numpy_helper.from_array(np.array(1, np.float32), "one"),
    ]
    ports = [shape(name, TensorProto.FLOAT, [1, 1, 2, 2]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    made = onnx.load_from_string(halved(model.SerializeToString()))
    onnx.checker.check_model(made, full_check=True)
    assert {i.name: i.data_type for i in made.graph.initializer} == {
        "one": TensorProto.FLOAT,
        "one_half": TensorProto.FLOAT16,
        "w_half": TensorProto.FLOAT16,
    }


def test_such_an_engine_serves_and_is_verified_in_every_precision(bare):
    read_manifest(bare).check_files()
    checks = verify_engine(bare)
    assert [check.precision for check in checks] == list(available_precisions(read_manifest(bare)))
    assert all(check.ok for check in checks), checks
    engine = load_engine(bare, precision="fp32", threads=1)
    engine.close()
    assert sorted(path.name for path in bare.glob("*.onnx")) == ["model.int8.onnx"]


def test_build_makes_what_is_missing_and_mends_what_is_damaged(bare, capfd):
    command = ["engines", "build", "tiny", "--folder", str(bare.parent)]
    assert status_of(command) == 0
    assert capfd.readouterr().out.count(" made, ") == 2
    manifest = read_manifest(bare)
    for precision, path in DERIVED.items():
        assert manifest.read_model(precision) == (bare / path).read_bytes()
    assert {path.name for path in bare.iterdir()} == {
        "golden", "manifest.yaml", "model.int8.onnx", *DERIVED.values()
    }  # fmt: skip
    (bare / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(EngineError, match=r"model.onnx has sha256 .*inspector engines build tiny"):
        manifest.check_files()
    assert status_of([*command, "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)
    assert {row["precision"]: row["made"] for row in rows} == {"fp32": True, "fp16": False}
    manifest.check_files()


HANGS = """
import os, sys, time
from inspector import cli
def hang(fd):
    print("hangs", flush=True)
    time.sleep(60)
os.fsync = hang
cli.main(["engines", "build", *sys.argv[1:]])
"""


def test_a_build_that_is_told_to_stop_leaves_nothing_half_done(bare):
    """SIGTERM in the middle of writing; the next build begins where nothing was."""
    before = sorted(path.name for path in bare.iterdir())
    command = [sys.executable, "-c", HANGS, bare.name, "--folder", str(bare.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as building:
        assert building.stdout.readline() == b"hangs\n"
        assert sorted(path.name for path in bare.iterdir()) != before
        building.terminate()
        _, err = building.communicate(timeout=30)
    assert building.returncode == -signal.SIGTERM
    assert b"Traceback" not in err
    assert sorted(path.name for path in bare.iterdir()) == before
    assert all(built.made for built in build_engine(bare))
    read_manifest(bare).check_files()


def test_build_has_nothing_to_do_for_a_whole_engine(engines, capfd):
    assert status_of(["engines", "build", "--folder", str(engines)]) == 0
    assert "nothing to derive: tiny" in capfd.readouterr().out


def test_build_says_where_it_cannot_write(bare, capfd):
    (bare / "model.onnx").mkdir()
    assert status_of(["engines", "build", "tiny", "--folder", str(bare.parent)]) == 1
    assert "cannot write" in (err := capfd.readouterr().err)
    assert "the user who owns the folder" in err
    assert not [path for path in bare.iterdir() if path.name.startswith(".")]


def test_list_says_what_is_derived(bare, capfd):
    assert status_of(["engines", "list", "--folder", str(bare.parent), "--json"]) == 0
    (row,) = json.loads(capfd.readouterr().out)["engines"]
    assert row["derived"] == ["fp32", "fp16"]
    assert status_of(["engines", "list", "--folder", str(bare.parent)]) == 0
    assert "fp16 derived" in capfd.readouterr().out


def test_list_writes_a_long_name_out_on_a_narrow_screen(bare, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name = "inceptionresnetv2-site"
    folder = bare.rename(bare.parent / name)
    document = tiny_engine.read_document(folder)
    tiny_engine.write_manifest(folder, document | {"name": name})
    assert status_of(["engines", "list", "--folder", str(folder.parent)]) == 0
    assert name in capfd.readouterr().out


def test_what_comes_out_is_held_against_its_digest(bare):
    document = tiny_engine.read_document(bare)
    document["files"]["fp32"]["sha256"] = "0" * 64
    tiny_engine.write_manifest(bare, document)
    with pytest.raises(
        EngineError, match=r"model.onnx, derived from int8, has sha256 .*expected 0"
    ):
        read_manifest(bare).read_model("bf16")


def test_a_source_that_is_no_such_file_is_named(bare):
    (bare / "model.int8.onnx").write_bytes(b"\x08\x07")
    document = tiny_engine.read_document(bare)
    document["files"]["int8"] = tiny_engine.entry(bare, "model.int8.onnx")
    tiny_engine.write_manifest(bare, document)
    with pytest.raises(EngineError, match=r"cannot derive fp32 from .*int8.onnx: 0 graphs"):
        read_manifest(bare).read_model("fp32")


@pytest.mark.parametrize(
    ("precision", "value", "says"),
    [
        ("int8", "int8", "int8: derived_from names the file itself"),
        ("fp32", "fp16", r"files.fp32.derived_from: Input should be 'int8' \(came 'fp16'\)"),
    ],
)
def test_a_derivation_that_cannot_be_is_refused(tiny, precision, value, says):
    document = tiny_engine.read_document(tiny)
    document["files"][precision]["derived_from"] = value
    tiny_engine.write_manifest(tiny, document)
    with pytest.raises(EngineError, match=says):
        read_manifest(tiny)


def test_a_derivation_needs_its_source(bare):
    document = tiny_engine.read_document(bare)
    del document["files"]["int8"]
    tiny_engine.write_manifest(bare, document)
    with pytest.raises(EngineError, match="fp32, fp16: derived from int8, but there is no int8"):
        read_manifest(bare)


def test_a_graph_that_is_not_changed_is_written_as_it_was(engines):
    for path in sorted((engines / "tiny").glob("*.onnx")):
        content = path.read_bytes()
        assert write_graph(read_graph(content)) == content
        assert b"".join(coded(decoded(content))) == content


@given(st.binary(max_size=64))
def test_bytes_that_are_no_file_are_refused(data):
    with contextlib.suppress(ValueError):  # nothing else is raised
        read_graph(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x0a\x05ab", "has 5 bytes, there are 2"),
        (b"\x0b", "has wire type 3, expected 0, 1, 2 or 5"),
        (b"\x80", "no number ends at byte 0"),
        (b"\x08" + b"\xff" * 11, "no number ends at byte 1"),
    ],
)
def test_damaged_messages_are_refused(data, says):
    with pytest.raises(ValueError, match=says):
        decoded(data)
