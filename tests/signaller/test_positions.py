from __future__ import annotations

import asyncio
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from kafka.coordinator.base import Generation
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.protocol.consumer.metadata import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
)
from kafka.structs import TopicPartition

from inspector.signaller.positions import METADATA_BYTES, Begun, Entry, Track, decode, encode
from inspector.signaller.standby import OneForAll

NAME = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
BEGUN = st.builds(Begun, st.integers(1, 65535), st.integers(0, 2**63 - 1))


@given(st.dictionaries(NAME, BEGUN, max_size=20))
def test_what_is_committed_is_what_is_read(begun):
    assert decode(encode(begun)) == begun


@given(st.lists(BEGUN, min_size=60, max_size=120))
def test_it_fits_a_broker_and_the_newest_stay(entries):
    begun = {f"{'s' * 60}/{'c' * 59}-{i}": entry for i, entry in enumerate(entries)}
    text = encode(begun)
    assert len(text.encode()) <= METADATA_BYTES
    kept = decode(text)
    assert kept.items() <= begun.items()
    lost = [entry.offset for camera, entry in begun.items() if camera not in kept]
    assert not lost or max(lost) <= min(entry.offset for entry in kept.values())


@given(st.text(max_size=200))
def test_foreign_metadata_is_passed_over(text):
    decode(text)


def test_offsets_are_handled_up_to_the_first_that_is_not_done():
    track = Track({}, 7)
    assert track.handled() == 7
    entries = [Entry(offset, "s/a") for offset in (7, 8, 10)]  # 9 was a mark of a transaction
    for entry in entries:
        track.add(entry)
    track.end(entries[1])
    assert track.handled() == 7
    track.end(entries[0])
    assert track.handled() == 10
    track.end(entries[2])
    assert track.handled() == 11
    assert not track.entries


def test_a_record_is_signalled_before_in_doubt_or_new_by_its_place():
    track = Track({"s/a": Begun(17, 100)}, 90)
    assert track.signalled_before(Entry(99, "s/a"))
    assert not track.signalled_before(Entry(99, "s/b"))
    assert track.in_doubt(Entry(100, "s/a")) == 17
    assert track.in_doubt(Entry(101, "s/a")) is None
    assert not track.signalled_before(Entry(100, "s/a"))


def test_where_the_log_went_back_no_place_of_before_counts():
    track = Track({"s/a": Begun(17, 100)}, 90)
    assert not track.went_back(90), "a second reading of the same log"
    waits = Entry(101, "s/a")
    track.add(waits)
    assert track.went_back(50)
    new = Entry(50, "s/a")
    track.add(new)
    assert not track.signalled_before(new)
    assert track.in_doubt(new) is None
    track.begin(waits, 18)
    assert not track.signalled_before(new)
    track.begin(new, 19)
    assert track.begun == {"s/a": Begun(19, 50)}
    assert track.handled() == 50


def members(generations: dict[str, int], **owned: list[int]) -> list[SimpleNamespace]:
    """Members of a group on topic `t`, each with the partitions that it has, as the leader sees it.

    Args:
        generations: in which a member got them, where it is not the last.
    """
    found = []
    for name, partitions in owned.items():
        assignor = OneForAll()
        given = ConsumerProtocolAssignment(1, [("t", partitions)] if partitions else [], b"")
        assignor.on_assignment(given, generations.get(name, 9))
        told = ConsumerProtocolSubscription.decode(assignor.metadata({"t"}).encode())
        found.append(SimpleNamespace(member_id=f"id-{name}", group_instance_id=name, metadata=told))
    return found


def shared_out(
    generations: dict[str, int] | None = None, **owned: list[int]
) -> dict[str, list[int]]:
    cluster = SimpleNamespace(partitions_for_topic=lambda _: {0, 1, 2})
    given_out = OneForAll().assign(cluster, members(generations or {}, **owned))
    return {
        member.removeprefix("id-"): [part.partition for part in assignment.partitions()]
        for member, assignment in given_out.items()
    }


def test_one_member_has_every_partition_and_keeps_them():
    assert shared_out(b=[], a=[]) == {"a": [0, 1, 2], "b": []}
    assert shared_out(a=[], b=[0, 1, 2]) == {"a": [], "b": [0, 1, 2]}
    assert shared_out(a=[], b=[0, 1]) == {"a": [], "b": [0, 1, 2]}  # one is new


def test_what_two_have_is_given_up_by_one_before_the_other_gets_it():
    assert shared_out(a=[0], b=[1, 2]) == {"a": [], "b": [1, 2]}
    assert shared_out(a=[], b=[1, 2]) == {"a": [], "b": [0, 1, 2]}


def test_one_that_was_away_claims_what_it_had_and_does_not_get_it():
    everything = [0, 1, 2]
    for stale, owner in (("a", "b"), ("b", "a")):
        shared = shared_out({stale: 5}, **{stale: everything, owner: everything})
        assert shared == {stale: [], owner: everything}
        shared = shared_out({stale: 5}, **{stale: everything, owner: [0]})
        assert shared[stale] == everything[1:], "what nobody newer has is its own"
    assert shared_out({"b": 5}, a=[], b=everything) == {"a": [], "b": everything}


def test_however_the_library_rejoins_after_an_eviction_the_owner_keeps_its_partitions():
    """It may forget the assignment, or (evicted in the middle of a join) claim it once more."""
    assignor = OneForAll()
    assignor.on_assignment(ConsumerProtocolAssignment(1, [("t", [0, 1, 2])], b""), 5)
    coordinator = ConsumerCoordinator.__new__(ConsumerCoordinator)
    coordinator._generation = Generation.NO_GENERATION
    coordinator._subscription = SimpleNamespace(
        assigned_partitions=lambda: {TopicPartition("t", number) for number in range(3)},
        mark_pending_revocation=lambda _: None,
        rebalance_listener=None,
        assign_from_subscribed=lambda _: None,
        reset_group_subscription=lambda: None,
        subscription={"t"},
    )
    coordinator.config = {"enable_auto_commit": False, "group_id": "g"}
    coordinator._assignors = {assignor.name: assignor}
    asyncio.run(coordinator._on_join_prepare_async(-1, ""))
    ((_, claim),) = coordinator.group_protocols()
    back = SimpleNamespace(
        member_id="id-a",
        group_instance_id="a",
        metadata=ConsumerProtocolSubscription.decode(claim.encode()),
    )
    cluster = SimpleNamespace(partitions_for_topic=lambda _: {0, 1, 2})
    given_out = OneForAll().assign(cluster, [back, *members({}, b=[0, 1, 2])])
    assert not given_out["id-a"].partitions()
    assert len(given_out["id-b"].partitions()) == 3
