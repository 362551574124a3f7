from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from inspector.events import schemas
from inspector.events.kinds import EVENTS_DROPPED, FRAME_JUDGED, FRAME_REJECTED
from inspector.events.reading import Reader
from inspector.events.store import FILE, TOLD
from tests.events.making import open_outbox
from tests.events.test_outbox import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.events.documents import Event
    from inspector.events.outbox import Outbox
    from tests.events.making import Maker

MB = 1_000_000


def kept(folder: Path) -> list[str]:
    reader = Reader(folder / FILE)
    try:
        return [row.id for row in reader.rows("state = 0 ORDER BY seq")]
    finally:
        reader.close()


def gaps(folder: Path) -> list[dict[str, Any]]:
    reader = Reader(folder / FILE)
    try:
        documents = [
            json.loads(row.body) for row in reader.rows(f"type = '{EVENTS_DROPPED}' ORDER BY seq")
        ]
    finally:
        reader.close()
    for document in documents:
        schemas.check(document)
    return [document["data"] for document in documents]


def fill(box: Outbox, events: list[Event], at_once: int = 50) -> None:
    for start in range(0, len(events), at_once):
        box.append(events[start : start + at_once]).result(60)


def test_judged_go_first_then_the_oldest_rejected_and_the_gap_is_told(
    folder: Path, make: Maker
) -> None:
    box = open_outbox(folder, max_bytes=MB)
    degraded = make("quality_degraded")
    judged = make.many(200, "frame_judged")
    fill(box, [degraded, *judged])
    assert gaps(folder) == []
    rejected = make.many(500)
    fill(box, rejected)
    box.close()

    left = set(kept(folder))
    assert degraded.id in left
    assert not left & {event.id for event in judged}
    here = [event.id in left for event in rejected]
    first_kept = here.index(True)
    assert 0 < first_kept < 500
    assert all(here[first_kept:]), "the oldest went, the newest stayed"
    (gap,) = gaps(folder)
    assert gap["cause"] == "outbox_full"
    assert gap["count"] == 200 + first_kept
    assert gap["types"] == {FRAME_JUDGED: 200, FRAME_REJECTED: first_kept}
    assert gap["keys"] == {degraded.key: 200 + first_kept}
    assert gap["first_id"] == judged[0].id
    assert gap["last_id"] == rejected[first_kept - 1].id


def test_judged_are_shed_only_as_far_as_needed(folder: Path, make: Maker) -> None:
    box = open_outbox(folder, max_bytes=MB)
    fill(box, make.many(200, "frame_judged"))
    rejected = make.many(250)
    fill(box, rejected)
    stats = box.stats()
    box.close()
    left = set(kept(folder))
    assert {event.id for event in rejected} <= left
    assert 0 < stats.shed_total < 200
    assert stats.bytes <= stats.max_bytes


def test_sent_events_go_before_any_that_waits_and_are_no_gap(folder: Path, make: Maker) -> None:
    box = open_outbox(folder, max_bytes=MB)
    fill(box, make.many(300))
    box.mark_sent([row.seq for row in box.hand_out(0, 300)])
    wait_until(lambda: box.stats().waiting == 0)
    later = make.many(300)
    fill(box, later)
    assert box.stats().waiting == 300
    box.close()
    assert kept(folder) == [event.id for event in later]
    assert gaps(folder) == []


def test_transitions_are_never_shed(folder: Path, make: Maker) -> None:
    box = open_outbox(folder, max_bytes=MB)
    transitions = make.many(300, "quality_degraded")
    fill(box, [*transitions, *make.many(300), *make.many(300, "quality_recovered")])
    box.close()
    assert {event.id for event in transitions} <= set(kept(folder))
    assert sum(gap["count"] for gap in gaps(folder)) == 300


def test_what_the_publisher_has_on_its_way_is_not_shed(folder: Path, make: Maker) -> None:
    box = open_outbox(folder, max_bytes=MB)
    fill(box, make.many(50))
    on_the_way = {row.id for row in box.hand_out(0, 20)}
    fill(box, make.many(800))
    box.close()
    assert on_the_way <= set(kept(folder))


