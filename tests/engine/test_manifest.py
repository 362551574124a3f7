"""Engine folders that are at fault are refused, and the message says which file and what came."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from inspector.engine.golden import read_golden
from inspector.engine.load import load_engine
from inspector.engine.manifest import read_manifest
from inspector.errors import EngineError, EngineUnreadableError
from tests.engine import tiny_engine
from tests.rights import only_as_the_mode_says


@pytest.fixture
def failing_disk(monkeypatch):
    """Makes files fail with EIO, to be looked at and to be read."""
    bad = set()

    def failing(real):
        def call(path, *args, **options):
            if str(path) in bad:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return real(path, *args, **options)

        return call

    monkeypatch.setattr(Path, "read_bytes", failing(Path.read_bytes))
    monkeypatch.setattr(os, "stat", failing(os.stat))
    return lambda *paths: bad.update(map(str, paths))


def set_key(document, path, value):
    *steps, last = path.split(".")
    for step in steps:
        document = document[step]
    if value is None:
        del document[last]
    else:
        document[last] = value


def test_a_whole_manifest_is_read(engines):
    manifest = read_manifest(engines / "tiny")
    assert manifest.classes == tiny_engine.CLASSES
    assert manifest.acceptable_columns == (6,)
    assert manifest.file_of("bf16") == manifest.file_of("fp32")
    thresholds = manifest.verdict_thresholds()
    assert thresholds.acceptable == {"refimgs"}
    assert thresholds.reject["gblur"] == 0.8
    manifest.check_files()
    golden = read_golden(manifest)
    assert golden.tiles.shape == (16, 64, 64, 3)
    assert golden.expected.shape == (16, 8)
    with pytest.raises(ValueError, match="read-only"):
        golden.tiles[0] = 0


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("name", None, "name: Field required"),
        ("extra", 1, "extra: Extra inputs are not permitted"),
        ("manifest", 2, r"manifest: Input should be 1 \(came 2\)"),
        ("input.dtype", "float32", r"input.dtype: .*'uint8'.*came 'float32'"),
        ("input.colour", "RGB", "input.colour"),
        ("input.height", 128, "the input is 64x128, the tiles are 64x64"),
        ("sampling.tile", 32, "the input is 64x64, the tiles are 32x32"),
        ("sampling.where", "corner", "sampling.where: .*'spread', 'centre' or 'sharpest'"),
        ("sampling.count", 0, "sampling.count"),
        ("acceptable", ["fine"], "fine is not among the classes"),
        ("thresholds.reject.wn", None, "expected every class that is not acceptable: .*wn"),
        ("thresholds.reject.refimgs", 0.5, "thresholds.reject names .*refimgs"),
        ("thresholds.accept", 1.5, r"thresholds.accept: .*less than or equal to 1 \(came 1.5\)"),
        ("classes", ["gblur", "gblur"], "a label is written twice"),
        ("files", {}, "expected a file of at least one precision"),
        ("files.fp32.path", "../model.onnx", "expected a path below the engine folder"),
        ("files.fp32.path", "/etc/passwd", "expected a path below the engine folder"),
        ("files.fp32.path", "mo\0del.onnx", "expected a path below the engine folder"),
        ("files.fp32.sha256", "abc", "files.fp32.sha256"),
        ("golden.path", "golden/../../x.yaml", "expected a path below the engine folder"),
    ],
)
def test_a_faulty_manifest_is_refused(tiny, path, value, says):
    document = tiny_engine.read_document(tiny)
    set_key(document, path, value)
    tiny_engine.write_manifest(tiny, document)
    with pytest.raises(EngineError, match=says) as caught:
        read_manifest(tiny)
    assert str(tiny / "manifest.yaml") in str(caught.value)


def test_every_fault_is_named_at_once(tiny):
    document = tiny_engine.read_document(tiny)
    document["name"] = "No Name"
    document["sampling"]["join"] = "median"
    tiny_engine.write_manifest(tiny, document)
    with pytest.raises(EngineError, match=r"(?s)name: .*sampling\.join: "):
        read_manifest(tiny)


@pytest.mark.parametrize(
    ("content", "says"),
    [("[1, 2]", "expected a mapping, came list"), ("a: [", "is not YAML"), ("", "came NoneType")],
)
def test_what_is_no_mapping_is_refused(tiny, content, says):
    (tiny / "manifest.yaml").write_text(content)
    with pytest.raises(EngineError, match=says):
        read_manifest(tiny)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("2026-02-30", "day is out of range"),
        ("!!bool foo", "foo"),
        ("!!timestamp foo", "groupdict"),
        ("!!int ''", "index out of range"),
        ("9" * 5000, "5000 digits"),
        ("[" * 2000 + "]" * 2000, "recursion"),
    ],
    ids=["date", "boolean", "time", "number", "long number", "deep nesting"],
)
def test_what_yaml_cannot_take_is_refused(tiny, value, says):
    path = tiny / "manifest.yaml"
    path.write_text(f"{path.read_text()}\nmore: {value}\n")
    with pytest.raises(EngineError, match=f"{path} holds a value that YAML cannot take: .*{says}"):
        read_manifest(tiny)


def test_a_number_too_long_to_be_written_is_refused_all_the_same(tiny):
    path = tiny / "manifest.yaml"
    path.write_text(f"{path.read_text()}\nmore: 0x{'f' * 5000}\n")
    with pytest.raises(EngineError, match=r"more: Extra inputs .* number too long to be shown"):
        read_manifest(tiny)


def test_a_missing_manifest_names_the_folder(tmp_path):
    with pytest.raises(EngineError, match=r"cannot read manifest\.yaml: No such file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("file", ["model.onnx", "model.int8.onnx", "model.fp16.onnx"])
def test_a_missing_model_file_is_named(tiny, file):
    (tiny / file).unlink()
    with pytest.raises(EngineError, match=rf"cannot read .*{file}: No such file"):
        load_engine(tiny, precision="fp32", threads=1)


def test_a_changed_model_file_is_named_with_both_digests(tiny):
    file = tiny / "model.int8.onnx"
    before = tiny_engine.digest(file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    after = tiny_engine.digest(file)
    says = rf"{file} has sha256 {after}, expected {before}"
    # Even where another precision is asked for: a damaged folder is not trusted.
    for precision in ("int8", "fp32", "auto"):
        with pytest.raises(EngineError, match=says):
            load_engine(tiny, precision=precision, threads=1)


@pytest.mark.parametrize("file", ["golden/golden.yaml", "golden/gblur-0.png"])
def test_a_changed_golden_file_is_named(tiny, file):
    path = tiny / file
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(EngineError, match=rf"{file} has sha256 .*, expected "):
        load_engine(tiny, threads=1)


def test_a_link_out_of_the_folder_is_refused(tiny, tmp_path):
    outside = tmp_path / "elsewhere.onnx"
    (tiny / "model.onnx").rename(outside)
    (tiny / "model.onnx").symlink_to(outside)
    with pytest.raises(EngineError, match="leads out of the engine folder"):
        read_manifest(tiny).check_files()


def test_an_engine_that_this_user_may_not_look_at(tiny):
    manifest = read_manifest(tiny)
    tiny.chmod(0)
    with only_as_the_mode_says():
        with pytest.raises(EngineError, match=r"cannot read .*model\S*: Permission denied"):
            manifest.check_files()
        with pytest.raises(EngineError, match=r"cannot read .*model\S*: Permission denied"):
            manifest.lies_there(manifest.file_of("fp32"))
    tiny.chmod(0o755)


@pytest.mark.parametrize("file", ["manifest.yaml", "model.onnx", "golden/golden.yaml"])
def test_what_the_disk_does_not_give_is_told_apart_from_what_is_missing(tiny, failing_disk, file):
    failing_disk(tiny / file)
    with pytest.raises(EngineUnreadableError, match="Input/output error; look at the disk") as told:
        load_engine(tiny, threads=1)
    assert "install" not in str(told.value)


def test_what_is_missing_is_to_be_installed(tiny):
    (tiny / "model.onnx").unlink()
    with pytest.raises(EngineError, match="No such file or directory; install the") as told:
        load_engine(tiny, threads=1)
    assert not isinstance(told.value, EngineUnreadableError)


def test_a_disk_that_fails_between_check_and_compilation(tiny, failing_disk, monkeypatch):
    def check_files(self):
        failing_disk(*tiny.glob("*.onnx"))

    monkeypatch.setattr(type(read_manifest(tiny)), "check_files", check_files)
    with pytest.raises(EngineUnreadableError, match="Input/output error"):
        load_engine(tiny, threads=1)
