"""What many stations' events say together; the events are the project's own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from inspector.config.fleet import Fleet as Settings
from inspector.events import kinds
from inspector.events.documents import encode
from inspector.events.ids import new_id
from inspector.fleet.fleet import (
    MOST_CAMERAS,
    MOST_LABELS,
    MOST_STATIONS,
    OTHER,
    Fleet,
)
from inspector.fleet.stations import REMEMBERED_IDS
from inspector.fleet.view import board, drifts
from inspector.verdict import EngineInfo, Outcome
from tests.fleet.making import FakeClock, Teller, raw

if TYPE_CHECKING:
    from inspector.events.documents import Event

DAY = 86_400.0


class World:
    """A fleet that hears what its stations tell."""

    def __init__(self, **settings):
        given = {"kafka": {"bootstrap_servers": ["broker1:9092"]}, **settings}
        noon = datetime(2026, 11, 24, 12, 30, tzinfo=UTC).timestamp()
        self.clock = FakeClock(noon)
        self.fleet = Fleet(Settings.model_validate(given), self.clock)

    def teller(self, name="packing-07", **other) -> Teller:
        return Teller(name, self.clock, **other)

    def hear(self, *events, live=True):
        self.fleet.take(raw(*events), live=live)

    def board(self, back_at=0.0):
        return board(self.fleet, self.clock.now, back_at)

    def station(self, name="packing-07", **given):
        return next(one for one in self.board(**given)["stations"] if one["station"] == name)

    def line(self, name="packing-07"):
        return next(one for one in self.board()["lines"] if one["line"] == name)


@pytest.fixture
def world():
    return World()


# --- rejects --------------------------------------------------------------------------------------


def test_rejects_are_counted_by_line_shift_and_label():
    world = World(lines={"line-7": ["packing-*"], "rest": ["*"]})
    a, b, c = (world.teller(name) for name in ("packing-07", "packing-08", "lab"))
    world.hear(a.frame(label="gblur"), a.frame(label="wn"), b.frame(label="gblur"), c.frame())
    world.clock.now += 8 * 3600  # the late shift
    world.hear(a.frame(label="jpeg"))
    board = world.board()
    assert [shift["name"] for shift in board["shifts"]] == ["late", "early", "night", "late"]
    line = world.line("line-7")
    assert line["stations"] == 2
    assert [shift["rejected"] for shift in line["shifts"]] == [1, 3, 0, 0]
    assert line["shifts"][1]["labels"] == {"gblur": 2, "wn": 1}
    assert world.line("rest")["shifts"][1]["rejected"] == 1


def test_a_station_that_no_line_names_is_a_line_of_its_own(world):
    world.hear(world.teller("lab").frame())
    assert [line["line"] for line in world.board()["lines"]] == ["lab"]


def test_a_frame_that_answers_several_triggers_is_one_reject(world):
    teller = world.teller()
    world.hear(teller.frame(), teller.again(), teller.again())
    assert world.line()["shifts"][0]["rejected"] == 1


def test_repeats_are_dropped_by_id(world):
    teller = world.teller()
    events = [teller.frame() for _ in range(20)]
    world.hear(*events)
    world.hear(*events[5:], teller.frame())
    assert world.line()["shifts"][0]["rejected"] == 21
    assert world.board()["counts"]["repeats"] == 15


def test_ids_are_remembered_within_a_bound(world):
    teller = world.teller()
    world.hear(*(teller.frame() for _ in range(REMEMBERED_IDS + 50)))
    station = world.fleet.stations["packing-07"]
    assert len(station._ids) == len(station._order) == REMEMBERED_IDS


def test_what_was_sent_again_on_purpose_is_no_news(world):
    document = {**world.teller().frame().document}
    document["data"] = {**document["data"], "replay": True}
    world.fleet.take([encode(document)], live=True)
    board = world.board()
    assert board["counts"] == {"records": 1, "replays": 1}
    assert board["lines"] == []


def test_verdicts_add_what_rejects_do_not_tell(world):
    teller = world.teller()
    for outcome in (Outcome.ACCEPTED, Outcome.UNCERTAIN, Outcome.UNCERTAIN, Outcome.UNJUDGEABLE):
        world.hear(teller.frame("frame_judged", outcome=outcome))
    world.hear(teller.frame("frame_judged"), teller.frame())
    shift = world.line()["shifts"][0]
    assert (shift["uncertain"], shift["unjudgeable"], shift["rejected"]) == (2, 1, 1)


def test_judged_frames_come_from_the_heartbeats_counters(world):
    teller = world.teller()
    world.hear(teller.beat())
    for _ in range(10):
        world.clock.now += 10
        teller.judged["infeed"] = teller.judged.get("infeed", 0) + 50
        world.hear(teller.beat())
    assert world.line()["shifts"][0]["judged"] == 500
    world.clock.now += 10
    teller.restart()
    world.clock.now += 10
    teller.judged["infeed"] = 30
    world.hear(teller.beat())
    assert world.line()["shifts"][0]["judged"] == 530


def test_what_was_judged_before_the_look_back_is_not_put_into_it(world):
    teller = world.teller()
    teller.started -= 30 * DAY
    teller.judged["infeed"] = 10_000_000
    world.hear(teller.beat(), live=False)
    assert world.line()["shifts"][0]["judged"] == 0
    world.clock.now += 10
    teller.judged["infeed"] += 40
    world.hear(teller.beat())
    assert world.line()["shifts"][0]["judged"] == 40


def test_an_outage_of_heartbeats_is_spread_over_its_time(world):
    teller = world.teller()
    world.hear(teller.beat())
    world.clock.now += 6 * 3600
    teller.judged["infeed"] = 21_600
    world.hear(teller.beat())
    late, early = world.line()["shifts"][:2]
    assert late["judged"] + early["judged"] == 21_600
    assert early["judged"] == pytest.approx(1.5 * 3600, abs=2)


def test_a_camera_that_began_anew_counts_from_zero(world):
    teller = world.teller()
    world.hear(teller.beat())
    world.clock.now += 10
    teller.judged["infeed"] = 100
    world.hear(teller.beat())
    world.clock.now += 10
    teller.judged["infeed"] = 7
    world.hear(teller.beat())
    assert world.line()["shifts"][0]["judged"] == 107


def test_a_heartbeat_of_an_older_station_has_no_counter(world):
    teller = world.teller()
    world.hear(teller.beat(judged=None, quality=None), teller.frame())
    shift = world.line()["shifts"][0]
    assert (shift["judged"], shift["rejected"]) == (0, 1)


# --- stations -------------------------------------------------------------------------------------


def test_a_station_that_tells_of_itself_serves(world):
    teller = world.teller(cameras=("infeed", "outfeed"), mode="observe", version="1.2.3")
    world.hear(teller.beat())
    told = world.station()
    assert (told["state"], told["mode"], told["version"]) == ("serving", "observe", "1.2.3")
    assert told["engine"]["name"] == "simplenet"
    assert told["waiting"] == 3
    assert [camera["camera"] for camera in told["cameras"]] == ["infeed", "outfeed"]


@pytest.mark.parametrize("every_s", [1.0, 10.0, 60.0])
def test_a_station_that_leaves_out_three_heartbeats_is_quiet(world, every_s):
    teller = world.teller()
    for _ in range(4):
        world.hear(teller.beat())
        world.clock.now += every_s
    world.clock.now += 1.9 * every_s
    assert world.station()["state"] == "serving"
    world.clock.now += 0.2 * every_s + 2
    told = world.station()
    assert (told["state"], told["interval_s"]) == ("quiet", every_s)
    world.hear(teller.beat())
    assert world.station()["state"] == "serving"


def test_rejects_are_signs_of_life_too(world):
    teller = world.teller()
    world.hear(teller.beat())
    for _ in range(10):
        world.clock.now += 10
        world.hear(teller.frame())
    assert world.station()["state"] == "serving"


def test_a_station_that_was_dead_before_we_began_is_quiet_at_once(world):
    teller = world.teller()
    event = teller.beat()
    world.clock.now += 3600
    world.hear(event, live=False)
    assert world.station()["state"] == "quiet"
    assert world.station()["silent_s"] == pytest.approx(3600)


def test_nobody_is_quiet_from_before_the_broker_was_found_again(world):
    world.hear(world.teller().beat())
    world.clock.now += 3600
    assert world.station(back_at=world.clock.now - 5)["state"] == "serving"
    assert world.station(back_at=world.clock.now - 60)["state"] == "quiet"


def test_a_station_whose_clock_is_behind_is_not_quiet(world):
    teller = world.teller(skew_s=-7200)
    world.hear(teller.beat())
    assert world.station()["state"] == "serving"


def test_a_station_whose_clock_is_ahead_is_told_about_and_counted_now(world):
    teller = world.teller(skew_s=7200)
    world.hear(teller.beat(), teller.frame())
    told = world.station()
    assert (told["state"], told["clock_ahead_s"]) == ("trouble", 7200)
    assert world.line()["shifts"][0]["rejected"] == 1


def test_a_station_that_the_file_names_and_nobody_heard():
    world = World(lines={"line-7": ["packing-0*", "packing-11"]})
    world.hear(world.teller().beat())
    told = [(one["station"], one["state"], one["heard"]) for one in world.board()["stations"]]
    assert told[0] == ("packing-11", "quiet", None)
    assert len(told) == 2


def test_not_ready_comes_with_its_reasons(world):
    world.hear(world.teller().beat(ready=False, reasons=("outbox: the disk is full",)))
    told = world.station()
    assert (told["state"], told["reasons"]) == ("not ready", ["outbox: the disk is full"])


def test_another_runtime_than_was_asked_for_is_trouble(world):
    engine = EngineInfo("simplenet", "1.0.0", "ab" * 32, "openvino", "fp32", degraded=True)
    world.hear(world.teller(engine=engine).beat())
    assert world.station()["state"] == "trouble"


def test_the_worst_come_first(world):
    good, lost, quiet = (world.teller(name) for name in ("a", "b", "c"))
    world.hear(quiet.beat())
    world.clock.now += 60
    world.hear(good.beat(), lost.beat(), lost.lost())
    order = [(one["station"], one["state"]) for one in world.board()["stations"]]
    assert order == [("c", "quiet"), ("b", "trouble"), ("a", "serving")]


def test_a_station_that_is_not_heard_of_for_the_whole_look_back_is_forgotten(world):
    teller = world.teller()
    world.hear(teller.beat(), teller.frame())
    world.clock.now += 2 * DAY
    world.fleet.tidy()
    assert "packing-07" in world.fleet.stations
    world.clock.now += 2 * DAY
    world.fleet.tidy()
    assert world.board()["stations"] == []
    assert world.fleet._cameras == 0


# --- cameras --------------------------------------------------------------------------------------


def test_a_camera_is_lost_and_comes_back(world):
    teller = world.teller()
    world.hear(teller.beat())
    world.clock.now += 1
    world.hear(teller.lost(detail="connection refused by 10.0.0.21"))
    told = world.station()
    (camera,) = told["cameras"]
    assert told["lost"] == ["infeed"]
    assert camera["detail"] == "connection refused by 10.0.0.21"
    since = camera["since"]
    world.clock.now += 10
    teller.states["infeed"] = "lost"
    world.hear(teller.beat())
    (camera,) = world.station()["cameras"]
    assert (camera["since"], camera["detail"]) == (since, "connection refused by 10.0.0.21")
    world.clock.now += 10
    world.hear(teller.restored())
    assert world.station()["state"] == "serving"


def test_partitions_that_come_in_another_order_change_nothing(world):
    """The heartbeat and the camera's own events lie in different partitions."""
    teller = world.teller()
    lost = teller.lost()
    world.clock.now += 5
    restored = teller.restored()
    world.clock.now += 5
    beat = teller.beat()
    for order in ([lost, restored, beat], [beat, lost, restored], [lost, beat, restored]):
        world.fleet.clear()
        world.hear(*order)
        assert world.station()["lost"] == []


