from __future__ import annotations

import time
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import EventsError
from inspector.events.pending import Item, Pending
from inspector.events.records import CameraState, Rank, Record


def record(rank: Rank, name: str = "x", size: int = 100) -> Record:
    return Record(name, "type", "key", "topic", b"x" * size, rank, 0)


def item(*records: Record, states: dict[str, CameraState] | None = None) -> Item:
    return Item(records, states or {}, Future(), time.monotonic_ns())


def waiting(pending: Pending) -> list[str]:
    items = pending.take(1_000_000)
    names = [r.id for i in items for r in i.records if not r.shed]
    pending.put_back(items)
    return names


def test_what_is_judged_goes_first_then_the_oldest_rejected_never_the_kept() -> None:
    pending = Pending(max_records=4)
    ranks = [Rank.KEPT, Rank.REJECTED, Rank.JUDGED, Rank.REJECTED]
    for number, rank in enumerate(ranks):
        assert pending.put(item(record(rank, str(number)))) == []
    shed = [pending.put(item(record(Rank.KEPT, f"k{n}")))[0].id for n in range(3)]
    assert shed == ["2", "1", "3"]
    assert waiting(pending) == ["0", "k0", "k1", "k2"]


def test_bytes_are_bounded_too() -> None:
    pending = Pending(max_bytes=10_000)
    for number in range(20):
        pending.put(item(record(Rank.REJECTED, str(number), size=1000)))
    assert pending.bytes <= 10_000
    assert waiting(pending)[-1] == "19"


def test_beyond_the_hard_bound_even_kept_events_are_refused_the_newest_first() -> None:
    pending = Pending(max_records=3)
    shed = [pending.put(item(record(Rank.KEPT, str(n)))) for n in range(8)]
    assert [s[0].id for s in shed if s] == ["6", "7"]
    assert waiting(pending) == ["0", "1", "2", "3", "4", "5"]


def test_only_the_newest_heartbeat_waits() -> None:
    pending = Pending()
    items = [item(record(Rank.HEARTBEAT, str(n))) for n in range(3)]
    assert [pending.put(i) for i in items] == [[], [], []]
    assert waiting(pending) == ["2"]
    assert [i.shed for i in items] == [0, 0, 0]


def test_states_that_pile_up_become_one_and_their_futures_say_so() -> None:
    pending = Pending(max_records=5)
    items = [item(states={"a": CameraState(n)}) for n in range(40)]
    items[0].states = {"a": CameraState(0), "b": CameraState(7)}
    for one in items:
        pending.put(one)
    assert len(pending) <= 10
    taken = pending.take(100)
    merged: dict[str, CameraState] = {}
    for one in taken:
        merged.update(one.states)
    assert merged == {"a": CameraState(39), "b": CameraState(7)}
    with pytest.raises(EventsError, match="a later one replaced it"):
        items[0].future.result(0)


@given(
    st.lists(st.tuples(st.sampled_from(Rank), st.booleans(), st.booleans()), max_size=120),
    st.integers(1, 12),
)
def test_the_counts_hold_whatever_happens(steps: list[tuple[Rank, bool, bool]], most: int) -> None:
    pending = Pending(max_records=most, max_bytes=10_000_000)
    for number, (rank, take, fails) in enumerate(steps):
        pending.put(item(record(rank, str(number))))
        if take:
            taken = pending.take(3)
            if fails:
                pending.put_back(taken)
            else:
                pending.done(taken)
        names = waiting(pending)
        assert names == sorted(names, key=int)
        assert pending.records == len(names)
        assert pending.bytes == sum(record(rank).size for _ in names)
        assert pending.records <= 2 * most