def test_a_gap_that_grows_is_the_same_event(folder: Path, make: Maker) -> None:
    """The page tells of it as it comes: another id each time would push all else off it."""
    box = open_outbox(folder, max_bytes=MB)
    fill(box, make.many(600))
    seen = []
    for _ in range(3):
        fill(box, make.many(50))
        (told,) = [one for one in box.newest(2000) if one["type"] == EVENTS_DROPPED]
        seen.append((told["id"], told["data"]["count"]))
    box.close()
    assert len({event_id for event_id, _ in seen}) == 1
    assert len({count for _, count in seen}) == 3


def test_a_gap_that_was_handed_out_is_not_changed_any_more(folder: Path, make: Maker) -> None:
    box = open_outbox(folder, max_bytes=MB)
    fill(box, make.many(600))
    (first,) = gaps(folder)
    assert any(row.type == EVENTS_DROPPED for row in box.hand_out(0, 2000))
    box.take_back(list(range(2000)))
    fill(box, make.many(200))
    told = gaps(folder)
    box.close()
    assert told[0] == first
    assert len(told) == 2
    assert sum(gap["count"] for gap in told) == 800 - (len(kept(folder)) - 2)


def test_the_file_stays_within_its_bound(folder: Path, make: Maker) -> None:
    box = open_outbox(folder, max_bytes=2 * MB)
    for turn in range(6):
        fill(
            box, make.many(300, "frame_judged") + make.many(200) + make.many(5, "quality_degraded")
        )
        if turn % 2:
            box.mark_sent([row.seq for row in box.hand_out(0, 100)])
    size = sum(path.stat().st_size for path in folder.iterdir())
    box.close()
    assert size <= 2 * MB * 1.05


def test_the_newest_without_heartbeats_are_found_without_a_scan(folder: Path, make: Maker) -> None:
    box = open_outbox(folder)
    event = make()
    box.append([event]).result(60)
    for _ in range(30):
        box.append([make("station_status")]).result(60)
        box.mark_sent([row.seq for row in box.hand_out(0, 99)])
    assert event.id in {one["id"] for one in box.newest(99)}
    assert [one["id"] for one in box.newest(3, heartbeats=False)] == [event.id]
    plan = box._reader._query(
        f"EXPLAIN QUERY PLAN SELECT body FROM (SELECT document AS body FROM events WHERE {TOLD}"
        " ORDER BY seq DESC LIMIT 3)"
    )
    assert "told" in str(plan)
    box.close()


def test_of_heartbeats_only_the_newest_waits(folder: Path, make: Maker) -> None:
    box = open_outbox(folder)
    beats = [make("station_status") for _ in range(3)]
    reject = make()
    for event in (beats[0], reject, beats[1], beats[2]):
        box.append([event]).result(60)
    assert kept(folder) == [reject.id, beats[2].id]
    assert gaps(folder) == []
    assert Counter(row.type for row in box.hand_out(0, 9)).total() == 2
    last = make("station_status")
    box.append([last]).result(60)
    box.close()
    # The one on its way may have arrived already: it is not taken from under the publisher.
    assert kept(folder) == [reject.id, beats[2].id, last.id]


def test_while_no_gap_can_be_told_it_grows_and_is_not_told_again_and_again(
    folder: Path, make: Maker
) -> None:
    """The topic of gaps takes nothing, and others do: rows that go say nothing of gaps seen."""
    box = open_outbox(folder, max_bytes=MB)
    judged = 0
    for _ in range(30):
        fill(box, make.many(50, "frame_judged"))
        judged += 50
        fill(box, make.many(1))
        rows = box.hand_out(0, 500, [make.topics.status, make.topics.verdicts])
        assert len(rows) == 1
        box.mark_sent([row.seq for row in rows])
    box.close()
    (gap,) = gaps(folder)
    assert gap["types"] == {FRAME_JUDGED: gap["count"]}
    assert gap["count"] + len(kept(folder)) - 1 == judged
