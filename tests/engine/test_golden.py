"""An engine that does not reproduce its golden tiles does not serve, and says how far it is off."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml

from inspector.engine.golden import TOLERANCE, compare, read_golden
from inspector.engine.load import load_engine
from inspector.engine.manifest import read_manifest
from inspector.errors import EngineError
from tests.engine import tiny_engine


def change_golden(home, change):
    """Rewrite the golden list, with right digests, so that nothing but its content differs."""
    listing = home / "golden" / "golden.yaml"
    document = yaml.safe_load(listing.read_text())
    change(document["tiles"])
    listing.write_text(yaml.safe_dump(document))
    manifest = tiny_engine.read_document(home)
    manifest["golden"]["sha256"] = tiny_engine.digest(listing)
    tiny_engine.write_manifest(home, manifest)


def test_a_gap_is_named_with_tile_label_and_size(tiny):
    def change(tiles):
        tiles[4]["probabilities"][2] -= 0.05

    change_golden(tiny, change)
    with pytest.raises(EngineError) as caught:
        load_engine(tiny, precision="fp32", threads=1)
    text = str(caught.value)
    assert "does not reproduce its golden tiles" in text
    assert str(tiny / "model.onnx") in text
    assert "largest gap 0.0500 (gblur-0.png, gblur: came 0.99" in text
    assert "more than the allowed 0.01" in text


def test_a_changed_label_is_refused_however_small_the_gap(tiny):
    def change(tiles):
        tiles[0]["label"] = "wn"

    change_golden(tiny, change)
    says = "1 of 16 labels changed: bad_lighting-0.png became bad_lighting, expected wn"
    with pytest.raises(EngineError, match=says):
        load_engine(tiny, precision="int8", threads=1)


def test_auto_falls_back_to_a_precision_that_reproduces_them(tiny):
    def change(tiles):
        for tile in tiles:  # within fp32's and fp16's tolerance of nothing: only int8's is so wide
            tile["probabilities"] = [p * 0.95 for p in tile["probabilities"]]

    change_golden(tiny, change)
    engine = load_engine(tiny, threads=1)
    engine.close()
    assert engine.info.precision == "int8"
    with pytest.raises(EngineError, match="does not reproduce"):
        load_engine(tiny, precision="fp16", threads=1)


def test_auto_says_why_no_precision_serves(tiny):
    def change(tiles):
        for tile in tiles:
            tile["probabilities"] = [1 - p for p in tile["probabilities"]]

    change_golden(tiny, change)
    with pytest.raises(EngineError) as caught:
        load_engine(tiny, threads=1)
    lines = str(caught.value).splitlines()
    assert "(int8, " in lines[0]
    assert "(fp32, " in lines[-1]
    assert all("more than the allowed" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t[0].update(label="fine"), "tile bad_lighting-0.png has label fine"),
        (lambda t: t[0]["probabilities"].pop(), "and 7 probabilities"),
        (lambda t: t.clear(), "is not a list of golden tiles"),
        (lambda t: t[0].update(file="../model.onnx"), "expected a path below the engine folder"),
    ],
)
def test_a_faulty_list_is_refused(tiny, change, says):
    change_golden(tiny, change)
    with pytest.raises(EngineError, match=says):
        read_golden(read_manifest(tiny))


def test_a_tile_of_another_size_is_refused(tiny):
    import cv2

    path = tiny / "golden" / "wn-1.png"
    cv2.imwrite(str(path), tiny_engine.picture("wn", 32, 32))

    def change(tiles):
        tiles[-1]["sha256"] = tiny_engine.digest(path)

    change_golden(tiny, change)
    with pytest.raises(EngineError, match=r"tile wn-1\.png is 32x32, expected 64x64"):
        read_golden(read_manifest(tiny))


@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_the_tolerance_is_the_precisions_own(engines, precision):
    manifest = read_manifest(engines / "tiny")
    golden = read_golden(manifest)
    allowed = TOLERANCE[precision]
    for factor, ok in ((0.9, True), (1.1, False)):
        came = golden.expected.copy()
        came[3, 1] -= allowed * factor
        assert compare(manifest, golden, came, precision).ok is ok


def test_no_number_is_never_right(engines):
    manifest = read_manifest(engines / "tiny")
    golden = read_golden(manifest)
    came = golden.expected.copy()
    came[5, 0] = np.nan
    assert not compare(manifest, golden, came, "int8").ok


def test_a_ring_of_loose_tiles_is_never_that_of_a_camera():
    from inspector.config.base import NAME_PATTERN
    from inspector.engine.tile_ring import TileRing

    ring = TileRing("tiles", slots=1, tiles=1, size=8)
    camera, _, _ = ring.ring.key.rpartition("/")
    ring.close()
    assert re.fullmatch(NAME_PATTERN, camera) is None
