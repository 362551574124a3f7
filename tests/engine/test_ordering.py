"""Order per camera, whatever the order of the answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inspector.engine.ordering import Entry, Ordering
from inspector.frame import Frame
from inspector.verdict import Outcome, Verdict


def frame(camera, sequence):
    return Frame(camera, 1, sequence, 0, 0, 0, 0, 0)


@given(
    cameras=st.lists(st.sampled_from("abc"), max_size=30),
    data=st.data(),
)
def test_every_frame_leaves_once_and_in_order(cameras, data):
    ordering = Ordering()
    entries = []
    for camera in cameras:
        entries.append(Entry(frame(camera, sum(e.frame.camera == camera for e in entries))))
    to_add, open_entries, left = list(entries), [], []
    while to_add or open_entries:
        add = bool(to_add) and (not open_entries or data.draw(st.booleans()))
        if add:
            ordering.add(to_add[0])
            open_entries.append(to_add.pop(0))
            continue
        entry = open_entries.pop(data.draw(st.integers(0, len(open_entries) - 1)))
        verdict = Verdict(Outcome.ACCEPTED, reasons=(str(id(entry)),))
        left += ordering.resolve(entry, verdict)
        # A second word on the same frame changes nothing.
        left += ordering.resolve(entry, Verdict(Outcome.REJECTED))
    assert len(ordering) == 0
    assert [v.outcome for _, v in left] == [Outcome.ACCEPTED] * len(entries)
    for camera in "abc":
        mine = [f for f, _ in left if f.camera == camera]
        assert [f.sequence for f in mine] == list(range(cameras.count(camera)))
    owners = {id(e.frame): str(id(e)) for e in entries}
    assert all(v.reasons == (owners[id(f)],) for f, v in left)


def test_a_frame_waits_for_those_before_it():
    ordering = Ordering()
    first, second, other = Entry(frame("a", 0)), Entry(frame("a", 1)), Entry(frame("b", 0))
    for entry in (first, second, other):
        ordering.add(entry)
    done = Verdict(Outcome.ACCEPTED)
    assert list(ordering.resolve(second, done)) == []
    assert [f.camera for f, _ in ordering.resolve(other, done)] == ["b"]
    assert ordering.depth("a") == 2
    assert ordering.unresolved() == [first]
    assert [f.sequence for f, _ in ordering.resolve(first, done)] == [0, 1]
    assert ordering.depth("a") == 0