def test_a_heartbeat_from_before_the_loss_does_not_undo_it(world):
    teller = world.teller()
    beat = teller.beat()
    world.clock.now += 5
    world.hear(teller.lost(), beat)
    assert world.station()["lost"] == ["infeed"]


def test_a_clock_that_was_set_back_is_forgiven_at_the_next_heartbeat(world):
    teller = world.teller()
    world.hear(teller.beat(), teller.lost())
    teller.skew_s = -3600
    world.clock.now += 10
    world.hear(teller.restored(), teller.beat())
    assert world.station()["lost"] == []


def test_bad_pictures_by_event_and_by_heartbeat(world):
    teller = world.teller()
    world.hear(teller.beat(), teller.frame("quality_degraded"))
    assert world.station()["degraded"] == ["infeed"]
    world.clock.now += 5
    world.hear(teller.frame("quality_recovered", outcome=Outcome.ACCEPTED))
    assert world.station()["degraded"] == []
    world.clock.now += 5
    teller.qualities["infeed"] = "degraded"
    world.hear(teller.beat())
    assert world.station()["degraded"] == ["infeed"], "its event lies before the look back"


def test_a_camera_that_was_removed_is_shown_no_more_and_its_rejects_stay(world):
    teller = world.teller(cameras=("infeed", "old"))
    world.hear(teller.beat(), teller.frame(camera="old"))
    teller.cameras = ("infeed",)
    world.clock.now += 10
    world.hear(teller.beat())
    assert [camera["camera"] for camera in world.station()["cameras"]] == ["infeed"]
    assert world.line()["shifts"][0]["rejected"] == 1


