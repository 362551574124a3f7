from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING

from inspector.events.ids import Uuid7

if TYPE_CHECKING:
    import pytest


def test_an_id_is_a_uuid_of_version_7_with_its_time_in_front() -> None:
    before = time.time_ns() // 1_000_000
    made = Uuid7()()
    after = time.time_ns() // 1_000_000
    assert isinstance(made, uuid.UUID)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after


def test_ids_rise_though_the_clock_stands_or_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([5_000_000_000] * 5000 + [4_000_000_000] * 5000)
    monkeypatch.setattr("inspector.events.ids.time.time_ns", lambda: next(times))
    source = Uuid7()
    ids = [source() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 10_000
    assert {i.version for i in ids} == {7}
    assert {i.variant for i in ids} == {uuid.RFC_4122}


def test_ids_follow_a_clock_that_was_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box without a battery may start in another year; what is kept is dated by its id."""
    times = iter([9_000_000_000_000] * 10 + [4_000_000_000] * 10)
    monkeypatch.setattr("inspector.events.ids.time.time_ns", lambda: next(times))
    source = Uuid7()
    ids = [source() for _ in range(20)]
    assert [i.int >> 80 for i in ids] == [9_000_000] * 10 + [4_000] * 10
    assert ids[10:] == sorted(ids[10:])


def test_threads_never_get_the_same_id() -> None:
    source, made = Uuid7(), list[uuid.UUID]()

    def take() -> None:
        made.extend([source() for _ in range(2000)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000
