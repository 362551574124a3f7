from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.config.events import Topics
from inspector.errors import EventsError
from inspector.events import model, schemas
from inspector.events.documents import Documents, encode, rfc3339
from inspector.events.kinds import TYPES, topic_of
from inspector.events.schemas import making
from inspector.verdict import Cause, Outcome, Verdict
from tests.events.making import ENGINE, QUALITY, STATION, Counted, Maker, frame, rejected

SAMPLES = sorted((Path(__file__).parent / "samples" / "v1").glob("*.json"))

FRAME_KINDS = ("frame_rejected", "frame_judged", "quality_degraded", "quality_recovered")


def all_kinds(make: Maker) -> list[model.StationEvent]:
    documents = make.documents
    events = [make(kind) for kind in (*FRAME_KINDS, "camera_lost", "station_status")]
    events.append(
        documents.camera_restored(
            "infeed", stream_epoch=2, lost_s=1.5, size_wh=(1280, 720), counters=Counted()
        )
    )
    fault = {"cause": "no_acknowledge", "fail_safe": "reject", "detail": "part 7 was not …"}
    events.append(documents.line_fault("infeed", **fault))
    events.append(documents.line_restored(None, cause="plc_away", after_s=1.25))
    events.append(
        documents.events_dropped(
            count=2,
            first_id=events[0].id,
            last_id=events[1].id,
            cause="outbox_full",
            types={events[0].type: 2},
            keys={events[0].key: 2},
        )
    )
    return events


def test_every_type_fits_its_schema_and_its_model(make: Maker) -> None:
    events = all_kinds(make)
    assert {event.type for event in events} == set(TYPES)
    for event in events:
        schemas.check(event.document)
        parsed = model.parse(encode(event.document))
        assert parsed.id == event.id == event.document["id"]
        assert type(parsed) is model.MODELS[event.type]


def test_the_schema_files_are_those_of_the_models() -> None:
    assert schemas.all_schemas() == making.schemas()


def test_the_schemas_are_themselves_valid() -> None:
    from jsonschema import Draft202012Validator

    for schema in schemas.all_schemas().values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_stored_events_of_old_fit_the_schemas_of_today(sample: Path) -> None:
    document = json.loads(sample.read_text())
    schemas.check(document)
    assert model.parse(sample.read_text()).type == document["type"]


def test_there_is_a_stored_event_of_every_type() -> None:
    assert {json.loads(sample.read_text())["type"] for sample in SAMPLES} == set(TYPES)


def test_readers_of_today_accept_fields_of_tomorrow(make: Maker) -> None:
    document = json.loads(encode(make().document))
    document["traceparent"] = "00-ab-cd-01"
    document["data"]["temperature_c"] = 41.5
    document["data"]["engine"]["layers"] = 12
    schemas.check(document)
    assert model.parse(json.dumps(document)).type == document["type"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": "17"}, r"\$\.id"),
        ({"source": "packing-07"}, r"\$\.source"),
        ({"data": {}}, r"\$\.data"),
    ],
)
def test_a_document_that_does_not_fit_is_refused_with_the_place(
    make: Maker, change: dict[str, object], told: str
) -> None:
    with pytest.raises(EventsError, match=told):
        schemas.check(make().document | change)
    with pytest.raises(EventsError):
        model.parse(encode(make().document | change))


def test_a_type_without_a_schema_is_refused(make: Maker) -> None:
    with pytest.raises(EventsError, match=r"no schema for event type 'inspector\.x\.v9', known"):
        schemas.check(make().document | {"type": "inspector.x.v9"})


def test_the_envelope_of_a_camera_and_of_the_station(make: Maker) -> None:
    of_camera, of_station = make("frame_rejected", "infeed"), make("station_status")
    assert of_camera.document["source"] == f"/stations/{STATION}/cameras/infeed"
    assert of_camera.key == f"{STATION}/infeed"
    assert of_station.document["source"] == f"/stations/{STATION}"
    assert of_station.key == STATION
    for event in (of_camera, of_station):
        assert event.document["specversion"] == "1.0"
        assert event.document["datacontenttype"] == "application/json"
        assert event.type in event.document["dataschema"]
        assert event.document["data"]["replay"] is False