def test_events_that_were_given_up_are_shown(world):
    teller = world.teller()
    dropped = teller.documents.events_dropped(
        count=120, first_id=None, last_id=None, cause="outbox_full", types={}, keys={}
    )
    world.hear(teller.beat(), dropped)
    told = world.station()
    assert (told["given_up"], told["given_up_cause"]) == (120, "outbox_full")
    world.clock.now += (world.fleet.settings.look_back_days + 0.1) * 86_400
    world.hear(teller.beat())
    world.fleet.tidy()
    told = world.station()
    assert (told["given_up"], told["given_up_cause"]) == (0, ""), "nor are its counts kept longer"


@pytest.mark.parametrize("camera", [None, "infeed"])
def test_a_fault_of_the_line_lasts_until_it_is_restored(world, camera):
    teller = world.teller()
    base = teller.lost().document

    def event(kind, **data):
        who = {key: base["data"][key] for key in ("station", "mode", "replay")}
        said = {"cause": "no_acknowledge", "camera": camera, **data}
        return encode({**base, "id": str(new_id()), "type": kind, "data": {**who, **said}})

    world.hear(teller.beat())
    fault = event(kinds.LINE_FAULT, fail_safe="reject", detail="no acknowledge within 500 ms")
    world.fleet.take([fault], live=True)
    told = world.station()
    assert told["state"] == "trouble"
    assert "no acknowledge within 500 ms" in told["line_faults"][0]
    world.fleet.take([event(kinds.LINE_RESTORED, after_s=2.0)], live=True)
    assert world.station()["state"] == "serving"


