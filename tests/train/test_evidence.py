"""A station's evidence becomes a labelled folder that a person has the last word on."""

import hashlib
import json

import pytest

from train.data.evidence import lay_out, read_evidence
from train.errors import DataError
from train.labels import LABEL_SETS

LABELS = LABEL_SETS["all"]


def event(number, label, uri, content, **changes):
    kept = {"uri": uri, "sha256": hashlib.sha256(content).hexdigest(), "media_type": "image/png"}
    frame = {"station": "demo", "camera": "belt", "stream_epoch": 2, "sequence": number}
    return {"id": str(number), "data": {**frame, "label": label, "evidence": kept, **changes}}


@pytest.fixture
def station(tmp_path):
    """Evidence of three frames, and their events, one of them as `events list` shows it."""
    folder = tmp_path / "evidence"
    (folder / "belt").mkdir(parents=True)
    for number in range(3):
        (folder / "belt" / f"{number}.png").write_bytes(b"%d" % number)
    documents = [
        event(0, "gblur", "belt/0.png", b"0"),
        {"seq": 7, "state": "sent", "event": event(1, "wn", "belt/1.png", b"1")},
        event(2, "wn", (folder / "belt" / "2.png").as_uri(), b"2"),
        event(3, None, "belt/3.png", b"3"),
        event(4, "wn", "", b"", evidence=None),
        {"id": "status", "data": {"station": "demo"}},
    ]
    events = tmp_path / "events.jsonl"
    events.write_text("\n".join(map(json.dumps, documents)) + "\n")
    return events, folder


def add(events, document):
    with events.open("a") as file:
        file.write(json.dumps(document) + "\n")


def test_frames_are_laid_out_by_the_stations_verdict(station, tmp_path):
    copied = lay_out(read_evidence(*station, LABELS), tmp_path / "out")
    assert copied == {"gblur": 1, "wn": 2}
    assert (tmp_path / "out" / "wn" / "demo-belt-2-2.png").read_bytes() == b"2"


def test_what_a_person_has_moved_stays_there(station, tmp_path):
    out = tmp_path / "out"
    lay_out(read_evidence(*station, LABELS), out)
    (out / "refimgs").mkdir()
    (out / "wn" / "demo-belt-2-1.png").rename(out / "refimgs" / "demo-belt-2-1.png")
    assert lay_out(read_evidence(*station, LABELS), out) == {}
    assert not (out / "wn" / "demo-belt-2-1.png").exists()


def test_evidence_that_is_gone_or_changed_is_named(station, caplog):
    events, folder = station
    (folder / "belt" / "0.png").write_bytes(b"other")
    assert len(read_evidence(events, folder, LABELS)) == 2
    assert "line 1" in caplog.text
    assert "but the event has" in caplog.text
    (folder / "belt" / "1.png").unlink()
    with pytest.raises(DataError, match=r"2 of 3 pictures(?s:.*)1.png: No such file"):
        read_evidence(events, folder, LABELS)


def test_lines_that_are_no_events_and_unknown_labels_are_refused(station):
    events, folder = station
    add(events, event(9, "blurry", "belt/0.png", b"0"))
    with pytest.raises(DataError, match="line 7: 'blurry' is no label; there are: bad_lighting"):
        read_evidence(events, folder, LABELS)
    events.write_text("[1, 2]\n")
    with pytest.raises(DataError, match="line 1: expected an event, not"):
        read_evidence(events, folder, LABELS)


def test_a_station_that_keeps_none_is_told(tmp_path):
    events = tmp_path / "events.jsonl"
    events.write_text(json.dumps(event(1, "wn", "", b"", evidence=None)) + "\n")
    with pytest.raises(DataError, match="no frame with evidence"):
        read_evidence(events, tmp_path, LABELS)
    with pytest.raises(DataError, match="No such file"):
        read_evidence(tmp_path / "none", tmp_path, LABELS)