def test_types_go_to_the_topics_of_the_station_file() -> None:
    topics = Topics(rejects="r", verdicts="v", status="s")
    assert [topic_of(t, topics) for t in TYPES] == ["r", "v", "r", "r", *["s"] * 6]
    with pytest.raises(ValueError, match="unknown event type"):
        topic_of("inspector.frame.lost.v1", topics)


def test_times_come_from_the_frames_own_pair_of_clocks() -> None:
    utc_ns = 1_700_000_000_000_000_000
    seen = frame(7, arrived_ns=1_000_000_000, decoded_ns=1_020_000_000)
    seen = type(seen)(**{f: getattr(seen, f) for f in seen.__slots__} | {"arrived_utc_ns": utc_ns})
    verdict = Verdict(
        Outcome.REJECTED, "wn", {"wn": 1.0}, submitted_ns=1_025_000_000, judged_ns=1_040_000_000
    )
    event = Documents(STATION, "observe", Topics()).frame_rejected(
        seen, verdict, decided_ns=1_040_500_000, quality=QUALITY, counters=Counted()
    )
    data = event.document["data"]
    assert data["times"] == {
        "captured": "2023-11-14T22:13:20.000000Z",
        "decoded": "2023-11-14T22:13:20.020000Z",
        "judged": "2023-11-14T22:13:20.040000Z",
        "decided": "2023-11-14T22:13:20.040500Z",
    }
    assert event.document["time"] == data["times"]["decided"]
    assert data["durations_ms"] == {
        "decode": 20.0,
        "queue": 5.0,
        "judge": 15.0,
        "decide": 0.5,
        "total": 40.5,
    }
    assert data["mode"] == "observe"
    assert data["engine"] is None


def test_a_damaged_frame_has_no_times_that_it_did_not_reach() -> None:
    seen = frame(1, height=0, width=0, decoded_ns=0, damage="missing reference")
    verdict = Verdict(Outcome.UNJUDGEABLE, cause=Cause.DECODE, reasons=("missing reference",))
    event = Documents(STATION, "inspect", Topics()).frame_judged(
        seen, verdict, decided_ns=seen.arrived_ns + 1, quality=QUALITY, counters=Counted()
    )
    schemas.check(event.document)
    data = event.document["data"]
    assert (data["times"]["decoded"], data["times"]["judged"]) == (None, None)
    assert data["durations_ms"]["judge"] is None
    assert (data["verdict"], data["cause"], data["label"]) == ("unjudgeable", "decode", None)


def test_the_data_of_a_frame_says_who_judged_and_how_sure(make: Maker) -> None:
    data = make().document["data"]
    assert data["probabilities"] == {"gblur": 0.97, "refimgs": 0.03}
    assert data["engine"] == {
        "name": ENGINE.name,
        "version": ENGINE.version,
        "sha256": ENGINE.sha256,
        "runtime": "openvino",
        "precision": "int8",
        "degraded": False,
    }
    assert data["counters"]["dropped"] == {"stale": 1, "superseded": 1}


def test_a_number_that_json_does_not_know_is_refused(make: Maker) -> None:
    document = make().document
    document["data"]["pts_s"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(document)


def test_microseconds_are_cut_and_not_rounded_into_the_next_second() -> None:
    assert rfc3339(1_700_000_000_999_999_999) == "2023-11-14T22:13:20.999999Z"


def test_confirmed_is_told(make: Maker) -> None:
    verdict = rejected(confirmed=False)
    event = make.documents.frame_rejected(
        frame(), verdict, decided_ns=verdict.judged_ns, quality=QUALITY, counters=Counted()
    )
    assert event.document["data"]["confirmed"] is False


def test_a_heartbeat_counts_from_the_start_though_the_clock_was_set(make: Maker) -> None:
    documents = Documents("packing-07", "inspect", make.topics, utc_ns=lambda: 0)  # back in 1970
    event = documents.station_status(
        version="0.1.0",
        started_utc_ns=1_700_000_000_000_000_000,
        uptime_s=61.25,
        ready=True,
        reasons=[],
        cameras={},
        engine=None,
        outbox={},
    )
    assert event.document["time"] == "1970-01-01T00:00:00.000000Z"
    assert event.document["data"]["uptime_s"] == 61.25
    schemas.check(event.document)