# --- trouble by the heartbeat's reasons -----------------------------------------------------------

LINE = "line: the PLC cannot be reached; the PLC is told to stop the line"


def plc_away(teller: Teller) -> Event:
    return teller.documents.line_fault(
        None, cause="plc_away", fail_safe="stop", detail="no answer within 500 ms"
    )


@pytest.mark.parametrize(
    "reason",
    [
        LINE,
        "evidence: no room: 120 MB free, 500 MB are to stay",
        "parked events: 812 refused by the broker for good: inspector events parked",
        "station file: refused at 12:03, the one before it holds: cameras.infeed: unknown",
        "topic inspection.verdicts: not there",
        "camera infeed: running, but none of its frames of the last 60 s could be judged: decode",
    ],
)
def test_what_a_heartbeat_finds_not_well_is_trouble(world, reason):
    teller = world.teller()
    world.hear(teller.beat(reasons=(reason,)))
    told = world.station()
    assert (told["state"], told["reasons"]) == ("trouble", [reason])
    world.clock.now += 10
    world.hear(teller.beat())
    told = world.station()
    assert (told["state"], told["reasons"]) == ("serving", [])


def test_a_broker_that_was_away_is_there_since_the_heartbeat_has_come(world):
    world.hear(world.teller().beat(reasons=("broker: nothing listens at broker1:9092",)))
    assert world.station()["state"] == "serving"


@pytest.mark.parametrize(
    ("state", "word"), [("connecting", "serving"), ("ended", "serving"), ("lost", "trouble")]
)
def test_a_camera_without_pictures_is_told_by_its_state_alone(world, state, word):
    teller = world.teller(states={"infeed": state})
    world.hear(teller.beat(reasons=(f"camera infeed: {state}",)))
    told = world.station()
    assert (told["state"], told["reasons"]) == (word, [])


