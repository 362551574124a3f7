"""From a folder to a warm engine: choice of runtime and precision, and what is said of it."""

from __future__ import annotations

import pytest

from inspector.engine import load
from inspector.engine.load import available_precisions, load_engine
from inspector.engine.manifest import read_manifest
from inspector.engine.openvino import OpenVinoRuntime, precisions_of_processor
from inspector.errors import EngineError
from tests.engine import tiny_engine


def test_the_engine_says_what_serves(engines):
    home = engines / "tiny"
    engine = load_engine(home, precision="fp16", threads=1)
    engine.close()
    info = engine.info
    assert (info.name, info.version, info.runtime, info.precision) == (
        "tiny", "0.1.0", "openvino", "fp16",
    )  # fmt: skip
    assert info.sha256 == tiny_engine.digest(home / "model.fp16.onnx")
    assert not info.degraded
    assert engine.degraded is None
    assert engine.parity.ok


def test_auto_takes_the_fastest_that_was_measured(engines, monkeypatch):
    times = {"int8": 3.0, "bf16": 2.0, "fp16": 1.0, "fp32": 1.0}
    monkeypatch.setattr(load, "tile_seconds", lambda runtime, _: times[runtime.info.precision])
    engine = load_engine(engines / "tiny", threads=1)
    engine.close()
    expected = "bf16" if "bf16" in precisions_of_processor() else "int8"
    assert engine.info.precision == expected
    assert len(engine.passed_over) == len(precisions_of_processor()) - 1


def test_auto_does_not_try_for_ever(engines, monkeypatch):
    monkeypatch.setattr(load, "_CHOOSE_WITHIN_S", 0.0)
    engine = load_engine(engines / "tiny", threads=1)
    engine.close()
    assert engine.info.precision == "int8"
    assert all("was not tried" in reason for reason in engine.passed_over)


def test_a_precision_without_a_file_is_refused(tiny):
    document = tiny_engine.read_document(tiny)
    del document["files"]["int8"]
    tiny_engine.write_manifest(tiny, document)
    assert "int8" not in available_precisions(read_manifest(tiny))
    with pytest.raises(EngineError, match="no int8 file for precision int8; its manifest has fp32"):
        load_engine(tiny, precision="int8", threads=1)


def test_a_precision_that_the_processor_lacks_is_refused(engines, monkeypatch):
    monkeypatch.setattr(
        "inspector.engine.openvino.precisions_of_processor", lambda: ("int8", "fp16", "fp32")
    )
    with pytest.raises(EngineError, match="this processor has no bf16; it has int8, fp16, fp32"):
        load_engine(engines / "tiny", precision="bf16", threads=1)


def rewritten(home, path, content):
    """Replace a model file together with its digest, as a wrong export would."""
    (home / path).write_bytes(content)
    document = tiny_engine.read_document(home)
    for precision, file in document["files"].items():
        if file["path"] == path:
            document["files"][precision] = tiny_engine.entry(home, path)
    tiny_engine.write_manifest(home, document)


def test_a_file_that_is_no_network_is_refused(tiny):
    rewritten(tiny, "model.onnx", b"garbage")
    with pytest.raises(
        EngineError, match=r"cannot compile .*model\.onnx: Unable to read the model"
    ):
        load_engine(tiny, precision="fp32", threads=1)


def test_an_int8_file_without_int8_layers_is_refused(tiny):
    rewritten(tiny, "model.int8.onnx", (tiny / "model.onnx").read_bytes())
    with pytest.raises(EngineError, match="openvino computes in f32, expected i8/u8"):
        load_engine(tiny, precision="int8", threads=1)


def test_a_network_with_other_ports_is_refused(tiny):
    import onnx

    model = onnx.load(tiny / "model.onnx")
    model.graph.output[0].name = "logits_out"
    model.graph.node[-1].output[0] = "logits_out"
    rewritten(tiny, "model.onnx", model.SerializeToString())
    with pytest.raises(EngineError, match="port logits_out of f32, expected probabilities of f32"):
        load_engine(tiny, precision="fp32", threads=1)


def test_a_network_with_another_number_of_classes_is_refused(tiny):
    document = tiny_engine.read_document(tiny)
    document["classes"].append("scratch")
    document["thresholds"]["reject"]["scratch"] = 0.8
    tiny_engine.write_manifest(tiny, document)
    with pytest.raises(EngineError, match="8 outputs, expected 9 classes"):
        OpenVinoRuntime(read_manifest(tiny), "fp32", max_batch=1, threads=1)


def test_batches_on_a_processor_hold_one_frame_or_four_tiles(engines, tmp_path):
    big = tiny_engine.make(tmp_path, "big", sampling={"count": 6})
    for home, asked, expected in (
        (engines / "tiny", 16, 4),
        (engines / "tiny", 2, 2),
        (big, 16, 6),
    ):
        engine = load_engine(home, precision="fp32", max_batch=asked, threads=1)
        engine.close()
        assert engine.runtime.max_batch == expected
