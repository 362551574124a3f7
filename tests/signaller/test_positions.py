from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
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
    entries[1].done = True
    assert track.handled() == 7
    entries[0].done = True
    assert track.handled() == 10
    entries[2].done = True
    assert track.handled() == 11
    assert not track.entries


def test_a_record_is_signalled_before_in_doubt_or_new_by_its_place():
    track = Track({"s/a": Begun(17, 100)}, 90)
    assert track.signalled_before(Entry(99, "s/a"))
    assert not track.signalled_before(Entry(99, "s/b"))
    assert track.in_doubt(Entry(100, "s/a")) == 17
    assert track.in_doubt(Entry(101, "s/a")) is None
    assert not track.signalled_before(Entry(100, "s/a"))


def members(**owned: list[int]) -> list[SimpleNamespace]:
    """Members of a group on topic `t`, each with the partitions that it has."""
    found = []
    for name, partitions in owned.items():
        assignor = OneForAll()
        assignor.member_assignment = [TopicPartition("t", number) for number in partitions]
        found.append(
            SimpleNamespace(
                member_id=f"id-{name}", group_instance_id=name, metadata=assignor.metadata({"t"})
            )
        )
    return found


def shared_out(**owned: list[int]) -> dict[str, list[int]]:
    cluster = SimpleNamespace(partitions_for_topic=lambda _: {0, 1, 2})
    given_out = OneForAll().assign(cluster, members(**owned))
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