def test_a_fault_of_the_line_from_before_the_look_back_is_known(world):
    teller = world.teller()
    fault = plc_away(teller)
    world.clock.now += 3.1 * DAY
    world.hear(teller.beat(reasons=(LINE,)))
    assert world.station()["state"] == "trouble"
    world.hear(fault, live=False)  # a partition that is read later
    assert world.station()["line_faults"] == [], "it is told once, as it is now"


def test_a_fault_of_a_line_that_was_taken_out_of_the_station_file_is_gone(world):
    teller = world.teller()
    world.hear(teller.beat(), plc_away(teller))
    assert world.station()["state"] == "trouble"
    world.clock.now += 10
    world.hear(teller.beat())  # and `restored` will never come
    told = world.station()
    assert (told["state"], told["line_faults"]) == ("serving", [])


def test_a_heartbeat_from_before_a_fault_of_the_line_does_not_undo_it(world):
    teller = world.teller()
    beat = teller.beat()
    world.clock.now += 5
    world.hear(plc_away(teller), beat)
    assert world.station()["line_faults"] == ["line: no answer within 500 ms"]


def test_a_fault_of_the_line_does_not_outlast_a_clock_that_was_set_back(world):
    teller = world.teller()
    world.hear(teller.beat(), plc_away(teller))
    teller.skew_s = -3600
    world.clock.now += 10
    world.hear(teller.beat())
    assert world.station()["state"] == "serving"


# --- what nobody would expect ---------------------------------------------------------------------


def test_unknown_and_invalid_records_are_counted_and_never_raise(world):
    good = world.teller().frame().document
    unknown = {**good, "type": "inspector.part.weighed.v1"}
    strange = [
        None,
        b"",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"{}",
        b"17",
        b'{"type": 5}',
        json.dumps({**good, "data": {}}).encode(),
        json.dumps({**good, "time": "yesterday"}).encode(),
        json.dumps({**good, "data": {**good["data"], "station": "../../x" * 500}}).encode(),
        json.dumps(unknown).encode(),
        json.dumps({**good, "type": "inspector.frame.rejected.v2"}).encode(),
    ]
    world.fleet.take(strange, live=True)
    board = world.board()
    assert board["counts"] == {"records": 12, "invalid": 10, "unknown": 2}
    assert board["unknown"] == {
        "inspector.part.weighed.v1": 1,
        "inspector.frame.rejected.v2": 1,
    }
    assert 0 < len(board["last_invalid"]) <= 300
    assert board["stations"] == []


@pytest.mark.parametrize(
    "told",
    [
        {"data": {"uptime_s": 1e12}},
        {"data": {"uptime_s": 1e999}},
        {"data": {"uptime_s": -1.0}},
        {"data": {"started": "0001-01-01T00:00:00"}},
    ],
)
def test_what_cannot_be_is_counted_and_those_after_it_are_taken(world, told):
    good = world.teller().beat().document
    bad = {**good, "data": {**good["data"], **told["data"]}}
    world.fleet.take([json.dumps(bad).encode()], live=True)
    world.hear(world.teller("packing-08").beat())
    board = world.board()
    assert board["counts"] == {"records": 2, "invalid": 1}
    assert board["last_invalid"]
    assert world.station("packing-08")["state"] == "serving"
    json.dumps(board, allow_nan=False)


@pytest.mark.parametrize(
    "told",
    [
        {"data": {"outbox": {"waiting": 1e999}}},
        {"data": {"cameras": {"infeed": {"state": "running", "fps": 5.0, "judged": 10**20}}}},
        {"data": {"cameras": {"infeed": {"state": "running", "fps": 5.0, "judged": 10**400}}}},
        {"time": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_numbers_and_times_without_bounds_are_shown(world, told):
    teller = world.teller()
    world.hear(teller.beat())
    good = teller.beat().document
    strange = {**good, **told, "data": {**good["data"], **told.get("data", {})}}
    world.fleet.take([json.dumps(strange).encode()], live=True)
    board = world.board()
    assert board["counts"]["records"] == 2
    assert "invalid" not in board["counts"]
    json.dumps(board, allow_nan=False)


def test_types_without_end_are_bounded(world):
    good = world.teller().frame().document
    world.fleet.take(
        [json.dumps({**good, "type": f"a.{i}" * 200}).encode() for i in range(500)], live=True
    )
    board = world.board()
    assert len(board["unknown"]) <= 21
    assert sum(board["unknown"].values()) == 500


def test_labels_without_end_are_counted_as_others(world):
    teller = world.teller()
    world.hear(*(teller.frame(label=f"label-{i}") for i in range(100)))
    labels = world.line()["shifts"][0]["labels"]
    assert len(labels) == MOST_LABELS
    assert labels[OTHER] == 100 - (MOST_LABELS - 1)


def test_stations_without_end_are_left_out_and_counted(world):
    for i in range(MOST_STATIONS + 10):
        world.hear(world.teller(f"s-{i}").frame())
    board = world.board()
    assert len(board["stations"]) == MOST_STATIONS
    assert board["counts"]["beyond_bounds"] == 10


def test_cameras_without_end_are_left_out_and_counted(world):
    teller = world.teller()
    teller.cameras = tuple(f"c-{i}" for i in range(MOST_CAMERAS + 5))
    world.hear(teller.beat())
    assert world.fleet._cameras == MOST_CAMERAS
    assert world.board()["counts"]["beyond_bounds"] == 5


def test_events_from_before_the_look_back_are_counted_as_such(world):
    teller = world.teller(skew_s=-4 * DAY)
    world.hear(teller.frame())
    assert world.board()["counts"]["too_old"] == 1
    assert world.line()["shifts"][0]["rejected"] == 0


@pytest.mark.parametrize(("days", "starts", "shown"), [(0.5, None, 2), (3, {"day": "00:00"}, 4)])
def test_of_a_shift_that_is_not_kept_whole_it_is_told_since_when(days, starts, shown):
    world = World(look_back_days=days, **({"shifts": {"starts": starts}} if starts else {}))
    teller = world.teller()
    world.clock.now -= 5 * DAY
    teller.restart()
    world.hear(teller.beat())
    for _ in range(5 * 24):
        world.clock.now += 3600
        teller.judged["infeed"] = teller.judged.get("infeed", 0) + 3600
        world.hear(teller.beat())
    shifts = world.board()["shifts"]
    judged = [shift["judged"] for shift in world.line()["shifts"]]
    assert len(shifts) == len(judged) == shown
    since = [shift["known_from"] for shift in shifts]
    assert since[:-1] == [None] * (shown - 1)
    oldest = datetime.fromisoformat(since[-1])
    assert world.clock.now - days * DAY < oldest.timestamp() <= world.clock.now - days * DAY + 900
    *whole, part = zip(shifts, judged, strict=True)
    for shift, count in whole[1:]:
        ends, begins = (datetime.fromisoformat(shift[key]) for key in ("ends", "begins"))
        assert count == pytest.approx((ends - begins).total_seconds(), abs=2)
    ends = datetime.fromisoformat(part[0]["ends"])
    assert part[1] >= (ends - oldest).total_seconds() - 2


# --- drift ----------------------------------------------------------------------------------------


def test_drift_is_told_with_camera_and_label(world):
    teller = world.teller(cameras=("infeed", "outfeed"))
    world.clock.now -= 3 * DAY - 3600
    teller.restart()
    world.hear(teller.beat())
    for hour in range(71):
        world.clock.now += 3600
        for camera in teller.cameras:
            teller.judged[camera] = teller.judged.get(camera, 0) + 1000
            dirty = camera == "outfeed" and hour >= 47
            world.hear(*(teller.frame(camera=camera) for _ in range(40 if dirty else 4)))
        world.hear(teller.beat())
    (found,) = drifts(world.fleet, world.clock.now)["found"]
    assert (found["camera"], found["label"]) == ("outfeed", "gblur")
    assert found["before"] == pytest.approx(0.004, rel=0.2)
    assert found["low"] < 10 < found["high"]
    assert drifts(world.fleet, world.clock.now)["cameras"] == 2


def test_the_document_is_json(world):
    world.hear(world.teller().beat(), world.teller().frame())
    json.dumps(world.board(), allow_nan=False)
    json.dumps(drifts(world.fleet, world.clock.now), allow_nan=False)
